# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Statuses of a deployment that is on its way to five nodes, in three waves."""

from __future__ import annotations

from typing import Any

import msgspec

from services.scheduler.liveness import Silence
from services.scheduler.status import deployment_status
from shared.contracts.rollouts import RolloutState, RolloutWave
from shared.contracts.scheduler import DeploymentPlaceStatus, DeploymentStatus
from shared.errors import Reason
from shared.packed_places import pack_names
from tests.fleets import a_fleet, a_node, a_spec, all_observing, applied

NODES = ("n1", "n2", "n3", "n4", "n5")
WAVES = (
    RolloutWave(nodes=("n1",)),
    RolloutWave(nodes=("n2", "n3"), domain="rack-a"),
    RolloutWave(packed_nodes=pack_names(["n4", "n5"])),
)


def a_state(**fields: Any) -> RolloutState:
    """In the second of three waves, of whose two nodes one was told."""
    said: dict[str, Any] = {"revision": 2, "phase": "rolling-out", "wave": 1, "released": 1}
    return RolloutState(**{**said, "waves": WAVES, **fields})


def a_place(node: str, state: Any, *rules: str) -> DeploymentPlaceStatus:
    """A place on eth0."""
    why = tuple(Reason(path="", rule=rule) for rule in rules)
    return DeploymentPlaceStatus(node=node, interface="eth0", state=state, why=why)


def a_status(state: RolloutState, *places: DeploymentPlaceStatus) -> DeploymentStatus:
    """Of a deployment that runs on five nodes, with these places instead if there are any."""
    fleet = applied(a_fleet(*map(a_node, NODES)), a_spec())
    status = deployment_status(
        msgspec.structs.replace(fleet.deployments["edge"], rollout=state),
        fleet,
        all_observing(fleet),
        silences={name: Silence(seconds=1.0, is_silent=False) for name in NODES},
    )
    return msgspec.structs.replace(status, places=places or status.places)
