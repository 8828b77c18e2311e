# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a leader of yesterday still sends is refused by the server, whichever write it is."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import AsyncExitStack

import pytest

from shared.adapters.bus import Bus, connect
from shared.adapters.bus_errors import NotPermittedError
from shared.adapters.direct_get import get_last
from shared.adapters.fencing import FencedWrites, FenceLostError
from shared.adapters.kv import RevisionConflictError
from shared.contracts.deployments import DEPLOYMENTS
from shared.contracts.desired import DESIRED, DesiredNode
from shared.contracts.events import Event, EventBody, draft_event
from shared.contracts.leadership import LEADER_TAKE, fence_subject
from shared.contracts.scheduler import APPLY_DEPLOYMENT, NODE_LABELS, ApplyDeployment, NodeLabels
from shared.contracts.storage import FENCED_BUCKETS, kv_stream, kv_subject, outbox_bucket
from shared.errors import FaultError
from tests.fleets import a_package, a_spec
from tests.integration.conftest import Buses
from tests.support.cut_line import a_line
from tests.support.event_stream import stored_events
from tests.support.frozen_bus import Frost, a_leader
from tests.support.scheduler_neighbours import (
    WAIT_SECONDS,
    a_catalog,
    a_test_node,
    until_running,
    until_settled,
)

MOST_WRITES = 40


@pytest.mark.parametrize("beside", [(), ("guard",)], ids=["alone", "together"])
async def test_a_leader_frozen_at_any_write_writes_nothing_after_the_next_one_leads(
    buses: Buses, beside: tuple[str, ...]
) -> None:
    """Held up before each of its writes in turn, until another has taken over and is done.

    Of a command that changes two deployments, nodes are never told one.
    """
    operator = await buses.open("operator")
    reader = await buses.open("service-scheduler")
    credentials = buses.server.credentials("service-scheduler")
    tokens = itertools.count(1)
    frozen_at = 0
    names = ("edge", *beside)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(a_catalog(await buses.open("service-catalog"), a_package()))
        node = await stack.enter_async_context(a_test_node(await buses.open("node", "n1")))
        for number in range(1, MOST_WRITES):
            frost = Frost()
            first, *also = (a_spec(name, order=2 * number + at) for at, name in enumerate(names))
            command = ApplyDeployment(spec=first, also=tuple(also), command_id=f"command-{number}")
            async with a_leader(credentials, next(tokens), frost) as (lead, writes):
                frost.freeze_at(number)
                asking = asyncio.create_task(_asked(operator, command))
                stack.callback(asking.cancel)
                if not await _froze(frost, reader, asking):
                    break
                frozen_at += 1
                lead.lost.set()  # no process answers without a fresh lease
                async with a_leader(credentials, next(tokens), Frost()):
                    await _asked(operator, command)
                    for name in names:
                        await until_running(operator, name)
                    await until_settled(reader)
                    before = await _stored(reader)
                    frost.thawed.set()
                    async with asyncio.timeout(WAIT_SECONDS):
                        await writes.lost.wait()
                        while frost.under_way:
                            await asyncio.sleep(0.005)
                    assert await _stored(reader) == before

    assert frozen_at >= 10
    events = [
        event
        for event in await stored_events(await buses.open("service-auditor"))
        if event.emitter == "scheduler"
    ]
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert len({event.id for event in events}) == len(events)
    generations = [one.generation for one in node.told]
    assert generations == sorted(set(generations))
    orders = [[one.order for one in told.chains[0].programs] for told in node.told]
    assert [[one - found[0] for one in found] for found in orders] == (
        [[*range(len(names))]] * len(orders)
    )


async def test_a_leader_that_comes_too_late_does_not_begin(buses: Buses) -> None:
    """Whoever took the lease, was held up, and finds a larger token, writes no fence."""
    bus = await buses.open("service-scheduler")
    early, late = _writes(bus, 1), _writes(bus, 2)
    await late.open()

    with pytest.raises(FenceLostError, match="instance-2 leads by token 2"):
        await early.open()
    assert early.lost.is_set()


async def test_a_token_that_was_given_twice_serves_one(buses: Buses) -> None:
    """Of two with one token, as after the lease was tampered with, the first one leads."""
    bus = await buses.open("service-scheduler")
    await _writes(bus, 1).open()

    with pytest.raises(FenceLostError):
        await _writes(bus, 1, "another").open()


async def test_every_kind_of_write_is_refused_in_every_fenced_bucket(buses: Buses) -> None:
    """Create, update, put and delete, even of keys that nobody touched since, and events."""
    old_bus, new_bus = [await buses.open("service-scheduler") for _ in range(2)]
    old, new = _writes(old_bus, 1), _writes(new_bus, 2)
    await old.open()
    old_bus.fence_writes(old)
    labels = old_bus.bucket(NODE_LABELS)
    record = NodeLabels(node="n1", labels={})
    revision = await labels.put("n1", record)
    await new.open()

    for write in (
        labels.create("n2", record),
        labels.update("n1", record, revision=revision),
        labels.put("n1", record),
        labels.delete("n1"),
        old_bus.bucket(DESIRED).create("n1", DesiredNode(node="n1", generation=1, chains=())),
        old_bus.bucket(outbox_bucket("scheduler")).delete("pending.x"),
    ):
        with pytest.raises(FenceLostError):
            await write
    stored = await labels.get("n1")
    assert stored is not None
    assert stored.revision == revision


