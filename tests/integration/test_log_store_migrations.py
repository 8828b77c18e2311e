# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A log in PostgreSQL that an earlier release wrote is brought on at the first start."""

from __future__ import annotations

from pathlib import Path

import asyncpg

from services.auditor.adapters.postgres_schema import NAMESPACE, SCHEMA, make_partition
from services.auditor.query import RecordQuery
from tests.support.log_stores import PostgresPlace, append, leaves_in, root_in
from tests.support.postgres import PostgresServer
from tests.support.records import an_event, message_of, messages

RELEASED_SCHEMA = Path(__file__).parents[1] / "snapshots" / "audit_log_postgres_1.sql"
TABLES = ("log", "records", "event_ids", "tiles", "channels", "checkpoints")
ALL = RecordQuery(
    audiences=None,
    since_us=None,
    until_us=None,
    equal=(),
    action="",
    above=-1,
    below=None,
    limit=1000,
)


async def copy_as_released(source: PostgresPlace, target: PostgresPlace) -> None:
    """The released tables, filled with what they hold of a log of this release."""
    settings = {"search_path": NAMESPACE}
    old = await asyncpg.connect(target.setting, server_settings=settings)
    new = await asyncpg.connect(source.setting, server_settings=settings)
    try:
        await old.execute(f"CREATE SCHEMA {NAMESPACE}")
        await old.execute(RELEASED_SCHEMA.read_text())
        await make_partition(old, (2026, 1))
        for table in TABLES:
            found = await old.fetch(
                "SELECT attname FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0",
                table,
            )
            columns = [name for (name,) in found]
            rows = await new.fetch(f"SELECT {', '.join(columns)} FROM {table}")
            await old.copy_records_to_table(table, records=map(tuple, rows), columns=columns)
        await old.execute("UPDATE log SET format = 1")
    finally:
        await old.close()
        await new.close()


async def test_a_log_of_the_first_release_goes_on(postgres: PostgresServer) -> None:
    """Every record, the tree and its answers are as in a log that this release began."""
    fresh = PostgresPlace(await postgres.new_database())
    released = PostgresPlace(await postgres.new_database())
    batch = [
        message_of(an_event(number, details={"licence": licence}), number)
        for number, licence in enumerate(("MIT", "GPL-2.0-only", "", 7, "a\0b", "MIT"), start=1)
    ]
    async with fresh.open() as store:
        await append(store, [*batch, *messages(300, first=7)])
    await copy_as_released(fresh, released)

    async with fresh.open() as one, released.open() as other:
        await other.check_every_leaf()
        assert await other.page(ALL) == await one.page(ALL)
        for store in (one, other):
            await append(store, messages(3, first=307))
    assert await leaves_in(released) == await leaves_in(fresh)
    assert await root_in(released) == await root_in(fresh)


def test_the_released_schema_is_what_new_logs_begin_with() -> None:
    """Format 1 is never changed: a later one is a step from it."""
    lines = RELEASED_SCHEMA.read_text().splitlines()
    assert [line for line in lines if not line.startswith("--")] == SCHEMA.strip().splitlines()
