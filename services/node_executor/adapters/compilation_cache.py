# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Compiled sources on disk, by everything that they depend on."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Final

import msgspec

from services.node_executor.bcc_compiler.messages import CompiledSource
from shared.canonical import canonical_digest, sha256_hex
from shared.errors import FaultError

MAX_COMPILATIONS: Final = 128
"""Over this, those that were not used for longest are removed."""


class CompilationCacheError(FaultError):
    """The folder cannot be read or written."""


class CompilationCache:
    """A folder of files that begin with the digest of what follows."""

    def __init__(self, folder: Path, *, max_compilations: int = MAX_COMPILATIONS) -> None:
        self._folder = folder
        self._max_compilations = max_compilations

    def read(self, key: tuple[str, ...]) -> CompiledSource | None:
        """What was compiled under this key; None: nothing, or not what was written."""
        path = self._path(key)
        try:
            digest, _, content = path.read_bytes().partition(b"\n")
            if digest.decode(errors="replace") != sha256_hex(content):
                return None
            os.utime(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise CompilationCacheError(f"{path} cannot be read: {error}") from error
        try:
            return msgspec.json.decode(content, type=CompiledSource)
        except msgspec.DecodeError:
            return None

    def write(self, key: tuple[str, ...], compiled: CompiledSource) -> None:
        """It is there, whole, or not at all."""
        content = msgspec.json.encode(compiled)
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=self._folder, delete=False) as file:
                file.write(sha256_hex(content).encode() + b"\n" + content)
            Path(file.name).rename(self._path(key))
            files = sorted(self._folder.iterdir(), key=lambda path: path.stat().st_mtime_ns)
            for oldest in files[: -self._max_compilations]:
                oldest.unlink()
        except OSError as error:
            raise CompilationCacheError(f"{self._folder} cannot be written: {error}") from error

    def _path(self, key: tuple[str, ...]) -> Path:
        return self._folder / canonical_digest(list(key))
