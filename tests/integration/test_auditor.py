# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The auditor over a real bus: what is emitted is recorded once, found, and proved."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from shared.adapters.bus import Bus
from shared.canonical import canonical_bytes
from shared.contracts.audit import (
    GET_CHECKPOINT,
    LIST_RECORDS,
    PROVE_RECORD,
    AuditRecord,
    Checkpoint,
    GetCheckpoint,
    ListRecords,
    ProveRecord,
)
from shared.contracts.events import Actor
from shared.errors import RefusedError
from tests.integration.conftest import Buses
from tests.support.auditing import EmittingBus, eventually, running_auditor, vkey
from tests.support.independent_log import head_of, leaves_on_disk, root_on_disk, tree_hash, verify


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    """Where the auditor keeps its log."""
    return tmp_path / "auditor"


@pytest.fixture
async def auditor(buses: Buses, state_dir: Path) -> AsyncIterator[Bus]:
    """A running auditor."""
    async with running_auditor(buses.server, state_dir) as bus:
        yield bus


async def listed(reader: Bus, **filters: Any) -> list[AuditRecord]:
    """Matching records, newest first."""
    reply = await reader.request(LIST_RECORDS, ListRecords(**filters))
    return list(reply.records)


async def recorded(reader: Bus, count: int, **filters: Any) -> list[AuditRecord]:
    """Matching records once there are at least so many."""

    async def enough() -> list[AuditRecord] | None:
        records = await listed(reader, **filters)
        return records if len(records) >= count else None

    found: list[AuditRecord] = await eventually(enough)
    return found


@pytest.mark.usefixtures("auditor")
async def test_an_event_becomes_one_record_with_its_body(buses: Buses) -> None:
    """The leaf is the envelope's canonical bytes; the whole event lies beside it."""
    catalog = EmittingBus(await buses.open("service-catalog"), "catalog")
    reader = await buses.open("auditor", "ann")

    event = await catalog.emit(package="rate-limit", version="1.0.0")

    (record,) = await recorded(reader, 1, action="package.publish")
    assert record.leaf.encode() == canonical_bytes(event.envelope())
    assert record.event == event
    assert record.problem == ""


@pytest.mark.usefixtures("auditor")
async def test_the_same_event_again_is_still_one_record(buses: Buses) -> None:
    """Republication changes nothing, whether the stream or the log notices."""
    catalog = EmittingBus(await buses.open("service-catalog"), "catalog")
    reader = await buses.open("auditor", "ann")
    event = await catalog.emit()

    for _ in range(3):
        await catalog.bus.publish_event(event)
    await catalog.emit(action="package.mark")

    await recorded(reader, 1, action="package.mark")
    assert len(await listed(reader, action="package.publish")) == 1


@pytest.mark.usefixtures("auditor")
async def test_filters_find_what_they_say(buses: Buses) -> None:
    """Each filter alone and two together find exactly the records that match, newest first."""
    scheduler = EmittingBus(await buses.open("service-scheduler"), "scheduler")
    reader = await buses.open("auditor", "ann")
    alice = Actor(key="U" + "A" * 55, role="operator", attested=True)
    await scheduler.emit("deployment.apply", outcome="accepted", deployment="edge", actor=alice)
    await scheduler.emit("deployment.apply", outcome="refused", deployment="core", actor=alice)
    await scheduler.emit("node.label", outcome="accepted", node="n1", correlation="command-1")
    await scheduler.emit("deployment.complete", deployment="edge", package="rate-limit")
    await recorded(reader, 1, action="deployment.complete")

    async def indexes(**filters: Any) -> list[int]:
        return [record.index for record in await listed(reader, **filters)]

    base = (await indexes(action="deployment.apply"))[-1]
    assert await indexes(action="deployment.apply") == [base + 1, base]
    assert await indexes(action="deployment.*") == [base + 3, base + 1, base]
    assert await indexes(actor=alice.key) == [base + 1, base]
    assert await indexes(deployment="edge") == [base + 3, base]
    assert await indexes(outcome="refused") == [base + 1]
    assert await indexes(node="n1") == [base + 2]
    assert await indexes(package="rate-limit") == [base + 3]
    assert await indexes(correlation="command-1") == [base + 2]
    assert await indexes(actor=alice.key, outcome="accepted") == [base]
    assert await indexes(action="deployment.*", limit=1) == [base + 3]
    assert await indexes(action="deployment.*", before_index=base + 1) == [base]
    assert await indexes(action="deployment.*", after_index=base) == [base + 3, base + 1]
    assert await indexes(since="2026-01-02T03:04:06Z", action="deployment.*") == []
    assert len(await indexes(until="2026-01-02T04:04:06+01:00", action="deployment.*")) == 3


