# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The supervisor's own copies of executables: what is run is what the digest says."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import Final

from shared.contracts.companions import CompanionCommand
from shared.contracts.package_manifest import MAX_FILE_BYTES
from shared.errors import FaultError, VerificationError

_BLOCK_BYTES: Final = 1 << 20
_EXECUTABLE: Final = 0o555


class ExecutableMissingError(FaultError):
    """The executable cannot be read, or the copy cannot be written."""


class ExecutableChangedError(VerificationError):
    """The file is not the one that the digest names."""


class Executables:
    """A folder of copies, each under its digest, that only root can reach by path."""

    def __init__(self, folder: Path) -> None:
        self._folder: Final = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for unfinished in folder.glob("*.part"):
            unfinished.unlink()

    def copy(self, command: CompanionCommand) -> Path:
        """The copy, made if there is none.

        Raises:
            ExecutableMissingError: It cannot be made.
            ExecutableChangedError: What lies there has another digest.
        """
        path = self._folder / command.sha256
        if path.exists():
            return path
        part = path.with_suffix(".part")
        try:
            digest = _copy(Path(command.path), part)
            if digest != command.sha256:
                part.unlink()
                raise ExecutableChangedError(
                    f"{command.path} has the digest {digest} and not {command.sha256}"
                )
            part.chmod(_EXECUTABLE)
            part.rename(path)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise ExecutableMissingError(f"{command.path}: {error.strerror}") from error
        return path

    def keep_only(self, digests: Collection[str]) -> None:
        """Other copies are removed, at the latest the next time; what runs from one goes on."""
        with suppress(OSError):
            for path in self._folder.iterdir():
                if path.name not in digests:
                    path.unlink()


def _copy(source: Path, target: Path) -> str:
    digest, size = hashlib.sha256(), 0
    with source.open("rb") as reading, target.open("wb") as writing:
        while block := reading.read(_BLOCK_BYTES):
            size += len(block)
            if size > MAX_FILE_BYTES:
                raise ExecutableMissingError(f"{source}: has more than {MAX_FILE_BYTES} bytes")
            digest.update(block)
            writing.write(block)
        writing.flush()
        os.fsync(writing.fileno())
    return digest.hexdigest()
