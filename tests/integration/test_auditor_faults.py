# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Whatever the auditor dies of, at whichever write: each event has exactly one record."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import signal
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from services.auditor.adapters.checkpoint_file import CheckpointFile
from services.auditor.adapters.sqlite_database import connect, prepare, take_lock
from services.auditor.adapters.sqlite_store import SqliteStore
from services.auditor.execution import Heads, Recording, at_work
from services.auditor.persons.adapters.sqlite_persons import PERSONS_FILE, open_persons
from services.auditor.records import StreamMessage, read_message
from services.auditor.store import DamagedLogError, StoreFaultError
from shared.contracts.audit import LIST_RECORDS, ListRecords
from shared.errors import RefusedError
from tests.integration.conftest import Buses
from tests.support.auditing import EmittingBus, eventually, running_auditor, start_auditor
from tests.support.fake_stream import FakeStream, Silent
from tests.support.independent_log import leaves_on_disk, root_on_disk, tree_hash
from tests.support.records import an_event, message_of, messages

ORIGIN = "l3af.test/log"
SEED = bytes(range(32))
NOW = datetime(2026, 1, 2, tzinfo=UTC)


class Fault:
    """Counts the statements that write, and fails at one of them."""

    def __init__(self) -> None:
        self.count = 0
        self.fails_at = 0
        self.is_lasting = False
        self.has_failed = False

    def pass_by(self) -> None:
        """One statement."""
        self.count += 1
        if self.count == self.fails_at or (self.has_failed and self.is_lasting):
            self.has_failed = True
            raise sqlite3.OperationalError("database or disk is full")


def faulty_connection(path: Path, fault: Fault, *, is_after: bool) -> sqlite3.Connection:
    """A real connection whose statements fail when told to, before or after they are done."""

    class Faulty(sqlite3.Connection):
        def execute(self, *arguments: Any) -> sqlite3.Cursor:
            if not is_after:
                fault.pass_by()
            done = super().execute(*arguments)
            if is_after:
                fault.pass_by()
            return done

    connection = sqlite3.connect(
        path, isolation_level=None, check_same_thread=False, factory=Faulty
    )
    fault.count = 0
    return connection


def open_faulty(directory: Path, fault: Fault, *, is_after: bool) -> SqliteStore:
    """A store whose writer fails when told to."""
    directory.mkdir(exist_ok=True)
    path = directory / "log.db"
    with closing(connect(path)) as plain:
        prepare(plain, ORIGIN)
    writer = faulty_connection(path, fault, is_after=is_after)
    writer.execute("PRAGMA synchronous = FULL")
    persons = open_persons(directory / PERSONS_FILE, has_words=False)
    store = SqliteStore(writer, persons, path, take_lock(directory / "log.lock"))
    fault.count = 0
    return store


async def append(store: SqliteStore, batch: list[StreamMessage]) -> None:
    """Keep a batch that goes on where the store is."""
    drafts = [read_message(message) for message in batch]
    await store.append(drafts, after=store.state.stream_sequence, now=NOW)


def check_log(directory: Path, ids: list[str]) -> None:
    """Exactly these events, in this order, and a tree that is theirs."""
    leaves = leaves_on_disk(directory)
    assert [json.loads(leaf)["id"] for leaf in leaves] == ids
    assert root_on_disk(directory) == tree_hash(leaves)


BATCHES = [messages(3), messages(300, first=4), messages(1, first=304), messages(40, first=306)]
IDS = [json.loads(message.data)["id"] for batch in BATCHES for message in batch]


def statements_of_all(directory: Path) -> int:
    """How many statements keeping BATCHES takes."""
    fault = Fault()

    async def work() -> None:
        with closing(open_faulty(directory, fault, is_after=False)) as store:
            for batch in BATCHES:
                await append(store, batch)

    asyncio.run(work())
    return fault.count