@pytest.mark.usefixtures("auditor")
async def test_unreadable_times_are_refused_together(buses: Buses) -> None:
    """Both times are named, and nothing is listed."""
    reader = await buses.open("auditor", "ann")

    with pytest.raises(RefusedError) as refused:
        await listed(reader, since="yesterday", until="2026-01-02T03:04:05")

    assert [reason.path for reason in refused.value.reasons] == ["since", "until"]


@pytest.mark.usefixtures("auditor")
async def test_pages_go_on_where_they_ended(buses: Buses) -> None:
    """Keyset pages give every record once."""
    catalog = EmittingBus(await buses.open("service-catalog"), "catalog")
    reader = await buses.open("auditor", "ann")
    await catalog.emit_many(25)
    await recorded(reader, 25, action="package.publish")

    seen: list[int] = []
    before: int | None = None
    while True:
        request = ListRecords(action="package.publish", limit=10, before_index=before)
        page = await reader.request(LIST_RECORDS, request)
        seen += [record.index for record in page.records]
        before = seen[-1]
        if not page.more:
            break

    assert len(seen) == len(set(seen)) == 25
    assert seen == sorted(seen, reverse=True)


@pytest.mark.usefixtures("auditor")
async def test_a_page_of_large_events_fits_into_a_message(buses: Buses) -> None:
    """A page ends before it is larger than the bus can carry, and says that there is more."""
    catalog = EmittingBus(await buses.open("service-catalog"), "catalog")
    reader = await buses.open("auditor", "ann")
    await catalog.emit_many(30, reason='"' * 30_000)

    async def is_complete() -> bool:
        found = await reader.request(LIST_RECORDS, ListRecords(limit=1))
        return found.tree_size >= 30

    await eventually(is_complete)

    page = await reader.request(LIST_RECORDS, ListRecords(action="package.publish", limit=1000))

    assert 1 <= len(page.records) < 30
    assert page.more


@pytest.mark.usefixtures("auditor")
async def test_records_are_proved_to_somebody_who_shares_no_code(
    buses: Buses, state_dir: Path
) -> None:
    """Every record's bundle verifies independently, and the root is that of the leaves on disk."""
    catalog = EmittingBus(await buses.open("service-catalog"), "catalog")
    reader = await buses.open("auditor", "ann")
    events = await catalog.emit_many(20)
    records = await recorded(reader, 20, action="package.publish")

    for record in records:
        bundle = await reader.request(PROVE_RECORD, ProveRecord(index=record.index))
        envelope = verify(json.loads(msgspec.json.encode(bundle)), vkey(buses.server))
        assert envelope["id"] in {event.id for event in events}
        _, size, root = head_of(bundle.checkpoint, vkey(buses.server))
        assert tree_hash(leaves_on_disk(state_dir)[:size]) == root


@pytest.mark.usefixtures("auditor")
async def test_a_record_that_is_not_there_cannot_be_proved(buses: Buses) -> None:
    """The refusal says so by its code."""
    reader = await buses.open("auditor", "ann")

    with pytest.raises(RefusedError) as refused:
        await reader.request(PROVE_RECORD, ProveRecord(index=10_000))

    assert refused.value.refusal_code == "not_found"


@pytest.mark.usefixtures("auditor")
async def test_heads_are_signed_while_the_log_grows(buses: Buses) -> None:
    """The newest head covers new records within seconds, and is consistent with older ones."""
    catalog = EmittingBus(await buses.open("service-catalog"), "catalog")
    viewer = await buses.open("viewer", "vic")
    await catalog.emit()

    async def head_beyond(size: int) -> Checkpoint | None:
        head = await viewer.request(GET_CHECKPOINT, GetCheckpoint(consistent_with_size=0))
        return head if head.tree_size > size else None

    first = await eventually(lambda: head_beyond(0))
    await catalog.emit_many(10)
    second = await eventually(lambda: head_beyond(first.tree_size + 9))
    proved = await viewer.request(
        GET_CHECKPOINT, GetCheckpoint(consistent_with_size=first.tree_size)
    )

    assert head_of(second.checkpoint, vkey(buses.server))[1] == second.tree_size
    assert proved.consistency
    with pytest.raises(RefusedError):
        await viewer.request(GET_CHECKPOINT, GetCheckpoint(consistent_with_size=10**9))


