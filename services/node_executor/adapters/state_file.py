# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The state file of a node executor, opened: sound, or set aside and begun anew.

SQLite makes changes atomic and notices a broken structure, but its pages carry no checksum, so
every row has one of its own; all are compared at each start.  What is damaged is never used and
never removed: it gets another name, and the rows of it that are whole go on in the new file.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from shared.errors import FaultError

LOCK_SECONDS: Final = 1.0
"""How long an attempt to open waits for another process to let go of the state."""
VERSION: Final = 1
"""Of the tables."""
MARKER: Final = ".made"
"""Ends the name of the empty file that says: there was a state file here."""

_CHECKSUM_BYTES: Final = 16
_CORRUPT, _NO_DATABASE, _SHORT_READ = 11, 26, 522
"""Result codes of SQLite (https://www.sqlite.org/rescode.html)."""
_IN_USE: Final = (5, 6)
"""SQLITE_BUSY, SQLITE_LOCKED."""
_UNWRITABLE: Final = (8, 10, 13)
"""SQLITE_READONLY, SQLITE_IOERR, SQLITE_FULL."""

_SCHEMA: Final = """
CREATE TABLE event (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    audience TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    bytes BLOB NOT NULL,
    published INTEGER NOT NULL DEFAULT 0,
    checksum BLOB NOT NULL,
    UNIQUE (audience, sequence)
) STRICT;
CREATE INDEX unpublished ON event (position) WHERE published = 0;
CREATE TABLE head (
    audience TEXT PRIMARY KEY, sequence INTEGER NOT NULL, checksum BLOB NOT NULL) STRICT;
CREATE TABLE chain (
    hook_point TEXT PRIMARY KEY, memory BLOB NOT NULL, checksum BLOB NOT NULL) STRICT;
"""
_SETTINGS: Final = """
CREATE TABLE setting (
    name TEXT PRIMARY KEY, value TEXT NOT NULL, checksum BLOB NOT NULL) STRICT;
"""
_SUMS: Final = {
    "event": "checksum('event', id, audience, sequence, bytes, published)",
    "head": "checksum('head', audience, sequence)",
    "chain": "checksum('chain', hook_point, memory)",
    "setting": "checksum('setting', name, value)",
}


class StateStoreError(FaultError):
    """The state directory cannot be read or written."""


class StateInUseError(StateStoreError):
    """Another executor has the state."""


class JournalUnwritableError(FaultError):
    """Nothing can be journaled now: the disk, or the journal's share of it, is full."""


@dataclass(frozen=True, slots=True)
class Salvage:
    """Whole rows of a damaged state file."""

    events: tuple[bytes, ...] = ()
    """Those that may not have been published, oldest first."""
    memories: tuple[tuple[str, bytes], ...] = ()
    settings: tuple[tuple[str, str], ...] = ()
    published_to: dict[str, int] = field(default_factory=dict)
    """Audience to the highest sequence of an event that was published for certain."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A state file that is sound."""

    connection: sqlite3.Connection
    is_new: bool = False
    problem: str = ""
    """What was wrong with the one before; empty: nothing, or there was none."""
    set_aside: str = ""
    """The name that the damaged one has now; empty: there is none."""
    salvage: Salvage = Salvage()


class _DamagedError(Exception):
    """The file is not what was written."""


def open_state(path: Path, *, now: str) -> Opened:
    """The state file, or a new one in the place of one that is damaged or gone.

    Args:
        path: Its folder is made too, readable by the owner alone.
        now: Becomes part of the name under which a damaged file is kept.

    Raises:
        StateInUseError: Another process has it.
        StateStoreError: The disk fails, or a newer release wrote it.
    """
    marker = path.with_name(path.name + MARKER)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        problem, set_aside, salvage = "", "", Salvage()
        if path.exists():
            connection = _connect(path)
            try:
                _check(connection, was_made=marker.exists())
            except (_DamagedError, sqlite3.Error) as error:
                problem = _damage(error)
                salvage = _salvage(connection)
                connection.close()
                set_aside = _set_aside(path, now)
            else:
                is_new = not _tables(connection)
                if not is_new:
                    mark_made(path)
                return Opened(connection, is_new)
        elif marker.exists():
            problem = "the state file is gone"
        return Opened(_connect(path), True, problem, set_aside, salvage)
    except (OSError, sqlite3.Error) as error:
        raise opening_failed(path, error) from error


def open_in_memory() -> sqlite3.Connection:
    """A new state that ends with this connection."""
    return _connect(":memory:")


def opening_failed(path: Path, error: OSError | sqlite3.Error) -> StateStoreError:
    """Why the state file was not opened."""
    if isinstance(error, sqlite3.Error) and _code(error) & 0xFF in _IN_USE:
        return StateInUseError(f"{path} is in use by another executor ({error})")
    return StateStoreError(f"{path} cannot be opened: {error}")


