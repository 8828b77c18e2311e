# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Package archives from the catalog, kept on disk by digest.

Rules:
 * Bringing is one thing and taking another: whoever holds a lock takes what is on the disk, and
   never waits for the network.
 * One digest is downloaded once at a time, chunk by chunk; what was there when it was interrupted,
   by whatever, is not asked for again.
 * What was wanted in the last minute is held in the cache, beside what the caller says.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

import structlog

from services.node_executor.adapters.artifact_cache import DamagedArtifactError
from services.node_executor.event_audiences import Entry, Said
from services.node_executor.events import damaged_archive_body, sight_event_id
from shared.archive_files import ArchiveBytes
from shared.contracts.base import Endpoint
from shared.contracts.catalog import CHUNK_BYTES, READ_ARTIFACT, ArtifactChunk, ReadArtifact
from shared.contracts.events import PUBLIC, Audience
from shared.contracts.package_manifest import MAX_ARTIFACT_BYTES
from shared.errors import FaultError, RefusedError

CHUNK_SECONDS: Final = 5.0
"""The longest wait for one chunk."""
DOWNLOAD_SECONDS: Final = 300.0
"""The longest time for one attempt at the whole; the next one goes on where it stopped."""
HELD_SECONDS: Final = 90.0
"""Longer than what was staged is kept, so that its archives are there when it is confirmed."""
MAX_REMEMBERED: Final = 256
"""Archives whose last failure, or last duration, is remembered."""

ResultT = TypeVar("ResultT")
log = structlog.get_logger()


class IncompleteArtifactError(FaultError):
    """The catalog gave something else than the next chunk."""


class DownloadDeadlineError(FaultError):
    """A download took too long; what is there of it is kept."""


class ArchiveComingError(FaultError):
    """The archive is not on the disk yet."""


class Thread(Protocol):
    """Runs blocking calls one after another."""

    async def __call__(
        self, call: Callable[..., ResultT], *arguments: Any, **options: Any
    ) -> ResultT:
        """What the call returns."""


