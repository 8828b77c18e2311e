# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Artifacts on disk, named by their digest and never believed: each read hashes the bytes again."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Final

from shared.canonical import sha256_hex
from shared.errors import FaultError

MAX_CACHE_BYTES: Final = 512 * 1024 * 1024
"""Over this, the artifacts that were not used for longest are removed."""


class ArtifactCacheError(FaultError):
    """The cache directory cannot be written."""


class ArtifactCache:
    """A folder of files whose names are their SHA-256."""

    def __init__(self, folder: Path, *, max_bytes: int = MAX_CACHE_BYTES) -> None:
        self._folder = folder
        self._max_bytes = max_bytes

    def read(self, sha256: str) -> bytes | None:
        """The artifact, or None: not there, or not what its name says (then it is removed)."""
        path = self._folder / sha256
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ArtifactCacheError(f"{path} cannot be read: {error}") from error
        if sha256_hex(data) != sha256:
            path.unlink(missing_ok=True)
            return None
        os.utime(path)
        return data

    def write(self, sha256: str, data: bytes) -> None:
        """The artifact is there, whole, or not at all; `data` has that digest."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=self._folder, delete=False) as file:
                file.write(data)
            Path(file.name).rename(self._folder / sha256)
            self._make_room()
        except OSError as error:
            raise ArtifactCacheError(f"{self._folder} cannot be written: {error}") from error

    def _make_room(self) -> None:
        files = sorted(self._folder.iterdir(), key=lambda path: path.stat().st_mtime_ns)
        total = sum(path.stat().st_size for path in files)
        while total > self._max_bytes and len(files) > 1:
            oldest = files.pop(0)
            total -= oldest.stat().st_size
            oldest.unlink()