@pytest.mark.usefixtures("auditor")
async def test_reading_the_log_is_recorded_and_following_it_once(buses: Buses) -> None:
    """A question is recorded with its filters; a follower's further questions are not."""
    reader = await buses.open("auditor", "ann")

    page = await reader.request(LIST_RECORDS, ListRecords(action="chain.*", limit=7))
    for _ in range(5):
        page = await reader.request(
            LIST_RECORDS, ListRecords(action="chain.*", after_index=page.tree_size - 1)
        )

    readings = await recorded(reader, 1, action="log.read")
    ours = [record.event for record in readings if record.event is not None]
    followed = [e for e in ours if e.data.details["filters"].get("action") == "chain.*"]
    assert len(followed) == 1
    assert followed[0].data.details == {"filters": {"action": "chain.*"}, "limit": 7}
    assert followed[0].data.actor is not None
    assert followed[0].data.actor.key == reader.key
    assert followed[0].data.actor.attested


@pytest.mark.usefixtures("auditor")
async def test_a_viewer_may_not_read_the_log(buses: Buses) -> None:
    """The role decides, and the refusal is at once."""
    viewer = await buses.open("viewer", "vic")

    with pytest.raises(RefusedError) as refused:
        await listed(viewer)

    assert refused.value.refusal_code == "not_permitted"


@pytest.mark.usefixtures("auditor")
async def test_events_that_are_not_what_they_claim_are_recorded_as_problems(buses: Buses) -> None:
    """A node that speaks in the scheduler's name is flagged, and no proof says it was him."""
    node = await buses.open("node", "n1")
    forger = EmittingBus(node, "scheduler")
    reader = await buses.open("auditor", "ann")
    own = EmittingBus(node, "node/n1").draft("chain.attach")
    forged = forger.draft("deployment.apply")

    await node.connection.publish(
        own.subject, canonical_bytes(forged), headers={"Nats-Msg-Id": forged.id}
    )
    await node.connection.publish(own.subject, b"\xff{", headers={"Nats-Msg-Id": "x"})
    await node.connection.publish(own.subject, b"", headers={"Status": "503"})
    await node.publish_event(own)

    await recorded(reader, 4, node="n1")
    records = list(reversed(await listed(reader, node="n1")))
    assert [bool(record.problem) for record in records] == [True, True, True, False]
    assert "another subject" in records[0].problem
    bundle = await reader.request(PROVE_RECORD, ProveRecord(index=records[0].index))
    leaf = verify(json.loads(msgspec.json.encode(bundle)), vkey(buses.server))
    assert bundle.event is None
    assert "emitter" not in leaf
    assert leaf["subject"] == own.subject


@pytest.mark.usefixtures("auditor")
async def test_a_missing_sequence_is_said_once(buses: Buses) -> None:
    """A gap becomes one `log.gap` event that names the emitter and what is missing."""
    catalog = EmittingBus(await buses.open("service-catalog"), "catalog")
    reader = await buses.open("auditor", "ann")
    await catalog.emit()
    catalog.draft()
    catalog.draft()
    await catalog.emit()
    await catalog.emit()

    (record,) = await recorded(reader, 1, action="log.gap")

    assert record.event is not None
    details = record.event.data.details
    assert (details["kind"], details["emitter"]) == ("missing", "catalog")
    assert (details["first"], details["last"]) == (2, 3)
    await catalog.emit(action="package.mark")
    await recorded(reader, 1, action="package.mark")
    assert len(await listed(reader, action="log.gap")) == 1


async def test_a_restart_goes_on_where_the_log_ended(buses: Buses, state_dir: Path) -> None:
    """What was emitted while nobody listened is recorded at the next start, nothing twice."""
    catalog = EmittingBus(await buses.open("service-catalog"), "catalog")
    reader = await buses.open("auditor", "ann")
    sent = 0
    for _ in range(3):
        async with running_auditor(buses.server, state_dir):
            await catalog.emit_many(7)
            sent += 7
            await recorded(reader, sent, action="package.publish")
        await catalog.emit_many(5)
        sent += 5

    async with running_auditor(buses.server, state_dir):
        records = await recorded(reader, sent, action="package.publish")

    assert len(records) == sent
    assert tree_hash(leaves_on_disk(state_dir)) == root_on_disk(state_dir)


async def test_a_server_restart_is_waited_out(buses: Buses, auditor: Bus) -> None:
    """A bus that dies and comes back loses nothing and doubles nothing."""
    catalog = EmittingBus(await buses.open("service-catalog"), "catalog")
    reader = await buses.open("auditor", "ann")
    await catalog.emit_many(10)
    await recorded(reader, 10, action="package.publish")

    await asyncio.to_thread(buses.server.restart)
    await eventually(lambda: catalog.bus.connection.is_connected)
    await catalog.emit_many(10)
    await eventually(lambda: auditor.connection.is_connected)
    await eventually(lambda: reader.connection.is_connected)

    assert len(await recorded(reader, 20, action="package.publish")) == 20
