# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The newest signed head in a file of its own: what a restored database cannot talk away."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from services.auditor.adapters.durable_files import replace_file
from services.auditor.store import StoreFaultError


class CheckpointFile:
    """One signed note; replaced as a whole, on disk before `write` returns."""

    def __init__(self, directory: Path) -> None:
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
            await asyncio.to_thread(replace_file, self._path, note.encode())
        except OSError as error:
            raise StoreFaultError(f"{self._path}: cannot be written: {error.strerror}") from error
