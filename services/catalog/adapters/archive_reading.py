# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Archives for people: whoever sees a published version may have its bytes."""

from __future__ import annotations

from typing import Any, Final

from services.catalog.adapters.artifacts import Artifacts
from services.catalog.adapters.packages import Packages
from services.catalog.chunks import chunk_number
from services.catalog.resolution import chosen_version
from shared.adapters.callers import Caller
from shared.adapters.service_layer import Handler
from shared.contracts.base import Endpoint
from shared.contracts.catalog import READ_ARCHIVE, ArtifactChunk, ReadArchive
from shared.contracts.package_manifest import MAX_ARTIFACT_BYTES
from shared.errors import FaultError


class ArchiveReading:
    """Answers for every version that the caller sees."""

    def __init__(self, packages: Packages, artifacts: Artifacts) -> None:
        self._packages: Final = packages
        self._artifacts: Final = artifacts

    def endpoints(self) -> dict[Endpoint[Any, Any], Handler]:
        """What is served, and by which method."""
        return {READ_ARCHIVE: self.read_archive}

    async def read_archive(self, request: ReadArchive, caller: Caller) -> ArtifactChunk:
        """One chunk of the archive of one version."""
        held = self._packages.find(request.name, self._packages.seen_by(caller, request.space))
        entry = chosen_version(held.record, name=request.name, version=request.version)
        digest = entry.archive_sha256
        number = chunk_number(request.offset_bytes, size_bytes=MAX_ARTIFACT_BYTES)
        chunk = await self._artifacts.read_chunk(digest, number)
        if chunk is None:
            first = await self._artifacts.read_chunk(digest, 0)
            if first is not None:
                chunk_number(request.offset_bytes, size_bytes=first.size_bytes)
            raise FaultError(f"the archive of {request.name} {entry.version} is not stored")
        return chunk
