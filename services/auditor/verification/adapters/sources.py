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
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import asyncpg
import msgspec
from asyncpg import Connection, Record

from services.auditor.adapters import postgres_session, sqlite_database
from services.auditor.adapters.log_rows import json_text, read_gap, read_ranges
from services.auditor.admission import Channel, Gap, Ranges
from services.auditor.config import postgres_url
from services.auditor.merkle import HASH_BYTES, Hash
from services.auditor.tiles import TILE_WIDTH, Tile
from services.auditor.verification.heads import KeptHead
from services.auditor.verification.problems import Part, Problem, shown
from services.auditor.verification.sequences import channel_name
from services.auditor.verification.snapshot import LogSnapshot, likely_size
from shared.errors import RefusedError

DATABASE_FILE: Final = "log.db"
MAX_BEYOND: Final = 100
READ_SECONDS: Final = 300.0

ValueT = TypeVar("ValueT")


class LogSource(ABC):
    """The tables of one log."""

    columns: tuple[str, ...]
    """Of the table of records."""

    @abstractmethod
    def fetch(self, statement: str) -> list[Any]:
        """Rows of one statement."""

    @abstractmethod
    def close(self) -> None:
        """Let go of it."""

    def query(self, statement: str, *numbers: int) -> list[Any]:
        """Rows of a statement with `{:d}` for each number: both databases read that alike."""
        return self.fetch(statement.format(*numbers))

    def rows(self, first: int, stop: int) -> list[Any]:
        """Whole records, by index."""
        return self.query(
            "SELECT * FROM records WHERE idx >= {:d} AND idx < {:d} ORDER BY idx", first, stop
        )

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

    def snapshot(self) -> LogSnapshot:
        """Everything but the records and the lowest tiles, as of one moment."""
        self.query(self.begin)
        try:
            return self._snapshot()
        finally:
            self.query("COMMIT")

    begin = "BEGIN"
    """Begins a transaction that reads as of one moment."""

    def _snapshot(self) -> LogSnapshot:
        logs = self.query("SELECT origin, size, root, stream_sequence FROM log")
        if len(logs) != 1:
            raise RefusedError(f"the store holds {len(logs)} logs, not one")
        origin, said_size, root, stream_sequence = logs[0]
        size = self._size(said_size)
        channels = self.query("SELECT emitter, audience, head, missing FROM channels")
        gaps = self.query("SELECT number, gap FROM gaps ORDER BY number")
        checkpoints = self.query("SELECT size, note, signed_us FROM checkpoints ORDER BY size")
        upper = self.query("SELECT level, position, hashes FROM tiles WHERE level <> 0")
        width = -(-size // TILE_WIDTH)
        beyond = self.query(
            "SELECT idx FROM records WHERE idx < 0 OR idx >= {:d} ORDER BY idx LIMIT {:d}",
            size,
            MAX_BEYOND,
        )
        lowest_beyond = self.query(
            "SELECT position FROM tiles WHERE level = 0 AND (position < 0 OR "
            "position >= {:d}) ORDER BY position LIMIT {:d}",
            width,
            MAX_BEYOND,
        )
        unreadable: list[Problem] = []
        read = _ExactReader(unreadable)
        missing: dict[Channel, Ranges] = {}
        for emitter, audience, _, text in channels:
            channel = Channel(emitter, audience)
            ranges = read("channel", channel_name(channel), "missing", text, read_ranges)
            missing[channel] = ranges or ()
        read_gaps: list[tuple[int, Gap]] = []
        for number, text in gaps:
            gap = read("gap", str(number), "gap", text, read_gap)
            if gap is not None:
                read_gaps.append((number, gap))
        return LogSnapshot(
            origin=origin,
            said_size=said_size,
            size=size,
            root=Hash(bytes(root)),
            stream_sequence=stream_sequence,
            columns=self.columns,
            heads={Channel(emitter, audience): head for emitter, audience, head, _ in channels},
            missing=missing,
            gaps=read_gaps,
            checkpoints=[KeptHead(note, "", at) for at, note, _ in checkpoints],
            signed=[(at, signed_us) for at, _, signed_us in checkpoints],
            upper_tiles={Tile(level, place): bytes(data) for level, place, data in upper},
            beyond=[index for (index,) in beyond],
            lowest_beyond=[position for (position,) in lowest_beyond],
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

    def __init__(self, path: Path) -> None:
        wal = path.with_name(f"{path.name}-wal")
        # A file that nobody has open may lie where nothing can be written, as a backup does.
        mode = "ro" if wal.exists() else "ro&immutable=1"
        uri = f"{path.absolute().as_uri()}?mode={mode}"
        self._connection: Final = sqlite3.connect(uri, uri=True, isolation_level=None)
        cursor = self._connection.execute("SELECT * FROM records LIMIT 0")
        self.columns = tuple(column[0] for column in cursor.description)

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

    def __init__(self, url: str) -> None:
        self._loop: Final = asyncio.new_event_loop()
        self._connection: Final[Connection[Record]] = self._loop.run_until_complete(
            asyncpg.connect(
                url,
                timeout=postgres_session.CONNECT_SECONDS,
                command_timeout=READ_SECONDS,
                server_settings=postgres_session.settings(is_writing=False),
            )
        )
        statement = self._wait(self._connection.prepare("SELECT * FROM records LIMIT 0"))
        self.columns = tuple(attribute.name for attribute in statement.get_attributes())

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


class _ExactReader:
    """Reads what was written as JSON, and says if it is not written as it would be."""

    def __init__(self, problems: list[Problem]) -> None:
        self._problems: Final = problems

    def __call__(
        self, part: Part, at: str, field: str, text: str, read: Callable[[str], ValueT]
    ) -> ValueT | None:
        try:
            value = read(text)
            if json_text(value) == text:
                return value
        except (msgspec.MsgspecError, ValueError):
            pass
        self._problems.append(Problem(part, at, field, f"it cannot be read: {shown(text)}"))
        return None
