# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A bus that says no: nothing is lost, nothing else waits for it, and the process goes on."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from services.node_executor.adapters.event_publisher import EventPublisher
from services.node_executor.adapters.kernel_thread import KernelThread
from services.node_executor.adapters.node_records import (
    CHECK_SECONDS,
    FAULT_RETRY_SECONDS,
    NodeRecords,
)
from services.node_executor.adapters.state_store import StateStore
from services.node_executor.event_audiences import Said
from shared.adapters.bus_errors import (
    BusUnreachableError,
    MessageTooLargeError,
    NotPermittedError,
)
from shared.adapters.kv import KeyValue
from shared.contracts.base import Bucket
from shared.contracts.events import PUBLIC, Audience, Event, EventBody
from shared.contracts.node import NodeRecord, ObservedNode

TOO_LARGE = MessageTooLargeError("too large")
NOT_PERMITTED = NotPermittedError("not permitted")
UNREACHABLE = BusUnreachableError("no connection")


class FakeBus:
    """Takes events and records, unless it is told to refuse them."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.attempts: list[str] = []
        self.sequences: dict[str, int] = {}
        self.refused: dict[str, Exception] = {}
        self.record_error: Exception | None = None
        self.records: dict[str, Any] = {}
        self.last = 0
        self.last_restricted = 0
        """Of every other audience than public."""
        self.is_there = True
        self.answers = asyncio.Event()
        self.answers.set()
        self.put_count = 0

    async def publish_event(self, event: Event) -> None:
        """Kept in order."""
        self.attempts.append(event.id)
        if event.id in self.refused:
            raise self.refused[event.id]
        self.events.append(event.id)
        self.sequences[event.id] = event.sequence

    async def last_sequence(self, audience: Audience) -> int:
        """What an earlier life of the node said."""
        return self.last if audience == PUBLIC else self.last_restricted

    def bucket(self, bucket: Bucket[Any]) -> KeyValue[Any]:
        """This bus, as every bucket."""
        self.name = bucket.name
        return cast("KeyValue[Any]", self)

    async def get(self, _key: str) -> None:
        """Nothing is stored yet."""

    async def put(self, _key: str, value: Any) -> None:
        """Kept by bucket."""
        self.put_count += 1
        await self.answers.wait()
        if self.record_error is not None:
            raise self.record_error
        self.records[self.name] = value


class FakeInventory:
    """Some node."""

    async def prepare(self) -> None:
        """Nothing takes long."""

    def read(self) -> NodeRecord:
        """Always the same."""
        return NodeRecord(
            node="n1",
            hostname="n1",
            architecture="x86_64",
            kernel="6.1",
            executor_version="1.0.0",
            boot_id="b",
        )


class World:
    """A node's journal and a bus."""

    def __init__(self, folder: Path) -> None:
        self.journaled: asyncio.Queue[Event] = asyncio.Queue()
        self.bus = FakeBus()
        self.store = StateStore.open(
            folder / "state.sqlite",
            emitter="node/n1",
            now=lambda: "2026-01-01T00:00:00.000000Z",
            new_salt=lambda: bytes(16),
            on_event=self.journaled.put_nowait,
        )

    def say(self, *event_ids: str) -> None:
        """Journaled."""
        body = EventBody(action="chain.adopt", outcome="observed")
        self.store.journal([(event_id, body) for event_id in event_ids])

    def unpublished(self) -> list[str]:
        """What the journal still has to say."""
        return [event.id for event in self.store.unpublished()]

    def records(self) -> NodeRecords:
        """The node's records on the bus."""
        return NodeRecords(
            node="n1",
            bus=self.bus,
            thread=at_once,
            store=self.store,
            inventory=FakeInventory(),
            now=lambda: "now",
        )

    @asynccontextmanager
    async def publishing(self) -> AsyncIterator[None]:
        """The publisher runs, and retries quickly."""
        publisher = EventPublisher(
            bus=self.bus,
            thread=at_once,
            store=self.store,
            journaled=self.journaled,
            fault_retry_seconds=0.001,
            refused_retry_seconds=0.001,
        )
        await publisher.recover()
        running = asyncio.create_task(publisher.publishing())
        try:
            yield
        finally:
            assert not running.done()
            running.cancel()

    async def until_published(self, *event_ids: str) -> None:
        """All but these are still to be said."""
        await _until(lambda: not set(event_ids) & set(self.unpublished()))


