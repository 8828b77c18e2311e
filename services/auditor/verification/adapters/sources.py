# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A store of the log as it lies there, read without opening it as a log.

SQLite and PostgreSQL have the same tables, so every question is put once.  Nothing is written, no
lock is taken; the auditor may go on while its log is read.
"""

from __future__ import annotations

import asyncio
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import asyncpg
from asyncpg import Connection

from services.auditor.adapters import postgres_session, sqlite_database
from services.auditor.adapters.log_rows import (
    BLOCK_RECORDS,
    pruned_row,
    read_gap,
    read_ranges,
    record_row,
)
from services.auditor.adapters.postgres_rows import postgres_row, postgres_values
from services.auditor.adapters.postgres_schema import FORMAT
from services.auditor.adapters.sqlite_rows import SCHEMA_VERSION
from services.auditor.admission import Channel, Gap, Ranges, Record
from services.auditor.config import postgres_url
from services.auditor.merkle import HASH_BYTES, Hash
from services.auditor.persons.adapters.postgres_persons import kept_vault
from services.auditor.persons.adapters.sqlite_persons import vault_beside
from services.auditor.persons.masking import Masking
from services.auditor.persons.vault import Seals, Vault
from services.auditor.receipts import Receipt, unpack_head
from services.auditor.tiles import TILE_WIDTH, Tile
from services.auditor.verification.adapters.exact_reading import ExactReader
from services.auditor.verification.heads import KeptHead
from services.auditor.verification.problems import Problem
from services.auditor.verification.prunings import CarriedOut
from services.auditor.verification.sequences import channel_name
from services.auditor.verification.snapshot import LogSnapshot, likely_size
from shared.errors import RefusedError

DATABASE_FILE: Final = "log.db"
MAX_BEYOND: Final = 100
RECEIPTS_AT_ONCE: Final = 50_000
READ_SECONDS: Final = 300.0

ValueT = TypeVar("ValueT")


class LogSource(ABC):
    """The tables of one log."""

    columns: tuple[str, ...]
    """Of the table of records."""
    tables: frozenset[str]
    """Their names."""

    vault: Vault
    """The keys of persons that are there."""

    @abstractmethod
    def plain_row_of(self, record: Record, received_us: int) -> tuple[Any, ...]:
        """The row of a record, with every word as its message has it."""

    def row_of(self, record: Record, received_us: int) -> tuple[Any, ...]:
        """The row that a store writes of a record."""
        return Masking(self.vault, Seals()).row(record, self.plain_row_of(record, received_us))

    @abstractmethod
    def pruned_row_of(
        self, index: int, leaf: bytes, received_us: int, stream_sequence: int
    ) -> tuple[Any, ...]:
        """The row that a store leaves of a pruned record."""

    @abstractmethod
    def fetch(self, statement: str) -> list[Any]:
        """Rows of one statement."""

    @abstractmethod
    def close(self) -> None:
        """Let go of it."""

    format_statement: str
    """Gives the format that the log has."""
    known_format: int

    def check_format(self) -> None:
        """The tables are those of this release.

        Raises:
            RefusedError: They are not.
        """
        ((found,),) = self.fetch(self.format_statement)
        if found != self.known_format:
            raise RefusedError(
                f"the log is of format {found}; this release verifies format "
                f"{self.known_format}: start this release's auditor on it, or verify it with the "
                "release that wrote it"
            )

    def query(self, statement: str, *numbers: int) -> list[Any]:
        """Rows of a statement with `{:d}` for each number: both databases read that alike."""
        return self.fetch(statement.format(*numbers))

    def rows(self, first: int, stop: int) -> list[Any]:
        """Whole records, by index."""
        return self.query(
            "SELECT * FROM records WHERE idx >= {:d} AND idx < {:d} ORDER BY idx", first, stop
        )

    def leaves(self, ranges: Iterable[tuple[int, int]]) -> list[bytes]:
        """Of all records in the ranges that there are, in order."""
        return [
            leaf.encode("utf-8", "surrogateescape")
            for first, last in ranges
            for (leaf,) in self.query(
                "SELECT leaf FROM records WHERE idx >= {:d} AND idx <= {:d} ORDER BY idx",
                first,
                last,
            )
        ]

    def tiles(self, wanted: Sequence[Tile]) -> dict[Tile, bytes]:
        """Those of `wanted` that exist."""
        found: dict[Tile, bytes] = {}
        for level in {tile.level for tile in wanted}:
            places = [tile.offset for tile in wanted if tile.level == level]
            marks = ",".join(["{:d}"] * len(places))
            rows = self.query(
                "SELECT position, hashes FROM tiles WHERE level = {:d} "  # noqa: S608 # marks
                f"AND position IN ({marks})",
                level,
                *places,
            )
            found |= {Tile(level, position): bytes(hashes) for position, hashes in rows}
        return found

    @contextmanager
    def moment(self) -> Iterator[None]:
        """What is read inside is of one moment; the log may grow meanwhile."""
        self.query(self.begin)
        try:
            yield
        finally:
            self.query("COMMIT")

    begin = "BEGIN"
    """Begins a transaction that reads as of one moment."""

    def receipts(self) -> Iterator[tuple[int, Receipt]]:
        """Every receipt with its number, by number."""
        behind = "TRUE"
        while True:
            rows = self.query(
                "SELECT number, idx, received_us, stream_sequence, stream_id FROM receipts "  # noqa: S608
                f"WHERE {behind} ORDER BY number LIMIT {{:d}}",
                RECEIPTS_AT_ONCE,
            )
            for number, *receipt in rows:
                yield number, Receipt(*receipt)
            if len(rows) < RECEIPTS_AT_ONCE:
                return
            behind = f"number > {rows[-1][0]}"

    def snapshot(self) -> LogSnapshot:
        """Everything but the records, the lowest tiles, receipts and what ran where."""
        logs = self.query(
            "SELECT one, origin, size, root, stream_id, stream_sequence, receipts FROM log"
        )
        if len(logs) != 1:
            raise RefusedError(f"the store holds {len(logs)} logs, not one")
        one, origin, said_size, root, stream_id, stream_sequence, receipts = logs[0]
        size = self._size(said_size)
        channels = self.query("SELECT emitter, audience, head, missing FROM channels")
        gaps = self.query("SELECT number, gap, is_announced FROM gaps ORDER BY number")
        checkpoints = self.query(
            "SELECT size, note, signed_us, receipts FROM checkpoints ORDER BY size"
        )
        spans = self.query("SELECT block, first_us, last_us FROM spans")
        upper = self.query("SELECT level, position, hashes FROM tiles WHERE level <> 0")
        width = -(-size // TILE_WIDTH)
        # Put as one condition, the whole log would be read.
        beyond = [
            row
            for condition in ("idx < 0", f"idx >= {size}")
            for row in self.query(
                f"SELECT idx FROM records WHERE {condition} ORDER BY idx LIMIT {{:d}}",  # noqa: S608
                MAX_BEYOND,
            )
        ]
        lowest_beyond = self.query(
            "SELECT position FROM tiles WHERE level = 0 AND (position < 0 OR "
            "position >= {:d}) ORDER BY position LIMIT {:d}",
            width,
            MAX_BEYOND,
        )
        unreadable: list[Problem] = []
        read = ExactReader(unreadable)
        missing: dict[Channel, Ranges] = {}
        for emitter, audience, _, text in channels:
            channel = Channel(emitter, audience)
            ranges = read("channel", channel_name(channel), "missing", text, read_ranges)
            missing[channel] = ranges or ()
        if one != 1:
            unreadable.append(Problem("log", "", "one", f"it is {one} and not 1"))
        read_gaps: list[tuple[int, Gap]] = []
        wrong = [number for place, (number, *_) in enumerate(gaps, 1) if number != place]
        if wrong:
            why = "it does not follow the number of the one before"
            unreadable.append(Problem("gap", str(wrong[0]), "number", why))
        for number, text, is_announced in gaps:
            if is_announced not in {0, 1}:
                why = f"it is {is_announced}, neither 0 nor 1"
                unreadable.append(Problem("gap", str(number), "is_announced", why))
            gap = read("gap", str(number), "gap", text, read_gap)
            if gap is not None:
                read_gaps.append((number, gap))
        return LogSnapshot(
            origin=origin,
            said_size=said_size,
            size=size,
            root=Hash(bytes(root)),
            stream_id=stream_id,
            stream_sequence=stream_sequence,
            receipts=unpack_head(bytes(receipts)),
            columns=self.columns,
            heads={Channel(emitter, audience): head for emitter, audience, head, _ in channels},
            missing=missing,
            gaps=read_gaps,
            announced=frozenset(number for number, _, is_announced in gaps if is_announced),
            checkpoints=[
                KeptHead(note, "", at, signed_us, statement)
                for at, note, signed_us, statement in checkpoints
            ],
            upper_tiles={Tile(level, place): bytes(data) for level, place, data in upper},
            beyond=[index for (index,) in beyond],
            lowest_beyond=[position for (position,) in lowest_beyond],
            spans={block: (first, last) for block, first, last in spans},
            spans_beyond=[block for block, *_ in spans if not 0 <= block * BLOCK_RECORDS < size],
            prunings=[
                CarriedOut(*row)
                for row in self.query(
                    "SELECT record, audience, through_us, ran_before_us FROM prunings "
                    "ORDER BY record"
                )
            ],
            unreadable=unreadable,
        )

    def _size(self, said: int) -> int:
        ((last,),) = self.query("SELECT max(idx) FROM records")
        tails = self.query(
            "SELECT position, length(hashes) FROM tiles WHERE level = 0 "
            "ORDER BY position DESC LIMIT 1"
        )
        tiles = [place * TILE_WIDTH + width // HASH_BYTES for place, width in tails]
        rows = 0 if last is None else last + 1
        return likely_size(said, rows=rows, tiles=max(tiles, default=0))


class SqliteSource(LogSource):
    """A file: the log itself, or a copy of it."""

    format_statement = "PRAGMA user_version"
    known_format = SCHEMA_VERSION

    def __init__(self, path: Path) -> None:
        wal = path.with_name(f"{path.name}-wal")
        # A file that nobody has open may lie where nothing can be written, as a backup does.
        mode = "ro" if wal.exists() else "ro&immutable=1"
        uri = f"{path.absolute().as_uri()}?mode={mode}"
        self._connection: Final = sqlite3.connect(uri, uri=True, isolation_level=None)
        cursor = self._connection.execute("SELECT * FROM records LIMIT 0")
        self.columns = tuple(column[0] for column in cursor.description)
        tables = self.fetch("SELECT name FROM sqlite_master WHERE type = 'table'")
        self.tables = frozenset(name for (name,) in tables)
        self.vault = vault_beside(path)

    def plain_row_of(self, record: Record, received_us: int) -> tuple[Any, ...]:
        """The row of a record, with every word as its message has it."""
        return record_row(record, received_us)

    def pruned_row_of(
        self, index: int, leaf: bytes, received_us: int, stream_sequence: int
    ) -> tuple[Any, ...]:
        """The row that a store leaves of a pruned record."""
        return pruned_row(index, leaf, received_us=received_us, stream_sequence=stream_sequence)

    def fetch(self, statement: str) -> list[Any]:
        """Rows of one statement; text that is no UTF-8 comes as Python can hold it."""
        self._connection.text_factory = str
        try:
            return self._connection.execute(statement).fetchall()
        except sqlite3.OperationalError as error:
            if "UTF-8" not in str(error):
                raise
        self._connection.text_factory = lambda data: data.decode("utf-8", "surrogateescape")
        return self._connection.execute(statement).fetchall()

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()


class PostgresSource(LogSource):
    """A database."""

    begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
    format_statement = "SELECT format FROM log"
    known_format = FORMAT

    def __init__(self, url: str) -> None:
        self._loop: Final = asyncio.new_event_loop()
        self._connection: Final[Connection[asyncpg.Record]] = self._loop.run_until_complete(
            asyncpg.connect(
                url,
                timeout=postgres_session.CONNECT_SECONDS,
                command_timeout=READ_SECONDS,
                server_settings=postgres_session.settings(is_writing=False),
            )
        )
        statement = self._wait(self._connection.prepare("SELECT * FROM records LIMIT 0"))
        self.columns = tuple(attribute.name for attribute in statement.get_attributes())
        tables = self.fetch("SELECT relname FROM pg_class WHERE pg_table_is_visible(oid)")
        self.tables = frozenset(name for (name,) in tables)
        self.vault = self._wait(kept_vault(self._connection))

    def plain_row_of(self, record: Record, received_us: int) -> tuple[Any, ...]:
        """The row of a record, with every word as its message has it."""
        return postgres_row(record, received_us)

    def pruned_row_of(
        self, index: int, leaf: bytes, received_us: int, stream_sequence: int
    ) -> tuple[Any, ...]:
        """The row that a store leaves of a pruned record."""
        row = pruned_row(index, leaf, received_us=received_us, stream_sequence=stream_sequence)
        return postgres_values(row)

    def fetch(self, statement: str) -> list[Any]:
        """Rows of one statement."""
        return [tuple(row) for row in self._wait(self._connection.fetch(statement))]

    def close(self) -> None:
        """End the session."""
        self._wait(self._connection.close())
        self._loop.close()

    def _wait(self, work: Coroutine[Any, Any, ValueT]) -> ValueT:
        return self._loop.run_until_complete(work)


@contextmanager
def opened(place: str) -> Iterator[LogSource]:
    """The store at `place`: a directory with a log, its file, or a `postgresql://` URL.

    Raises:
        RefusedError: There is none.
        StoreFaultError: It cannot be read.
        DamagedLogError: The file or database itself is damaged.
    """
    with sqlite_database.translated(), postgres_session.translated():
        source = _open(place)
        try:
            source.check_format()
            yield source
        finally:
            source.close()


def _open(place: str) -> LogSource:
    if "://" in place:
        return PostgresSource(postgres_url(place) or "")
    path = Path(place)
    if path.is_dir():
        path /= DATABASE_FILE
    if not path.is_file():
        raise RefusedError(f"{path}: there is no log")
    return SqliteSource(path)
