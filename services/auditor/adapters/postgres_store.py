# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The log in PostgreSQL: rows by COPY, tree and place in the stream, in one transaction.

One session writes (`postgres_session`), a pool reads, each time a snapshot.  What is written goes
on to its end whoever stops waiting for it.  After a fault the store does not trust its memory: it
has the session back, or another one, and reads how far the log is before it writes again.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from datetime import datetime
from functools import partial
from typing import Final, TypeVar

import asyncpg
from asyncpg import Connection, Pool, Record

from services.auditor.adapters import postgres_inventory as inventory
from services.auditor.adapters import postgres_pruning as pruned
from services.auditor.adapters import postgres_rows as rows
from services.auditor.adapters.log_batches import Batch, Batches, Given
from services.auditor.adapters.log_rows import Row
from services.auditor.adapters.postgres_reading import PostgresReading, reading_pool
from services.auditor.adapters.postgres_schema import (
    MONTHS_AHEAD,
    make_partition,
    month_of,
    months_from,
)
from services.auditor.adapters.postgres_session import (
    Address,
    Session,
    begin,
    committing,
    demand_own,
    resume,
    translated,
)
from services.auditor.admission import (
    EMPTY_LOG,
    Admission,
    LogState,
    rewind,
)
from services.auditor.checkpoint import TreeHead
from services.auditor.merkle import (
    Frontier,
    Node,
    leaf_hash,
)
from services.auditor.persons.adapters.postgres_erasure import (
    erase,
    finish_erasures,
    unsaid_erasures,
)
from services.auditor.persons.adapters.postgres_masking import mask_earlier
from services.auditor.persons.adapters.postgres_persons import (
    open_vault,
    save_words,
    with_words,
)
from services.auditor.persons.erasing import Asked, Erased
from services.auditor.persons.vault import Seals, Vault
from services.auditor.records import Draft, time_us_of
from services.auditor.retention.remains import is_remains, own_pruning
from services.auditor.store import (
    DamagedLogError,
    StoreFaultError,
    check_parts,
    check_root,
    check_size,
)
from services.auditor.tiles import Tile, extend_tiles, tail_tiles
from shared.contracts.events import EventBody

BEATS: Final = 4
"""How often a holder says that it lives while it would be taken for dead."""
LEAVES_AT_ONCE: Final = 5_000

ResultT = TypeVar("ResultT")


