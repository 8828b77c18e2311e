# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The log as a directory that any web server can serve: C2SP tlog-tiles.

Every file appears complete or not at all, and the signed head only after all that it needs.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from services.auditor.adapters.durable_files import replace_file
from services.auditor.store import StoreFaultError
from services.auditor.tile_layout import CHECKPOINT_NAME, ENTRIES, TileFile
from services.auditor.tiles import TILE_WIDTH

FILE_MODE: Final = 0o644

ResultT = TypeVar("ResultT")


class TileDirectory:
    """One directory, written by one process."""

    def __init__(self, path: Path) -> None:
        self.path: Final = path

    async def note(self) -> str | None:
        """The signed head that the files are of; None if there is none."""
        return await self._run(self._read_note)

    async def write(self, file: TileFile, data: bytes) -> None:
        """The file holds `data`; the partial ones that a full one replaces are gone."""
        await self._run(lambda: self._write(file, data))

    async def bundles(self, offset: int) -> list[TileFile]:
        """The entry bundles of this offset that there are: a full one, or partial ones."""
        return await self._run(lambda: self._bundles(offset))

    async def withhold(self, file: TileFile, data: bytes) -> None:
        """The file, which is there, holds `data`, and is only written if it did not."""
        await self._run(lambda: self._withhold(file, data))

    async def write_note(self, note: str) -> None:
        """Readers find this head from now on."""
        await self._run(lambda: self._replace(self.path / CHECKPOINT_NAME, note.encode()))

    def _read_note(self) -> str | None:
        try:
            return (self.path / CHECKPOINT_NAME).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None

    def _write(self, file: TileFile, data: bytes) -> None:
        self._replace(self.path / file.path, data)
        if file.is_full:
            shutil.rmtree(self.path / file.partial_directory, ignore_errors=True)

    def _bundles(self, offset: int) -> list[TileFile]:
        full = TileFile(ENTRIES, offset, TILE_WIDTH)
        found = [full] if (self.path / full.path).is_file() else []
        partial = self.path / full.partial_directory
        widths = sorted(int(one.name) for one in partial.glob("*") if one.name.isdecimal())
        return found + [TileFile(ENTRIES, offset, width) for width in widths]

    def _withhold(self, file: TileFile, data: bytes) -> None:
        path = self.path / file.path
        if path.read_bytes() != data:
            self._replace(path, data)

    def _replace(self, path: Path, data: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, data, mode=FILE_MODE)

    async def _run(self, work: Callable[[], ResultT]) -> ResultT:
        try:
            return await asyncio.to_thread(work)
        except (OSError, UnicodeDecodeError) as error:
            raise StoreFaultError(f"{self.path}: tiles cannot be kept: {error}") from error
