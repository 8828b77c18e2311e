# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Archives that are not complete yet, on disk, until their digest can be seen to be right.

One folder an upload, `<owner>-<digest>-<size>`, one file a chunk; a chunk is written beside and
renamed, so a chunk that is there is whole.

Rules:
 * Each owner has uploads of its own, so that nobody can spoil another's, and each upload has a lock
   of its own, so that hashing a large one makes no other wait.
 * What is kept survives a restart and is bounded: room is made at the cost of whoever has most
   beside the upload at hand, so that many or large uploads of one owner cost others nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar
from weakref import WeakValueDictionary

from services.catalog.adapters.artifacts import ArtifactDamagedError
from services.catalog.adapters.spooling import Spool
from services.catalog.chunks import KEPT_BYTES, chunk_count, upload_victims
from shared.archive_files import ArchiveBytes
from shared.contracts.catalog import CHUNK_BYTES
from shared.errors import FaultError, Reason

SPARE_BYTES: Final = 16 << 20
"""Stays free on the disk, as long as it is uploads that fill it."""
_UNFINISHED: Final = ".new"

ResultT = TypeVar("ResultT")


class UploadStoreError(FaultError):
    """The disk does not take or give what is uploaded."""


class Uploads:
    """The unfinished uploads of one catalog process."""

    def __init__(
        self, folder: Path, *, kept_bytes: int = KEPT_BYTES, spare_bytes: int = SPARE_BYTES
    ) -> None:
        """Nothing is read or written yet.

        Args:
            folder: Made when something is written.
            kept_bytes: What the chunks of all uploads may take together.
            spare_bytes: What they leave free on the disk.
        """
        self._folder: Final = folder
        self._kept_bytes: Final = kept_bytes
        self._spare_bytes: Final = spare_bytes
        self._locks: Final[WeakValueDictionary[Path, asyncio.Lock]] = WeakValueDictionary()
        """Each for as long as somebody has it or waits for it."""
        self._held: Final[dict[Path, set[int]]] = {}
        """The numbers of the chunks that are there, of uploads that were touched."""
        self._listing: Final = threading.Lock()
        """Nothing goes while it is listed: what went would be remembered as there."""

    async def add(
        self, owner: str, digest: str, *, size_bytes: int, number: int, data: bytes
    ) -> ArchiveBytes | None:
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
        upload = self._place(owner, digest, size_bytes)
        async with self._lock(upload):
            await _on_disk(lambda: self._write(upload, number, data))
            await self._make_room(upload)
            if len(self._held[upload]) < chunk_count(size_bytes):
                return None
            whole = await _on_disk(lambda: self._whole(upload, digest, size_bytes))
            if whole is None:
                raise ArtifactDamagedError(
                    f"the archive is not {digest}",
                    [
                        Reason(
                            path="sha256",
                            rule="the chunks together have another digest, and were forgotten",
                            allowed=digest,
                        )
                    ],
                )
            return whole

    async def held(self, owner: str, digest: str, *, size_bytes: int) -> frozenset[int]:
        """The numbers of the chunks of this upload that are there."""
        upload = self._place(owner, digest, size_bytes)
        async with self._lock(upload):
            return frozenset(await _on_disk(lambda: self._numbers(upload)))

    async def forget(self, owner: str, digest: str, *, size_bytes: int) -> None:
        """Nothing of this upload is kept."""
        upload = self._place(owner, digest, size_bytes)
        async with self._lock(upload):
            await _on_disk(lambda: self._remove(upload))

    def _place(self, owner: str, digest: str, size_bytes: int) -> Path:
        return self._folder / f"{owner}-{digest}-{size_bytes}"

    def _lock(self, upload: Path) -> asyncio.Lock:
        return self._locks.setdefault(upload, asyncio.Lock())

    def _numbers(self, upload: Path) -> set[int]:
        with self._listing:
            if upload not in self._held:
                names = (path.name for path in upload.iterdir()) if upload.is_dir() else ()
                self._held[upload] = {int(name) for name in names if name.isdecimal()}
            return self._held[upload]

    def _write(self, upload: Path, number: int, data: bytes) -> None:
        upload.mkdir(parents=True, exist_ok=True)
        numbers = self._numbers(upload)
        written = upload / f"{number}{_UNFINISHED}"
        written.write_bytes(data)
        written.rename(upload / str(number))
        numbers.add(number)

    def _whole(self, upload: Path, digest: str, size_bytes: int) -> ArchiveBytes | None:
        """The chunks in a row; None if they have another digest, and then they are gone."""
        found, spool = hashlib.sha256(), Spool(self._folder, size_bytes=size_bytes)
        for number in range(chunk_count(size_bytes)):
            data = (upload / str(number)).read_bytes()
            found.update(data)
            spool.append(data)
        if found.hexdigest() == digest:
            return spool.whole()
        self._remove(upload)
        return None

    async def _make_room(self, upload: Path) -> None:
        """Others go until all fit; those that are being worked on stay."""
        sizes = await _on_disk(self._sizes)
        free_bytes = (await _on_disk(lambda: shutil.disk_usage(self._folder))).free
        fitting_bytes = sum(sizes.values()) + free_bytes - self._spare_bytes
        limit_bytes = min(self._kept_bytes, fitting_bytes)
        for victim in upload_victims(sizes, kept=upload.name, limit_bytes=limit_bytes):
            place = self._folder / victim
            if not self._lock(place).locked():
                async with self._lock(place):
                    await _on_disk(lambda place=place: self._remove(place))  # type: ignore[misc]

    def _sizes(self) -> dict[str, int]:
        """What each upload has on disk, in bytes at most; longest without a new chunk first."""
        found: list[tuple[int, str, int]] = []
        for path in list(self._folder.iterdir()):
            # Another upload may be completed, and gone, at this very moment.
            with suppress(FileNotFoundError):
                if path.is_dir():
                    changed_ns = path.stat().st_mtime_ns
                    size_bytes = len(self._numbers(path)) * CHUNK_BYTES
                    found.append((changed_ns, path.name, size_bytes))
        return {name: size_bytes for _, name, size_bytes in sorted(found)}

    def _remove(self, upload: Path) -> None:
        with self._listing, suppress(FileNotFoundError):
            self._held.pop(upload, None)
            shutil.rmtree(upload)


async def _on_disk(work: Callable[[], ResultT]) -> ResultT:
    try:
        return await asyncio.to_thread(work)
    except OSError as error:
        raise UploadStoreError(f"uploads cannot be kept: {error.strerror}") from error
