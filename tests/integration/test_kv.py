# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Buckets over a real server: compare-and-set, snapshots, following, and who may do what."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from nats.aio.msg import Msg

from shared.adapters.bus import Bus
from shared.adapters.bus_errors import NoAnswerInTimeError
from shared.adapters.connection import Connection
from shared.adapters.identity import Identity
from shared.adapters.kv import KeyValue, RevisionConflictError
from shared.adapters.provisioning import provision
from shared.contracts.base import CommandOutcome
from shared.contracts.desired import DESIRED, DesiredNode
from shared.contracts.events import Actor
from shared.contracts.node import OBSERVED, ObservedNode
from shared.contracts.scheduler import NODE_LABELS, NodeLabels
from shared.contracts.storage import BUCKETS, STREAMS, OutboxRecord, kv_stream, outbox_bucket
from shared.errors import FaultError, RefusedError
from tests.integration.conftest import Buses
from tests.support.conversations import eventually
from tests.support.raw_nats import unrestricted_client

AT = "2026-01-01T00:00:00Z"


def desired(node: str, generation: int) -> DesiredNode:
    """A record that differs by its generation."""
    return DesiredNode(node=node, generation=generation, chains=())


def observed(generation: int) -> ObservedNode:
    """A record of the node n1."""
    return ObservedNode(node="n1", desired_generation=generation, chains=(), at=AT)


def an_outbox_record() -> OutboxRecord:
    """Of the one bucket whose keys may expire."""
    return OutboxRecord(
        command_id="c",
        subject="",
        request_sha256="",
        actor=Actor(key="", role="", attested=False),
        outcome=CommandOutcome(),
        at=AT,
    )


@pytest.fixture
async def scheduler(buses: Buses) -> Bus:
    """The one who writes `desired`."""
    return await buses.open("service-scheduler")


async def test_key_is_created_once(scheduler: Bus) -> None:
    """A second create is a conflict and writes nothing."""
    bucket = scheduler.bucket(DESIRED)

    revision = await bucket.create("n1", desired("n1", 1))
    with pytest.raises(RevisionConflictError):
        await bucket.create("n1", desired("n1", 2))

    entry = await bucket.get("n1")
    assert entry is not None
    assert (entry.key, entry.value, entry.revision) == ("n1", desired("n1", 1), revision)


async def test_key_that_was_deleted_can_be_created_again(scheduler: Bus) -> None:
    """A delete marker is no value, and not in anybody's way."""
    bucket = scheduler.bucket(DESIRED)
    await bucket.create("n1", desired("n1", 1))

    await bucket.delete("n1")
    assert await bucket.get("n1") is None
    assert await bucket.entries() == []
    await bucket.create("n1", desired("n1", 2))

    entry = await bucket.get("n1")
    assert entry is not None
    assert entry.value.generation == 2


async def test_update_needs_the_revision_that_is_there(scheduler: Bus) -> None:
    """Of ten writers that read the same revision one succeeds."""
    bucket = scheduler.bucket(DESIRED)
    revision = await bucket.create("n1", desired("n1", 1))

    results = await asyncio.gather(
        *(bucket.update("n1", desired("n1", n), revision=revision) for n in range(10)),
        return_exceptions=True,
    )

    assert sum(isinstance(result, int) for result in results) == 1
    assert sum(isinstance(result, RevisionConflictError) for result in results) == 9


class ForgetfulConnection(Connection):
    """A connection that loses the acknowledgement of the next write."""

    loses = 0

    async def ask(
        self,
        subject: str,
        data: bytes,
        *,
        timeout_seconds: float,
        headers: Mapping[str, str] | None = None,
    ) -> Msg:
        """The answer, unless it is to be lost."""
        answer = await super().ask(subject, data, timeout_seconds=timeout_seconds, headers=headers)
        if subject.startswith("$KV.") and self.loses:
            self.loses -= 1
            raise NoAnswerInTimeError("lost")
        return answer


