# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Archives on their way: in memory, or if too large in an unnamed file that goes with its user."""

from __future__ import annotations

import mmap
import tempfile
from pathlib import Path
from typing import Final

from shared.archive_files import ArchiveBytes
from shared.errors import FaultError

IN_MEMORY_BYTES: Final = 64 << 20
"""What is not larger is kept in memory."""


class SpoolError(FaultError):
    """The disk does not take an archive that is too large for memory."""


class Spool:
    """One archive, as its pieces come."""

    def __init__(
        self, folder: Path, *, size_bytes: int, in_memory_bytes: int = IN_MEMORY_BYTES
    ) -> None:
        """Nothing of it is there.

        Args:
            folder: On whose disk the file lies, if there is one; made if it is not there.
            size_bytes: Of the whole, at least 1.
            in_memory_bytes: What is larger goes into the file.

        Raises:
            SpoolError: The folder cannot be written.
        """
        self._pieces: Final[list[bytes]] = []
        try:
            folder.mkdir(parents=True, exist_ok=True)
            is_large = size_bytes > in_memory_bytes
            # Its descriptor closes with the last reference.
            self._file = tempfile.TemporaryFile(dir=folder) if is_large else None  # noqa: SIM115
        except OSError as error:
            raise SpoolError(f"{folder} cannot be written: {error.strerror}") from error

    def append(self, piece: bytes) -> None:
        """The next piece is there.

        Raises:
            SpoolError: The disk does not take it.
        """
        if self._file is None:
            self._pieces.append(piece)
            return
        try:
            self._file.write(piece)
        except OSError as error:
            raise SpoolError(f"an archive cannot be kept: {error.strerror}") from error

    def whole(self) -> ArchiveBytes:
        """All pieces one after another.

        Raises:
            SpoolError: The disk does not take it.
        """
        if self._file is None:
            return b"".join(self._pieces)
        try:
            self._file.flush()
            mapped = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError as error:
            raise SpoolError(f"an archive cannot be kept: {error.strerror}") from error
        self._file.close()
        return memoryview(mapped)
