# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Segments in a directory: a file that is there is whole, on disk, and was read back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from services.auditor.adapters.durable_files import replace_file
from services.auditor.retention.segments import SUFFIX
from services.auditor.store import StoreFaultError
from shared.canonical import sha256_hex

ResultT = TypeVar("ResultT")


class ArchiveDirectory:
    """One directory."""

    def __init__(self, path: Path) -> None:
        self.path: Final = path

    async def keep(self, name: str, data: bytes) -> str:
        """The segment is on disk and was read back when this returns; its SHA-256.

        One of that name that was there already is replaced.

        Raises:
            StoreFaultError: It cannot be kept, or what is read is not what was written.
        """
        return await self._run(lambda: self._keep(name, data))

    async def read(self, name: str) -> bytes | None:
        """The segment; None if it is not there.

        Raises:
            StoreFaultError: It cannot be read.
        """
        return await self._run(lambda: self._read(name))

    def _keep(self, name: str, data: bytes) -> str:
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(self.path / name, data)
        if self._read(name) != data:
            raise StoreFaultError(f"{self.path / name}: what is read is not what was written")
        return sha256_hex(data)

    def _read(self, name: str) -> bytes | None:
        if "/" in name or not name.endswith(SUFFIX):
            return None
        try:
            return (self.path / name).read_bytes()
        except FileNotFoundError:
            return None

    async def _run(self, work: Callable[[], ResultT]) -> ResultT:
        try:
            return await asyncio.to_thread(work)
        except OSError as error:
            raise StoreFaultError(
                f"{self.path}: the archive cannot be used: {error.strerror}"
            ) from error
