# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Records of earlier releases in PostgreSQL get tokens in the place of persons' words, once."""

from __future__ import annotations

from typing import Any, Final

from asyncpg import Connection, Record

from services.auditor.adapters.postgres_session import Session, committing
from services.auditor.persons.adapters.postgres_persons import save_words
from services.auditor.persons.masking import EVERY, masked_kept
from services.auditor.persons.vault import Seals, Vault

MASKED_AT_ONCE: Final = 2_000
REWRITE_SECONDS: Final = 86_400.0
_KEPT: Final = (
    "SELECT idx, received_us, body, actor, problem FROM records WHERE idx >= $1 AND idx < $2"
)
CHANGE: Final = """
UPDATE records SET body = changed.body, actor = changed.actor
FROM unnest($1::bigint[], $2::bigint[], $3::bytea[], $4::text[])
    AS changed (idx, received_us, body, actor)
WHERE records.idx = changed.idx AND records.received_us = changed.received_us
"""


async def mask_earlier(session: Session, vault: Vault) -> None:
    """No record has words of persons; goes on where it was ended, and leaves nothing behind."""
    row = await session.connection.fetchrow("SELECT size, masked FROM log")
    assert row is not None
    size, masked = row
    if masked == EVERY:
        return
    is_empty = size == 0
    while masked < size:
        until = min(masked + MASKED_AT_ONCE, size)
        await _mask(session, vault, masked, until)
        masked = until
    if not is_empty:
        await rewrite(session.connection)
    async with committing(session) as database:
        await database.execute("UPDATE log SET masked = $1", EVERY)


async def rewrite(connection: Connection[Record], tables: str = "records") -> None:
    """What was overwritten or deleted is not in the files of these tables any more."""
    await connection.execute(f"VACUUM (FULL) {tables}", timeout=REWRITE_SECONDS)


async def _mask(session: Session, vault: Vault, first: int, until: int) -> None:
    seals = Seals()
    kept = await session.connection.fetch(_KEPT, first, until)
    changed: list[tuple[Any, ...]] = []
    for index, received_us, body, actor, problem in kept:
        new = masked_kept(body, actor, is_believed=not problem, vault=vault, seals=seals)
        if new != (body, actor):
            changed.append((index, received_us, *new))
    new_persons = vault.new_persons()
    async with committing(session) as database:
        await save_words(database, new_persons, seals)
        if changed:
            await database.execute(CHANGE, *map(list, zip(*changed, strict=True)))
        await database.execute("UPDATE log SET masked = $1", until)
    vault.saved(new_persons, seals)
