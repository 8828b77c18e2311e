# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What is read from the log on disk: each answer is of one moment, whatever is written."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

from services.auditor.adapters import sqlite_pruning as pruned
from services.auditor.adapters import sqlite_prunings as prunings
from services.auditor.adapters.log_rows import STORED, json_text, read_gap, stored_record
from services.auditor.adapters.sqlite_database import connect, snapshot, translated
from services.auditor.adapters.sqlite_inventory import read_runs, read_sightings
from services.auditor.adapters.sqlite_pages import read_actions, read_page, stored_hashes, with_hash
from services.auditor.adapters.sqlite_timelines import read_spans
from services.auditor.admission import Gap
from services.auditor.inventory import FoundRuns, FoundSightings
from services.auditor.merkle import Hash, Node, prove_consistency, prove_inclusion, tree_root
from services.auditor.persons.adapters.sqlite_persons import read_words, with_words
from services.auditor.persons.masking import asked_in_tokens, with_messages
from services.auditor.persons.tokens import opened_bodies
from services.auditor.persons.vault import Vault
from services.auditor.query import RecordQuery, StoredRecord
from services.auditor.sightings import Sighting
from services.auditor.store import PrunedUntil
from services.auditor.told_places import Range, RanSpans
from shared.contracts.events import Audience
from shared.contracts.inventory import HookPlace

READERS: Final = 2

ResultT = TypeVar("ResultT")


