# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The log on disk: rows, tree and place in the stream in one SQLite transaction.

Write-ahead log, synchronous=FULL: what was committed survives the machine.  One thread writes; two
others read, each a consistent snapshot.  A store belongs to one process, which holds its lock.
"""

from __future__ import annotations

import asyncio
import gc
import os
import secrets
import sqlite3
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from services.auditor.adapters import sqlite_pruning as pruned
from services.auditor.adapters import sqlite_rows as rows
from services.auditor.adapters.log_batches import Batch, Batches, Given
from services.auditor.adapters.log_rows import Row, record_row
from services.auditor.adapters.sqlite_database import (
    check_file,
    connect,
    prepare,
    take_lock,
    transaction,
    translated,
)
from services.auditor.adapters.sqlite_inventory import (
    add_sightings,
    catch_up,
)
from services.auditor.adapters.sqlite_pages import stored_hashes
from services.auditor.adapters.sqlite_reading import SqliteReading
from services.auditor.admission import (
    Admission,
    EventKey,
    LogState,
    event_keys,
    rewind,
)
from services.auditor.checkpoint import TreeHead
from services.auditor.merkle import (
    Frontier,
    Hash,
    Node,
    leaf_hash,
    read_frontier,
)
from services.auditor.persons.adapters.sqlite_erasure import (
    erase,
    finish_erasures,
    unsaid_erasures,
)
from services.auditor.persons.adapters.sqlite_masking import has_words, mask_earlier
from services.auditor.persons.adapters.sqlite_persons import (
    PERSONS_FILE,
    open_persons,
    read_vault,
    save_persons,
    with_words,
)
from services.auditor.persons.erasing import Asked, Erased
from services.auditor.persons.vault import Seals
from services.auditor.records import Draft, time_us_of
from services.auditor.retention.remains import (
    drafted_leaves,
    is_remains,
    own_pruning,
    recorded_leaf,
)
from services.auditor.store import (
    DamagedLogError,
    check_parts,
    check_root,
    check_size,
)
from services.auditor.tiles import extend_tiles, tail_tiles
from shared.contracts.events import EventBody

LOCK_SECONDS: Final = 0.0002
"""How long a thread may keep the interpreter from the others.  The writer gives the lock away at
every step of SQLite, a dozen times a batch, and would wait 5 ms each time to have it back."""

OBJECTS_MADE: Final = 20_000
"""After how many cycles are looked for.  What becomes of a message has none, and several batches of
it are there at a time: the interpreter's own 700 are made every few dozen messages."""

ResultT = TypeVar("ResultT")


def share_interpreter() -> None:
    """Threads of this process take turns every LOCK_SECONDS, and none looks for cycles for long."""
    sys.setswitchinterval(LOCK_SECONDS)
    gc.set_threshold(OBJECTS_MADE)


