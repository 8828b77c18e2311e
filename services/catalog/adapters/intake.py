# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Archives as they come in, chunk by chunk: kept until they are whole, then stored."""

from __future__ import annotations

from typing import Any, Final

import structlog

from services.catalog.adapters.artifacts import Artifacts
from services.catalog.adapters.own_archives import OwnArchives
from services.catalog.adapters.uploads import Uploads
from services.catalog.chunks import check_archive_size, check_chunk, missing_ranges
from shared.adapters.callers import Caller
from shared.adapters.service_layer import Handler
from shared.contracts.base import Endpoint
from shared.contracts.catalog import (
    FIND_MISSING,
    WRITE_ARTIFACT,
    ArtifactWritten,
    FindMissing,
    MissingFound,
    WriteArtifact,
)

_log = structlog.get_logger()


class Intake:
    """What publishers upload."""

    def __init__(
        self, *, artifacts: Artifacts, uploads: Uploads, own: OwnArchives, limit_bytes: int
    ) -> None:
        """Nothing comes in yet.

        Args:
            artifacts: Where what is whole goes.
            own: Who brought what is whole.
            uploads: Where it is kept until then.
            limit_bytes: The largest archive.
        """
        self._artifacts: Final = artifacts
        self._uploads: Final = uploads
        self._own: Final = own
        self._limit_bytes: Final = limit_bytes

    def endpoints(self) -> dict[Endpoint[Any, Any], Handler]:
        """What is served, and by which method."""
        return {WRITE_ARTIFACT: self.write_artifact, FIND_MISSING: self.find_missing}

    async def write_artifact(self, request: WriteArtifact, caller: Caller) -> ArtifactWritten:
        """The chunk is kept, and with the last one the archive is stored."""
        check_archive_size(request.size_bytes, limit_bytes=self._limit_bytes)
        number = check_chunk(request)
        digest, size_bytes = request.sha256, request.size_bytes
        if await self._is_stored(digest, size_bytes, caller):
            return ArtifactWritten(complete=True)
        whole = await self._uploads.add(
            caller.key, digest, size_bytes=size_bytes, number=number, data=request.data
        )
        if whole is None:
            return ArtifactWritten(complete=False)
        await self._artifacts.store(digest, whole)
        await self._own.add(caller.key, digest)
        await self._uploads.forget(caller.key, digest, size_bytes=size_bytes)
        _log.info("artifact_stored", sha256=digest, size_bytes=size_bytes, actor=caller.key)
        return ArtifactWritten(complete=True)

    async def find_missing(self, request: FindMissing, caller: Caller) -> MissingFound:
        """What an upload still lacks, so that one that was interrupted goes on where it stopped."""
        check_archive_size(request.size_bytes, limit_bytes=self._limit_bytes)
        digest, size_bytes = request.sha256, request.size_bytes
        if await self._is_stored(digest, size_bytes, caller):
            return MissingFound(complete=True)
        held = await self._uploads.held(caller.key, digest, size_bytes=size_bytes)
        return MissingFound(complete=False, missing=missing_ranges(held, size_bytes=size_bytes))

    async def _is_stored(self, digest: str, size_bytes: int, caller: Caller) -> bool:
        """Whether the caller has brought the archive: whether others have is not told."""
        is_own = await self._own.has(caller.key, digest)
        if not is_own or not await self._artifacts.has(digest, size_bytes=size_bytes):
            return False
        # The catalog may have died before it forgot the chunks, or one came twice.
        await self._uploads.forget(caller.key, digest, size_bytes=size_bytes)
        return True