class SqliteReading:
    """Answers from one file, by threads of its own."""

    def __init__(self, path: Path, vault: Vault) -> None:
        self._path: Final = path
        self._vault: Final = vault
        self._reading: Final = ThreadPoolExecutor(READERS, thread_name_prefix="log-reader")
        self._local: Final = threading.local()
        self._readers: Final[list[sqlite3.Connection]] = []

    async def unannounced_gaps(self) -> list[tuple[int, Gap]]:
        """Gaps that were not said yet, with their numbers, oldest first."""
        found = await self._read(
            lambda db: db.execute(
                "SELECT number, gap FROM gaps WHERE is_announced = 0 ORDER BY number"
            ).fetchall()
        )
        return [(number, read_gap(text)) for number, text in found]

    async def newest_checkpoint(self) -> tuple[int, str] | None:
        """Size and note of the newest checkpoint."""

        def read(connection: sqlite3.Connection) -> tuple[int, str] | None:
            found: tuple[int, str] | None = connection.execute(
                "SELECT size, note FROM checkpoints ORDER BY size DESC LIMIT 1"
            ).fetchone()
            return found

        return await self._read(read)

    async def page(self, query: RecordQuery) -> tuple[list[StoredRecord], int, bool]:
        """Matching records in the query's order; the tree's size; and whether more match."""

        def read(connection: sqlite3.Connection) -> tuple[list[StoredRecord], int, bool]:
            page, size, more = read_page(connection, asked_in_tokens(query, self._vault))
            return with_words(connection, self._vault, page), size, more

        return await self._read(read)

    async def record(self, index: int) -> StoredRecord | None:
        """One record; None if there is none at this index."""

        def read(connection: sqlite3.Connection) -> StoredRecord | None:
            row = connection.execute(
                f"SELECT {STORED} FROM records WHERE idx = ?",  # noqa: S608 # a constant
                (index,),
            ).fetchone()
            kept = [with_hash(connection, stored_record(row))] if row else []
            return next(iter(with_words(connection, self._vault, kept)), None)

        return await self._read(read)

    async def of_actions(
        self, actions: Sequence[str], *, emitter: str = "", first: int = 0, stop: int | None = None
    ) -> list[StoredRecord]:
        """Believed records with one of the actions, oldest first."""

        def read(connection: sqlite3.Connection) -> list[StoredRecord]:
            stored = read_actions(connection, actions, emitter, first, stop)
            return with_words(connection, self._vault, stored)

        return await self._read(read)

    async def kept(self, indexes: Sequence[int]) -> list[StoredRecord]:
        """Records as the store keeps them, by index: for an archive, and not to be shown."""
        found = await self._read(
            lambda db: db.execute(
                f"SELECT {STORED} FROM records "  # noqa: S608 # a constant
                "WHERE idx IN (SELECT value FROM json_each(?)) ORDER BY idx",
                (json_text(list(indexes)),),
            ).fetchall()
        )
        return [stored_record(row) for row in found]

    async def leaves(self, first: int, stop: int) -> list[bytes]:
        """The leaves from index `first` to before `stop`, which is at most the tree's size."""
        found = await self._read(
            lambda db: db.execute(
                "SELECT leaf FROM records WHERE idx >= ? AND idx < ? ORDER BY idx", (first, stop)
            ).fetchall()
        )
        return [leaf.encode() for (leaf,) in found]

    async def hashes(self, nodes: Sequence[Node]) -> list[Hash]:
        """Hashes of complete subtrees, in the order asked."""
        return await self._read(lambda db: list(stored_hashes(db)(nodes)))

    async def sightings(
        self, at_us: int, *, audiences: frozenset[Audience], node: str, after: HookPlace | None
    ) -> FoundSightings:
        """The newest words on hook points up to a moment, the tree's size, whether that is all."""

        def read(connection: sqlite3.Connection) -> FoundSightings:
            found, size, is_all = read_sightings(
                connection, at_us, audiences=audiences, node=node, after=after
            )
            bodies = [one.body for one in found]
            words = read_words(connection, self._vault, bodies)
            return with_messages(found, opened_bodies(bodies, words)), size, is_all

        return await self._read(read)

    async def runs(
        self, digest: str, *, audiences: frozenset[Audience], after: HookPlace | None
    ) -> FoundRuns:
        """Every sighting of a digest on the next places, the tree's size, whether that is all."""
        return await self._read(lambda db: read_runs(db, digest, audiences=audiences, after=after))

    async def spans(
        self, asked: Range, *, audiences: frozenset[Audience], wanted: Callable[[str], bool]
    ) -> RanSpans:
        """What ran within a range of time on the nodes that are wanted."""
        return await self._read(
            lambda db: read_spans(db, asked, audiences=audiences, wanted=wanted)
        )

    async def standing(self, said: Sequence[tuple[Sighting, int]]) -> frozenset[int]:
        """Records without which it would not be known what ran at the given times and since."""
        return await self._read(lambda db: pruned.standing(db, said))

    async def carried_out(self) -> frozenset[int]:
        """Records that said prunings which were carried out."""
        return await self._read(prunings.carried_out)

    async def pruned_until(self, audiences: frozenset[Audience]) -> PrunedUntil:
        """Up to when records of these audiences may be missing."""
        return await self._read(lambda db: prunings.pruned_until(db, audiences))

    async def root(self, size: int) -> Hash:
        """Root of the first `size` leaves, `size` being at most the tree's."""
        return await self._read(lambda db: tree_root(size, stored_hashes(db)))

    async def inclusion(self, index: int, size: int) -> tuple[Hash, ...]:
        """Audit path of a leaf in the tree of the first `size` leaves."""
        return await self._read(lambda db: prove_inclusion(index, size, stored_hashes(db)))

    async def consistency(self, old_size: int, new_size: int) -> tuple[Hash, ...]:
        """Proof that the smaller tree is a prefix of the larger one."""
        return await self._read(lambda db: prove_consistency(old_size, new_size, stored_hashes(db)))

    async def _read(self, work: Callable[[sqlite3.Connection], ResultT]) -> ResultT:
        def read() -> ResultT:
            connection = getattr(self._local, "connection", None)
            if connection is None:
                connection = self._local.connection = connect(self._path)
                connection.execute("PRAGMA query_only = ON")
                self._readers.append(connection)
            with snapshot(connection):
                return work(connection)

        with translated():
            return await asyncio.get_running_loop().run_in_executor(self._reading, read)

    def close_reading(self) -> None:
        """What is being read is finished."""
        self._reading.shutdown()
        for connection in self._readers:
            connection.close()
