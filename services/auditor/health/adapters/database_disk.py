# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The room that a log in PostgreSQL has, as far as the server tells.

PostgreSQL says how large a database is and, to who may read its settings, where its files are; how
much room there is it says to nobody.  Through a socket of this machine the directory can be asked.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from typing import Final

import asyncpg

from services.auditor.adapters.postgres_session import settings, translated
from services.auditor.config import AuditorConfig, postgres_url
from services.auditor.health.adapters.state_directory import StateDirectory
from services.auditor.health.execution import Disk
from services.auditor.health.findings import DatabaseRoom, DiskSeen

ANSWER_SECONDS: Final = 5.0
ELSEWHERE: Final = "the server is reached over the network, and PostgreSQL tells nobody of its disk"
NOT_TOLD: Final = (
    "where the server keeps its files is told to the role pg_read_all_settings alone, and the "
    "auditor's user has it not"
)
_SIZE: Final = "SELECT pg_database_size(current_database()), inet_server_addr() IS NULL"


class DatabaseDisk:
    """The database's room, beside that of the auditor's own directory."""

    def __init__(self, url: str, directory: StateDirectory) -> None:
        self._url: Final = url
        self._directory: Final = directory

    async def look(self) -> DiskSeen:
        """As it is now.

        Raises:
            StoreFaultError: One of them cannot be asked.
        """
        seen = await self._directory.look()
        with translated():
            connection = await asyncpg.connect(
                self._url,
                timeout=ANSWER_SECONDS,
                command_timeout=ANSWER_SECONDS,
                server_settings=settings(is_writing=False),
            )
            try:
                ((used_bytes, is_here),) = await connection.fetch(_SIZE)
                room = DatabaseRoom(used_bytes, None, ELSEWHERE)
                if is_here:
                    try:
                        path = await connection.fetchval("SHOW data_directory")
                        room = await asyncio.to_thread(_room, used_bytes, path)
                    except asyncpg.InsufficientPrivilegeError:
                        room = DatabaseRoom(used_bytes, None, NOT_TOLD)
            finally:
                await connection.close()
        return replace(seen, database=room)


def disk_of(config: AuditorConfig) -> Disk:
    """Whatever the log is kept on."""
    directory = StateDirectory(config.state_dir)
    url = postgres_url(config.store)
    return directory if url is None else DatabaseDisk(url, directory)


def _room(used_bytes: int, path: str) -> DatabaseRoom:
    try:
        room = os.statvfs(path)
    except OSError as error:
        why = f"the server's directory {path} cannot be asked from here: {error.strerror}"
        return DatabaseRoom(used_bytes, None, why)
    return DatabaseRoom(used_bytes, room.f_bavail * room.f_frsize)
