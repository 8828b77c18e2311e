# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The log in PostgreSQL: rows by COPY, tree and place in the stream, in one transaction.

One session writes (`postgres_session`), a pool reads, each time a snapshot.  What is written goes
on to its end whoever stops waiting for it.  After a fault the store does not trust its memory: it
has the session back, or another one, and reads how far the log is before it writes again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import datetime
from typing import Final, TypeVar, cast

import asyncpg
from asyncpg import Connection, Pool, Record

from services.auditor.adapters import postgres_inventory as inventory
from services.auditor.adapters import postgres_rows as rows
from services.auditor.adapters.log_batches import Batch, Batches, Given
from services.auditor.adapters.log_rows import Row, read_gap
from services.auditor.adapters.postgres_pages import read_page
from services.auditor.adapters.postgres_schema import (
    MONTHS_AHEAD,
    make_partition,
    month_of,
    months_from,
)
from services.auditor.adapters.postgres_session import (
    ANSWER_SECONDS,
    CONNECT_SECONDS,
    Address,
    Session,
    begin,
    committing,
    demand_own,
    resume,
    settings,
    translated,
)
from services.auditor.admission import (
    EMPTY_LOG,
    Admission,
    Gap,
    LogState,
    event_keys,
    rewind,
)
from services.auditor.checkpoint import TreeHead
from services.auditor.inventory import FoundRuns, FoundSightings
from services.auditor.merkle import (
    Frontier,
    Hash,
    HashReader,
    Node,
    leaf_hash,
    prove_consistency,
    prove_inclusion,
    tree_root,
)
from services.auditor.query import RecordQuery, StoredRecord
from services.auditor.records import Draft, time_us_of
from services.auditor.store import (
    DamagedLogError,
    StoreFaultError,
    check_parts,
    check_root,
    check_size,
)
from services.auditor.tiles import Tile, extend_tiles, tail_tiles
from shared.contracts.events import Audience
from shared.contracts.inventory import HookPlace

READERS: Final = 4
BEATS: Final = 4
"""How often a holder says that it lives while it would be taken for dead."""
LEAVES_AT_ONCE: Final = 5_000

ResultT = TypeVar("ResultT")