class CatalogBus(Protocol):
    """Where archives come from."""

    @property
    def name(self) -> str:
        """This node's."""

    async def request(
        self,
        endpoint: Endpoint[ReadArtifact, ArtifactChunk],
        message: ReadArtifact,
        *,
        timeout_seconds: float,
    ) -> ArtifactChunk:
        """One chunk."""

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs while the connection is there."""


class Journal(Protocol):
    """Where events go."""

    def journal(self, entries: Iterable[Entry]) -> None:
        """Durable; an id that is known changes nothing."""


class PartialArchive(Protocol):
    """An archive on its way: the chunks that are there, in order and without a gap."""

    @property
    def size_bytes(self) -> int:
        """Of the whole."""

    @property
    def done_bytes(self) -> int:
        """What is there."""

    def append(self, chunk: bytes) -> None:
        """The next chunk is there."""

    def finish(self) -> None:
        """The archive is in the cache now; refused if the whole has another digest."""


class Cache(Protocol):
    """Where archives lie, by digest."""

    def read(self, sha256: str) -> ArchiveBytes | None:
        """The archive, or None if it is not there."""

    def missing(
        self, wanted: Iterable[str]
    ) -> tuple[frozenset[str], tuple[DamagedArtifactError, ...]]:
        """Which have to be fetched, and those that were damaged, now removed."""

    def resume(self, sha256: str) -> PartialArchive | None:
        """What an interrupted download left."""

    def begin(
        self, sha256: str, size_bytes: int, *, held: AbstractSet[str] = frozenset()
    ) -> PartialArchive:
        """An empty part with room for all of it; what is `held` stays."""

    def drop(self, sha256: str) -> None:
        """The part of it is gone."""


@dataclass(slots=True)
class _Coming:
    """One download that is under way."""

    done: asyncio.Future[None]
    done_bytes: int = 0
    size_bytes: int = 0


class Archives:
    """Where the executor gets archives from; what it gives has the digest that was asked for."""

    def __init__(
        self,
        *,
        bus: CatalogBus,
        cache: Cache,
        disk: Thread,
        thread: Thread,
        journal: Journal,
        audience_of: Callable[[str], Audience] = lambda _: PUBLIC,
        chunk_seconds: float = CHUNK_SECONDS,
        download_seconds: float = DOWNLOAD_SECONDS,
    ) -> None:
        """Nothing is fetched yet.

        Args:
            bus: To the catalog.
            cache: Used in `disk` alone.
            disk: Waits for the disk, so that the kernel's thread does not.
            thread: The one that journals.
            journal: Says what was damaged.
            audience_of: To whom, of an archive.
            chunk_seconds: For one chunk.
            download_seconds: For the whole.
        """
        self._bus = bus
        self._cache = cache
        self._disk = disk
        self._thread = thread
        self._journal = journal
        self._audience_of = audience_of
        self._chunk_seconds = chunk_seconds
        self._download_seconds = download_seconds
        self._coming: dict[str, _Coming] = {}
        self._failures: dict[str, RefusedError | FaultError] = {}
        self._held_until: dict[str, float] = {}
        self._downloads_ms: dict[str, float] = {}

    async def missing(self, wanted: Collection[str]) -> frozenset[str]:
        """Which of the archives are not on the disk; all of them are held for a while.

        Each is read once by this process, and again when its file was touched: one that is damaged
        is removed, said in an event, and missing.
        """
        self._hold(wanted)
        absent, damaged = await self._disk(self._cache.missing, wanted)
        for one in damaged:
            await self._report(one)
        return absent

    async def bring(
        self,
        tickets: Mapping[str, str],
        *,
        held: Callable[[], AbstractSet[str]],
        wait_seconds: float,
        then: Callable[[], object],
    ) -> None:
        """Every archive is on the disk, or it is remembered why not; `take` says it.

        Args:
            tickets: Digest to the ticket that lets this node read the archive before its desired
                record names it; may be empty.
            held: Digests that must stay in the cache.
            wait_seconds: What still comes after that goes on coming.
            then: Called at the end of each that came later.
        """
        self._hold(tickets)
        for sha256, ticket in tickets.items():
            if sha256 not in self._coming:
                self._failures.pop(sha256, None)
                self._coming[sha256] = _Coming(asyncio.get_running_loop().create_future())
                self._bus.spawn(self._bring(sha256, ticket, held))
        ends = [self._coming[sha256].done for sha256 in tickets]
        if not ends:
            return
        _, late = await asyncio.wait(ends, timeout=wait_seconds)
        for end in late:
            end.add_done_callback(lambda _end: then())

    async def take(self, sha256: str) -> ArchiveBytes:
        """The archive, from the disk.

        Raises:
            VerificationError: What the catalog gave has another digest.
            RefusedError: The catalog does not give it to this node.
            FaultError: It is not there (yet), or the disk failed.
        """
        try:
            data = await self._disk(self._cache.read, sha256)
        except DamagedArtifactError as error:
            await self._report(error)
            raise
        if data is not None:
            return data
        failure = self._failures.get(sha256)
        if failure is not None:
            raise failure.with_traceback(None)
        coming = self._coming.get(sha256)
        if coming is None or not coming.size_bytes:
            raise ArchiveComingError(f"archive {sha256} is not here yet")
        raise ArchiveComingError(
            f"archive {sha256} is being fetched: {coming.done_bytes} of {coming.size_bytes} bytes"
        )

    def downloaded_ms(self, archives: Iterable[str]) -> float:
        """How long their downloads took that were not asked about before."""
        return sum(self._downloads_ms.pop(sha256, 0.0) for sha256 in archives)

    async def _bring(self, sha256: str, ticket: str, held: Callable[[], AbstractSet[str]]) -> None:
        coming = self._coming[sha256]
        started = time.perf_counter()
        try:
            async with asyncio.timeout(self._download_seconds):
                await self._download(sha256, ticket, held, coming)
        except TimeoutError:
            got = f"{coming.done_bytes} of {coming.size_bytes} bytes"
            self._fail(
                sha256,
                DownloadDeadlineError(
                    f"archive {sha256} did not come within {self._download_seconds:g} s ({got})"
                ),
            )
        except (RefusedError, FaultError) as error:
            self._fail(sha256, error)
        else:
            duration_ms = round((time.perf_counter() - started) * 1000, 3)
            _put(self._downloads_ms, sha256, duration_ms)
            size_bytes = coming.size_bytes
            log.info("archive_fetched", sha256=sha256, size_bytes=size_bytes, ms=duration_ms)
        finally:
            del self._coming[sha256]
            if not coming.done.done():
                coming.done.set_result(None)

    async def _download(
        self,
        sha256: str,
        ticket: str,
        held: Callable[[], AbstractSet[str]],
        coming: _Coming,
    ) -> None:
        partial = await self._disk(self._cache.resume, sha256)
        if partial is not None:
            _count(coming, partial)
            log.info("download_resumed", sha256=sha256, done_bytes=partial.done_bytes)
        while partial is None or partial.done_bytes < partial.size_bytes:
            offset_bytes = partial.done_bytes if partial else 0
            chunk = await self._chunk(sha256, offset_bytes, ticket)
            if partial is None or chunk.size_bytes != partial.size_bytes:
                if offset_bytes:  # a part of something else: from the beginning
                    await self._disk(self._cache.drop, sha256)
                    partial = None
                    continue
                partial = await self._disk(
                    self._cache.begin, sha256, chunk.size_bytes, held=self._all_held(held)
                )
            await self._disk(partial.append, chunk.data)
            _count(coming, partial)
        await self._disk(partial.finish)

    async def _chunk(self, sha256: str, offset_bytes: int, ticket: str) -> ArtifactChunk:
        request = ReadArtifact(sha256=sha256, offset_bytes=offset_bytes, ticket=ticket)
        chunk = await self._bus.request(
            READ_ARTIFACT.at(node=self._bus.name), request, timeout_seconds=self._chunk_seconds
        )
        expected_bytes = min(CHUNK_BYTES, chunk.size_bytes - offset_bytes)
        is_sound = 0 < chunk.size_bytes <= MAX_ARTIFACT_BYTES
        if not is_sound or len(chunk.data) != max(expected_bytes, 0):
            raise IncompleteArtifactError(
                f"archive {sha256}: the catalog gave {len(chunk.data)} bytes at {offset_bytes}"
                f" of {chunk.size_bytes}"
            )
        return chunk

    def _hold(self, wanted: Iterable[str]) -> None:
        now = time.monotonic()
        self._held_until = {one: until for one, until in self._held_until.items() if until > now}
        self._held_until.update(dict.fromkeys(wanted, now + HELD_SECONDS))

    def _all_held(self, held: Callable[[], AbstractSet[str]]) -> AbstractSet[str]:
        now = time.monotonic()
        lately = {one for one, until in self._held_until.items() if until > now}
        return held() | lately | self._coming.keys()

    def _fail(self, sha256: str, error: RefusedError | FaultError) -> None:
        log.warning("archive_not_fetched", sha256=sha256, why=error.message)
        _put(self._failures, sha256, error)

    async def _report(self, damaged: DamagedArtifactError) -> None:
        log.warning("cached_archive_damaged", sha256=damaged.sha256, found=damaged.found)
        body = damaged_archive_body(
            node=self._bus.name,
            sha256=damaged.sha256,
            found=damaged.found,
            size_bytes=damaged.size_bytes,
        )
        event_id = sight_event_id(
            self._bus.name,
            damaged.sha256,
            body.action,
            occasion=f"{damaged.found}|{damaged.changed_ns}",
        )
        audience = self._audience_of(damaged.sha256)
        await self._thread(self._journal.journal, [Said(event_id, body, audience)])


def _put(remembered: dict[str, ResultT], sha256: str, value: ResultT) -> None:
    """As the newest; the oldest is forgotten if there are too many."""
    remembered.pop(sha256, None)
    remembered[sha256] = value
    while len(remembered) > MAX_REMEMBERED:
        del remembered[next(iter(remembered))]


def _count(coming: _Coming, partial: PartialArchive) -> None:
    coming.done_bytes, coming.size_bytes = partial.done_bytes, partial.size_bytes
