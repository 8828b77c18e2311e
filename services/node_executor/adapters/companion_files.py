# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Executables of companions on disk, named by their digest, for the supervisor to copy.

Blocking; one thread uses it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from shared.archive_files import ArchiveBytes
from shared.canonical import sha256_hex
from shared.contracts.package_manifest import PackageManifest
from shared.errors import FaultError
from shared.package_archive import read_archive

_PARTIAL: Final = ".partial"
_MODE: Final = 0o500


class CompanionFilesError(FaultError):
    """Executables cannot be written or read."""


class CompanionFiles:
    """A folder of executables."""

    def __init__(self, folder: Path) -> None:
        """Made when something is written."""
        self.folder: Final = folder

    def missing(self, digests: Iterable[str]) -> frozenset[str]:
        """Those that are not there; what is there, the supervisor checks on its own copy."""
        return frozenset(one for one in digests if not (self.folder / one).is_file())

    def take_out(self, archive: ArchiveBytes, manifest: PackageManifest, path: str) -> None:
        """The executable is there, once the archive is known to be exactly the manifest's.

        Raises:
            VerificationError: The archive is not.
            CompanionFilesError: The disk failed.
        """
        content = read_archive(archive, manifest)[path]
        name = sha256_hex(content)
        partial = self.folder / f"{name}{_PARTIAL}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            partial.unlink(missing_ok=True)
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            partial.rename(self.folder / name)
        except OSError as error:
            why = f"the executable {path} cannot be kept: {error.strerror or error}"
            raise CompanionFilesError(why) from error

    def keep_only(self, digests: Iterable[str]) -> None:
        """All others are gone; one that cannot be removed stays, and is tried at the next time."""
        kept = set(digests)
        try:
            for file in self.folder.iterdir():
                if file.name not in kept:
                    file.unlink(missing_ok=True)
        except FileNotFoundError:
            return
        except OSError as error:
            raise CompanionFilesError(
                f"{self.folder} cannot be tidied: {error.strerror}"
            ) from error
