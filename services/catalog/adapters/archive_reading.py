# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Archives for people: whoever sees a published version may have its bytes."""

from __future__ import annotations

from typing import Any, Final

from services.catalog.adapters.artifacts import Artifacts
from services.catalog.chunks import chunk_number
from services.catalog.resolution import show
from shared.adapters.bus import Bus
from shared.adapters.callers import Caller
from shared.adapters.kv import KeyValue
from shared.adapters.service_layer import Handler
from shared.contracts.base import Endpoint
from shared.contracts.catalog import (
    CATALOG,
    READ_ARCHIVE,
    ArtifactChunk,
    PackageRecord,
    ReadArchive,
)
from shared.contracts.package_manifest import MAX_ARTIFACT_BYTES
from shared.errors import FaultError


class ArchiveReading:
    """Answers for every version that the caller sees."""

    def __init__(self, bus: Bus, artifacts: Artifacts) -> None:
        self._packages: Final[KeyValue[PackageRecord]] = bus.bucket(CATALOG)
        self._artifacts: Final = artifacts

    def endpoints(self) -> dict[Endpoint[Any, Any], Handler]:
        """What is served, and by which method."""
        return {READ_ARCHIVE: self.read_archive}

    async def read_archive(self, request: ReadArchive, _caller: Caller) -> ArtifactChunk:
        """One chunk of the archive of one version."""
        entry = await self._packages.get(request.name)
        record = entry.value if entry else None
        version = show(record, name=request.name, version=request.version).package
        digest = version.signed.archive_sha256
        number = chunk_number(request.offset_bytes, size_bytes=MAX_ARTIFACT_BYTES)
        chunk = await self._artifacts.read_chunk(digest, number)
        if chunk is None:
            first = await self._artifacts.read_chunk(digest, 0)
            if first is not None:
                chunk_number(request.offset_bytes, size_bytes=first.size_bytes)
            raise FaultError(f"the archive of {request.name} {version.version} is not stored")
        return chunk
