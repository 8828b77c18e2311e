# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A rollout while another hand writes to all that it writes to: slower, and right."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TypeVar

from shared.adapters.bus import Bus
from shared.adapters.kv import KeyValue, RevisionConflictError
from shared.contracts.base import Message
from shared.contracts.deployments import DEPLOYMENTS
from shared.contracts.desired import DESIRED
from shared.contracts.rollouts import RolloutSpec
from shared.errors import Refusal
from tests.fleets import a_spec
from tests.integration.conftest import Buses
from tests.support.event_stream import stored_events
from tests.support.scheduler_neighbours import (
    WAIT_SECONDS,
    until_accepted,
    until_running,
    until_settled,
)
from tests.support.scheduler_system import System, system

__all__ = ["system"]

REFUSED = Refusal(code="verifier_rejected", message="the verifier refused limiter")
RecordT = TypeVar("RecordT", bound=Message)
CANARIES = RolloutSpec(strategy="canary", max_unavailable=1)


class Storm:
    """Writes what is stored once more, again and again, where the scheduler writes."""

    def __init__(self, bus: Bus) -> None:
        self._deployments, self._desired = bus.bucket(DEPLOYMENTS), bus.bucket(DESIRED)
        self.writes = 0

    async def rage(self) -> None:
        """For ever."""
        while True:
            await self._again(self._deployments, "aside")
            await self._again(self._desired, "n3")
            await asyncio.sleep(0.005)

    async def _again(self, bucket: KeyValue[RecordT], key: str) -> None:
        stored = await bucket.get(key)
        assert stored is not None
        with suppress(RevisionConflictError):
            await bucket.update(key, stored.value, revision=stored.revision)
            self.writes += 1


async def _until_phase(system: System, phase: str) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            entry = await system.scheduler.bucket(DEPLOYMENTS).get("edge")
            state = entry.value.rollout if entry is not None else None
            if state is not None and state.phase == phase:
                return
            await asyncio.sleep(0.01)


async def test_a_storm_of_conflicts_changes_no_outcome(system: System, buses: Buses) -> None:
    """A revision goes through, the next one goes back; each step is said once, in order."""
    await system.catalog()
    nodes = [await system.node(name, "eth0", "eth1") for name in ("n1", "n2", "n3")]
    await system.apply(a_spec("aside", interfaces=("eth1",), version="1.0.0"))
    await system.apply(a_spec(version="1.0.0"))
    await until_running(system.operator, "edge")
    storm = Storm(await buses.open("service-scheduler", "scheduler"))

    async with asyncio.TaskGroup() as tasks:
        raging = tasks.create_task(storm.rage())
        good = a_spec(version="1.1.0", rollout=CANARIES)
        await until_accepted(system.operator, good, "command-good")
        await _until_phase(system, "complete")
        nodes[0].refusal, nodes[0].refused_version = REFUSED, "1.0.0"
        bad = a_spec(version="1.0.0", rollout=CANARIES)
        await until_accepted(system.operator, bad, "command-bad")
        await _until_phase(system, "rolled-back")
        raging.cancel()

    await until_settled(system.scheduler)
    events = [one for one in await stored_events(system.auditor) if one.emitter == "scheduler"]
    assert storm.writes > 0
    assert [one.sequence for one in events] == list(range(1, len(events) + 1))
    steps = [
        (one.data.correlation, one.data.action.removeprefix("rollout."))
        for one in events
        if one.data.action.startswith("rollout.")
    ]
    through = ["release", "confirm", "release", "release", "confirm", "complete"]
    assert steps == [
        *(("command-good", one) for one in through),
        *(("command-bad", one) for one in ("release", "rollback")),
    ]
    ends = [
        (one.data.correlation, one.data.outcome)
        for one in events
        if one.data.action == "deployment.complete"
    ]
    assert [outcome for command, outcome in ends if command == "command-good"] == ["succeeded"]
    assert [outcome for command, outcome in ends if command == "command-bad"] == ["failed"]