@pytest.mark.parametrize("is_after", [False, True])
@pytest.mark.parametrize("is_lasting", [False, True])
def test_dying_at_any_statement_loses_nothing_and_doubles_nothing(
    tmp_path: Path, is_after: bool, is_lasting: bool
) -> None:
    """The store fails at statement k, for every k, and is opened anew: all or nothing was kept."""
    total = statements_of_all(tmp_path / "count")
    assert total > 4 * len(BATCHES)

    async def die_and_resume(directory: Path, fault: Fault, k: int) -> None:
        store = open_faulty(directory, fault, is_after=is_after)
        fault.fails_at = k
        with suppress(StoreFaultError):
            for batch in BATCHES:
                await append(store, batch)
        store.close()
        with closing(SqliteStore.open(directory, origin=ORIGIN)) as again:
            for batch in BATCHES:
                left = [m for m in batch if m.sequence > again.state.stream_sequence]
                if left:
                    await append(again, left)
            await again.check_every_leaf()

    for k in range(1, total + 1):
        fault = Fault()
        fault.is_lasting = is_lasting
        directory = tmp_path / f"log-{k}"
        asyncio.run(die_and_resume(directory, fault, k))
        assert fault.has_failed
        check_log(directory, IDS)
        shutil.rmtree(directory)


async def test_a_full_disk_keeps_nothing_and_is_got_over(tmp_path: Path) -> None:
    """A batch that failed can be given again to the same store."""
    fault = Fault()
    with closing(open_faulty(tmp_path / "log", fault, is_after=False)) as store:
        for batch in BATCHES:
            before = store.state
            fault.fails_at = fault.count + 2
            with pytest.raises(StoreFaultError):
                await append(store, batch)
            assert store.state is before
            await append(store, batch)

    check_log(tmp_path / "log", IDS)


async def test_what_follows_a_batch_that_failed_is_not_kept_either(tmp_path: Path) -> None:
    """Batches that were given ahead do not close the hole that a failed one left."""
    fault = Fault()
    with closing(open_faulty(tmp_path / "log", fault, is_after=False)) as store:
        fault.fails_at = 2
        drafts = [read_message(message) for message in messages(6)]
        kept = await asyncio.gather(
            store.append(drafts[:3], after=0, now=NOW),
            store.append(drafts[3:], after=3, now=NOW),
            return_exceptions=True,
        )

        assert [type(error) for error in kept] == [StoreFaultError, StoreFaultError]
        assert store.size == 0


async def test_a_fault_is_waited_out_and_nothing_is_acknowledged_before_it_is_kept(
    tmp_path: Path,
) -> None:
    """The disk is full for a while: no acknowledgement, no gap, and then everything."""
    fault = Fault()
    stream = FakeStream(messages(400))
    with closing(open_faulty(tmp_path / "log", fault, is_after=False)) as store:
        safe = CheckpointFile(tmp_path / "log")
        heads = Heads(log=store, safe=safe, origin=ORIGIN, seed=SEED)
        recording = Recording(stream=stream, log=store, heads=heads, emitter=Silent())
        fault.fails_at = 12
        fault.is_lasting = True
        async with at_work(recording):
            await eventually(lambda: fault.has_failed)
            assert all(sequence <= store.state.stream_sequence for sequence in stream.acknowledged)
            fault.is_lasting = False
            async with asyncio.timeout(60):
                await recording.reached(400)

        assert await store.unannounced_gaps() == []
    assert len(leaves_on_disk(tmp_path / "log")) == 400
    assert root_on_disk(tmp_path / "log") == tree_hash(leaves_on_disk(tmp_path / "log"))


async def test_a_log_that_was_rolled_back_is_refused(tmp_path: Path) -> None:
    """An older copy of the database does not pass for the log whose head was signed."""
    directory = tmp_path / "log"
    await sign_after(directory, messages(5))
    shutil.copytree(directory, tmp_path / "copy")
    await sign_after(directory, messages(5, first=6))
    shutil.copy(tmp_path / "copy" / "log.db", directory / "log.db")

    with pytest.raises(DamagedLogError, match="rolled back"):
        await sign_after(directory, [])


async def test_a_log_that_was_written_anew_is_refused(tmp_path: Path) -> None:
    """Other records under the same number of leaves are not what was signed."""
    directory = tmp_path / "log"
    await sign_after(directory, messages(5))
    note = (directory / "checkpoint").read_text()
    shutil.rmtree(directory)
    await sign_after(directory, [message_of(an_event(1, reason="another"), 1), *messages(7)[1:]])
    (directory / "checkpoint").write_text(note)

    with pytest.raises(DamagedLogError, match="not those that were signed"):
        await sign_after(directory, [])


def _without_a_row(database: sqlite3.Connection) -> None:
    database.execute("DELETE FROM records WHERE idx = 2")