async def test_write_whose_acknowledgement_was_lost_is_no_conflict(buses: Buses) -> None:
    """It is recognised as our own; somebody else's is a conflict all the same."""
    directory = buses.server.credentials("service-scheduler")
    connection = ForgetfulConnection(Identity(directory, role=None))
    await connection.open()
    bucket = KeyValue(connection, DESIRED, spawn=lambda work: work.close())
    connection.loses = 1
    created = await bucket.create("n1", desired("n1", 1))
    connection.loses = 1
    updated = await bucket.update("n1", desired("n1", 2), revision=created)
    connection.loses = 1
    moved = await bucket.update_in_bucket("n1", desired("n1", 3), sequence=updated)
    connection.loses = 1
    with pytest.raises(RevisionConflictError):
        await bucket.update("n1", desired("n1", 4), revision=updated)

    entry = await bucket.get("n1")
    await connection.close()
    assert (created, updated, moved) == (1, 2, 3)
    assert entry is not None
    assert (entry.value.generation, entry.revision) == (3, 3)


async def test_update_in_bucket_sees_changes_of_other_keys(scheduler: Bus) -> None:
    """A decision made from a snapshot is void once any key changed, deletions included."""
    bucket = scheduler.bucket(DESIRED)
    empty = await bucket.snapshot()
    await bucket.update_in_bucket("n1", desired("n1", 1), sequence=empty.sequence)
    snapshot = await bucket.snapshot()

    await bucket.put("n2", desired("n2", 1))
    with pytest.raises(RevisionConflictError):
        await bucket.update_in_bucket("n1", desired("n1", 2), sequence=snapshot.sequence)
    snapshot = await bucket.snapshot()
    await bucket.delete("n2")
    with pytest.raises(RevisionConflictError):
        await bucket.update_in_bucket("n1", desired("n1", 2), sequence=snapshot.sequence)
    snapshot = await bucket.snapshot()
    await bucket.update_in_bucket("n1", desired("n1", 2), sequence=snapshot.sequence)

    assert empty.sequence == 0
    assert set(snapshot.entries) == {"n1"}


@pytest.mark.parametrize("keys", [0, 1, 1500])
async def test_snapshot_holds_every_key(scheduler: Bus, keys: int) -> None:
    """Also more than the 1,024 that the server gives in one answer."""
    bucket = scheduler.bucket(DESIRED)
    await asyncio.gather(*(bucket.put(f"n{n}", desired(f"n{n}", n)) for n in range(keys)))

    snapshot = await bucket.snapshot()

    assert snapshot.sequence == keys
    assert {key: entry.value.generation for key, entry in snapshot.entries.items()} == {
        f"n{n}": n for n in range(keys)
    }


async def test_entries_are_those_under_a_prefix(scheduler: Bus) -> None:
    """Whole tokens, by key."""
    bucket = scheduler.bucket(outbox_bucket("scheduler"))
    record = an_outbox_record()
    for key in ("done.b", "pending.b", "pending.a.x", "pendings.c"):
        await bucket.put(key, record)

    assert [entry.key for entry in await bucket.entries("pending.")] == ["pending.a.x", "pending.b"]


async def test_key_with_a_time_to_live_vanishes(scheduler: Bus) -> None:
    """And can then be created again, as if it had never been."""
    bucket = scheduler.bucket(outbox_bucket("scheduler"))
    record = an_outbox_record()
    await bucket.put("done.c", record, ttl_seconds=1)
    assert await bucket.get("done.c") is not None

    async with asyncio.timeout(60):
        while await bucket.get("done.c") is not None:
            await asyncio.sleep(0.05)

    await bucket.create("done.c", record)


async def test_record_over_the_limit_is_refused_before_it_is_sent(scheduler: Bus) -> None:
    """One of exactly the limit fits; the connection stays."""
    bucket = scheduler.bucket(NODE_LABELS)
    labels = NodeLabels(node="n1", labels={"zone": ""})
    room = NODE_LABELS.max_value_bytes - len(msgspec.json.encode(labels))

    await bucket.put("n1", NodeLabels(node="n1", labels={"zone": "a" * room}))
    with pytest.raises(RefusedError) as refused:
        await bucket.put("n2", NodeLabels(node="n2", labels={"zone": "a" * (room + 1)}))

    assert refused.value.refusal_code == "too_large"
    assert [entry.key for entry in await bucket.entries()] == ["n1"]


