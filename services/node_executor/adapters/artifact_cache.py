# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Artifacts on disk, named by their digest and never believed: each read hashes the bytes again.

    <digest>            a whole artifact
    <digest>.partial    one that is being downloaded, at its full size
    <digest>.chunks     its size, then the digest of each chunk that is in it

Blocking; one thread uses it.
"""

from __future__ import annotations

import errno
import hashlib
import mmap
import os
from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from services.node_executor.artifact_eviction import (
    OFF_DISK,
    CachedArtifact,
    NoRoomError,
    Room,
    plan_eviction,
)
from shared.archive_files import ArchiveBytes
from shared.canonical import sha256_hex
from shared.contracts.catalog import CHUNK_BYTES
from shared.contracts.package_manifest import MAX_ARTIFACT_BYTES
from shared.errors import FaultError, Reason, VerificationError

RESERVED_BYTES: Final = 16 * 1024 * 1024
"""Stays free on the disk: the journal is on it too."""
IN_MEMORY_BYTES: Final = 64 << 20
"""A larger artifact is mapped, so that it takes no memory that the kernel cannot take back."""
_PARTIAL, _CHUNKS = ".partial", ".chunks"
_NAME_LENGTH: Final = 64
_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class ArtifactCacheError(FaultError):
    """The cache directory cannot be read or written."""


class DamagedArtifactError(FaultError):
    """A cached artifact was not what its name says; it is gone."""

    def __init__(self, sha256: str, *, found: str, size_bytes: int, changed_ns: int) -> None:
        reason = Reason(
            path=f"archive {sha256}", rule="the cached file has another digest", got=found
        )
        super().__init__(f"the cached archive {sha256} was damaged and is removed", [reason])
        self.sha256: Final = sha256
        self.found: Final = found
        """Digest of what was there."""
        self.size_bytes: Final = size_bytes
        self.changed_ns: Final = changed_ns
        """When the file was last written or read, in nanoseconds since 1970."""


class ArtifactCache:
    """A folder of files whose names are their SHA-256."""

    def __init__(
        self,
        folder: Path,
        *,
        max_bytes: int,
        reserved_bytes: int = RESERVED_BYTES,
        in_memory_bytes: int = IN_MEMORY_BYTES,
    ) -> None:
        """Nothing is read yet.

        Args:
            folder: Made when something is written.
            max_bytes: What all artifacts may take together.
            reserved_bytes: What stays free on the disk.
            in_memory_bytes: What is larger is mapped when it is read.
        """
        self._folder: Final = folder
        self._max_bytes: Final = max_bytes
        self._reserved_bytes: Final = reserved_bytes
        self._in_memory_bytes: Final = in_memory_bytes
        self._verified: Final[dict[str, tuple[int, int, int]]] = {}

    def read(self, sha256: str) -> ArchiveBytes | None:
        """The artifact, or None if it is not there.

        Raises:
            DamagedArtifactError: It was not what its name says.
            ArtifactCacheError: The disk failed.
        """
        path = self._folder / sha256
        try:
            data = self._content(path)
            before = path.stat()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ArtifactCacheError(f"{path} cannot be read: {error}") from error
        found = sha256_hex(data)
        if found != sha256:
            self._verified.pop(sha256, None)
            with suppress(OSError):
                path.unlink(missing_ok=True)
            raise DamagedArtifactError(
                sha256, found=found, size_bytes=len(data), changed_ns=before.st_mtime_ns
            )
        with suppress(OSError):  # a disk that is read only keeps no order of use
            os.utime(path)
        self._verified[sha256] = _signature(path)
        return data

    def missing(
        self, wanted: Iterable[str]
    ) -> tuple[frozenset[str], tuple[DamagedArtifactError, ...]]:
        """Which of the artifacts have to be fetched, and those that were damaged, now removed.

        What was read before and whose file was not touched since is not read again.
        """
        absent: set[str] = set()
        damaged: list[DamagedArtifactError] = []
        for sha256 in sorted(set(wanted)):
            signature = _signature(self._folder / sha256)
            if any(signature) and self._verified.get(sha256) == signature:
                continue
            try:
                if self.read(sha256) is None:
                    absent.add(sha256)
            except DamagedArtifactError as error:
                absent.add(sha256)
                damaged.append(error)
        return frozenset(absent), tuple(damaged)

    def resume(self, sha256: str) -> PartialArtifact | None:
        """The part that an interrupted download left, as far as its chunks are whole."""
        data, index = self._partial_paths(sha256)
        try:
            size_bytes, chunks = _read_index(index)
            whole = _whole_chunks(data, chunks)
        except FileNotFoundError:
            return None
        except (OSError, ValueError):
            self.drop(sha256)
            return None
        partial = PartialArtifact(self, sha256, data, index, size_bytes)
        partial.open(whole)
        return partial

    def begin(
        self, sha256: str, size_bytes: int, *, held: AbstractSet[str] = frozenset()
    ) -> PartialArtifact:
        """An empty part with room for all of it; what was not used for longest made room.

        Args:
            sha256: The artifact's digest.
            size_bytes: Of the whole.
            held: Digests that stay, whatever happens.

        Raises:
            NoRoomError: It does not fit; nothing was removed for it.
            ArtifactCacheError: The disk failed.
        """
        self.drop(sha256)
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            disk = os.statvfs(self._folder)
            room = Room(
                limit_bytes=self._max_bytes,
                free_bytes=disk.f_bavail * disk.f_frsize,
                reserved_bytes=self._reserved_bytes,
            )
            artifacts = self._artifacts()
        except OSError as error:
            raise ArtifactCacheError(f"{self._folder} cannot be written: {error}") from error
        for evicted in plan_eviction(
            artifacts, wanted=sha256, size_bytes=size_bytes, held=held, room=room
        ):
            self.drop(evicted, whole=True)
        partial = PartialArtifact(self, sha256, *self._partial_paths(sha256), size_bytes)
        partial.open([])
        return partial

    def drop(self, sha256: str, *, whole: bool = False) -> None:
        """The part of it is gone, and with `whole` the artifact too."""
        paths = [*self._partial_paths(sha256), *([self._folder / sha256] if whole else [])]
        try:
            for path in paths:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise ArtifactCacheError(f"{sha256} cannot be removed: {error}") from error

    def adopt(self, sha256: str) -> None:
        """The part has become the artifact, and a power failure does not undo that."""
        data, index = self._partial_paths(sha256)
        data.rename(self._folder / sha256)
        index.unlink(missing_ok=True)
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        self._verified[sha256] = _signature(self._folder / sha256)

    def _content(self, path: Path) -> ArchiveBytes:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size <= self._in_memory_bytes:
                return file.read()
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))

    def _partial_paths(self, sha256: str) -> tuple[Path, Path]:
        return self._folder / f"{sha256}{_PARTIAL}", self._folder / f"{sha256}{_CHUNKS}"

    def _artifacts(self) -> list[CachedArtifact]:
        """What is in the folder; files that are none of ours are removed."""
        found = []
        for path in self._folder.iterdir():
            digest = path.name.removesuffix(_PARTIAL).removesuffix(_CHUNKS)
            if len(digest) != _NAME_LENGTH:
                path.unlink(missing_ok=True)
            elif path.suffix != _CHUNKS:
                state = path.stat()
                found.append(CachedArtifact(digest, state.st_size, state.st_mtime_ns))
        return found


class PartialArtifact:
    """An artifact on its way: the chunks that are there, in order and without a gap."""

    def __init__(
        self, cache: ArtifactCache, sha256: str, data: Path, index: Path, size_bytes: int
    ) -> None:
        self.size_bytes: Final = size_bytes
        """Of the whole."""
        self.done_bytes = 0
        """What is there."""
        self._cache: Final = cache
        self._sha256: Final = sha256
        self._data: Final = data
        self._index: Final = index

    def open(self, chunks: list[str]) -> None:
        """The chunks with these digests are there, and room for the others is taken.

        Raises:
            NoRoomError: The disk is full; what was there of it is gone.
        """
        with _disk(self._cache, self._sha256, self.size_bytes):
            lines = "".join(f"{line}\n" for line in (str(self.size_bytes), *chunks))
            self._index.write_text(lines)
            with self._data.open("ab") as file:
                os.posix_fallocate(file.fileno(), 0, self.size_bytes)
        self.done_bytes = min(len(chunks) * CHUNK_BYTES, self.size_bytes)

    def append(self, chunk: bytes) -> None:
        """The next chunk is there."""
        with _disk(self._cache, self._sha256, self.size_bytes):
            with self._data.open("r+b") as file:
                file.seek(self.done_bytes)
                file.write(chunk)
            with self._index.open("a") as index:
                index.write(f"{sha256_hex(chunk)}\n")
        self.done_bytes += len(chunk)

    def finish(self) -> None:
        """The artifact is in the cache now.

        Raises:
            VerificationError: The whole has another digest; nothing of it is left.
        """
        with _disk(self._cache, self._sha256, self.size_bytes):
            with self._data.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
                os.fsync(file.fileno())
            if digest == self._sha256:
                self._cache.adopt(self._sha256)
                return
        self._cache.drop(self._sha256)
        reason = Reason(path="archive", rule="has another digest", got=digest, allowed=self._sha256)
        raise VerificationError("the catalog gave another archive than asked for", [reason])


@contextmanager
def _disk(cache: ArtifactCache, sha256: str, size_bytes: int) -> Iterator[None]:
    """Turns a disk's failures into ours; one that is full gets back what the download took."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise ArtifactCacheError(f"{sha256} cannot be written: {error}") from error
        cache.drop(sha256)
        reason = Reason(path=f"archive {sha256}", rule=OFF_DISK, got=size_bytes)
        raise NoRoomError(f"{reason.path} {reason.rule}", [reason]) from error


def _signature(path: Path) -> tuple[int, int, int]:
    """Changes when the file does; zeros if there is none."""
    try:
        state = path.stat()
    except OSError:
        return (0, 0, 0)
    return (state.st_ino, state.st_size, state.st_mtime_ns)


def _read_index(path: Path) -> tuple[int, list[str]]:
    """Size of the whole and the digests of the chunks."""
    first, *chunks = path.read_text().splitlines()
    size_bytes = int(first)
    if not 0 < size_bytes <= MAX_ARTIFACT_BYTES:
        raise ValueError("no size of an artifact")
    return size_bytes, chunks


def _whole_chunks(path: Path, digests: list[str]) -> list[str]:
    """The digests up to the first chunk that is not what its digest says."""
    with path.open("rb") as file:
        for count, digest in enumerate(digests):
            if hashlib.sha256(file.read(CHUNK_BYTES)).hexdigest() != digest:
                return digests[:count]
    return digests
