# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A rollout outlives the scheduler that leads it: another goes on where the last one was."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from shared.adapters.bus import Bus
from shared.contracts.deployments import DEPLOYMENTS
from shared.contracts.events import EventBody
from shared.contracts.leadership import Leader
from shared.contracts.rollouts import RolloutSpec, RolloutState
from tests.fleets import a_package, a_spec
from tests.integration.conftest import Buses
from tests.support.event_stream import stored_events
from tests.support.scheduler_neighbours import (
    TestNode,
    a_catalog,
    a_test_node,
    until_accepted,
    until_settled,
)
from tests.support.scheduler_process import (
    PATIENCE_SECONDS,
    SchedulerProcess,
    Schedulers,
    scheduler_processes,
    the_leader,
)

NODES = ("n1", "n2", "n3", "n4", "n5")


async def _until_released(scheduler: Bus, count: int) -> RolloutState:
    """So many nodes have the new revision, or the rollout is over."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            entry = await scheduler.bucket(DEPLOYMENTS).get("edge")
            state = entry.value.rollout if entry is not None else None
            if state is not None and (state.released >= count or state.phase == "complete"):
                return state
            await asyncio.sleep(0.01)


@dataclass
class World:
    """Five nodes that run 1.0.0, a leader and a standby, and 1.1.0 on its way, one by one."""

    operator: Bus
    scheduler: Bus
    auditor: Bus
    nodes: list[TestNode]
    schedulers: Schedulers
    first: SchedulerProcess
    second: SchedulerProcess
    before: Leader

    async def let(self, *numbers: int) -> None:
        """These nodes, and whoever else lives, are heard; these do what they are told."""
        for node in self.nodes:
            await node.beat()
        for number in numbers:
            self.nodes[number].acts.set()

    async def steps(self) -> list[EventBody]:
        """What was said of the rollout, once everything is done; nothing twice."""
        await until_settled(self.scheduler)
        events = await stored_events(self.auditor)
        own = [event for event in events if event.emitter == "scheduler"]
        assert [event.sequence for event in own] == list(range(1, len(own) + 1))
        endings = [
            (event.data.correlation, event.data.outcome)
            for event in own
            if event.data.action == "deployment.complete"
        ]
        assert endings == [("command-1", "succeeded"), ("command-2", "succeeded")]
        return [event.data for event in own if event.data.action.startswith("rollout.")]


@pytest.fixture
async def world(buses: Buses, tmp_path: Path) -> AsyncIterator[World]:
    """Nobody acts upon the new revision yet."""
    operator, scheduler = await buses.open("operator"), await buses.open("service-scheduler")
    async with AsyncExitStack() as stack:
        versions = a_package(version="1.0.0"), a_package(version="1.1.0")
        await stack.enter_async_context(a_catalog(await buses.open("service-catalog"), *versions))
        nodes = [
            await stack.enter_async_context(a_test_node(await buses.open("node", name)))
            for name in NODES
        ]
        credentials = buses.server.credentials("service-scheduler")
        schedulers = stack.enter_context(scheduler_processes(credentials, tmp_path))
        first = schedulers.start("first")
        before = await the_leader(operator)
        second = schedulers.start("second")
        await the_leader(operator, standbys=1)
        await until_accepted(operator, a_spec(version="1.0.0"), "command-1")
        await until_settled(scheduler)
        for node in nodes:
            node.acts.clear()
            await node.beat()
        rollout = RolloutSpec(max_unavailable=1)
        await until_accepted(operator, a_spec(version="1.1.0", rollout=rollout), "command-2")
        await _until_released(scheduler, 1)
        auditor = await buses.open("service-auditor")
        yield World(operator, scheduler, auditor, nodes, schedulers, first, second, before)


async def test_another_scheduler_goes_on_in_the_middle_of_a_rollout(world: World) -> None:
    """Killed twice, once with a standby and once without: each step happened once."""
    world.first.kill()
    after = await the_leader(world.operator, other_than=world.before.pid)
    await world.let(0, 1)
    await _until_released(world.scheduler, 3)
    world.second.kill()
    world.schedulers.start("second")
    await the_leader(world.operator, other_than=after.pid)
    await world.let(2)
    await _until_released(world.scheduler, 4)
    assert [len(node.told) for node in world.nodes[4:]] == [1]
    await world.let(3, 4)
    assert (await _until_released(world.scheduler, 6)).phase == "complete"

    steps = await world.steps()
    assert [one.details.get("nodes") for one in steps] == [
        *([name] for name in NODES),
        None,
        None,
    ]
    assert [one.action for one in steps[-2:]] == ["rollout.confirm", "rollout.complete"]
    assert [len(node.told) for node in world.nodes] == [2] * 5


async def test_a_leader_that_stood_still_meanwhile_changes_nothing(world: World) -> None:
    """SIGSTOP in the middle, another one brings the rollout to its end; SIGCONT: it stands by."""
    world.first.freeze()
    after = await the_leader(world.operator, other_than=world.before.pid)
    await world.let(0, 1)
    await _until_released(world.scheduler, 3)
    world.first.thaw()
    await world.first.until_said("standing_by")
    await world.let(2, 3, 4)
    assert (await _until_released(world.scheduler, 6)).phase == "complete"

    assert [one.details["nodes"] for one in await world.steps() if "nodes" in one.details] == [
        [name] for name in NODES
    ]
    assert [len(node.told) for node in world.nodes] == [2] * 5
    assert after.token > world.before.token
    assert [world.first.status, world.second.status] == [None, None]
