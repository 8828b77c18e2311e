# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Somebody is erased from a log in PostgreSQL, by the rules of `sqlite_erasure`."""

from __future__ import annotations

from typing import Final

import msgspec
from asyncpg import Connection, Record

from services.auditor.adapters.log_rows import STORED, json_text
from services.auditor.adapters.postgres_pruning import hold_records
from services.auditor.adapters.postgres_rows import read_record
from services.auditor.adapters.postgres_session import Session, committing
from services.auditor.persons.adapters.postgres_masking import rewrite
from services.auditor.persons.adapters.postgres_persons import NAMESPACE, with_words
from services.auditor.persons.adapters.sqlite_erasure import OTHER_COLUMNS
from services.auditor.persons.erasing import Asked, Erased, Eraser, erase_event, said_persons
from services.auditor.persons.vault import Vault
from services.auditor.retention.holds import holds_of
from shared.contracts.events import EventBody

READ_AT_ONCE: Final = 2_000
_WORDS: Final = "SELECT token, words FROM sealed WHERE token > $1 ORDER BY token LIMIT $2"
_EVERY: Final = (
    f"SELECT {STORED}, actor, {OTHER_COLUMNS} FROM records "  # noqa: S608 # constants
    "WHERE idx > $1 ORDER BY idx LIMIT $2"
)
_STORED_COLUMNS: Final = len(STORED.split(","))
_CHANGE: Final = """
UPDATE records SET body = changed.body, actor = changed.actor
FROM unnest($1::bigint[], $2::bytea[], $3::text[]) AS changed (idx, body, actor)
WHERE records.idx = changed.idx
"""
_SAY: Final = "INSERT INTO erasures SELECT coalesce(max(number), 0) + 1, $1, false FROM erasures"
_FORGET: Final = f"DELETE FROM {NAMESPACE}.persons WHERE subject = ANY($1)"  # noqa: S608 # constant
_STATEMENT: Final = msgspec.json.Decoder(EventBody)


async def erase(session: Session, vault: Vault, asked: Asked) -> Erased:
    """They are in no record, in no table and in no table's file when this returns.

    Raises:
        RefusedError: Something of it is held; nothing is changed.
    """
    if not asked.is_dry_run:
        await finish_erasures(session, vault)
    database = session.connection
    holds = holds_of(await with_words(database, vault, await hold_records(database)))
    eraser = Eraser(vault, asked, vault.keyless_tokens())
    token: str = ""
    while found := await database.fetch(_WORDS, token, READ_AT_ONCE):
        for token, words in found:
            eraser.take_words(token, words)
        await _beat(session)
    index = -1
    while found := await database.fetch(_EVERY, index, READ_AT_ONCE):
        for row in found:
            stored, actor = read_record(row[:_STORED_COLUMNS]), row[_STORED_COLUMNS]
            others = "\n".join(row[_STORED_COLUMNS + 1 :])
            if eraser.take(stored, actor, others):
                (opened,) = await with_words(database, vault, [stored])
                asked.check(holds.covering(opened))
            index = stored.index
        await _beat(session)
    erased = eraser.finish()
    if asked.is_dry_run or not erased.has_anything:
        return erased
    async with committing(session) as committed:
        await committed.execute(_CHANGE, *([row[at] for row in erased.changed] for at in range(3)))
        for subject in erased.forgotten:
            await committed.execute(
                "DELETE FROM sealed WHERE token >= $1 AND token < $2", f"{subject}:", f"{subject};"
            )
        await committed.execute("DELETE FROM sealed WHERE token = ANY($1)", list(erased.dropped))
        await committed.execute(_SAY, json_text(erase_event(erased, asked)))
    await finish_erasures(session, vault)
    return erased


async def finish_erasures(session: Session, vault: Vault) -> None:
    """Whoever is said to be erased is nowhere: not in the keys, not in the tables' files."""
    waiting = await session.connection.fetch(
        "SELECT number, statement FROM erasures WHERE NOT is_done ORDER BY number"
    )
    for number, statement in waiting:
        body = _STATEMENT.decode(statement)
        subjects = list(said_persons(body))
        async with committing(session) as database:
            await database.execute(_FORGET, subjects)
        vault.forget(subjects)
        await rewrite(session.connection, f"{NAMESPACE}.persons")
        if body.details["rewritten"]:
            await rewrite(session.connection)
        async with committing(session) as database:
            await database.execute("UPDATE erasures SET is_done = true WHERE number = $1", number)


async def unsaid_erasures(connection: Connection[Record]) -> list[tuple[int, EventBody]]:
    """Those that are finished and not said, with their numbers."""
    found = await connection.fetch(
        "SELECT number, statement FROM erasures WHERE is_done ORDER BY number"
    )
    return [(number, _STATEMENT.decode(statement)) for number, statement in found]


async def _beat(session: Session) -> None:
    """Nobody takes the log for given up meanwhile."""
    async with committing(session):
        pass