class SqliteStore(SqliteReading):
    """The log of one origin."""

    def __init__(
        self, writer: sqlite3.Connection, persons: sqlite3.Connection, path: Path, lock: int
    ) -> None:
        super().__init__(path, read_vault(persons, secrets.token_bytes))
        self._writer: Final = writer
        self._persons: Final = persons
        self._lock: Final = lock
        self._state = _load(writer)
        self._tails = rows.read_tiles(writer, tail_tiles(self._state.frontier.size))
        self._batches: Final = Batches(record_row, self._vault)
        self._writing: Final = ThreadPoolExecutor(1, thread_name_prefix="log-writer")

    @classmethod
    def open(cls, directory: Path, *, origin: str) -> SqliteStore:
        """The store in `directory`, made if it is not there.

        Raises:
            StoreFaultError: The disk failed, or another process has the store open.
            DamagedLogError: Rows, tree and root do not belong together.
            RefusedError: The store is another log's.
        """
        with translated(), ExitStack() as undo:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = take_lock(directory / "log.lock")
            undo.callback(os.close, lock)
            path = directory / "log.db"
            writer = connect(path)
            check_file(writer)
            prepare(writer, origin)
            with transaction(writer):
                catch_up(writer)
                rows.make_receipts(writer)
            persons = open_persons(directory / PERSONS_FILE, has_words=has_words(writer))
            store = cls(writer, persons, path, lock)
            mask_earlier(writer, persons, store._vault)
            finish_erasures(writer, persons, store._vault)
            undo.pop_all()
            return store

    @property
    def state(self) -> LogState:
        """As of the last commit."""
        return self._state

    @property
    def size(self) -> int:
        """Leaves in the tree."""
        return self._state.frontier.size

    async def append(self, drafts: Sequence[Draft], *, after: int, now: datetime) -> Admission:
        """Keep the messages that are new, and the place in the stream, or nothing.

        Batches may be given one after another without waiting; they are kept in that order.

        Args:
            drafts: In stream order.
            after: The last stream sequence that was given before; if that was not kept, this is
                not kept either.
            now: When they were received.

        Raises:
            StoreFaultError: Nothing was kept.
        """
        given = Given(drafts, after, time_us_of(now))
        made = await self._batches.ahead(self._state, given)
        return await self._write(lambda: self._append(given, made))

    async def start_stream(self, stream_id: str, *, last_sequence: int) -> Admission:
        """Go on from the beginning of a stream that is not the one read so far."""

        def work() -> Admission:
            admission = rewind(self._state, stream_id=stream_id, last_sequence=last_sequence)
            self._commit(admission, [], Seals())
            return admission

        return await self._write(work)

    async def keep_checkpoint(
        self, size: int, note: str, *, signed_at: datetime, receipts: str = ""
    ) -> None:
        """Keep the signed head of the first `size` leaves."""
        await self._change(
            "INSERT OR REPLACE INTO checkpoints VALUES (?, ?, ?, ?)",
            (size, note, time_us_of(signed_at), receipts),
        )

    async def replace_note(self, size: int, note: str) -> None:
        """The head of so many leaves has this note."""
        await self._change("UPDATE checkpoints SET note = ? WHERE size = ?", (note, size))

    async def mark_announced(self, number: int) -> None:
        """The gap with this number was said."""
        await self._change("UPDATE gaps SET is_announced = 1 WHERE number = ?", (number,))

    async def erase(self, asked: Asked) -> Erased:
        """Somebody is nowhere in the log; nothing else is kept meanwhile."""
        return await self._write(lambda: erase(self._writer, self._persons, self._vault, asked))

    async def unsaid_erasures(self) -> list[tuple[int, EventBody]]:
        """Erasures that were not said yet, with their numbers, oldest first."""
        return await self._write(lambda: unsaid_erasures(self._writer))

    async def mark_erasure_said(self, number: int) -> None:
        """The erasure with this number was said."""
        await self._change("DELETE FROM erasures WHERE number = ?", (number,))

    async def check_against(self, head: TreeHead) -> None:
        """The log still begins with what `head` committed to.

        Raises:
            DamagedLogError: It is smaller, or another one: it was rolled back or altered.
        """
        check_size(head, size=self.size)
        check_root(head, root=await self.root(head.size))

    async def check_every_leaf(self) -> None:
        """Rows and tree belong together, every leaf hashed anew.

        Raises:
            DamagedLogError: They do not.
        """

        def read(connection: sqlite3.Connection) -> Hash:
            kept = stored_hashes(connection)
            leaves = connection.execute("SELECT idx, leaf FROM records ORDER BY idx")
            frontier, _ = Frontier().append(
                kept([Node(0, index)])[0] if is_remains(leaf.encode()) else leaf_hash(leaf.encode())
                for index, leaf in leaves
            )
            return frontier.root()

        state = self._state
        if await self._read(read) != state.frontier.root():
            raise DamagedLogError("the records are not those that the tree was built from")

    async def prune(self, record: int) -> int:
        """What this record says is pruned, but for what is held; how many records.

        Raises:
            LookupError: The record says no such thing.
        """
        found = await self.record(record)
        pruning = own_pruning(found)

        def work() -> int:
            with transaction(self._writer):
                opened = partial(with_words, self._writer, self._vault)
                return pruned.carry_out(self._writer, pruning, opened=opened)

        return await self._write(work)

    async def hold(self) -> None:
        """Nobody can take the file's lock from this process."""
        await asyncio.Event().wait()

    async def aclose(self) -> None:
        """As `close`, while others go on."""
        await asyncio.to_thread(self.close)

    def close(self) -> None:
        """Finish what is being written, and let go of the store."""
        self._batches.close()
        self._writing.shutdown()
        self.close_reading()
        self._writer.close()
        self._persons.close()
        os.close(self._lock)

    def _append(self, given: Given, made: Batch | None) -> Admission:
        batch = self._batches.settled(self._state, given, made)
        try:
            self._commit(batch.admission, batch.rows, batch.seals)
        except sqlite3.IntegrityError:
            # An id that is there already: seldom, because the stream itself drops most of them.
            known = self._known_leaves(given)
            batch = self._batches.make(self._state, given, known)
            self._commit(batch.admission, batch.rows, batch.seals)
        return batch.admission

    def _known_leaves(self, given: Given) -> dict[EventKey, bytes]:
        """The leaves that were recorded under the ids of what was given."""
        known = {}
        for emitter, event_id, leaf, index in rows.known_leaves(
            self._writer, event_keys(given.drafts)
        ):
            (kept,) = stored_hashes(self._writer)([Node(0, index)])
            drafted = drafted_leaves(given.drafts, emitter, event_id)
            known[EventKey(emitter, event_id)] = recorded_leaf(leaf.encode(), drafted, kept)
        return known

    def _commit(self, admission: Admission, records: Sequence[Row], seals: Seals) -> None:
        database, state = self._writer, admission.state
        tiles = extend_tiles(self._tails, admission.completed)
        persons = self._vault.new_persons()
        if persons:
            save_persons(self._persons, persons)
        with transaction(database):
            rows.add_seals(database, seals)
            rows.insert_records(database, records)
            add_sightings(database, admission.records, size=state.frontier.size)
            rows.replace_tiles(database, tiles)
            rows.replace_channels(database, state, admission.changed)
            rows.add_gaps(database, admission.gaps)
            rows.add_receipts(database, admission.receipts, head=state.receipts)
            database.execute(
                "UPDATE log SET size = ?, root = ?, stream_id = ?, stream_sequence = ?, "
                "receipts = ?",
                (
                    state.frontier.size,
                    state.frontier.root(),
                    state.stream_id,
                    state.stream_sequence,
                    state.receipts.pack(),
                ),
            )
        self._vault.saved(persons, seals)
        self._state = state
        known = self._tails | tiles
        self._tails = {
            tile: known[tile] for tile in tail_tiles(state.frontier.size) if tile in known
        }

    async def _change(self, statement: str, values: tuple[object, ...]) -> None:
        def work() -> None:
            with transaction(self._writer):
                self._writer.execute(statement, values)

        await self._write(work)

    async def _write(self, work: Callable[[], ResultT]) -> ResultT:
        with translated():
            return await asyncio.get_running_loop().run_in_executor(self._writing, work)


def _load(connection: sqlite3.Connection) -> LogState:
    """The state, once the parts of the store are known to belong together."""
    _, size, root, state = rows.read_state(connection)
    count, last = connection.execute("SELECT count(*), max(idx) FROM records").fetchone()
    try:
        frontier = read_frontier(size, stored_hashes(connection))
    except LookupError as error:
        raise DamagedLogError(f"the tree has a hole: {error}") from error
    check_parts(size=size, root=Hash(root), count=count, last=last, frontier=frontier)
    return replace(state, frontier=frontier)
