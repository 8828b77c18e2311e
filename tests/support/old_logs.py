# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Logs as earlier releases left them: the tables of then, with what a log of now holds of them."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

import asyncpg

from services.auditor.adapters.postgres_schema import NAMESPACE, make_partition
from services.auditor.records import try_event
from services.auditor.verification.adapters.persons import opened_messages
from services.auditor.verification.adapters.sources import opened
from tests.support.log_stores import LogPlace, PostgresPlace, SqlitePlace, where

SNAPSHOTS: Final = Path(__file__).parents[1] / "snapshots"
_SQLITE_TABLES: Final = ("log", "records", "tiles", "channels", "gaps", "checkpoints")
_POSTGRES_TABLES: Final = ("log", "records", "event_ids", "tiles", "channels", "checkpoints")
_SINCE_VERSION_2: Final = ("spans",)


def released_schema(store: str, version: int) -> str:
    """The tables of that version, as they were released."""
    return (SNAPSHOTS / f"audit_log_{store}_{version}.sql").read_text()


async def copy_as_released(source: LogPlace, target: LogPlace, *, version: int) -> None:
    """The tables of that version, filled with what they hold of the log in `source`."""
    if isinstance(source, SqlitePlace) and isinstance(target, SqlitePlace):
        _copy_file(source, target, version)
    elif isinstance(source, PostgresPlace) and isinstance(target, PostgresPlace):
        await _copy_database(source, target, version)
    else:
        raise TypeError("a log is copied into a place of its own kind")


def _copy_file(source: SqlitePlace, target: SqlitePlace, version: int) -> None:
    target.directory.mkdir()
    with closing(sqlite3.connect(target.directory / "log.db")) as database:
        database.executescript(released_schema("sqlite", version))
        database.execute("ATTACH ? AS filled", (str(source.directory / "log.db"),))
        for table in _SQLITE_TABLES + _SINCE_VERSION_2[: version - 1]:
            columns = [row[1] for row in database.execute(f"PRAGMA main.table_info({table})")]
            names = ", ".join(columns)
            database.execute(f"INSERT INTO main.{table} SELECT {names} FROM filled.{table}")
        database.executemany(
            "UPDATE main.records SET body = ?, actor = ? WHERE idx = ?", _clear(source)
        )
        database.commit()


def _clear(source: LogPlace) -> list[tuple[bytes | None, str, int]]:
    """Message, actor and number of each record as releases kept them that knew no tokens."""
    with opened(where(source)) as log:
        rows = log.rows(0, 2**31)
        names = log.columns
        bodies = opened_messages(log, [row[names.index("body")] for row in rows])
    found = []
    for row, message in zip(rows, bodies, strict=True):
        event = try_event(message.body) if message.body is not None else None
        actor = event.data.actor if event is not None else None
        found.append((message.body, actor.key if actor is not None else "", row[0]))
    return found


async def _copy_database(source: PostgresPlace, target: PostgresPlace, version: int) -> None:
    settings = {"search_path": NAMESPACE}
    old = await asyncpg.connect(target.setting, server_settings=settings)
    new = await asyncpg.connect(source.setting, server_settings=settings)
    try:
        await old.execute(f"CREATE SCHEMA {NAMESPACE}")
        await old.execute(released_schema("postgres", version))
        await make_partition(old, (2026, 1))
        for table in _POSTGRES_TABLES + _SINCE_VERSION_2[: version - 1]:
            found = await old.fetch(
                "SELECT attname FROM pg_attribute WHERE attrelid = $1::regclass AND attnum > 0",
                table,
            )
            columns = [name for (name,) in found]
            rows = await new.fetch(f"SELECT {', '.join(columns)} FROM {table}")
            await old.copy_records_to_table(table, records=map(tuple, rows), columns=columns)
        clear = await asyncio.to_thread(_clear, source)
        await old.executemany("UPDATE records SET body = $1, actor = $2 WHERE idx = $3", clear)
        await old.execute("UPDATE log SET format = $1", version)
    finally:
        await old.close()
        await new.close()