async def at_once(call: Any, *arguments: Any, **options: Any) -> Any:
    """The kernel thread, without a thread."""
    return call(*arguments, **options)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Nothing is said yet."""
    made = World(tmp_path)
    yield made
    made.store.close()


async def test_an_event_that_is_too_large_is_kept_and_holds_up_no_other(world: World) -> None:
    """It is tried again and again, and goes out as soon as the bus takes it."""
    world.bus.refused["b"] = TOO_LARGE

    async with world.publishing():
        world.say("a", "b", "c")
        await world.until_published("a", "c")
        kept = world.unpublished()
        async with asyncio.timeout(60):
            while world.bus.attempts.count("b") < 3:
                await asyncio.sleep(0.001)
        world.bus.refused.clear()
        await world.until_published("b")

    assert kept == ["b"]
    assert world.bus.events == ["a", "c", "b"]


async def test_a_new_audience_is_numbered_before_its_first_event_goes_out(world: World) -> None:
    """Behind what the bus has of it; others go on as they did."""
    world.bus.last_restricted = 4
    body = EventBody(action="chain.adopt", outcome="observed")

    async with world.publishing():
        world.say("a")
        await world.until_published("a")
        world.store.journal([Said("s1", body, "p_acme"), Said("s2", body, "p_acme")])
        world.say("b")
        await world.until_published("s1", "s2", "b")

    assert sorted(world.bus.events) == ["a", "b", "s1", "s2"]
    assert world.bus.sequences == {"a": 1, "s1": 5, "s2": 6, "b": 2}


async def test_what_a_former_run_did_not_publish_comes_first(world: World) -> None:
    """In the order in which it happened, before anything new."""
    world.say("a", "b")
    while not world.journaled.empty():
        world.journaled.get_nowait()  # that run is over

    async with world.publishing():
        world.say("c")
        await world.until_published("a", "b", "c")

    assert world.bus.events == ["a", "b", "c"]


@pytest.mark.parametrize("error", [NOT_PERMITTED, UNREACHABLE])
async def test_a_bus_that_takes_nothing_gets_everything_in_order_later(
    world: World, error: Exception
) -> None:
    """Whether it refuses or fails, events wait."""
    world.bus.refused["a"] = error

    async with world.publishing():
        world.say("a", "b")
        async with asyncio.timeout(60):
            while world.bus.attempts.count("a") < 3:
                await asyncio.sleep(0.001)
        waiting = world.unpublished()
        world.bus.refused.clear()
        await world.until_published("a", "b")

    assert waiting == ["a", "b"]
    assert world.bus.events == ["a", "b"]


@pytest.mark.parametrize("error", [TOO_LARGE, NOT_PERMITTED, UNREACHABLE])
async def test_a_record_that_the_bus_does_not_take_is_tried_again(
    world: World, error: Exception
) -> None:
    """Neither report nor registration ends because of it."""
    observed = ObservedNode(node="n1", desired_generation=1, chains=(), at="")
    records = world.records()

    world.bus.record_error = error
    records.observe(observed)
    refused = (await records.report(), await records.register())
    world.bus.record_error = None
    taken = (await records.report(), await records.register())

    pause_seconds = FAULT_RETRY_SECONDS if error is UNREACHABLE else CHECK_SECONDS
    assert refused == (False, pause_seconds)
    assert taken == (True, CHECK_SECONDS)
    assert world.bus.records.keys() == {"observed", "nodes"}
    assert len(world.unpublished()) == 1


async def test_a_silent_bus_gets_the_newest_report_and_nobody_waits_for_it(world: World) -> None:
    """Observing returns at once; what was overtaken meanwhile is not said, the same not twice."""
    records = world.records()
    seen = [ObservedNode(node="n1", desired_generation=n, chains=(), at="") for n in range(3)]
    world.bus.answers.clear()
    reporting = asyncio.create_task(records.reporting())

    for one in seen:
        records.observe(one)
        await asyncio.sleep(0)
    waiting = world.bus.put_count
    world.bus.answers.set()
    await _until(lambda: world.bus.records.get("observed") == stamped(seen[2]))
    records.observe(seen[2])
    await asyncio.sleep(0.01)
    said = world.bus.put_count
    records.report_again()
    await _until(lambda: world.bus.put_count > said)
    reporting.cancel()

    assert waiting == 1
    assert said == 2


def stamped(observed: ObservedNode) -> ObservedNode:
    """With the moment at which it was seen."""
    return msgspec.structs.replace(observed, at="now")


async def _until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not holds():
            await asyncio.sleep(0.001)


async def test_a_call_whose_caller_is_cancelled_is_finished_in_its_turn() -> None:
    """Both the call that runs and the one that waits behind it."""
    thread = KernelThread()
    may_go_on = threading.Event()
    finished: list[str] = []

    def first() -> None:
        may_go_on.wait(5)
        finished.append("first")

    callers = [
        asyncio.create_task(thread(first)),
        asyncio.create_task(thread(finished.append, "second")),
    ]
    await asyncio.sleep(0)
    for caller in callers:
        caller.cancel()
    await asyncio.gather(*callers, return_exceptions=True)
    may_go_on.set()
    thread.close()

    assert all(caller.cancelled() for caller in callers)
    assert finished == ["first", "second"]
