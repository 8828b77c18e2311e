# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Whole archives by digest, in chunks, in a stream that never changes what it holds.

An archive enters only after its digest was seen to be right, and its last chunk after all others:
when the last chunk is there, all are, and no chunk of a wrong content can block a digest for ever.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from services.catalog.adapters.spooling import Spool
from services.catalog.chunks import chunk_count
from shared.adapters.connection import Connection
from shared.adapters.direct_get import Stored, get_last
from shared.adapters.exception_groups import plain_task_group
from shared.adapters.stored_publish import NotStoredError, publish_stored
from shared.archive_files import ArchiveBytes
from shared.canonical import sha256_hex
from shared.contracts.catalog import CHUNK_BYTES, ArtifactChunk
from shared.contracts.package_manifest import MAX_ARTIFACT_BYTES
from shared.contracts.storage import ARTIFACT_STREAM, artifact_subject
from shared.errors import Reason, VerificationError

CHUNKS_AT_ONCE: Final = 8
"""Of one archive, on their way to or from the stream."""
SIZE_HEADER: Final = "L3af-Artifact-Size"
"""Size of the whole archive in bytes, on every chunk."""


class ArtifactDamagedError(VerificationError):
    """What is stored, or was sent, has another digest than its name."""


class Artifacts:
    """The archives of one installation."""

    def __init__(self, connection: Connection, *, folder: Path) -> None:
        """Nothing is read yet.

        Args:
            connection: To the stream.
            folder: Where those lie, while they are read, that are too large for memory.
        """
        self._connection: Final = connection
        self._folder: Final = folder

    async def has(self, digest: str, *, size_bytes: int) -> bool:
        """Whether the whole archive is stored."""
        last = await self._chunk(digest, chunk_count(size_bytes) - 1)
        return last is not None and _size(last) == size_bytes

    async def store(self, digest: str, data: ArchiveBytes) -> None:
        """The archive is stored; storing it again changes nothing.

        Raises:
            ArtifactDamagedError: `data` has another digest.
            FaultError: The stream did not take it.
        """
        await _check_digest(digest, data)
        *others, last = range(chunk_count(len(data)))
        at_once = asyncio.Semaphore(CHUNKS_AT_ONCE)

        async def keep(number: int) -> None:
            async with at_once:
                if await self._chunk(digest, number) is None:
                    await self._write(digest, number, data)

        async with plain_task_group() as tasks:
            for number in others:
                tasks.create_task(keep(number))
        await keep(last)

    async def read(self, digest: str) -> ArchiveBytes | None:
        """The whole archive; None if it is not stored.

        Raises:
            ArtifactDamagedError: What is stored has another digest.
            FaultError: The stream cannot be read, or the disk does not take what is too large for
                memory.
        """
        first = await self._chunk(digest, 0)
        if first is None:
            return None
        size_bytes = min(_size(first), MAX_ARTIFACT_BYTES)
        spool = Spool(self._folder, size_bytes=size_bytes)
        for start in range(0, chunk_count(size_bytes), CHUNKS_AT_ONCE):
            numbers = range(start, min(start + CHUNKS_AT_ONCE, chunk_count(size_bytes)))
            async with plain_task_group() as tasks:
                reads = [tasks.create_task(self._chunk(digest, number)) for number in numbers]
            for task in reads:
                chunk = task.result()
                if chunk is None:
                    return None
                await asyncio.to_thread(spool.append, chunk.data)
        data = spool.whole()
        await _check_digest(digest, data)
        return data

    async def read_chunk(self, digest: str, number: int) -> ArtifactChunk | None:
        """One chunk; None if it is not stored."""
        chunk = await self._chunk(digest, number)
        return None if chunk is None else ArtifactChunk(data=chunk.data, size_bytes=_size(chunk))

    async def _write(self, digest: str, number: int, data: ArchiveBytes) -> None:
        offset_bytes = number * CHUNK_BYTES
        try:
            await publish_stored(
                self._connection,
                artifact_subject(digest, number),
                bytes(data[offset_bytes : offset_bytes + CHUNK_BYTES]),
                message_id=f"{digest}.{number}",
                headers={SIZE_HEADER: str(len(data))},
            )
        except NotStoredError:
            # Somebody else may have stored the same chunk just now.
            if await self._chunk(digest, number) is None:
                raise

    async def _chunk(self, digest: str, number: int) -> Stored | None:
        return await get_last(self._connection, ARTIFACT_STREAM, artifact_subject(digest, number))


async def _check_digest(digest: str, data: ArchiveBytes) -> None:
    found = await asyncio.to_thread(sha256_hex, data)
    if found != digest:
        reason = Reason(
            path="sha256", rule="the archive has another digest", got=found, allowed=digest
        )
        raise ArtifactDamagedError(f"the archive {digest} has another digest", [reason])


def _size(chunk: Stored) -> int:
    return int(chunk.headers[SIZE_HEADER])
