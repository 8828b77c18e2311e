# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Whatever is changed in the tables of a log in PostgreSQL, `verify` finds it and names it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import asyncpg

from services.auditor.adapters.postgres_schema import NAMESPACE
from services.auditor.verification.adapters.verifying import verify_store
from services.auditor.verification.problems import Problem
from shared.errors import RefusedError
from tests.support.log_stores import PostgresPlace
from tests.support.postgres import PostgresServer
from tests.support.pruning import prune_some
from tests.support.tampering import NOT_SAID, PARTS, ROWS, SEED, changed
from tests.support.whole_logs import KEY, fill

RECORDS = 150
WHO_WRITES = {("log", "fence"), ("log", "holder"), ("log", "seen_at")}
"""Which process has the log and since when: no word about the log, and other at every start."""
FORMAT = ("log", "format")
"""A log of another format is not looked into at all: it is refused, and its format is named."""
LET_ANYTHING_IN = (
    "ALTER TABLE log DROP CONSTRAINT log_one_check",
    "ALTER TABLE inventory DROP CONSTRAINT inventory_one_check",
    "ALTER TABLE hook_points ALTER number DROP IDENTITY",
    "ALTER TABLE ran_chains ALTER number DROP IDENTITY",
)
COLUMNS = """
SELECT table_name, column_name FROM information_schema.columns
JOIN pg_class ON relname = table_name AND relnamespace = to_regnamespace(table_schema)
WHERE table_schema = $1 AND NOT relispartition ORDER BY table_name, ordinal_position
"""

Columns = list[tuple[str, str]]


async def problems_of(place: PostgresPlace) -> list[Problem]:
    """What is wrong with it."""
    found = await asyncio.to_thread(verify_store, place.setting, keys=[KEY])
    return found.problems


@asynccontextmanager
async def tampered(
    database: asyncpg.Connection, table: str, column: str, choice: random.Random
) -> AsyncIterator[str]:
    """One value is changed meanwhile; what was done, empty if the table does not let it in."""
    rows = await database.fetch(f"SELECT tableoid, ctid, * FROM {ROWS.get(table, table)}")
    row = choice.choice(rows)
    value: Any = changed(row[column], choice)
    if isinstance(row[column], str):
        value = value.decode("utf-8", "ignore").replace("\0", "") + "x"
    where = f"tableoid = {row['tableoid']} AND ctid = $2"
    change = f"UPDATE {table} SET {column} = $1 WHERE {{}} RETURNING tableoid, ctid"
    try:
        ((oid, place),) = await database.fetch(change.format(where), value, row["ctid"])
    except asyncpg.IntegrityConstraintViolationError:
        yield ""
        return
    yield f"seed {SEED}: {table}.{column} of {dict(row)} is now {value!r}"
    await database.execute(change.format(f"tableoid = {oid} AND ctid = $2"), row[column], place)


async def test_any_change_in_a_database_is_found_and_named(postgres: PostgresServer) -> None:
    """One value of every column of every table that there is: its table is named, or its record."""
    place = PostgresPlace(await postgres.new_database())
    choice = random.Random(SEED)
    async with place.open() as store:
        await fill(store, records=RECORDS)
        await prune_some(store)
    assert await problems_of(place) == []

    database = await asyncpg.connect(place.setting, server_settings={"search_path": NAMESPACE})
    try:
        for statement in LET_ANYTHING_IN:
            await database.execute(statement)
        columns = cast("Columns", [tuple(row) for row in await database.fetch(COLUMNS, NAMESPACE)])
        assert {table for table, _ in columns} == PARTS.keys() | {NOT_SAID}
        said = {(table, column) for table, column in columns if table != NOT_SAID}
        for table, column in sorted(said - WHO_WRITES):
            async with tampered(database, table, column, choice) as told:
                if told:
                    await check(place, (table, column), told)
    finally:
        await database.close()
    assert await problems_of(place) == []


async def check(place: PostgresPlace, changed_column: tuple[str, str], told: str) -> None:
    """It is found, and named by its table."""
    try:
        problems = await problems_of(place)
    except RefusedError:
        assert changed_column == FORMAT, told
        return
    table, column = changed_column
    named = [problem for problem in problems if problem.part in PARTS[table]]
    assert named, (told, problems)
    if table == "records" and column != "idx":
        assert len({problem.at for problem in named}) == 1, (told, problems)
