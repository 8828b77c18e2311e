# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The keys of persons in a file of their own, beside the log's, and sealed words in the log's.

A copy of the log alone has no keys.  So whoever is erased here is erased from every such copy.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Collection, Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

from services.auditor.adapters.log_rows import json_text
from services.auditor.adapters.sqlite_database import transaction
from services.auditor.persons.masking import with_bodies
from services.auditor.persons.tokens import Token, opened_bodies
from services.auditor.persons.vault import KEY_BYTES, Person, RandomBytes, Vault
from services.auditor.query import StoredRecord
from shared.errors import RefusedError

LOG_FILE: Final = "log.db"
PERSONS_FILE: Final = "persons.db"
_SCHEMA: Final = """
BEGIN;
CREATE TABLE vault (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    finding_key BLOB NOT NULL
) STRICT;
CREATE TABLE persons (
    subject TEXT PRIMARY KEY,
    tag BLOB NOT NULL UNIQUE,
    keys BLOB NOT NULL
) STRICT, WITHOUT ROWID;
PRAGMA user_version = 1;
COMMIT;
"""
_VERSION: Final = 1


def open_persons(path: Path, *, has_words: bool) -> sqlite3.Connection:
    """The file, made if it is not there; what is deleted from it is overwritten.

    Args:
        path: Of the file.
        has_words: Whether the log has words that only keys in this file open.

    Raises:
        RefusedError: The file is missing, or a later release's.
    """
    if has_words and not path.exists():
        raise RefusedError(
            f"{path} is missing: it holds the keys of persons' names and words in the log beside "
            "it. Put its copy there; if there is none, an empty file lets the auditor start, and "
            "those words stay unreadable"
        )
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    path.chmod(0o600)
    for pragma in ("journal_mode = DELETE", "synchronous = FULL", "secure_delete = ON"):
        connection.execute(f"PRAGMA {pragma}")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > _VERSION:
        raise RefusedError(f"{path} is of format {version}, of a later release")
    if version < _VERSION:
        connection.executescript(_SCHEMA)
        key = secrets.token_bytes(KEY_BYTES)
        connection.execute("INSERT INTO vault VALUES (1, ?)", (key,))
    return connection


def read_vault(connection: sqlite3.Connection, random_bytes: RandomBytes | None) -> Vault:
    """Everybody who is kept."""
    (finding_key,) = connection.execute("SELECT finding_key FROM vault").fetchone()
    persons = connection.execute("SELECT subject, tag, keys FROM persons")
    return Vault(finding_key, map(Person._make, persons), random_bytes)


def vault_beside(log_file: Path) -> Vault:
    """Everybody whose keys are kept beside a log's file, read alone; nobody if there are none.

    Beside `log.db` it is PERSONS_FILE, beside a copy the file that was copied with it.
    """
    path = log_file.with_name(PERSONS_FILE) if log_file.name == LOG_FILE else copy_beside(log_file)
    if not path.exists() or not path.stat().st_size:
        return Vault(bytes(KEY_BYTES), (), None)
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        return read_vault(connection, None)


def copy_beside(copy: Path) -> Path:
    """Where the keys of persons are copied to that belong to a copy of the log."""
    return copy.with_name(f"{copy.name}.persons")


def copy_persons(source: Path, target: Path) -> None:
    """`target`, an empty file, has the keys that `source` has now; they are on disk."""
    if not source.exists():
        return
    with (
        closing(sqlite3.connect(f"{source.resolve().as_uri()}?mode=ro", uri=True)) as kept,
        closing(sqlite3.connect(target)) as copy,
    ):
        copy.execute("PRAGMA synchronous = FULL")
        kept.backup(copy)


def save_persons(connection: sqlite3.Connection, persons: Iterable[Person]) -> None:
    """These are kept."""
    with transaction(connection):
        connection.executemany("INSERT OR IGNORE INTO persons VALUES (?, ?, ?)", persons)


def forget_persons(connection: sqlite3.Connection, subjects: Collection[str]) -> None:
    """The keys of these are nowhere in the file."""
    with transaction(connection):
        connection.executemany(
            "DELETE FROM persons WHERE subject = ?", [(one,) for one in subjects]
        )


def read_words(
    connection: sqlite3.Connection, vault: Vault, bodies: Sequence[bytes | None]
) -> dict[Token, bytes]:
    """The words that these bodies have tokens of; `connection` is one of the log."""
    words, unread = vault.recalled(bodies)
    if unread:
        found = connection.execute(
            "SELECT token, words FROM sealed WHERE token IN (SELECT value FROM json_each(?))",
            (json_text(unread),),
        )
        words |= vault.read(dict(found))
    return words


def with_words(
    connection: sqlite3.Connection, vault: Vault, stored: Sequence[StoredRecord]
) -> list[StoredRecord]:
    """The records as they were received, as far as nobody was erased."""
    bodies = [one.body for one in stored]
    return with_bodies(stored, opened_bodies(bodies, read_words(connection, vault, bodies)))
