# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Downloads: in chunks, resumed, once at a time, within a deadline, and never believed."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Iterable
from pathlib import Path
from typing import Any

import pytest

from services.node_executor.adapters.archives import (
    ArchiveComingError,
    Archives,
    DownloadDeadlineError,
    IncompleteArtifactError,
)
from services.node_executor.adapters.artifact_cache import (
    ArtifactCache,
    DamagedArtifactError,
)
from services.node_executor.artifact_eviction import NoRoomError
from services.node_executor.event_audiences import Entry
from shared.canonical import sha256_hex
from shared.contracts.base import Endpoint
from shared.contracts.catalog import CHUNK_BYTES, ArtifactChunk, ReadArtifact
from shared.contracts.events import EventBody
from shared.errors import FaultError, RefusedError, VerificationError

LARGE = random.Random(1).randbytes(5 * CHUNK_BYTES + 1000)
NAME = sha256_hex(LARGE)


class FakeCatalog:
    """Gives chunks of archives; stops, waits or lies where it is told to."""

    name = "n1"

    def __init__(self) -> None:
        self.archives: dict[str, bytes] = {NAME: LARGE}
        self.asked: list[int] = []
        self.tickets: set[str] = set()
        self.error: Exception | None = None
        self.stops_at: int | None = None
        self.waits_at: int | None = None
        self.goes_on = asyncio.Event()
        self.tasks: set[asyncio.Task[None]] = set()

    async def request(
        self,
        endpoint: Endpoint[ReadArtifact, ArtifactChunk],
        message: ReadArtifact,
        *,
        timeout_seconds: float,
    ) -> ArtifactChunk:
        """One chunk."""
        assert endpoint.subject.endswith(".n1")
        number = message.offset_bytes // CHUNK_BYTES
        if number == self.stops_at and self.error is not None:
            raise self.error
        if number == self.waits_at:
            try:
                await asyncio.wait_for(self.goes_on.wait(), timeout_seconds)
            except TimeoutError:
                raise FaultError("no answer") from None
        self.asked.append(number)
        self.tickets.add(message.ticket)
        data = self.archives[message.sha256]
        chunk = data[message.offset_bytes : message.offset_bytes + CHUNK_BYTES]
        return ArtifactChunk(data=chunk, size_bytes=len(data))

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """As a task."""
        task = asyncio.ensure_future(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)


class FakeJournal:
    """Keeps what is said."""

    def __init__(self) -> None:
        self.said: dict[str, EventBody] = {}

    def journal(self, entries: Iterable[Entry]) -> None:
        """Kept by id."""
        self.said.update(entry[:2] for entry in entries)


