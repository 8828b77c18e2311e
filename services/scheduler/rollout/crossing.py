# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Deployments that change at the same time: what would be in each other's way at some moment.

Pure.

Rules:
 * What is accepted must fit the others as nodes have them now, as they are when every rollout is
   over, and as they were, should one go back.
 * Of what is accepted as one, each must also fit the others as they were: nobody says which of two
   rollouts reaches a node first.
 * A rollout that changes nothing of where the deployment is and how it meets others, as most do, is
   in nobody's way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from services.scheduler.desired_state import Derived, Fleet, derive_desired
from services.scheduler.place_conflicts import PlaceConflict
from services.scheduler.revision_facts import RevisionFacts
from services.scheduler.rollout.assignment import (
    assignment,
    at_base,
    at_end,
    base_of,
    is_rolling,
)
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
    turning = {key for key, one in begun_all.items() if is_rolling(one) and not _is_alike(one)}
    found = dict.fromkeys(derived.conflicts)
    ended = {one.key: at_end(one) for one in records}
    moments: list[dict[str, DeploymentRecord]] = []
    if turning - ended.keys():
        moments += [
            {key: outcome(one) for key, one in {**begun_all, **ended}.items()}
            for outcome in (at_end, at_base)
        ]
    if len(records) > 1 and turning & ended.keys():
        moments += [{**begun_all, key: one} for key, one in ended.items()]
    for deployments in moments:
        then = replace(fleet, deployments=deployments, known=derived.known)
        found |= dict.fromkeys(derive_desired(then).conflicts)
    return list(found)


def _is_alike(record: DeploymentRecord) -> bool:
    """Whether all revisions that nodes may have meet other deployments in the same way."""
    now = assignment(record)
    if now is None or base_of(record) is None:
        return False
    first, *others = (_meeting(one) for one in now.revisions)
    return all(one == first for one in others)


def _meeting(facts: RevisionFacts) -> tuple[object, ...]:
    """What decides where a revision is, and with whom it may be there."""
    spec = facts.revision.spec
    places = (spec.interfaces, spec.attach, spec.nodes, spec.network_namespaces)
    return facts.demand, facts.entrant, spec.link, spec.overlays, places