class PostgresStore:
    """The log of one origin."""

    def __init__(self, address: Address, session: Session, pool: Pool[Record]) -> None:
        self._address: Final = address
        self._fence: Final = session.fence
        self._pool: Final = pool
        self._session: Session | None = session
        self._state = EMPTY_LOG
        self._tails: dict[Tile, bytes] = {}
        self._is_known = False
        self._months: set[tuple[int, int]] = set()
        self._batches: Final = Batches(rows.postgres_row)
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
            pool = asyncpg.create_pool(
                address.url,
                min_size=0,
                max_size=READERS,
                timeout=CONNECT_SECONDS,
                command_timeout=ANSWER_SECONDS,
                server_settings=settings(is_writing=False),
            )
            store = cls(address, session, await pool)
        async with AsyncExitStack() as undo:
            undo.push_async_callback(store.aclose)
            await store._check_parts()
            await store._write(lambda s: store._make_partitions(s, time_us_of(now)))
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
            await self._commit(session, admission, [])
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

    async def unannounced_gaps(self) -> list[tuple[int, Gap]]:
        """Gaps that were not said yet, with their numbers, oldest first."""
        async with self._reading() as db:
            found = await db.fetch(
                "SELECT number, gap FROM gaps WHERE NOT is_announced ORDER BY number"
            )
        return [(number, read_gap(text)) for number, text in found]

    async def newest_checkpoint(self) -> tuple[int, str] | None:
        """Size and note of the newest checkpoint."""
        async with self._reading() as db:
            found = await db.fetchrow(
                "SELECT size, note FROM checkpoints ORDER BY size DESC LIMIT 1"
            )
        return (found[0], found[1]) if found is not None else None

    async def page(self, query: RecordQuery) -> tuple[list[StoredRecord], int, bool]:
        """Matching records in the query's order; the tree's size; and whether more match."""
        async with self._reading() as db:
            return await read_page(db, query)

    async def record(self, index: int) -> StoredRecord | None:
        """One record; None if there is none at this index."""
        async with self._reading() as db:
            found = await db.fetchrow(f"{rows.SELECT_STORED} WHERE idx = $1", index)
        return rows.read_record(found) if found is not None else None

    async def of_emitter(self, emitter: str, actions: Sequence[str]) -> list[StoredRecord]:
        """Believed records of one emitter with one of the actions, oldest first."""
        async with self._reading() as db:
            found = await db.fetch(
                f"{rows.SELECT_STORED} WHERE action = ANY($1) AND emitter = $2 "
                "AND problem = '' ORDER BY idx",
                list(actions),
                emitter,
            )
        return [rows.read_record(row) for row in found]

    async def leaves(self, first: int, stop: int) -> list[bytes]:
        """The leaves from index `first` to before `stop`, which is at most the tree's size."""
        async with self._reading() as db:
            return await rows.read_leaves(db, first, stop)

    async def hashes(self, nodes: Sequence[Node]) -> list[Hash]:
        """Hashes of complete subtrees, in the order asked."""
        return await self._from_tree(lambda read: list(read(nodes)))

    async def sightings(
        self, at_us: int, *, audiences: frozenset[Audience], node: str, after: HookPlace | None
    ) -> FoundSightings:
        """The newest words on hook points up to a moment, the tree's size, whether that is all."""
        async with self._reading() as db:
            return await inventory.read_sightings(
                db, at_us, audiences=audiences, node=node, after=after
            )

    async def runs(
        self, digest: str, *, audiences: frozenset[Audience], after: HookPlace | None
    ) -> FoundRuns:
        """Every sighting of a digest on the next places, the tree's size, whether that is all."""
        async with self._reading() as db:
            return await inventory.read_runs(db, digest, audiences=audiences, after=after)

    async def root(self, size: int) -> Hash:
        """Root of the first `size` leaves, `size` being at most the tree's."""
        return await self._from_tree(lambda read: tree_root(size, read))

    async def inclusion(self, index: int, size: int) -> tuple[Hash, ...]:
        """Audit path of a leaf in the tree of the first `size` leaves."""
        return await self._from_tree(lambda read: prove_inclusion(index, size, read))

    async def consistency(self, old_size: int, new_size: int) -> tuple[Hash, ...]:
        """Proof that the smaller tree is a prefix of the larger one."""
        return await self._from_tree(lambda read: prove_consistency(old_size, new_size, read))

    async def check_against(self, head: TreeHead) -> None:
        """The log still begins with what `head` committed to."""
        check_size(head, size=self.size)
        check_root(head, root=await self.root(head.size))

    async def check_every_leaf(self) -> None:
        """Rows and tree belong together, every leaf hashed anew."""
        frontier = Frontier()
        async with self._reading() as db:
            root = await db.fetchval("SELECT root FROM log")
            leaves = db.cursor("SELECT leaf FROM records ORDER BY idx", prefetch=LEAVES_AT_ONCE)
            hashes: list[Hash] = []
            async for (leaf,) in leaves:
                hashes.append(leaf_hash(leaf.encode()))
                if len(hashes) == LEAVES_AT_ONCE:
                    frontier, _ = frontier.append(hashes)
                    hashes.clear()
        frontier, _ = frontier.append(hashes)
        if frontier.root() != root:
            raise DamagedLogError("the records are not those that the tree was built from")

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

    async def _from_tree(self, work: Callable[[HashReader], ResultT]) -> ResultT:
        async with self._reading() as db:
            return await rows.with_hashes(db, work)

    async def _append(self, session: Session, given: Given, made: Batch | None) -> Admission:
        batch = self._batches.settled(self._state, given, made)
        await self._make_partitions(session, given.received_us)
        try:
            await self._commit(session, batch.admission, batch.rows)
        except asyncpg.UniqueViolationError:
            # An id that is there already: seldom, because the stream itself drops most of them.
            known = await rows.known_leaves(session.connection, event_keys(given.drafts))
            batch = self._batches.make(self._state, given, known)
            await self._commit(session, batch.admission, batch.rows)
        return batch.admission

    async def _commit(self, session: Session, admission: Admission, records: Sequence[Row]) -> None:
        tiles = extend_tiles(self._tails, admission.completed)
        self._is_known = False
        size = admission.state.frontier.size
        async with session.connection.transaction():
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

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[Connection[Record]]:
        """A connection that shows one moment."""
        with translated():
            async with (
                self._pool.acquire(timeout=CONNECT_SECONDS) as connection,
                connection.transaction(isolation="repeatable_read", readonly=True),
            ):
                yield cast("Connection[Record]", connection)