async def at_once(call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """A thread, without a thread."""
    await asyncio.sleep(0)
    return call(*arguments, **options)


class World:
    """A node's archives, its disk and a catalog."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder = folder / "artifacts"
        self.catalog = FakeCatalog()
        self.journal = FakeJournal()
        self.late: list[str] = []
        self.restart(**settings)

    def restart(self, *, max_bytes: int = 1 << 20, **settings: Any) -> None:
        """Another process on the same disk."""
        self.cache = ArtifactCache(self.folder, max_bytes=max_bytes, reserved_bytes=0)
        self.archives = Archives(
            bus=self.catalog,
            cache=self.cache,
            disk=at_once,
            thread=at_once,
            journal=self.journal,
            **settings,
        )

    async def bring(
        self, *names: str, wait_seconds: float = 5.0, held: frozenset[str] = frozenset()
    ) -> None:
        """What is missing of these is fetched."""
        missing = await self.archives.missing(names)
        await self.archives.bring(
            dict.fromkeys(missing, "a-ticket"),
            held=lambda: held,
            wait_seconds=wait_seconds,
            then=lambda: self.late.append("came"),
        )

    def add(self, size_bytes: int, letter: bytes) -> str:
        """Another archive in the catalog; its name."""
        data = letter * size_bytes
        self.catalog.archives[sha256_hex(data)] = data
        return sha256_hex(data)

    def files(self) -> set[str]:
        """Names on the disk."""
        return {path.name for path in self.folder.iterdir()} if self.folder.exists() else set()


@pytest.fixture
def world(tmp_path: Path) -> World:
    """An empty cache and a catalog with one large archive."""
    return World(tmp_path)


async def test_an_archive_comes_in_chunks_and_is_kept(world: World) -> None:
    """Each chunk is asked for once, the second time nothing is."""
    await world.bring(NAME)
    await world.bring(NAME)

    assert await world.archives.take(NAME) == LARGE
    assert world.catalog.asked == [0, 1, 2, 3, 4, 5]
    assert world.catalog.tickets == {"a-ticket"}
    assert world.files() == {NAME}
    assert world.archives.downloaded_ms([NAME]) > 0
    assert world.archives.downloaded_ms([NAME]) == 0


@pytest.mark.parametrize("restarts", [False, True])
async def test_an_interrupted_download_goes_on_where_it_stopped(
    world: World, *, restarts: bool
) -> None:
    """Whether the catalog failed or this process was killed."""
    world.catalog.stops_at, world.catalog.error = 3, FaultError("gone")
    await world.bring(NAME)
    with pytest.raises(FaultError, match="gone"):
        await world.archives.take(NAME)
    world.catalog.stops_at = None
    if restarts:
        world.restart()

    await world.bring(NAME)

    assert await world.archives.take(NAME) == LARGE
    assert world.catalog.asked == [0, 1, 2, 3, 4, 5]


async def test_chunks_that_a_power_failure_damaged_are_asked_for_again(world: World) -> None:
    """The part is good up to the first chunk that is not what was written."""
    world.catalog.stops_at, world.catalog.error = 4, FaultError("gone")
    await world.bring(NAME)
    with (world.folder / f"{NAME}.partial").open("r+b") as file:
        file.seek(2 * CHUNK_BYTES + 5)
        file.write(b"?")
    world.catalog.stops_at = None
    world.restart()

    await world.bring(NAME)

    assert await world.archives.take(NAME) == LARGE
    assert world.catalog.asked == [0, 1, 2, 3, 2, 3, 4, 5]


async def test_a_part_whose_index_cannot_be_read_is_dropped(world: World) -> None:
    """The download begins anew."""
    world.catalog.stops_at, world.catalog.error = 2, FaultError("gone")
    await world.bring(NAME)
    (world.folder / f"{NAME}.chunks").write_text("")
    world.catalog.stops_at = None

    await world.bring(NAME)

    assert world.catalog.asked == [0, 1, 0, 1, 2, 3, 4, 5]
    assert await world.archives.take(NAME) == LARGE


async def test_a_part_of_another_size_is_given_up(world: World) -> None:
    """What is put together has one source."""
    world.catalog.stops_at, world.catalog.error = 2, FaultError("gone")
    await world.bring(NAME)
    world.catalog.stops_at = None
    world.catalog.archives[NAME] = LARGE + b"more"

    await world.bring(NAME)

    with pytest.raises(VerificationError):
        await world.archives.take(NAME)
    assert world.catalog.asked == [0, 1, 2, 0, 1, 2, 3, 4, 5]
    assert world.files() == set()


async def test_two_that_want_the_same_share_one_download(world: World) -> None:
    """And who comes late waits for the rest of it alone."""
    world.catalog.waits_at = 2
    first = asyncio.create_task(world.bring(NAME))
    second = asyncio.create_task(world.bring(NAME))
    async with asyncio.timeout(60):
        while world.catalog.asked != [0, 1]:
            await asyncio.sleep(0)
    with pytest.raises(ArchiveComingError, match=f"{2 * CHUNK_BYTES} of {len(LARGE)} bytes"):
        await world.archives.take(NAME)
    world.catalog.goes_on.set()
    await asyncio.gather(first, second)

    assert world.catalog.asked == [0, 1, 2, 3, 4, 5]


async def test_a_slow_download_goes_on_after_the_wait_and_says_when_it_is_done(
    world: World,
) -> None:
    """Nobody waits longer than agreed."""
    world.catalog.waits_at = 1
    await world.bring(NAME, wait_seconds=0.01)
    still_waiting = not world.late
    world.catalog.goes_on.set()
    async with asyncio.timeout(60):
        while not world.late:
            await asyncio.sleep(0.001)

    assert still_waiting
    assert await world.archives.take(NAME) == LARGE


async def test_a_chunk_that_does_not_come_fails_the_attempt_and_keeps_the_rest(
    tmp_path: Path,
) -> None:
    """The deadline of one chunk."""
    world = World(tmp_path, chunk_seconds=0.01)
    world.catalog.waits_at = 4
    await world.bring(NAME)

    with pytest.raises(FaultError, match="no answer"):
        await world.archives.take(NAME)
    assert world.files() == {f"{NAME}.partial", f"{NAME}.chunks"}


async def test_a_download_has_a_deadline_for_the_whole(tmp_path: Path) -> None:
    """It names how far it came, and the next attempt goes on from there."""
    world = World(tmp_path, download_seconds=0.05)
    world.catalog.waits_at = 3
    await world.bring(NAME)
    with pytest.raises(DownloadDeadlineError, match=f"{3 * CHUNK_BYTES} of {len(LARGE)}"):
        await world.archives.take(NAME)
    world.catalog.waits_at = None

    await world.bring(NAME)

    assert await world.archives.take(NAME) == LARGE
    assert world.catalog.asked == [0, 1, 2, 3, 4, 5]


async def test_an_archive_with_another_digest_leaves_nothing(world: World) -> None:
    """Every chunk may look right: the whole decides."""
    world.catalog.archives[NAME] = LARGE[:-1] + b"?"
    await world.bring(NAME)

    with pytest.raises(VerificationError):
        await world.archives.take(NAME)
    assert world.files() == set()


@pytest.mark.parametrize("size_bytes", [0, -1, 1 << 40, 7])
async def test_a_catalog_that_gives_no_sound_chunks_is_not_believed(
    world: World, size_bytes: int
) -> None:
    """A chunk has exactly the bytes that its place in the whole has."""
    real = world.catalog.request

    async def lying(*arguments: Any, **options: Any) -> ArtifactChunk:
        chunk = await real(*arguments, **options)
        return ArtifactChunk(data=chunk.data, size_bytes=size_bytes)

    world.catalog.request = lying  # type: ignore[method-assign]
    await world.bring(NAME)

    with pytest.raises(IncompleteArtifactError):
        await world.archives.take(NAME)


async def test_a_refusal_of_the_catalog_is_given_to_who_takes(world: World) -> None:
    """It is no fault: the same request would be refused again."""
    world.catalog.stops_at, world.catalog.error = 0, RefusedError("no", code="not_permitted")
    await world.bring(NAME)

    with pytest.raises(RefusedError) as caught:
        await world.archives.take(NAME)
    assert caught.value.refusal_code == "not_permitted"


async def test_a_damaged_file_is_said_removed_and_fetched_again(world: World) -> None:
    """Even if nobody reads it but the next look."""
    await world.bring(NAME)
    (world.folder / NAME).write_bytes(b"!" + LARGE[1:])

    await world.bring(NAME)

    body = next(iter(world.journal.said.values()))
    assert await world.archives.take(NAME) == LARGE
    assert len(world.catalog.asked) == 12
    assert (body.action, body.node) == ("artifact.damage", "n1")
    assert body.details["archive_sha256"] == NAME
    assert body.details["found_sha256"] == sha256_hex(b"!" + LARGE[1:])


async def test_what_is_taken_is_hashed_again(world: World) -> None:
    """A file that was exchanged after the last look is not given to anybody."""
    await world.bring(NAME)
    (world.folder / NAME).write_bytes(b"!")

    with pytest.raises(DamagedArtifactError):
        await world.archives.take(NAME)
    assert world.files() == set()
    assert len(world.journal.said) == 1


async def test_a_new_process_looks_at_everything_once(world: World) -> None:
    """What rotted while nobody looked is noticed before it is needed."""
    await world.bring(NAME)
    path = world.folder / NAME
    before = path.stat()
    path.write_bytes(b"!" + LARGE[1:])
    world.restart()

    missing = await world.archives.missing([NAME])

    assert missing == {NAME}
    assert before.st_size == len(LARGE)


async def test_the_cache_stays_within_its_limit_and_keeps_what_is_held(tmp_path: Path) -> None:
    """What was not used for longest goes; what runs and what was just wanted does not."""
    world = World(tmp_path)
    names = [world.add(300_000, letter) for letter in (b"a", b"b", b"c")]
    for name in names:
        await world.bring(name)
    world.restart()  # forgets what was wanted lately
    new = world.add(300_000, b"d")

    await world.bring(new, held=frozenset(names[:1]))

    assert world.files() == {names[0], names[2], new}


async def test_what_was_just_staged_is_held_for_a_while(world: World) -> None:
    """It is not remembered by any hook point yet."""
    names = [world.add(300_000, letter) for letter in (b"a", b"b", b"c", b"d")]
    for name in names:
        await world.bring(name)

    with pytest.raises(NoRoomError, match=names[3]):
        await world.archives.take(names[3])
    assert world.files() == set(names[:3])


async def test_stray_files_are_removed_when_room_is_made(world: World) -> None:
    """A folder of ours holds nothing else."""
    world.folder.mkdir()
    (world.folder / "tmpabc").write_bytes(b"left by a killed process")

    await world.bring(NAME)

    assert world.files() == {NAME}