async def test_an_earlier_leader_s_events_end_with_the_next_one_s_first(buses: Buses) -> None:
    """The event that says who leads closes the stream to everybody who led before."""
    old_bus, new_bus = [await buses.open("service-scheduler") for _ in range(2)]
    for bus, token in ((old_bus, 1), (new_bus, 2)):
        writes = _writes(bus, token)
        await writes.open()
        bus.fence_writes(writes)

    await old_bus.publish_event(_event("node.label", 1))
    await new_bus.publish_event(_event(LEADER_TAKE, 2))
    with pytest.raises(FenceLostError):
        await old_bus.publish_event(_event("node.label", 3))
    await new_bus.publish_event(_event(LEADER_TAKE, 2))
    await new_bus.publish_event(_event("node.label", 3))

    events = await stored_events(await buses.open("service-auditor"))
    assert [event.sequence for event in events] == [1, 2, 3]


async def test_what_another_hand_wrote_is_a_conflict_and_no_loss_of_the_lead(buses: Buses) -> None:
    """Somebody without a fence writes: one write is refused, the next one goes on."""
    leader, other = [await buses.open("service-scheduler") for _ in range(2)]
    writes = _writes(leader, 1)
    await writes.open()
    leader.fence_writes(writes)
    labels = leader.bucket(NODE_LABELS)
    record = NodeLabels(node="n1", labels={})
    await labels.put("n1", record)
    await other.bucket(NODE_LABELS).put("n2", record)

    with pytest.raises(RevisionConflictError):
        await labels.put("n1", record)
    await labels.put("n1", record)
    assert not writes.lost.is_set()


async def test_after_a_write_of_unknown_outcome_the_fence_comes_first(buses: Buses) -> None:
    """Cut off while it waits for an answer: what it sent is before the next write, or nowhere."""
    credentials = buses.server.credentials("service-scheduler")
    async with a_line(credentials, buses.server.port) as (line, by_line), connect(by_line) as bus:
        writes = _writes(bus, 1)
        await writes.open()
        bus.fence_writes(writes)
        labels = bus.bucket(NODE_LABELS)
        await labels.put("n1", NodeLabels(node="n1", labels={"at": "first"}))
        line.cut()
        waiting = asyncio.create_task(
            labels.put("n1", NodeLabels(node="n1", labels={"at": "unheard"}))
        )
        done, _ = await asyncio.wait((waiting,), timeout=0.05)
        assert not done
        waiting.cancel()
        line.mend()
        revision = await labels.put("n1", NodeLabels(node="n1", labels={"at": "last"}))

        stored = await labels.get("n1")
        assert stored is not None
        assert (stored.value.labels, stored.revision) == ({"at": "last"}, revision)
        fence = await get_last(
            bus.connection, kv_stream("node_labels"), fence_subject("node_labels")
        )
        assert fence is not None
        assert fence.sequence == revision - 1
        assert not writes.lost.is_set()


async def test_a_leader_outlives_what_the_event_stream_keeps(buses: Buses) -> None:
    """Its LEADER_TAKE has expired: one event has to be sent again, and no lead is lost."""
    bus = await buses.open("service-scheduler")
    writes = _writes(bus, 1)
    await writes.open()
    bus.fence_writes(writes)
    writes._taken_at = 7

    with pytest.raises(FaultError):
        await bus.publish_event(_event("node.label", 1))
    await bus.publish_event(_event("node.label", 1))

    assert not writes.lost.is_set()
    assert len(await stored_events(await buses.open("service-auditor"))) == 1


async def test_nobody_but_a_scheduler_writes_a_fence(buses: Buses) -> None:
    """A fence of a large token would stop every scheduler; the server lets no other write it."""
    for role in ("service-catalog", "service-auditor", "administrator"):
        bus = await buses.open(role)
        for subject in (fence_subject("desired"), kv_subject("leases", "scheduler")):
            with pytest.raises(NotPermittedError):
                await bus.connection.ask(subject, b"{}", timeout_seconds=WAIT_SECONDS)


def _writes(bus: Bus, token: int, instance: str = "") -> FencedWrites:
    return FencedWrites(
        bus.connection,
        FENCED_BUCKETS,
        token=token,
        instance=instance or f"instance-{token}",
        emitter="scheduler",
    )


def _event(action: str, sequence: int) -> Event:
    return draft_event(
        EventBody(action=action, outcome="succeeded"),
        event_id=f"{action}-{sequence}",
        emitter="scheduler",
        sequence=sequence,
        time="2026-01-01T00:00:00.000000Z",
        salt=bytes(16),
    )


async def _asked(operator: Bus, command: ApplyDeployment) -> None:
    """Answered, however often it has to be asked."""
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            try:
                await operator.request(APPLY_DEPLOYMENT, command, timeout_seconds=0.5)
            except FaultError:
                continue
            return


async def _froze(frost: Frost, reader: Bus, asking: asyncio.Task[None]) -> bool:
    """Whether it was held up before the command was over and settled."""
    while not frost.frozen.is_set():
        if asking.done() and not await _unfinished(reader):
            return frost.frozen.is_set()
        await asyncio.sleep(0.002)
    return True


async def _unfinished(reader: Bus) -> bool:
    return any(one.value.unfinished for one in await reader.bucket(DEPLOYMENTS).entries())


async def _stored(reader: Bus) -> list[tuple[str, str, int]]:
    """Every key of the fenced buckets with its revision."""
    return [
        (bucket.name, entry.key, entry.revision)
        for bucket in FENCED_BUCKETS
        for entry in await reader.bucket(bucket).entries()
    ]
