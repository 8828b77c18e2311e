# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Deployments that change at the same time: what would be in each other's way at some moment.

Pure.

Rules:
 * What is accepted must fit the others as nodes have them now, as they are when every rollout is
   over, and as they were, should one go back.
 * Of what is accepted as one, each must also fit the others as they were: nobody says which of two
   rollouts reaches a node first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from services.scheduler.desired_state import Derived, Fleet, derive_desired
from services.scheduler.place_conflicts import PlaceConflict
from services.scheduler.rollout.assignment import at_base, at_end, is_rolling
from shared.contracts.deployments import DeploymentRecord


def conflicts_to_come(
    fleet: Fleet, records: Sequence[DeploymentRecord], derived: Derived
) -> list[PlaceConflict]:
    """What cannot be together at the end, nor while rollouts go on, nor should they go back.

    Args:
        fleet: As it is.
        records: Which are to be accepted.
        derived: What follows once their rollouts are over.
    """
    begun_all = {**fleet.deployments, **{one.key: one for one in records}}
    found = dict.fromkeys(derived.conflicts)
    if not any(map(is_rolling, begun_all.values())):
        return list(found)
    ended = {one.key: at_end(one) for one in records}
    moments = [
        {key: outcome(one) for key, one in {**begun_all, **ended}.items()}
        for outcome in (at_end, at_base)
    ]
    if len(records) > 1:
        moments += [{**begun_all, key: one} for key, one in ended.items()]
    for deployments in moments:
        then = replace(fleet, deployments=deployments, known=derived.known)
        found |= dict.fromkeys(derive_desired(then).conflicts)
    return list(found)
