# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The keys of persons in PostgreSQL, in a schema of their own, and sealed words in the log's.

A dump of the log's schema alone has no keys.  So whoever is erased here is erased from every such
dump.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Final

from asyncpg import Connection, Record

from services.auditor.persons.masking import with_bodies
from services.auditor.persons.tokens import Token, opened_bodies
from services.auditor.persons.vault import KEY_BYTES, Person, RandomBytes, Vault
from services.auditor.query import StoredRecord

NAMESPACE: Final = "l3af_persons"
"""The schema that holds the keys."""
_SCHEMA: Final = f"""
CREATE SCHEMA IF NOT EXISTS {NAMESPACE};
CREATE TABLE {NAMESPACE}.vault (
    one BOOLEAN PRIMARY KEY CHECK (one),
    finding_key BYTEA NOT NULL
);
CREATE TABLE {NAMESPACE}.persons (
    subject TEXT PRIMARY KEY,
    tag BYTEA NOT NULL UNIQUE,
    keys BYTEA NOT NULL
);
"""
_BEGIN: Final = f"INSERT INTO {NAMESPACE}.vault VALUES (true, $1)"  # noqa: S608 # a constant
_FINDING_KEY: Final = f"SELECT finding_key FROM {NAMESPACE}.vault"  # noqa: S608 # a constant
_PERSONS: Final = f"SELECT subject, tag, keys FROM {NAMESPACE}.persons"  # noqa: S608 # a constant
_SAVE_PERSONS: Final = (
    f"INSERT INTO {NAMESPACE}.persons SELECT * FROM unnest($1::text[], $2::bytea[], $3::bytea[]) "  # noqa: S608
    "ON CONFLICT DO NOTHING"
)
_SAVE_WORDS: Final = (
    "INSERT INTO sealed SELECT * FROM unnest($1::text[], $2::bytea[]) ON CONFLICT DO NOTHING"
)


async def open_vault(connection: Connection[Record], random_bytes: RandomBytes) -> Vault:
    """Everybody who is kept; the tables are made if they are not there."""
    if await connection.fetchval("SELECT to_regclass($1)", f"{NAMESPACE}.vault") is None:
        async with connection.transaction():
            await connection.execute(_SCHEMA)
            key = secrets.token_bytes(KEY_BYTES)
            await connection.execute(_BEGIN, key)
    return await read_vault(connection, random_bytes)


async def read_vault(connection: Connection[Record], random_bytes: RandomBytes | None) -> Vault:
    """Everybody who is kept."""
    finding_key = await connection.fetchval(_FINDING_KEY)
    found = await connection.fetch(_PERSONS)
    return Vault(finding_key, (Person(*row) for row in found), random_bytes)


async def kept_vault(connection: Connection[Record]) -> Vault:
    """Everybody whose keys are kept; nobody if there is no place for them."""
    if await connection.fetchval("SELECT to_regclass($1)", f"{NAMESPACE}.vault") is None:
        return Vault(bytes(KEY_BYTES), (), None)
    return await read_vault(connection, None)


async def save_words(
    connection: Connection[Record], persons: Sequence[Person], seals: Mapping[Token, bytes]
) -> None:
    """These persons and sealed words are kept, in the open transaction."""
    if persons:
        await connection.execute(_SAVE_PERSONS, *map(list, zip(*persons, strict=True)))
    if seals:
        await connection.execute(_SAVE_WORDS, list(seals), list(seals.values()))


async def read_words(
    connection: Connection[Record], vault: Vault, bodies: Sequence[bytes | None]
) -> dict[Token, bytes]:
    """The words that these bodies have tokens of."""
    words, unread = vault.recalled(bodies)
    if unread:
        found = await connection.fetch(
            "SELECT token, words FROM sealed WHERE token = ANY($1)", unread
        )
        words |= vault.read(dict(map(tuple, found)))
    return words


async def with_words(
    connection: Connection[Record], vault: Vault, stored: Sequence[StoredRecord]
) -> list[StoredRecord]:
    """The records as they were received, as far as nobody was erased."""
    bodies = [one.body for one in stored]
    return with_bodies(stored, opened_bodies(bodies, await read_words(connection, vault, bodies)))
