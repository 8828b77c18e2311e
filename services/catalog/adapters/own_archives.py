# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Who has brought which archive whole, on disk.

An archive is stored once, whoever brings it; but only who brought it, or sees a version that has
it, is told that it is stored.  So nobody learns by a digest that there is an archive of it.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Final

from shared.errors import FaultError

KEPT: Final = 20_000
"""Notes that are kept, the youngest; whose note is gone brings the archive again."""


class OwnArchives:
    """One empty file a note, `<owner>-<digest>`."""

    def __init__(self, folder: Path, *, kept: int = KEPT) -> None:
        """Nothing is read or written yet; the folder is made when something is."""
        self._folder: Final = folder
        self._kept: Final = kept

    async def add(self, owner: str, digest: str) -> None:
        """The owner has brought the archive.

        Raises:
            FaultError: The disk does not take that.
        """
        try:
            await asyncio.to_thread(self._add, owner, digest)
        except OSError as error:
            raise FaultError(f"it cannot be noted what was brought: {error.strerror}") from error

    async def has(self, owner: str, digest: str) -> bool:
        """Whether the owner has."""
        return await asyncio.to_thread(self._place(owner, digest).exists)

    def _add(self, owner: str, digest: str) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._place(owner, digest).touch()
        notes = list(self._folder.iterdir())
        if len(notes) > self._kept:
            notes.sort(key=lambda note: note.stat().st_mtime_ns)
            for note in notes[: len(notes) - self._kept]:
                with suppress(FileNotFoundError):
                    note.unlink()

    def _place(self, owner: str, digest: str) -> Path:
        return self._folder / f"{owner}-{digest}"