class PostgresStore(PostgresReading):
    """The log of one origin."""

    def __init__(
        self, address: Address, session: Session, pool: Pool[Record], vault: Vault
    ) -> None:
        super().__init__(pool, vault)
        self._address: Final = address
        self._fence: Final = session.fence
        self._session: Session | None = session
        self._state = EMPTY_LOG
        self._tails: dict[Tile, bytes] = {}
        self._is_known = False
        self._months: set[tuple[int, int]] = set()
        self._batches: Final = Batches(rows.postgres_row, vault)
        self._turn: Final = asyncio.Lock()
        self._writes: Final[set[asyncio.Task[object]]] = set()

    @classmethod
    async def open(
        cls, address: Address, *, origin: str, now: datetime, stop: asyncio.Event | None = None
    ) -> PostgresStore:
        """The store in the database, its tables made if they are not there.

        Waits while another process has the log and gives signs of life.

        Raises:
            StoreFaultError: The database cannot be reached or used.
            DamagedLogError: Rows, tree and root do not belong together.
            RefusedError: The store is another log's, or a later release's.
            StoppedError: `stop` was set while another process had the log.
        """
        with translated():
            session = await begin(address, origin=origin, stop=stop)
            vault = await open_vault(session.connection, secrets.token_bytes)
            store = cls(address, session, await reading_pool(address), vault)
        async with AsyncExitStack() as undo:
            undo.push_async_callback(store.aclose)
            await store._check_parts()
            await store._write(lambda s: store._make_partitions(s, time_us_of(now)))
            await store._write(lambda s: mask_earlier(s, vault))
            await store._write(lambda s: finish_erasures(s, vault))
            undo.pop_all()
        return store

    @property
    def state(self) -> LogState:
        """As of the last commit that this process knows of."""
        return self._state

    @property
    def size(self) -> int:
        """Leaves in the tree."""
        return self._state.frontier.size

    async def append(self, drafts: Sequence[Draft], *, after: int, now: datetime) -> Admission:
        """Keep the messages that are new, and the place in the stream, or nothing."""
        given = Given(drafts, after, time_us_of(now))
        made = await self._batches.ahead(self._state, given)
        return await self._write(lambda s: self._append(s, given, made))

    async def start_stream(self, stream_id: str, *, last_sequence: int) -> Admission:
        """Go on from the beginning of a stream that is not the one read so far."""

        async def work(session: Session) -> Admission:
            admission = rewind(self._state, stream_id=stream_id, last_sequence=last_sequence)
            await self._commit(session, admission, [], Seals())
            return admission

        return await self._write(work)

    async def keep_checkpoint(
        self, size: int, note: str, *, signed_at: datetime, receipts: str = ""
    ) -> None:
        """Keep the signed head of the first `size` leaves."""
        values = (size, note, time_us_of(signed_at), receipts)
        await self._change(rows.KEEP_CHECKPOINT, *values)

    async def replace_note(self, size: int, note: str) -> None:
        """The head of so many leaves has this note."""
        await self._change("UPDATE checkpoints SET note = $2 WHERE size = $1", size, note)

    async def mark_announced(self, number: int) -> None:
        """The gap with this number was said."""
        await self._change("UPDATE gaps SET is_announced = true WHERE number = $1", number)

    async def erase(self, asked: Asked) -> Erased:
        """Somebody is nowhere in the log; nothing else is kept meanwhile."""
        return await self._write(lambda session: erase(session, self._vault, asked))

    async def unsaid_erasures(self) -> list[tuple[int, EventBody]]:
        """Erasures that were not said yet, with their numbers, oldest first."""
        async with self._reading() as db:
            return await unsaid_erasures(db)

    async def mark_erasure_said(self, number: int) -> None:
        """The erasure with this number was said."""
        await self._change("DELETE FROM erasures WHERE number = $1", number)

    async def check_against(self, head: TreeHead) -> None:
        """The log still begins with what `head` committed to."""
        check_size(head, size=self.size)
        check_root(head, root=await self.root(head.size))

    async def check_every_leaf(self) -> None:
        """Rows and tree belong together, every leaf hashed anew."""
        frontier = Frontier()
        async with self._reading() as db:
            root = await db.fetchval("SELECT root FROM log")
            leaves = await db.cursor("SELECT idx, leaf FROM records ORDER BY idx")
            while some := await leaves.fetch(LEAVES_AT_ONCE):
                kept = [Node(0, index) for index, leaf in some if is_remains(leaf.encode())]
                known = dict(zip(kept, await rows.hashes_of(db, kept), strict=True))
                frontier, _ = frontier.append(
                    known.get(Node(0, index)) or leaf_hash(leaf.encode()) for index, leaf in some
                )
        if frontier.root() != root:
            raise DamagedLogError("the records are not those that the tree was built from")

    async def prune(self, record: int) -> int:
        """What this record says is pruned, but for what is held; how many records."""
        pruning = own_pruning(await self.record(record))

        async def work(session: Session) -> int:
            async with committing(session) as db:
                opened = partial(with_words, db, self._vault)
                return await pruned.carry_out(db, pruning, opened=opened)

        return await self._write(work)

    async def hold(self) -> None:
        """Never returns: the database knows that this process lives."""
        while True:
            with suppress(StoreFaultError):  # whoever writes says so; here it is tried again
                await self._write(self._beat)
            await asyncio.sleep(self._address.lapse_seconds / BEATS)

    async def aclose(self) -> None:
        """What is being written is finished, and the log is let go of."""
        await asyncio.gather(*self._writes, return_exceptions=True)
        self._batches.close()
        self._lose_session()
        self._pool.terminate()

    async def _append(self, session: Session, given: Given, made: Batch | None) -> Admission:
        batch = self._batches.settled(self._state, given, made)
        await self._make_partitions(session, given.received_us)
        try:
            await self._commit(session, batch.admission, batch.rows, batch.seals)
        except asyncpg.UniqueViolationError:
            # An id that is there already: seldom, because the stream itself drops most of them.
            known = await rows.known_leaves(session.connection, given.drafts)
            batch = self._batches.make(self._state, given, known)
            await self._commit(session, batch.admission, batch.rows, batch.seals)
        return batch.admission

    async def _commit(
        self, session: Session, admission: Admission, records: Sequence[Row], seals: Seals
    ) -> None:
        tiles = extend_tiles(self._tails, admission.completed)
        self._is_known = False
        size = admission.state.frontier.size
        persons = self._vault.new_persons()
        async with session.connection.transaction():
            await save_words(session.connection, persons, seals)
            await inventory.add_sightings(session.connection, admission.records)
            demand_own(
                await rows.write_batch(
                    session.connection,
                    admission,
                    records,
                    tiles,
                    fence=session.fence,
                )
            )
        self._vault.saved(persons, seals)
        known = self._tails | tiles
        self._tails = {tile: known[tile] for tile in tail_tiles(size) if tile in known}
        self._state = admission.state
        self._is_known = True

    async def _make_partitions(self, session: Session, received_us: int) -> None:
        """There is a place for what is received now, and in the months to come."""
        for month in months_from(month_of(received_us), 1 + MONTHS_AHEAD):
            if month not in self._months:
                await make_partition(session.connection, month)
                self._months.add(month)

    async def _beat(self, session: Session) -> None:
        async with committing(session):
            pass

    async def _change(self, statement: str, *values: object) -> None:
        async def work(session: Session) -> None:
            async with committing(session) as db:
                await db.execute(statement, *values)

        await self._write(work)

    async def _write(self, work: Callable[[Session], Awaitable[ResultT]]) -> ResultT:
        """What `work` gives, in its turn; it goes on even if nobody waits for it any more."""

        async def in_turn() -> ResultT:
            async with self._turn:
                with translated():
                    return await work(await self._ready())

        task = asyncio.create_task(in_turn())
        self._writes.add(task)
        task.add_done_callback(self._writes.discard)
        return await asyncio.shield(task)

    async def _ready(self) -> Session:
        """The session that may write, and the state as the database has it."""
        session = self._session
        if session is not None and session.connection.is_closed():
            self._lose_session()
            session = None
        if session is None:
            session = self._session = await resume(self._address, fence=self._fence)
            self._is_known = False
        if not self._is_known:
            await self._read_state(session.connection)
        return session

    async def _read_state(self, connection: Connection[Record]) -> None:
        try:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                root, state = await rows.read_state(connection)
                tails = await rows.read_tiles(connection, tail_tiles(state.frontier.size))
        except LookupError as error:
            raise DamagedLogError(f"the tree has a hole: {error}") from error
        if state.frontier.root() != root:
            raise DamagedLogError("the tree does not lead to the log's root")
        self._state, self._tails, self._is_known = state, tails, True
        self._months.clear()

    async def _check_parts(self) -> None:
        async def work(session: Session) -> None:
            row = await session.connection.fetchrow("SELECT count(*), max(idx) FROM records")
            assert row is not None
            root, frontier = self._state.frontier.root(), self._state.frontier
            check_parts(size=self.size, root=root, count=row[0], last=row[1], frontier=frontier)

        await self._write(work)

    def _lose_session(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.connection.terminate()