class Followed:
    """What a follower was told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, int | None]] = []
        self.fail_times = 0

    async def note(self, key: str, value: DesiredNode | None, _revision: int) -> None:
        """Keys and generations."""
        if self.fail_times:
            self.fail_times -= 1
            raise FaultError("not now")
        self.told.append((key, None if value is None else value.generation))


async def test_follower_is_told_what_is_there_and_what_changes(buses: Buses) -> None:
    """A node learns its own record, each change and its deletion; nothing of other nodes."""
    scheduler, n1 = await buses.open("service-scheduler"), await buses.open("node", "n1")
    bucket, followed = scheduler.bucket(DESIRED), Followed()
    await bucket.put("n1", desired("n1", 1))

    await n1.bucket(DESIRED).follow("n1", followed.note)
    await eventually(lambda: followed.told == [("n1", 1)])
    await bucket.put("n2", desired("n2", 7))
    await bucket.put("n1", desired("n1", 2))
    await eventually(lambda: followed.told[-1] == ("n1", 2))
    await bucket.delete("n1")
    await eventually(lambda: followed.told[-1] == ("n1", None))

    assert followed.told == [("n1", 1), ("n1", 2), ("n1", None)]


async def test_follower_is_not_told_what_the_stream_refused(buses: Buses) -> None:
    """A refused compare-and-set reaches core subscribers all the same; a follower not."""
    scheduler, n1 = await buses.open("service-scheduler"), await buses.open("node", "n1")
    bucket, followed, raw = scheduler.bucket(DESIRED), Followed(), []

    async def note(_subject: str, data: bytes) -> None:
        raw.append(msgspec.json.decode(data)["generation"])

    await bucket.put("n1", desired("n1", 1))
    await n1.bucket(DESIRED).follow("n1", followed.note)
    await n1.subscribe("$KV.desired.n1", note)
    with pytest.raises(RevisionConflictError):
        await bucket.update("n1", desired("n1", 666), revision=999)
    revision = await bucket.put("n1", desired("n1", 2))
    await bucket.update("n1", desired("n1", 3), revision=revision)
    await eventually(lambda: ("n1", 3) in followed.told)

    assert 666 in raw
    assert ("n1", 666) not in followed.told


async def test_follower_catches_up_after_the_server_crashed(buses: Buses) -> None:
    """What was written while a node could not come back is told when it can."""
    scheduler, n1 = await buses.open("service-scheduler"), await buses.open("node", "n1")
    bucket, followed = scheduler.bucket(DESIRED), Followed()
    await n1.bucket(DESIRED).follow("n1", followed.note)
    await bucket.put("n1", desired("n1", 1))
    await eventually(lambda: followed.told == [("n1", 1)])
    (buses.server.credentials("node", "n1") / "user.creds").write_text("taken away")

    await asyncio.to_thread(buses.server.restart)
    await eventually(lambda: scheduler.connection.is_connected)
    await bucket.put("n1", desired("n1", 2))
    assert not n1.connection.is_connected
    buses.server.credentials("node", "n1")

    await eventually(lambda: followed.told[-1] == ("n1", 2))


async def test_follower_sees_a_bucket_that_was_made_anew(buses: Buses) -> None:
    """Deleted and provisioned again, the bucket counts from 1; its values are told all the same."""
    n1, provisioner = await buses.open("node", "n1"), await buses.open("provisioner")
    told: list[tuple[int, int]] = []

    async def note(_key: str, value: ObservedNode | None, revision: int) -> None:
        if value is not None:
            told.append((value.desired_generation, revision))

    for generation in (1, 2, 3):
        await n1.bucket(OBSERVED).put("n1", observed(generation))
    await (await buses.open("service-scheduler")).bucket(OBSERVED).follow(">", note)
    await eventually(lambda: told == [(3, 3)])
    async with unrestricted_client(buses.server) as raw:
        await raw.jetstream().delete_stream(kv_stream(OBSERVED.name))
    await provision(provisioner.connection)
    await n1.bucket(OBSERVED).put("n1", observed(4))

    await eventually(lambda: told == [(3, 3), (4, 1)])


async def test_follower_is_told_again_after_a_fault_of_its_own(buses: Buses) -> None:
    """A handler that could not act is called again for the same revision."""
    scheduler, n1 = await buses.open("service-scheduler"), await buses.open("node", "n1")
    followed = Followed()
    followed.fail_times = 1
    await scheduler.bucket(DESIRED).put("n1", desired("n1", 1))

    await n1.bucket(DESIRED).follow("n1", followed.note)

    await eventually(lambda: followed.told == [("n1", 1)])


async def test_follower_of_many_keys_sees_the_newest_of_each(buses: Buses) -> None:
    """Bursts may leave out intermediate values, never the last one."""
    scheduler = await buses.open("service-scheduler")
    nodes = {f"n{n}": await buses.open("node", f"n{n}") for n in range(3)}
    newest: dict[str, int] = {}

    async def note(key: str, value: ObservedNode | None, _revision: int) -> None:
        assert value is not None
        newest[key] = value.desired_generation

    await scheduler.bucket(OBSERVED).follow("*", note)
    for generation in range(20):
        for name, bus in nodes.items():
            record = ObservedNode(node=name, desired_generation=generation, chains=(), at=AT)
            await bus.bucket(OBSERVED).put(name, record)

    await eventually(lambda: newest == dict.fromkeys(nodes, 19))


@pytest.mark.parametrize(("bucket", "key"), [(OBSERVED, "n2"), (DESIRED, "n1"), (DESIRED, "n2")])
async def test_node_writes_only_its_own_state(buses: Buses, bucket: Any, key: str) -> None:
    """Refused by the server, at once and by name."""
    n1 = await buses.open("node", "n1")

    with pytest.raises(RefusedError) as refused:
        await asyncio.wait_for(n1.bucket(bucket).put(key, desired(key, 1)), 1)

    assert refused.value.refusal_code == "not_permitted"


async def test_node_reads_only_its_own_state(buses: Buses) -> None:
    """Neither another node's record nor the whole bucket."""
    n1 = await buses.open("node", "n1")
    bucket: KeyValue[DesiredNode] = n1.bucket(DESIRED)

    for read in (bucket.get("n2"), bucket.snapshot()):
        with pytest.raises(RefusedError) as refused:
            await asyncio.wait_for(read, 1)
        assert refused.value.refusal_code == "not_permitted"


