# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Rollouts that go on, or back, because a test says so."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import msgspec

from services.scheduler.desired_state import Fleet
from services.scheduler.rollout.assignment import is_rolling
from services.scheduler.rollout.going_back import rolled_back
from shared.contracts.deployments import DeploymentRecord
from shared.contracts.rollouts import RolloutState
from tests.fleets import a_command

Way = Literal["release", "wave", "withdraw", "finish", "back"]
WAYS: tuple[Way, ...] = ("release", "release", "release", "wave", "withdraw", "finish", "back")
"""One further node, the whole wave, the wave goes back, all waves, everything goes back."""


class Progress(NamedTuple):
    """A deployment's rollout comes further."""

    name: str
    way: Way


def progressed(fleet: Fleet, step: Progress, number: int) -> Fleet:
    """The fleet once the record says so; the same without such a rollout."""
    record = fleet.deployments.get(step.name)
    if record is None or record.rollout is None or not is_rolling(record):
        return fleet
    if step.way == "back":
        return fleet.with_deployment(rolled_back(record, a_command(number)))
    return fleet.with_deployment(_further(record, record.rollout, step.way))


def _further(record: DeploymentRecord, state: RolloutState, way: Way) -> DeploymentRecord:
    wave, released = state.wave, state.released
    size = len(state.waves[wave].names) if state.waves else 0
    if way == "withdraw":
        return _at(record, state, wave=wave, released=0)
    if way == "release" and released < size:
        return _at(record, state, wave=wave, released=released + 1)
    if way == "wave" and released < size:
        return _at(record, state, wave=wave, released=size)
    if way != "finish" and wave + 1 < len(state.waves):
        return _at(record, state, wave=wave + 1, released=0)
    over = msgspec.structs.replace(state, phase="complete")
    return msgspec.structs.replace(record, rollout=over, earlier=())


def _at(record: DeploymentRecord, state: RolloutState, **reached: Any) -> DeploymentRecord:
    rollout = msgspec.structs.replace(state, phase="rolling-out", **reached)
    return msgspec.structs.replace(record, rollout=rollout)
