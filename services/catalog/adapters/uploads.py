# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Archives that are not complete yet, on disk, until their digest can be seen to be right.

One folder an upload, `<owner>-<digest>-<size>`, one file a chunk; a chunk is written beside and
renamed, so a chunk that is there is whole.  Each owner has uploads of its own, so that nobody can
spoil another's.  What is kept survives a restart and is bounded: an upload makes room at the cost
of its owner's others first, then of those that were longest without a new chunk.
"""

from __future__ import annotations

import asyncio
import hashlib
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar

from services.catalog.adapters.artifacts import ArtifactDamagedError
from services.catalog.chunks import chunk_count
from shared.errors import FaultError, Reason

KEPT_BYTES: Final = 256 * 1024 * 1024
"""Of all uploads together, counted as if they were complete."""


ResultT = TypeVar("ResultT")


class UploadStoreError(FaultError):
    """The disk does not take or give what is uploaded."""


class Uploads:
    """The unfinished uploads of one catalog process."""

    def __init__(self, folder: Path, *, kept_bytes: int = KEPT_BYTES) -> None:
        self._folder: Final = folder
        self._kept_bytes: Final = kept_bytes
        self._lock: Final = asyncio.Lock()

    async def add(
        self, owner: str, digest: str, *, size_bytes: int, number: int, data: bytes
    ) -> bytes | None:
        """The chunk is kept; returns the whole archive if this completes it, else None.

        Args:
            owner: Public key of who uploads; only chunks of the same owner become one whole.
            digest: Of the whole.
            size_bytes: Of the whole.
            number: Which chunk, from 0.
            data: The chunk.

        Raises:
            ArtifactDamagedError: All chunks are there, but the whole has another digest; they are
                forgotten, so that a new upload begins from nothing.
            UploadStoreError: The disk failed.
        """
        upload = self._folder / f"{owner}-{digest}-{size_bytes}"
        return await self._locked(lambda: self._add(upload, digest, size_bytes, number, data))

    async def forget(self, owner: str, digest: str, *, size_bytes: int) -> None:
        """Nothing of this upload is kept."""
        await self._locked(lambda: self._remove(self._folder / f"{owner}-{digest}-{size_bytes}"))

    async def _locked(self, work: Callable[[], ResultT]) -> ResultT:
        async with self._lock:
            try:
                return await asyncio.to_thread(work)
            except OSError as error:
                raise UploadStoreError(f"uploads cannot be kept: {error.strerror}") from error

    def _add(
        self, upload: Path, digest: str, size_bytes: int, number: int, data: bytes
    ) -> bytes | None:
        upload.mkdir(parents=True, exist_ok=True)
        self._make_room(upload)
        written = upload / f"{number}.new"
        written.write_bytes(data)
        written.rename(upload / str(number))
        chunks = [upload / str(index) for index in range(chunk_count(size_bytes))]
        if not all(chunk.exists() for chunk in chunks):
            return None
        whole = b"".join(chunk.read_bytes() for chunk in chunks)
        found = hashlib.sha256(whole).hexdigest()
        if found != digest:
            self._remove(upload)
            reason = Reason(
                path="sha256",
                rule="the chunks together have another digest, and were forgotten",
                got=found,
                allowed=digest,
            )
            raise ArtifactDamagedError(f"the archive is not {digest}", [reason])
        return whole

    def _make_room(self, upload: Path) -> None:
        owner = _owner(upload)
        uploads = sorted(
            (other for other in self._folder.iterdir() if other != upload),
            key=lambda other: (_owner(other) != owner, other.stat().st_mtime_ns),
        )
        kept_bytes = sum(_claimed_bytes(other) for other in (upload, *uploads))
        for other in uploads:
            if kept_bytes <= self._kept_bytes:
                return
            kept_bytes -= _claimed_bytes(other)
            self._remove(other)

    def _remove(self, upload: Path) -> None:
        with suppress(FileNotFoundError):
            shutil.rmtree(upload)


def _owner(upload: Path) -> str:
    return upload.name.partition("-")[0]


def _claimed_bytes(upload: Path) -> int:
    return int(upload.name.rpartition("-")[2])
