# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The log in PostgreSQL, whoever dies: each event has one record, and one process writes."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

import asyncpg
import pytest

from services.auditor.adapters.checkpoint_file import CheckpointFile
from services.auditor.adapters.postgres_session import Address
from services.auditor.adapters.postgres_store import PostgresStore
from services.auditor.execution import Heads, Recording, at_work
from services.auditor.records import StreamMessage
from services.auditor.store import LogStore, StoreFaultError, SupersededError
from shared.adapters.lifecycle import StoppedError
from shared.contracts.events import Event
from tests.integration.conftest import Buses
from tests.support.auditing import EmittingBus, eventually, start_auditor
from tests.support.fake_stream import FakeStream, Silent
from tests.support.independent_log import tree_hash
from tests.support.log_stores import NOW, ORIGIN, PostgresPlace, append, leaves_in, root_in
from tests.support.postgres import PostgresServer, run_statement
from tests.support.records import messages

TAKE_OVER = "UPDATE log SET fence = fence + 1"
RANDOM = random.Random(int(os.environ.get("L3AF_SEED", "20261122")))


class WatchedConnection(asyncpg.Connection):
    """A real connection on which something happens before or after its n-th statement."""

    count: ClassVar[int] = 0
    at: ClassVar[int] = 0
    is_after: ClassVar[bool] = False
    happens: ClassVar[Callable[[WatchedConnection], Awaitable[None]]]

    async def execute(self, *arguments: Any, **named: Any) -> Any:
        """A statement."""
        return await self._watched(super().execute, *arguments, **named)

    async def fetchval(self, *arguments: Any, **named: Any) -> Any:
        """A statement."""
        return await self._watched(super().fetchval, *arguments, **named)

    async def copy_records_to_table(self, *arguments: Any, **named: Any) -> Any:
        """A statement."""
        return await self._watched(super().copy_records_to_table, *arguments, **named)

    async def _watched(self, work: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        kind = WatchedConnection
        kind.count += 1
        is_now = kind.count == kind.at
        if is_now and not kind.is_after:
            await kind.happens(self)
        done = await work(*arguments, **named)
        if is_now and kind.is_after:
            await kind.happens(self)
        return done


async def breaks(connection: WatchedConnection) -> None:
    """The connection is cut, and nobody knows what became of the statement."""
    connection.terminate()
    raise asyncpg.ConnectionDoesNotExistError("cut by the test")


@asynccontextmanager
async def watched(url: str, *, at: int, is_after: bool = False) -> AsyncIterator[PostgresStore]:
    """A store whose writer is watched from now on."""
    address = Address(url, connection_class=WatchedConnection)
    WatchedConnection.at = 0
    store = await PostgresStore.open(address, origin=ORIGIN, now=NOW)
    WatchedConnection.count, WatchedConnection.at = 0, at
    WatchedConnection.is_after, WatchedConnection.happens = is_after, breaks
    try:
        yield store
    finally:
        await store.aclose()


async def append_in_the_end(store: LogStore, batch: list[StreamMessage]) -> None:
    """Give the batch again until it is kept, as recording does."""
    async with asyncio.timeout(60):
        while left := [m for m in batch if m.sequence > store.state.stream_sequence]:
            try:
                await append(store, left)
            except StoreFaultError:
                await asyncio.sleep(0.01)


async def check_log(place: PostgresPlace, ids: list[str]) -> None:
    """Exactly these events, in this order, and a tree that is theirs."""
    leaves = await leaves_in(place)
    assert [json.loads(leaf)["id"] for leaf in leaves] == ids
    assert await root_in(place) == tree_hash(leaves)


@pytest.mark.parametrize("is_after", [False, True])
async def test_a_connection_cut_at_any_statement_loses_nothing_and_doubles_nothing(
    postgres: PostgresServer, is_after: bool
) -> None:
    """The writer's connection is cut at statement k, for every k; the same store goes on."""
    place = PostgresPlace(await postgres.new_database())
    batches = [messages(3), messages(300, first=4), messages(2, first=304)]
    batches.append([m._replace(sequence=m.sequence + 302) for m in messages(5, first=4)])
    ids = [message.message_id for batch in batches[:3] for message in batch]
    k = 0
    while True:
        k += 1
        async with watched(place.setting, at=k, is_after=is_after) as store:
            for batch in batches:
                await append_in_the_end(store, batch)
            await store.check_every_leaf()
            assert store.state.stream_sequence == batches[-1][-1].sequence
        await check_log(place, ids)
        await place.execute("DROP SCHEMA l3af_audit CASCADE")
        if WatchedConnection.count < k:
            break
    assert k > 4 * len(batches)


async def test_recording_goes_on_by_itself_when_the_database_was_killed(
    mortal_postgres: PostgresServer, tmp_path: Path
) -> None:
    """Kill -9 of PostgreSQL four times between and in batches: intake waits, then goes on."""
    place = PostgresPlace(mortal_postgres.url())
    stream = FakeStream(messages(2_000))
    async with place.open() as store:
        heads = Heads(log=store, safe=CheckpointFile(tmp_path), origin=ORIGIN, seed=bytes(32))
        recording = Recording(stream=stream, log=store, heads=heads, emitter=Silent())
        async with at_work(recording), asyncio.timeout(60):
            for kill_at in sorted(RANDOM.sample(range(1, 1_900), k=4)):
                await recording.reached(kill_at)
                await asyncio.to_thread(mortal_postgres.kill)
                await asyncio.to_thread(mortal_postgres.start)
                assert max(stream.acknowledged, default=0) <= len(await leaves_in(place))
            await recording.reached(2_000)
        assert await store.unannounced_gaps() == []
        await store.check_every_leaf()

    await check_log(place, [message.message_id for message in stream.held])


async def test_readers_have_a_fault_while_the_database_is_away(
    mortal_postgres: PostgresServer,
) -> None:
    """Questions are answered with a fault, and answered again when it is back."""
    async with PostgresPlace(mortal_postgres.url()).open() as store:
        await append(store, messages(3))
        assert await store.record(2) is not None
        await asyncio.to_thread(mortal_postgres.kill)
        with pytest.raises(StoreFaultError):
            await store.record(2)
        with pytest.raises(StoreFaultError):
            await append(store, messages(3, first=4))
        await asyncio.to_thread(mortal_postgres.start)
        assert await store.record(2) is not None
        await append_in_the_end(store, messages(3, first=4))
        assert store.size == 6


@pytest.mark.parametrize("statement", [1, 2, 3])
async def test_who_was_superseded_commits_nothing_however_far_it_was(
    postgres: PostgresServer, statement: int
) -> None:
    """Another one takes the log before statement k of a batch whose session lives on.

    The third and last moves the log on under its fence: whoever comes after it waits for its end.
    """
    place = PostgresPlace(await postgres.new_database())
    async with watched(place.setting, at=0) as store:
        await append(store, messages(3))

        async def other_takes_over(_: WatchedConnection) -> None:
            await run_statement(place.setting, TAKE_OVER)

        WatchedConnection.happens = other_takes_over
        WatchedConnection.count, WatchedConnection.at = 0, statement
        with pytest.raises(SupersededError):
            await append(store, messages(3, first=4))
        assert WatchedConnection.count >= 3
        for work in (
            append(store, messages(3, first=4)),
            store.keep_checkpoint(3, "note", signed_at=NOW),
            store.mark_announced(1),
            store.start_stream("another", last_sequence=0),
            store.hold(),
        ):
            with pytest.raises(SupersededError):
                await work
        assert await store.newest_checkpoint() is None

    await check_log(place, [message.message_id for message in messages(3)])


async def test_a_standby_waits_and_can_be_stopped(postgres: PostgresServer) -> None:
    """While one process has the log and lives, another one waits; told to stop, it does."""
    place = PostgresPlace(await postgres.new_database(), lapse_seconds=0.5)
    stop = asyncio.Event()
    async with place.open() as store:
        holding = asyncio.create_task(store.hold())
        address = Address(place.setting, lapse_seconds=0.5)
        waiting = asyncio.create_task(
            PostgresStore.open(address, origin=ORIGIN, now=NOW, stop=stop)
        )
        for number in range(1, 20):
            await append(store, messages(1, first=number))
            await asyncio.wait({waiting}, timeout=0.1)
        assert not waiting.done()
        stop.set()
        with pytest.raises(StoppedError):
            await waiting
        holding.cancel()


async def count_of(place: PostgresPlace, emitter: str) -> int:
    """How many records there are of an emitter."""
    try:
        rows = await place.execute(f"SELECT count(*) FROM records WHERE emitter = '{emitter}'")
    except asyncpg.UndefinedTableError:
        return 0
    return int(rows[0][0])


async def test_an_auditor_that_was_paused_cannot_write_once_another_one_took_over(
    buses: Buses, tmp_path: Path, postgres: PostgresServer
) -> None:
    """SIGSTOP the first, let the second take over, resume the first: it ends, nothing is double."""
    place = PostgresPlace(await postgres.new_database())
    catalog = EmittingBus(await buses.open("service-catalog"), "catalog")

    def started(name: str) -> subprocess.Popen[bytes]:
        return start_auditor(
            buses.server,
            tmp_path / name,
            tmp_path / f"{name}.log",
            store=place.setting,
            take_over_seconds="2",
        )

    async def recorded(count: int) -> bool:
        return await count_of(place, "catalog") >= count

    sent = await catalog.emit_many(50)
    first = started("first")
    await eventually(lambda: recorded(50))
    second = started("second")
    try:
        log = tmp_path / "second.log"
        await eventually(lambda: "log_held_elsewhere" in log.read_text())
        sent += await catalog.emit_many(50)
        await eventually(lambda: recorded(100))
        assert first.poll() is None
        first.send_signal(signal.SIGSTOP)
        sent += await catalog.emit_many(50)
        await eventually(lambda: recorded(150))
        first.send_signal(signal.SIGCONT)

        assert await asyncio.to_thread(first.wait, 20) == 3
        assert "has taken the log over" in (tmp_path / "first.log").read_text()
        sent += await catalog.emit_many(50)
        await eventually(lambda: recorded(200))
        assert second.poll() is None
    finally:
        for process in (first, second):
            process.kill()
            process.wait()

    await check_events(place, [event.id for event in sent])


async def check_events(place: PostgresPlace, ids: list[str]) -> None:
    """The catalog's events each have one record, in order, in a tree that is theirs."""
    leaves = await leaves_in(place)
    found = [leaf["id"] for leaf in map(json.loads, leaves) if leaf["emitter"] == "catalog"]
    assert Counter(found).most_common(1)[0][1] == 1
    assert found == ids
    assert await root_in(place) == tree_hash(leaves)


async def test_a_killed_auditor_and_a_killed_database_record_every_event_once(
    buses: Buses, tmp_path: Path, mortal_postgres: PostgresServer
) -> None:
    """Kill -9 of one, the other or both, again and again while events come."""
    place = PostgresPlace(mortal_postgres.url())
    catalog = EmittingBus(await buses.open("service-catalog"), "catalog")
    log = tmp_path / "auditor.log"

    def started() -> subprocess.Popen[bytes]:
        return start_auditor(buses.server, tmp_path / "auditor", log, store=place.setting)

    sent: list[Event] = []
    process = started()
    try:
        for kills in ("auditor", "database", "both", "auditor"):
            mark = len(sent) + RANDOM.randrange(1, 150)
            for _ in range(10):
                sent += await catalog.emit_many(20)

            async def passed(mark: int = mark) -> bool:
                return await count_of(place, "catalog") >= mark

            await eventually(passed)
            if kills != "database":
                process.kill()
                process.wait()
            if kills != "auditor":
                await asyncio.to_thread(mortal_postgres.kill)
                await asyncio.to_thread(mortal_postgres.start)
            if kills != "database":
                process = started()

        async def complete() -> bool:
            return await count_of(place, "catalog") >= len(sent)

        await eventually(complete)
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()

    await check_events(place, [event.id for event in sent])
    assert await place.execute("SELECT * FROM gaps") == []
    assert "Traceback" not in log.read_text()