def make_tables(connection: sqlite3.Connection) -> None:
    """A new state file has its tables; call it in a transaction, and `mark_made` after that."""
    for statement in (_SCHEMA + _SETTINGS).split(";\n"):
        if statement.strip():
            connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {VERSION}")


def mark_made(path: Path) -> None:
    """If the state file is missing from now on, it was lost."""
    path.with_name(path.name + MARKER).touch(mode=0o600)


def cannot_write(error: sqlite3.Error) -> bool:
    """Whether the disk is full or read only, which passes."""
    return _code(error) & 0xFF in _UNWRITABLE


def _connect(path: Path | str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path, check_same_thread=False, isolation_level=None, timeout=LOCK_SECONDS
    )
    connection.create_function("checksum", -1, _checksum, deterministic=True)
    return connection


def _check(connection: sqlite3.Connection, *, was_made: bool) -> None:
    """Nothing, if every row is what was written; tables of an earlier release are brought up."""
    # A second executor on the same state is refused instead of sharing its sequences.
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    connection.execute("PRAGMA journal_mode = WAL")
    found = _tables(connection)
    if not found and was_made:
        raise _DamagedError("it is empty")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > VERSION:
        raise StateStoreError(f"the state file is of a newer release (version {version})")
    (result,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if result != "ok":
        raise _DamagedError(result)
    if found and version == 0:
        _add_checksums(connection)
    for table in sorted(found & _SUMS.keys()):
        query = f"SELECT count(*) FROM {table} WHERE checksum IS NOT {_SUMS[table]}"  # noqa: S608
        (bad,) = connection.execute(query).fetchone()
        if bad:
            raise _DamagedError(f"{bad} rows of table {table} have another checksum")


def _add_checksums(connection: sqlite3.Connection) -> None:
    """Tables of the first release have checksums, taken of what is there."""
    connection.execute("BEGIN IMMEDIATE")
    with connection:
        connection.execute(_SETTINGS)
        for table in ("event", "head", "chain"):
            column = "checksum BLOB NOT NULL DEFAULT x''"
            connection.execute(f"ALTER TABLE {table} ADD COLUMN {column}")
            connection.execute(f"UPDATE {table} SET checksum = {_SUMS[table]}")  # noqa: S608
        connection.execute(f"PRAGMA user_version = {VERSION}")


def _salvage(connection: sqlite3.Connection) -> Salvage:
    """Every row that can still be read and has its checksum."""
    with suppress(sqlite3.Error):
        if connection.execute("PRAGMA user_version").fetchone()[0] != VERSION:
            return Salvage()
    rows = list(_rows(connection, "event", "published, audience, sequence, bytes"))
    published_to: dict[str, int] = {}
    for published, audience, sequence, _ in rows:
        if published:
            published_to[audience] = max(sequence, published_to.get(audience, 0))
    return Salvage(
        events=tuple(data for published, _, _, data in rows if not published),
        memories=tuple(_rows(connection, "chain", "hook_point, memory")),
        settings=tuple(_rows(connection, "setting", "name, value")),
        published_to=published_to,
    )


def _rows(connection: sqlite3.Connection, table: str, columns: str) -> Iterator[Any]:
    query = f"SELECT {columns} FROM {table} NOT INDEXED WHERE checksum IS {_SUMS[table]}"  # noqa: S608
    with suppress(sqlite3.Error):
        yield from connection.execute(query)


def _set_aside(path: Path, now: str) -> str:
    """The file with its log has another name, which nothing had."""
    stem = f"{path.name}.damaged-{now[:19].replace(':', '')}"
    name, count = stem, 1
    while path.with_name(name).exists():
        count += 1
        name = f"{stem}-{count}"
    log = path.with_name(f"{path.name}-wal")
    if log.exists():
        log.rename(path.with_name(f"{name}-wal"))
    path.rename(path.with_name(name))
    return name


def _tables(connection: sqlite3.Connection) -> frozenset[str]:
    rows = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")
    return frozenset(name for (name,) in rows) - {"sqlite_sequence"}


def _damage(error: _DamagedError | sqlite3.Error) -> str:
    """What is wrong with the file; raised again if it is something else."""
    if isinstance(error, sqlite3.Error) and not (
        _code(error) & 0xFF in (_CORRUPT, _NO_DATABASE) or _code(error) == _SHORT_READ
    ):
        raise error
    return str(error)


def _code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) or 0


def _checksum(*fields: object) -> bytes:
    digest = hashlib.blake2b(digest_size=_CHECKSUM_BYTES)
    for one in fields:
        data = one if isinstance(one, bytes) else str(one).encode()
        digest.update(len(data).to_bytes(8, "big"))
        digest.update(data)
    return digest.digest()
