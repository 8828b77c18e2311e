# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Two scheduler processes and a bus: one leads, the other goes on from what is stored."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec
import pytest

from services.scheduler.leadership.lease import LAPSE_SECONDS
from shared.adapters.bus import Bus
from shared.adapters.direct_get import get_last
from shared.adapters.kv import RevisionConflictError
from shared.adapters.lifecycle import EXIT_CLEAN
from shared.canonical import canonical_digest
from shared.contracts.deployments import DEPLOYMENTS
from shared.contracts.desired import DESIRED
from shared.contracts.leadership import LEADER_TAKE, LEASES, Fence, fence_subject
from shared.contracts.scheduler import NODE_LABELS, NodeLabels
from shared.contracts.storage import FENCED_BUCKETS, kv_stream, outbox_bucket
from tests.fleets import a_package, a_spec
from tests.integration.conftest import Buses
from tests.support.cut_line import a_line
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
    Schedulers,
    scheduler_processes,
    the_leader,
)

FURTHER_SECONDS: Final = 60.0 if "L3AF_SOAK_SECONDS" in os.environ else 0.0


@dataclass
class World:
    """What a test talks to."""

    buses: Buses
    schedulers: Schedulers
    operator: Bus
    scheduler: Bus
    auditor: Bus
    node: TestNode
    answered: list[str] = field(default_factory=list)
    why: list[str] = field(default_factory=list)
    """How each lead became free, as its event says."""

    async def command(self, number: int) -> None:
        """One deployment, asked for until it is answered."""
        command_id = f"command-{number}"
        await until_accepted(self.operator, a_spec(f"edge-{number}", order=number), command_id)
        self.answered.append(command_id)

    async def until_answered(self, count: int) -> None:
        """So many commands were answered."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(self.answered) < count:
                await asyncio.sleep(0.002)

    async def restart_server(self) -> None:
        """As after a crash; everybody is connected again."""
        await asyncio.to_thread(self.buses.server.restart)
        async with asyncio.timeout(PATIENCE_SECONDS):
            for bus in (self.operator, self.scheduler, self.auditor, self.node.bus):
                while not bus.connection.is_connected:
                    await asyncio.sleep(0.02)

    async def fences(self) -> set[str]:
        """Who wrote the fences that are there."""
        found = [
            await get_last(self.scheduler.connection, kv_stream(one.name), fence_subject(one.name))
            for one in FENCED_BUCKETS
        ]
        return {
            msgspec.json.decode(stored.data, type=Fence).instance
            for stored in found
            if stored is not None
        }

    async def check(self, commands: int) -> list[str]:
        """Every command happened once; the order in which leaders said that they lead."""
        await until_settled(self.scheduler)
        assert {one.key for one in await self.scheduler.bucket(DEPLOYMENTS).entries()} == {
            f"edge-{number}" for number in range(1, commands + 1)
        }
        assert await self.scheduler.bucket(outbox_bucket("scheduler")).entries("pending.") == []
        events = [
            event for event in await stored_events(self.auditor) if event.emitter == "scheduler"
        ]
        assert [event.sequence for event in events] == list(range(1, len(events) + 1))
        assert len({event.id for event in events}) == len(events)
        steps = sorted(
            (event.data.correlation, event.data.action)
            for event in events
            if event.data.correlation
        )
        assert steps == sorted(
            (f"command-{number}", action)
            for number in range(1, commands + 1)
            for action in ("deployment.apply", "deployment.complete")
        )
        told = [(one.generation, canonical_digest(one)) for one in self.node.told]
        generations = [generation for generation, _ in told]
        assert generations == sorted(generations)
        assert len(set(told)) == len(set(generations)), "a generation was given twice"
        taken = [event.data.details for event in events if event.data.action == LEADER_TAKE]
        self.why = [details["why"] for details in taken]
        return [details["instance"] for details in taken]


@pytest.fixture
async def world(buses: Buses, tmp_path: Path) -> AsyncIterator[World]:
    """A catalog and a node, and no scheduler yet."""
    credentials = buses.server.credentials("service-scheduler")
    operator = await buses.open("operator")
    async with AsyncExitStack() as stack:
        versions = a_catalog(await buses.open("service-catalog"), a_package())
        await stack.enter_async_context(versions)
        node = await stack.enter_async_context(a_test_node(await buses.open("node", "n1")))
        schedulers = stack.enter_context(scheduler_processes(credentials, tmp_path))
        scheduler = await buses.open("service-scheduler")
        auditor = await buses.open("service-auditor")
        yield World(buses, schedulers, operator, scheduler, auditor, node)


async def test_a_killed_leader_is_followed_by_the_standby(world: World) -> None:
    """SIGKILL in the middle of commands: the other goes on, nothing is lost or done twice."""
    first = world.schedulers.start("first")
    before = await the_leader(world.operator)
    second = world.schedulers.start("second")
    await the_leader(world.operator, standbys=1)

    async def commands() -> None:
        for number in range(1, 13):
            await world.command(number)

    commanding = asyncio.create_task(commands())
    await world.until_answered(4)
    first.kill()
    after = await the_leader(world.operator, other_than=before.pid)
    await commanding

    assert (before.pid, after.pid) == (first.pid, second.pid)
    assert after.token > before.token
    assert (await world.check(12))[:2] == [before.instance, after.instance]


@pytest.mark.soak
async def test_a_frozen_leader_writes_nothing_when_it_wakes(world: World) -> None:
    """SIGSTOP with commands in flight, another leads; after SIGCONT the first one stands by.

    In the long form it stands still for a minute, when its lease and its connection are long gone.
    """
    first = world.schedulers.start("first")
    before = await the_leader(world.operator)
    second = world.schedulers.start("second")
    await the_leader(world.operator, standbys=1)

    async with asyncio.TaskGroup() as tasks:
        commanding = [tasks.create_task(world.command(number)) for number in range(1, 5)]
        await world.until_answered(1)
        first.freeze()
        after = await the_leader(world.operator, other_than=before.pid)
        commanding += [tasks.create_task(world.command(number)) for number in range(5, 9)]
        await world.until_answered(6)
        await asyncio.sleep(FURTHER_SECONDS)
        first.thaw()
        await first.until_said("standing_by")
        commanding += [tasks.create_task(world.command(number)) for number in range(9, 11)]
    leader = await the_leader(world.operator, standbys=1)

    assert leader.token >= after.token > before.token
    assert await world.fences() == {leader.instance}
    assert second.status is None, second.log()
    assert first.status is None, first.log()
    assert (await world.check(10))[:2] == [before.instance, after.instance]


async def test_an_end_and_a_restart_wait_for_nobody(world: World) -> None:
    """What was killed and started again knows that the leader is dead; SIGTERM hands over."""
    first = world.schedulers.start("first")
    before = await the_leader(world.operator)
    await world.command(1)
    first.kill()
    again = world.schedulers.start("first")
    after = await the_leader(world.operator, other_than=before.pid)
    assert (after.instance, after.pid) == (before.instance, again.pid)
    world.schedulers.start("second")
    await the_leader(world.operator, standbys=1)
    await world.command(2)
    assert await again.stop() == EXIT_CLEAN
    last = await the_leader(world.operator, other_than=again.pid)
    await world.command(3)

    assert (await world.check(3))[-1] == last.instance
    assert world.why[:2] == ["first", "restarted"]
    assert "released" in world.why


async def test_a_leader_without_followers_leads_on(world: World) -> None:
    """Its lease is deleted by hand, the server starts anew, it stands still: the same token."""
    only = world.schedulers.start("only")
    before = await the_leader(world.operator)
    leases = world.scheduler.bucket(LEASES)
    await leases.delete("scheduler")
    await world.command(1)
    await world.restart_server()
    await world.command(2)
    only.freeze()
    asking = asyncio.create_task(world.command(3))
    await asyncio.sleep(LAPSE_SECONDS)
    only.thaw()
    await asking
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await leases.get("scheduler") is None:
            await asyncio.sleep(0.02)

    assert (await the_leader(world.operator)).token == before.token
    assert await world.check(3) == [before.instance]


async def test_somebody_else_s_writes_are_neither_lost_nor_repeated(world: World) -> None:
    """A storm of writes to the scheduler's own buckets by another hand: slower, and right."""
    world.schedulers.start("first")
    before = await the_leader(world.operator)
    await world.command(1)
    await until_settled(world.scheduler)
    desired, labels = world.scheduler.bucket(DESIRED), world.scheduler.bucket(NODE_LABELS)
    over = asyncio.Event()
    storms = 0

    async def storm() -> None:
        nonlocal storms
        while not over.is_set():
            stored = await desired.get("n1")
            assert stored is not None
            with suppress(RevisionConflictError):
                await desired.update("n1", stored.value, revision=stored.revision)
                storms += 1
            await labels.put("elsewhere", NodeLabels(node="elsewhere", labels={"n": str(storms)}))
            await asyncio.sleep(0.005)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(storm())
        for number in range(2, 6):
            await world.command(number)
        await until_settled(world.scheduler)
        over.set()

    assert storms
    assert (await the_leader(world.operator)).token == before.token
    assert await world.check(5) == [before.instance]


async def test_a_leader_that_is_cut_off_gives_way(world: World) -> None:
    """Its writes are under way while another leads; they arrive late, and are refused."""
    server = world.buses.server
    credentials = server.credentials("service-scheduler")
    async with a_line(credentials, server.port) as (line, by_line):
        first = world.schedulers.start("first", credentials=by_line)
        before = await the_leader(world.operator)
        world.schedulers.start("second")
        await the_leader(world.operator, standbys=1)
        async with asyncio.TaskGroup() as tasks:
            for number in range(1, 5):
                tasks.create_task(world.command(number))
            await world.until_answered(1)
            line.cut()
            after = await the_leader(world.operator, other_than=before.pid)
            tasks.create_task(world.command(5))
            await world.until_answered(3)
            line.mend()
        await first.until_said("standing_by")

        leader = await the_leader(world.operator)
        assert leader.token >= after.token
        assert (await world.check(5))[:2] == [before.instance, after.instance]
        assert await world.fences() == {leader.instance}
