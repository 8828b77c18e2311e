# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Archives for people: whoever sees a published version may have its bytes.

That somebody is given an archive is recorded before anything of it is given away.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from services.catalog.adapters.artifacts import Artifacts
from services.catalog.adapters.packages import Packages
from services.catalog.chunks import chunk_number
from services.catalog.handing_out import LAPSE, Handing, handing_event
from services.catalog.ongoing import Ongoing
from services.catalog.package_places import Held
from services.catalog.resolution import chosen_version
from shared.adapters.callers import Caller
from shared.adapters.outbox import Outbox
from shared.adapters.service_layer import Handler
from shared.contracts.base import Endpoint
from shared.contracts.catalog import READ_ARCHIVE, ArtifactChunk, ReadArchive
from shared.contracts.package_manifest import MAX_ARTIFACT_BYTES
from shared.contracts.package_records import VersionEntry
from shared.errors import FaultError


class ArchiveReading:
    """Answers for every version that the caller sees."""

    def __init__(
        self,
        packages: Packages,
        artifacts: Artifacts,
        outbox: Outbox,
        *,
        now: Callable[[], datetime],
    ) -> None:
        self._packages: Final = packages
        self._artifacts: Final = artifacts
        self._outbox: Final = outbox
        self._now: Final = now
        self._handings: Final = Ongoing[Handing](LAPSE)
        self._turn: Final = asyncio.Lock()

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
        handing = Handing(caller.key, entry.space, request.name, entry.version, request.destination)
        async with self._turn:  # chunks that are asked for side by side are one handing out
            if not self._handings.goes_on(handing, now=self._now()):
                await self._say(held, entry, chunk.size_bytes, request.destination, caller)
                self._handings.note(handing, now=self._now())
        return chunk

    async def _say(
        self, held: Held, entry: VersionEntry, size_bytes: int, destination: str, caller: Caller
    ) -> None:
        version = await self._packages.whole(held, entry)
        body = handing_event(
            version, size_bytes=size_bytes, destination=destination, actor=caller.actor()
        )
        await self._outbox.emit(
            body,
            event_id=f"distribute-{secrets.token_hex(16)}",
            audience=self._packages.audience_now(entry.space),
        )
