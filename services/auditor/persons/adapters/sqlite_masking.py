# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Records of earlier releases in SQLite get tokens in the place of persons' words, once."""

from __future__ import annotations

import sqlite3
from typing import Final

from services.auditor.adapters.sqlite_database import transaction
from services.auditor.adapters.sqlite_rows import add_seals
from services.auditor.persons.adapters.sqlite_persons import save_persons
from services.auditor.persons.masking import EVERY, masked_kept
from services.auditor.persons.vault import Seals, Vault
from services.auditor.store import StoreFaultError

MASKED_AT_ONCE: Final = 2_000


def has_words(connection: sqlite3.Connection) -> bool:
    """Whether there are sealed words."""
    return connection.execute("SELECT 1 FROM sealed LIMIT 1").fetchone() is not None


def mask_earlier(log: sqlite3.Connection, persons: sqlite3.Connection, vault: Vault) -> None:
    """No record has words of persons; goes on where it was ended, and leaves nothing behind.

    For a log of an earlier release about a minute for a million records, and the room that the
    log takes once more.
    """
    size, masked = log.execute("SELECT size, masked FROM log").fetchone()
    if masked == EVERY:
        return
    is_empty = size == 0
    while masked < size:
        until = min(masked + MASKED_AT_ONCE, size)
        _mask(log, persons, vault, masked, until)
        masked = until
    if not is_empty:
        rewrite(log)
    with transaction(log):
        log.execute("UPDATE log SET masked = ?", (EVERY,))


def rewrite(log: sqlite3.Connection) -> None:
    """What was overwritten or deleted is neither in the file nor in its write-ahead log."""
    log.execute("VACUUM")
    empty_write_ahead_log(log)


def empty_write_ahead_log(log: sqlite3.Connection) -> None:
    """What was written is in the file, and nowhere else.

    Raises:
        StoreFaultError: Somebody has read the log all the time.
    """
    (is_busy, _, _) = log.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if is_busy:
        raise StoreFaultError(
            "the log's write-ahead log cannot be emptied while its file is read: it holds what "
            "was erased until then; erase again when nobody reads it, or start the auditor anew"
        )


def _mask(
    log: sqlite3.Connection, persons: sqlite3.Connection, vault: Vault, first: int, until: int
) -> None:
    seals = Seals()
    kept = log.execute(
        "SELECT idx, body, actor, problem FROM records WHERE idx >= ? AND idx < ?", (first, until)
    ).fetchall()
    changed = []
    for index, body, actor, problem in kept:
        new = masked_kept(body, actor, is_believed=not problem, vault=vault, seals=seals)
        if new != (body, actor):
            changed.append((*new, index))
    new_persons = vault.new_persons()
    save_persons(persons, new_persons)
    with transaction(log):
        log.executemany("UPDATE records SET body = ?, actor = ? WHERE idx = ?", changed)
        add_seals(log, seals)
        log.execute("UPDATE log SET masked = ?", (until,))
    vault.saved(new_persons, seals)
