# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Package archives from the catalog, kept on disk by digest."""

from __future__ import annotations

from services.node_executor.adapters.artifact_cache import ArtifactCache
from services.node_executor.adapters.kernel_thread import KernelThread
from shared.adapters.bus import Bus
from shared.canonical import sha256_hex
from shared.contracts.catalog import MAX_ARTIFACT_BYTES, READ_ARTIFACT, ReadArtifact
from shared.errors import FaultError, Reason, VerificationError


class IncompleteArtifactError(FaultError):
    """The catalog stopped before the end of an artifact."""


class Archives:
    """Where the executor gets archives from; what it gives has the digest that was asked for."""

    def __init__(self, *, bus: Bus, cache: ArtifactCache, thread: KernelThread) -> None:
        self._bus = bus
        self._cache = cache
        self._thread = thread

    async def fetch(self, sha256: str, *, ticket: str) -> bytes:
        """The archive, from the disk if it is there.

        Args:
            sha256: Its digest.
            ticket: Lets this node read it before its desired record names it; may be empty.

        Raises:
            VerificationError: What the catalog gave has another digest.
            RefusedError: The catalog does not give it to this node.
            FaultError: The catalog does not answer, or the disk failed.
        """
        cached = await self._thread(self._cache.read, sha256)
        if cached is not None:
            return cached
        data = await self._download(sha256, ticket)
        digest = sha256_hex(data)
        if digest != sha256:
            reason = Reason(path="archive", rule="has another digest", got=digest, allowed=sha256)
            raise VerificationError("the catalog gave another archive than asked for", [reason])
        await self._thread(self._cache.write, sha256, data)
        return data

    async def _download(self, sha256: str, ticket: str) -> bytes:
        endpoint = READ_ARTIFACT.at(node=self._bus.name)
        received = bytearray()
        while True:
            request = ReadArtifact(sha256=sha256, offset_bytes=len(received), ticket=ticket)
            chunk = await self._bus.request(endpoint, request)
            received += chunk.data
            if len(received) >= chunk.size_bytes or len(received) > MAX_ARTIFACT_BYTES:
                return bytes(received)
            if not chunk.data:
                raise IncompleteArtifactError(f"artifact {sha256} ends early")
