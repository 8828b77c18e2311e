# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What is read from the log in PostgreSQL: each answer is of one moment."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final, TypeVar, cast

import asyncpg
from asyncpg import Connection, Pool, Record

from services.auditor.adapters import postgres_inventory as inventory
from services.auditor.adapters import postgres_pruning as pruned
from services.auditor.adapters import postgres_prunings as prunings
from services.auditor.adapters import postgres_rows as rows
from services.auditor.adapters.log_rows import read_gap
from services.auditor.adapters.postgres_pages import read_actions, read_page
from services.auditor.adapters.postgres_session import (
    ANSWER_SECONDS,
    CONNECT_SECONDS,
    Address,
    settings,
    translated,
)
from services.auditor.adapters.postgres_timelines import read_spans
from services.auditor.admission import Gap
from services.auditor.inventory import FoundRuns, FoundSightings
from services.auditor.merkle import (
    Hash,
    HashReader,
    Node,
    prove_consistency,
    prove_inclusion,
    tree_root,
)
from services.auditor.persons.adapters.postgres_persons import read_words, with_words
from services.auditor.persons.masking import asked_in_tokens, with_messages
from services.auditor.persons.tokens import opened_bodies
from services.auditor.persons.vault import Vault
from services.auditor.query import RecordQuery, StoredRecord
from services.auditor.sightings import Sighting
from services.auditor.store import PrunedUntil
from services.auditor.told_places import Range, RanSpans
from shared.contracts.events import Audience
from shared.contracts.inventory import HookPlace

READERS: Final = 4

ResultT = TypeVar("ResultT")


async def reading_pool(address: Address) -> Pool[Record]:
    """Connections that read; each is made when it is first needed."""
    return await asyncpg.create_pool(
        address.url,
        min_size=0,
        max_size=READERS,
        timeout=CONNECT_SECONDS,
        command_timeout=ANSWER_SECONDS,
        server_settings=settings(is_writing=False),
    )


class PostgresReading:
    """Answers from one database."""

    def __init__(self, pool: Pool[Record], vault: Vault) -> None:
        self._pool: Final = pool
        self._vault: Final = vault

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
            page, size, more = await read_page(db, asked_in_tokens(query, self._vault))
            return await with_words(db, self._vault, page), size, more

    async def record(self, index: int) -> StoredRecord | None:
        """One record; None if there is none at this index."""
        async with self._reading() as db:
            found = await db.fetch(f"{rows.SELECT_STORED} WHERE idx = $1", index)
            kept = await rows.with_kept_hashes(db, [rows.read_record(row) for row in found])
            stored = await with_words(db, self._vault, kept)
        return stored[0] if stored else None

    async def of_actions(
        self, actions: Sequence[str], *, emitter: str = "", first: int = 0, stop: int | None = None
    ) -> list[StoredRecord]:
        """Believed records with one of the actions, oldest first."""
        async with self._reading() as db:
            stored = await read_actions(db, actions, emitter, first, stop)
            return await with_words(db, self._vault, stored)

    async def kept(self, indexes: Sequence[int]) -> list[StoredRecord]:
        """Records as the store keeps them, by index: for an archive, and not to be shown."""
        async with self._reading() as db:
            found = await db.fetch(
                f"{rows.SELECT_STORED} WHERE idx = ANY($1) ORDER BY idx", list(indexes)
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
            found, size, is_all = await inventory.read_sightings(
                db, at_us, audiences=audiences, node=node, after=after
            )
            bodies = [one.body for one in found]
            words = await read_words(db, self._vault, bodies)
        return with_messages(found, opened_bodies(bodies, words)), size, is_all

    async def runs(
        self, digest: str, *, audiences: frozenset[Audience], after: HookPlace | None
    ) -> FoundRuns:
        """Every sighting of a digest on the next places, the tree's size, whether that is all."""
        async with self._reading() as db:
            return await inventory.read_runs(db, digest, audiences=audiences, after=after)

    async def spans(
        self, asked: Range, *, audiences: frozenset[Audience], wanted: Callable[[str], bool]
    ) -> RanSpans:
        """What ran within a range of time on the nodes that are wanted."""
        async with self._reading() as db:
            return await read_spans(db, asked, audiences=audiences, wanted=wanted)

    async def standing(self, said: Sequence[tuple[Sighting, int]]) -> frozenset[int]:
        """Records without which it would not be known what ran at the given times and since."""
        async with self._reading() as db:
            return await pruned.standing(db, said)

    async def carried_out(self) -> frozenset[int]:
        """Records that said prunings which were carried out."""
        async with self._reading() as db:
            return await prunings.carried_out(db)

    async def pruned_until(self, audiences: frozenset[Audience]) -> PrunedUntil:
        """Up to when records of these audiences may be missing."""
        async with self._reading() as db:
            return await prunings.pruned_until(db, audiences)

    async def root(self, size: int) -> Hash:
        """Root of the first `size` leaves, `size` being at most the tree's."""
        return await self._from_tree(lambda read: tree_root(size, read))

    async def inclusion(self, index: int, size: int) -> tuple[Hash, ...]:
        """Audit path of a leaf in the tree of the first `size` leaves."""
        return await self._from_tree(lambda read: prove_inclusion(index, size, read))

    async def consistency(self, old_size: int, new_size: int) -> tuple[Hash, ...]:
        """Proof that the smaller tree is a prefix of the larger one."""
        return await self._from_tree(lambda read: prove_consistency(old_size, new_size, read))

    async def _from_tree(self, work: Callable[[HashReader], ResultT]) -> ResultT:
        async with self._reading() as db:
            return await rows.with_hashes(db, work)

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[Connection[Record]]:
        """A connection that shows one moment."""
        with translated():
            async with (
                self._pool.acquire(timeout=CONNECT_SECONDS) as connection,
                connection.transaction(isolation="repeatable_read", readonly=True),
            ):
                yield cast("Connection[Record]", connection)
