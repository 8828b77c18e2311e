# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What the auditor's state directory says: room, the size of the log, and when it was copied."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from services.auditor.adapters.durable_files import replace_file
from services.auditor.health.findings import DiskSeen
from services.auditor.store import StoreFaultError
from shared.moments import render_time

NOTE: Final = "copied.json"
_LOG_FILES: Final = ("log.db", "log.db-wal")


class CopyNote(msgspec.Struct, frozen=True, kw_only=True):
    """`copied.json`: the newest copy of the log, for the auditor to know."""

    copied_at: str
    tree_size: int
    root: str
    file: str


class StateDirectory:
    """The auditor's."""

    def __init__(self, path: Path) -> None:
        self._path: Final = path

    async def look(self) -> DiskSeen:
        """As it is now.

        Raises:
            StoreFaultError: It cannot be read.
        """
        return await asyncio.to_thread(self._look)

    def leave_note(self, *, tree_size: int, root: str, file: Path) -> None:
        """The auditor knows that its log was copied just now.

        Raises:
            StoreFaultError: The directory cannot be written; the copy is as good.
        """
        note = CopyNote(
            copied_at=render_time(datetime.now(UTC)),
            tree_size=tree_size,
            root=root,
            file=str(file.resolve()),
        )
        try:
            directory = self._path.stat()
            replace_file(self._path / NOTE, msgspec.json.encode(note), mode=0o644)
            if os.geteuid() == 0:
                os.chown(self._path / NOTE, directory.st_uid, directory.st_gid)
        except OSError as error:
            raise StoreFaultError(f"{self._path / NOTE}: {error.strerror}") from error

    def _look(self) -> DiskSeen:
        try:
            room = os.statvfs(self._path)
            sizes = [
                path.stat().st_size for name in _LOG_FILES if (path := self._path / name).exists()
            ]
            return DiskSeen(
                free_bytes=room.f_bavail * room.f_frsize,
                log_bytes=sum(sizes) if sizes else None,
                copied_at=self._copied_at(),
            )
        except OSError as error:
            raise StoreFaultError(f"{self._path}: {error.strerror}") from error

    def _copied_at(self) -> datetime | None:
        path = self._path / NOTE
        if not path.exists():
            return None
        try:
            note = msgspec.json.decode(path.read_bytes(), type=CopyNote)
            return datetime.fromisoformat(note.copied_at).astimezone(UTC)
        except (msgspec.MsgspecError, ValueError) as error:
            raise StoreFaultError(f"{path}: cannot be read: {error}") from error