def _with_another_leaf_hash(database: sqlite3.Connection) -> None:
    database.execute("UPDATE tiles SET hashes = zeroblob(length(hashes)) WHERE level = 0")


def _with_another_size(database: sqlite3.Connection) -> None:
    database.execute("UPDATE log SET size = 4")


@pytest.mark.parametrize("damage", [_without_a_row, _with_another_leaf_hash, _with_another_size])
async def test_a_damaged_log_is_refused(
    tmp_path: Path, damage: Callable[[sqlite3.Connection], None]
) -> None:
    """Rows, tree and size that do not belong together are noticed before anything is added."""
    await sign_after(tmp_path / "log", messages(5))
    with closing(sqlite3.connect(tmp_path / "log" / "log.db")) as database:
        damage(database)
        database.commit()

    with pytest.raises(DamagedLogError):
        SqliteStore.open(tmp_path / "log", origin=ORIGIN)


async def test_an_altered_record_is_found(tmp_path: Path) -> None:
    """Hashing every leaf anew shows a record that was rewritten behind the tree's back."""
    await sign_after(tmp_path / "log", messages(5))
    with closing(sqlite3.connect(tmp_path / "log" / "log.db")) as database:
        database.execute("UPDATE records SET leaf = '{}' WHERE idx = 1")
        database.commit()

    with (
        closing(SqliteStore.open(tmp_path / "log", origin=ORIGIN)) as store,
        pytest.raises(DamagedLogError, match="not those that the tree"),
    ):
        await store.check_every_leaf()


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    """Garbage where the log should be is damage, not a fault that may pass."""
    (tmp_path / "log.db").write_bytes(b"not a database" * 1000)

    with pytest.raises(DamagedLogError):
        SqliteStore.open(tmp_path, origin=ORIGIN)


async def test_one_log_has_one_auditor(tmp_path: Path) -> None:
    """A second process is told so, and another installation's log is refused."""
    with (
        closing(SqliteStore.open(tmp_path, origin=ORIGIN)),
        pytest.raises(StoreFaultError, match="another auditor"),
    ):
        SqliteStore.open(tmp_path, origin=ORIGIN)
    with pytest.raises(RefusedError, match=r"not l3af\.other/log"):
        SqliteStore.open(tmp_path, origin="l3af.other/log")


async def sign_after(directory: Path, batch: list[StreamMessage]) -> None:
    """An auditor's run: open, compare with what was signed, add, sign."""
    with closing(SqliteStore.open(directory, origin=ORIGIN)) as store:
        safe = CheckpointFile(directory)
        heads = Heads(log=store, safe=safe, origin=ORIGIN, seed=SEED)
        await heads.open()
        if batch:
            await append(store, batch)
        await heads.sign()


@pytest.fixture
def delays() -> Iterator[float]:
    """Seeded moments between a start and a kill."""
    rng = random.Random(int(os.environ.get("L3AF_SEED", "20261122")))
    return iter(lambda: rng.choice([0.0, 0.35, 0.5]) + rng.random() * 0.4, None)


async def test_a_killed_auditor_records_every_event_exactly_once(
    buses: Buses, tmp_path: Path, delays: Iterator[float]
) -> None:
    """Kill -9 at random moments while events come: nothing lost, nothing double, one tree."""
    catalog = EmittingBus(await buses.open("service-catalog"), "catalog")
    state_dir = tmp_path / "auditor"
    sent = []
    for _ in range(8):
        process = await asyncio.to_thread(
            start_auditor, buses.server, state_dir, tmp_path / "auditor.log"
        )
        dies_at = asyncio.get_running_loop().time() + next(delays)
        while asyncio.get_running_loop().time() < dies_at:
            sent += await catalog.emit_many(20)
        process.send_signal(signal.SIGKILL)
        await asyncio.to_thread(process.wait)

    reader = await buses.open("auditor", "ann")
    async with running_auditor(buses.server, state_dir):
        request = ListRecords(action="log.gap")
        assert (await reader.request(LIST_RECORDS, request)).records == ()

    leaves = [json.loads(leaf) for leaf in leaves_on_disk(state_dir)]
    counts = Counter(leaf["id"] for leaf in leaves if leaf["emitter"] == "catalog")
    assert counts == {event.id: 1 for event in sent}
    assert root_on_disk(state_dir) == tree_hash(leaves_on_disk(state_dir))
    assert "Traceback" not in (tmp_path / "auditor.log").read_text()