async def test_reading_makes_no_consumer(buses: Buses) -> None:
    """Gets, snapshots and followers leave nothing on the server."""
    scheduler, n1 = await buses.open("service-scheduler"), await buses.open("node", "n1")
    bucket, followed = scheduler.bucket(DESIRED), Followed()
    await bucket.put("n1", desired("n1", 1))
    await n1.bucket(DESIRED).follow("n1", followed.note)
    await eventually(lambda: followed.told)
    await bucket.snapshot()
    await bucket.get("n1")
    provisioner = await buses.open("provisioner")

    for bucket_name in (bucket.name for bucket in BUCKETS):
        answer = await provisioner.connection.ask(
            f"$JS.API.STREAM.INFO.{kv_stream(bucket_name)}", b"", timeout_seconds=2
        )
        assert msgspec.json.decode(answer.data)["state"]["consumer_count"] == 0


async def test_provisioning_is_idempotent_and_complete(buses: Buses) -> None:
    """A second run changes nothing and loses nothing."""
    scheduler, provisioner = await buses.open("service-scheduler"), await buses.open("provisioner")
    await scheduler.bucket(DESIRED).put("n1", desired("n1", 1))

    await provision(provisioner.connection)

    assert await scheduler.bucket(DESIRED).get("n1") is not None
    for name in [stream.name for stream in STREAMS] + [kv_stream(b.name) for b in BUCKETS]:
        answer = await provisioner.connection.ask(
            f"$JS.API.STREAM.INFO.{name}", b"", timeout_seconds=2
        )
        assert msgspec.json.decode(answer.data)["config"]["name"] == name
