# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Somebody is erased from a log in SQLite: from its records, its keys, and the bytes of its files.

What is to be said of it is kept in the transaction that changes the records, so it is said whatever
happens; an erasure that was interrupted behind that is finished at the next start.
"""

from __future__ import annotations

import sqlite3
from typing import Final

import msgspec

from services.auditor.adapters.log_rows import STORED, json_text, stored_record
from services.auditor.adapters.sqlite_database import transaction
from services.auditor.adapters.sqlite_pruning import hold_records
from services.auditor.persons.adapters.sqlite_masking import empty_write_ahead_log, rewrite
from services.auditor.persons.adapters.sqlite_persons import forget_persons, with_words
from services.auditor.persons.erasing import Asked, Erased, Eraser, erase_event, said_persons
from services.auditor.persons.vault import Vault
from services.auditor.retention.holds import holds_of
from shared.contracts.events import EventBody

OTHER_COLUMNS: Final = "emitter, event_id, package, node, deployment, correlation"
_EVERY: Final = f"SELECT {STORED}, actor, {OTHER_COLUMNS} FROM records ORDER BY idx"  # noqa: S608
_STORED_COLUMNS: Final = len(STORED.split(","))
_STATEMENT: Final = msgspec.json.Decoder(EventBody)


def erase(
    log: sqlite3.Connection, persons: sqlite3.Connection, vault: Vault, asked: Asked
) -> Erased:
    """They are in no record, in no table and in no file when this returns.

    Raises:
        RefusedError: Something of it is held; nothing is changed.
        StoreFaultError: It is not finished; whoever asks again, or the next start, finishes it.
    """
    if not asked.is_dry_run:
        finish_erasures(log, persons, vault)
    holds = holds_of(with_words(log, vault, hold_records(log)))
    eraser = Eraser(vault, asked, vault.keyless_tokens())
    for token, words in log.execute("SELECT token, words FROM sealed"):
        eraser.take_words(token, words)
    for row in log.execute(_EVERY):
        stored, actor = stored_record(row[:_STORED_COLUMNS]), row[_STORED_COLUMNS]
        others = "\n".join(row[_STORED_COLUMNS + 1 :])
        if eraser.take(stored, actor, others):
            asked.check(holds.covering(with_words(log, vault, [stored])[0]))
    erased = eraser.finish()
    if asked.is_dry_run or not erased.has_anything:
        return erased
    with transaction(log):
        log.executemany(
            "UPDATE records SET body = ?, actor = ? WHERE idx = ?",
            [(body, actor, index) for index, body, actor in erased.changed],
        )
        for subject in erased.forgotten:
            log.execute(
                "DELETE FROM sealed WHERE token >= ? AND token < ?", (f"{subject}:", f"{subject};")
            )
        log.executemany(
            "DELETE FROM sealed WHERE token = ?", [(token,) for token in erased.dropped]
        )
        statement = json_text(erase_event(erased, asked))
        log.execute("INSERT INTO erasures (statement, is_done) VALUES (?, 0)", (statement,))
    finish_erasures(log, persons, vault)
    return erased


def finish_erasures(log: sqlite3.Connection, persons: sqlite3.Connection, vault: Vault) -> None:
    """Whoever is said to be erased is nowhere: not in the keys, not in the bytes of files."""
    waiting = log.execute("SELECT number, statement FROM erasures WHERE is_done = 0").fetchall()
    for number, statement in waiting:
        body = _STATEMENT.decode(statement)
        subjects = said_persons(body)
        forget_persons(persons, subjects)
        vault.forget(subjects)
        if body.details["rewritten"]:
            rewrite(log)
        empty_write_ahead_log(log)
        with transaction(log):
            log.execute("UPDATE erasures SET is_done = 1 WHERE number = ?", (number,))


def unsaid_erasures(log: sqlite3.Connection) -> list[tuple[int, EventBody]]:
    """Those that are finished and not said, with their numbers."""
    found = log.execute("SELECT number, statement FROM erasures WHERE is_done = 1 ORDER BY number")
    return [(number, _STATEMENT.decode(statement)) for number, statement in found]
