# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The store that the configuration names, opened."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from services.auditor.adapters.postgres_session import Address
from services.auditor.adapters.postgres_store import PostgresStore
from services.auditor.adapters.sqlite_store import SqliteStore
from services.auditor.config import AuditorConfig, postgres_url
from services.auditor.store import LogStore


async def open_store(
    config: AuditorConfig, *, origin: str, stop: asyncio.Event | None = None
) -> LogStore:
    """The log of `origin`, this process's to write.

    Raises:
        StoreFaultError: The disk or the database failed, or another process has the file.
        DamagedLogError: Rows, tree and root do not belong together.
        RefusedError: The store is another log's or a later release's, or none is named.
        StoppedError: `stop` was set while another process had the log in the database.
    """
    url = postgres_url(config.store)
    if url is None:
        return await asyncio.to_thread(SqliteStore.open, config.state_dir, origin=origin)
    config.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    address = Address(url, lapse_seconds=config.take_over_seconds)
    return await PostgresStore.open(address, origin=origin, now=datetime.now(UTC), stop=stop)
