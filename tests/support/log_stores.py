# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Both stores of the log as one thing that tests open, damage and look into from outside."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from services.auditor.adapters.postgres_session import Address
from services.auditor.adapters.postgres_store import PostgresStore
from services.auditor.adapters.sqlite_store import SqliteStore
from services.auditor.admission import Admission
from services.auditor.records import StreamMessage, read_message
from services.auditor.store import LogStore
from tests.support.postgres import run_statement

ORIGIN = "l3af.test/log"
NOW = datetime(2026, 1, 2, tzinfo=UTC)


class LogPlace(Protocol):
    """Where a log is kept, whether somebody has it open or not."""

    setting: str
    """As AUDITOR_STORE has it."""

    def open(self, origin: str = ORIGIN) -> AbstractAsyncContextManager[LogStore]:
        """The log, for the length of a block."""

    async def execute(self, statement: str) -> list[Any]:
        """Do something to the tables that no store would do, or look at them."""


class SqlitePlace:
    """A log in a file."""

    setting = "sqlite"

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @asynccontextmanager
    async def open(self, origin: str = ORIGIN) -> AsyncIterator[LogStore]:
        """The log, for the length of a block."""
        store: LogStore = SqliteStore.open(self.directory, origin=origin)
        try:
            yield store
        finally:
            await store.aclose()

    async def execute(self, statement: str) -> list[Any]:
        """On the file itself."""
        with closing(sqlite3.connect(self.directory / "log.db")) as database:
            found = database.execute(statement).fetchall()
            database.commit()
        return found


class PostgresPlace:
    """A log in a database."""

    def __init__(self, url: str, *, lapse_seconds: float = 20.0) -> None:
        self.setting = url
        self.lapse_seconds = lapse_seconds

    @asynccontextmanager
    async def open(self, origin: str = ORIGIN) -> AsyncIterator[LogStore]:
        """The log, for the length of a block."""
        address = Address(self.setting, lapse_seconds=self.lapse_seconds)
        store: LogStore = await PostgresStore.open(address, origin=origin, now=NOW)
        try:
            yield store
        finally:
            await store.aclose()

    async def execute(self, statement: str) -> list[Any]:
        """In a session of its own."""
        return await run_statement(self.setting, statement)


def where(place: LogPlace) -> str:
    """As `l3af audit verify --store` has it."""
    return str(place.directory) if isinstance(place, SqlitePlace) else place.setting


async def append(
    store: LogStore, batch: Sequence[StreamMessage], *, now: datetime = NOW
) -> Admission:
    """A batch that goes on where the store is, kept."""
    drafts = [read_message(message) for message in batch]
    return await store.append(drafts, after=store.state.stream_sequence, now=now)


async def leaves_in(place: LogPlace) -> list[bytes]:
    """Every leaf, by index, as the tables have them."""
    rows = await place.execute("SELECT idx, leaf FROM records ORDER BY idx")
    assert [index for index, _ in rows] == list(range(len(rows)))
    return [leaf.encode() for _, leaf in rows]


async def root_in(place: LogPlace) -> bytes:
    """The root that the store itself keeps."""
    ((root,),) = await place.execute("SELECT root FROM log")
    return bytes(root)
