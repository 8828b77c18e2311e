# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""One SQLite file as the log needs it: settings, transactions, a lock, and what its errors mean."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from services.auditor.adapters.sqlite_rows import MIGRATIONS, SCHEMA, SCHEMA_VERSION
from services.auditor.merkle import EMPTY_ROOT
from services.auditor.store import DamagedLogError, StoreFaultError
from shared.errors import RefusedError

BUSY_SECONDS: Final = 10.0
CACHE_KIBIBYTES: Final = 65_536
WAL_PAGES: Final = 4_000
"""About 16 MiB between two checkpoints of the write-ahead log."""


def connect(path: Path) -> sqlite3.Connection:
    """A connection in write-ahead mode that fsyncs at every commit."""
    connection = sqlite3.connect(
        path,
        timeout=BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=64,
    )
    path.chmod(0o600)
    for pragma in (
        "journal_mode = WAL",
        "synchronous = FULL",
        f"wal_autocheckpoint = {WAL_PAGES}",
        f"cache_size = -{CACHE_KIBIBYTES}",
        "secure_delete = ON",
    ):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def prepare(connection: sqlite3.Connection, origin: str) -> None:
    """The tables are there, as this release has them; those of an earlier release are brought on.

    Raises:
        RefusedError: They are another log's, or a later release's.
    """
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > SCHEMA_VERSION:
        raise RefusedError(
            f"the log is of format {version}; this release reads formats 1 to {SCHEMA_VERSION}: "
            "start the release that wrote it, or a later one"
        )
    for reached, step in enumerate((SCHEMA, *MIGRATIONS)[version:], start=version + 1):
        connection.executescript(f"BEGIN; {step} PRAGMA user_version = {reached}; COMMIT;")
    connection.execute(
        "INSERT OR IGNORE INTO log (one, origin, size, root, stream_id, stream_sequence) "
        "VALUES (1, ?, 0, ?, '', 0)",
        (origin, EMPTY_ROOT),
    )
    (kept,) = connection.execute("SELECT origin FROM log").fetchone()
    if kept != origin:
        raise RefusedError(f"the store holds the log {kept}, not {origin}")


def check_file(connection: sqlite3.Connection) -> None:
    """Every page of the file is where it belongs; takes about a second for each gigabyte.

    Raises:
        DamagedLogError: The first that is not.
    """
    (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise DamagedLogError(f"the log's file is damaged: {found}")


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing of what is written inside."""
    _roll_back(connection)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    finally:
        with suppress(sqlite3.OperationalError):  # then the next transaction begins with it
            _roll_back(connection)


def _roll_back(connection: sqlite3.Connection) -> None:
    if connection.in_transaction:
        connection.execute("ROLLBACK")


@contextmanager
def snapshot(connection: sqlite3.Connection) -> Iterator[None]:
    """Everything read inside is of one moment."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        connection.execute("COMMIT")


@contextmanager
def translated() -> Iterator[None]:
    """What SQLite and the file system say, in the service's words; a misuse stays a bug."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise StoreFaultError(f"the log cannot be kept or read: {error}") from error
    except sqlite3.DatabaseError as error:
        if type(error) is not sqlite3.DatabaseError:
            raise
        raise DamagedLogError(f"the log's file is damaged: {error}") from error
    except OSError as error:
        raise StoreFaultError(f"the log's directory cannot be used: {error.strerror}") from error


def take_lock(path: Path) -> int:
    """A lock that ends with the process, however that ends."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(lock)
        raise StoreFaultError("another auditor has this log open") from error
    return lock
