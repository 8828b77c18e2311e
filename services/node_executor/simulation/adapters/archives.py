# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Archives of simulated nodes: each node fetches its own, and all have one place for the bytes."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from typing import Final

from services.node_executor.adapters.artifact_cache import DamagedArtifactError
from shared.canonical import sha256_hex
from shared.errors import Reason, VerificationError


class Shelf:
    """The bytes of archives by digest, once for all nodes."""

    def __init__(self) -> None:
        """Empty."""
        self.archives: Final[dict[str, bytes]] = {}


class MemoryCache:
    """What one node has fetched."""

    def __init__(self, shelf: Shelf) -> None:
        """Nothing yet."""
        self._shelf = shelf
        self._there: set[str] = set()

    def read(self, sha256: str) -> bytes | None:
        """The archive, or None if this node has not fetched it."""
        return self._shelf.archives[sha256] if sha256 in self._there else None

    def missing(
        self, wanted: Iterable[str]
    ) -> tuple[frozenset[str], tuple[DamagedArtifactError, ...]]:
        """Which have to be fetched; memory damages none."""
        return frozenset(wanted) - self._there, ()

    def resume(self, _sha256: str) -> MemoryPart | None:
        """Nothing is left of what was interrupted."""
        return None

    def begin(
        self, sha256: str, size_bytes: int, *, held: AbstractSet[str] = frozenset()
    ) -> MemoryPart:
        """An empty part; what is not held any more is this node's no longer."""
        self._there &= held
        return MemoryPart(self, sha256, size_bytes)

    def drop(self, _sha256: str) -> None:
        """A part is only known to who fetches it."""

    def adopt(self, sha256: str, data: bytes) -> None:
        """The node has it."""
        self._shelf.archives.setdefault(sha256, data)
        self._there.add(sha256)


class MemoryPart:
    """An archive on its way."""

    def __init__(self, cache: MemoryCache, sha256: str, size_bytes: int) -> None:
        """Nothing is there yet."""
        self.size_bytes: Final = size_bytes
        self._cache = cache
        self._sha256 = sha256
        self._data = bytearray()

    @property
    def done_bytes(self) -> int:
        """What is there."""
        return len(self._data)

    def append(self, chunk: bytes) -> None:
        """The next chunk is there."""
        self._data += chunk

    def finish(self) -> None:
        """The node has the archive.

        Raises:
            VerificationError: It has another digest.
        """
        data = bytes(self._data)
        digest = sha256_hex(data)
        if digest != self._sha256:
            rule = "has another digest"
            reason = Reason(path="archive", rule=rule, got=digest, allowed=self._sha256)
            raise VerificationError("the catalog gave another archive than asked for", [reason])
        self._cache.adopt(self._sha256, data)
