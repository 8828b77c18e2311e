# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The newest signed head in a file of its own: what a restored database cannot talk away."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Final

from services.auditor.store import StoreFaultError


class CheckpointFile:
    """One signed note; replaced as a whole, on disk before `write` returns."""

    def __init__(self, directory: Path) -> None:
        self._directory: Final = directory
        self._path: Final = directory / "checkpoint"

    async def read(self) -> str | None:
        """The note; None if there is none."""
        try:
            return await asyncio.to_thread(self._path.read_text, encoding="utf-8")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise StoreFaultError(f"{self._path}: cannot be read") from error

    async def write(self, note: str) -> None:
        """The file holds `note`, whatever happens to the machine."""
        try:
            await asyncio.to_thread(self._replace, note)
        except OSError as error:
            raise StoreFaultError(f"{self._path}: cannot be written: {error.strerror}") from error

    def _replace(self, note: str) -> None:
        fresh = self._path.with_suffix(".new")
        with fresh.open("w", encoding="utf-8") as file:
            file.write(note)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._path)
        directory = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
