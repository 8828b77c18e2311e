# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Heads are shown to witnesses and to the bus; a log that they know otherwise says so and ends."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from services.auditor.adapters.checkpoint_file import CheckpointFile
from services.auditor.adapters.published_head import PublishedHead
from services.auditor.adapters.sqlite_store import SqliteStore
from services.auditor.adapters.tile_directory import TileDirectory
from services.auditor.checkpoint import open_checkpoint, render_verifier_key, verifier_key
from services.auditor.conflicts import ConflictError
from services.auditor.cosignature import check_witnessed
from services.auditor.execution import Heads
from services.auditor.publication.execution import Publication, checked, published
from shared.contracts.audit import GET_CHECKPOINT, LIST_RECORDS, GetCheckpoint, ListRecords
from shared.contracts.events import PUBLIC, Audience, EventBody
from shared.contracts.log_heads import CHECKPOINTS, NEWEST_HEAD
from shared.errors import FaultError
from tests.integration.conftest import Buses
from tests.support.auditing import (
    SEED,
    EmittingBus,
    eventually,
    running_auditor,
    start_auditor,
    vkey,
)
from tests.support.log_stores import ORIGIN, append
from tests.support.records import messages
from tests.support.small_logs import SmallLog
from tests.support.witnesses import RunningWitness, a_witness

LOG_KEY = verifier_key(ORIGIN, seed=SEED)


class FakeBusMemory:
    """What the bus remembers, as compare-and-set has it."""

    def __init__(self) -> None:
        self.note: str | None = None

    async def read(self) -> str | None:
        """The note that was written last."""
        return self.note

    async def replace(self, note: str, *, size: int) -> None:
        """The note is remembered."""
        assert size == open_checkpoint(note, key=LOG_KEY).size
        self.note = note


class FakeSpeech:
    """What the auditor said."""

    def __init__(self) -> None:
        self.said: list[tuple[str, EventBody]] = []

    async def emit(self, body: EventBody, *, event_id: str, audience: Audience = PUBLIC) -> None:
        """Said, and to everybody."""
        assert audience == PUBLIC
        self.said.append((event_id, body))


class LogAtWork:
    """A log on disk and what it shows, without a bus."""

    def __init__(self, directory: Path, *witnesses: RunningWitness) -> None:
        self.store = SqliteStore.open(directory, origin=ORIGIN)
        safe = CheckpointFile(directory)
        self.heads = Heads(log=self.store, safe=safe, origin=ORIGIN, seed=SEED)
        self.memory = FakeBusMemory()
        self.speech = FakeSpeech()
        self.publication = Publication(
            log=self.store,
            heads=self.heads,
            witnesses=[witness.client for witness in witnesses],
            published=self.memory,
            tiles=None,
        )

    def close(self) -> None:
        """The log is let go of."""
        self.store.close()

    async def start(self) -> None:
        """As the auditor starts; a conflict is said and raised."""
        await self.heads.open()
        await checked(self.publication, self.speech)

    async def grow(self, count: int, **fields: Any) -> None:
        """More records, and a head of them."""
        await append(self.store, messages(count, first=self.store.size + 1, **fields))
        await self.heads.sign()


@pytest.fixture
def witness(tmp_path: Path) -> Iterator[RunningWitness]:
    """One that knows the log."""
    with a_witness(tmp_path / "witness", render_verifier_key(LOG_KEY)) as running:
        yield running


async def test_each_head_is_cosigned_and_kept_with_what_was_said(
    tmp_path: Path, witness: RunningWitness
) -> None:
    """The newest note holds the cosignature, in the store as well, and a restart keeps it."""
    with closing(LogAtWork(tmp_path / "log", witness)) as log:
        await log.start()
        async with published(log.publication, log.speech):
            for count in (5, 300):
                await log.grow(count)
                size = log.store.size
                await eventually(partial(_cosigned, log, size))
                await eventually(partial(_remembered, log, size))
        (standing,) = log.publication.standings
        assert (standing.size, standing.problem) == (305, "")
    with closing(LogAtWork(tmp_path / "log", witness)) as log:
        await log.start()
        head, note, _ = await log.heads.sign()
        assert head.size == 305
        assert len(check_witnessed(note, witnesses=[witness.directory.key], least=1)) == 1


def _cosigned(log: LogAtWork, size: int) -> bool:
    found = log.heads.witnessed
    return found is not None and found[0].size == size


def _remembered(log: LogAtWork, size: int) -> bool:
    note = log.memory.note
    return note is not None and open_checkpoint(note, key=LOG_KEY).size == size


@pytest.mark.parametrize(
    ("regrown", "kind"), [(0, "shrunken"), (10, "shrunken"), (40, "forked"), (70, "unproved")]
)
@pytest.mark.parametrize("remembers", ["witness", "bus"])
async def test_an_older_copy_that_went_on_differently_is_refused_and_said(
    tmp_path: Path, witness: RunningWitness, regrown: int, kind: str, remembers: str
) -> None:
    """Smaller, of the same size or larger: it does not start, and says why.

    A backup of 100 records is taken; the log itself goes on to 140.
    """
    with closing(LogAtWork(tmp_path / "log", witness)) as log:
        await log.start()
        await log.grow(100)
    shutil.copytree(tmp_path / "log", tmp_path / "backup")
    with closing(LogAtWork(tmp_path / "log", witness)) as log:
        await log.start()
        await log.grow(40)
        await log.publication.check()
        note = (await log.heads.newest())[1]

    witnesses = [witness] if remembers == "witness" else []
    with closing(LogAtWork(tmp_path / "backup", *witnesses)) as log:
        await log.heads.open()
        if regrown:
            await log.grow(regrown, reason="another history")
        log.memory.note = note if remembers == "bus" else None
        with pytest.raises(ConflictError) as refused:
            await checked(log.publication, log.speech)

        expected = "unproved" if (remembers, kind) == ("bus", "forked") else kind
        assert refused.value.conflict.kind == expected
        ((event_id, body),) = log.speech.said
        assert (body.action, body.outcome) == ("log.conflict", "failed")
        assert body.details["kind"] == expected
        assert body.details["known_size"] == 140
        assert event_id.startswith("log-conflict-")


async def test_a_running_log_that_a_witness_knows_otherwise_ends(
    tmp_path: Path, witness: RunningWitness
) -> None:
    """Its twin showed the witness another history meanwhile: said once, and nothing goes on."""
    with closing(LogAtWork(tmp_path / "log", witness)) as log:
        await log.start()
        with closing(LogAtWork(tmp_path / "twin", witness)) as twin:
            await twin.start()
            await twin.grow(30, reason="another history")
            await twin.publication.check()

        async def go_on() -> None:
            async with published(log.publication, log.speech):
                await log.grow(50)
                await asyncio.Event().wait()

        with pytest.raises(ExceptionGroup) as ended:
            await go_on()
        assert ended.group_contains(ConflictError, match="rolled back|altered")
        assert [body.action for _, body in log.speech.said] == ["log.conflict"]


async def test_a_witness_that_cannot_be_reached_or_says_nonsense_stops_nothing(
    tmp_path: Path, witness: RunningWitness
) -> None:
    """It is passed over at the start and its standing says why; the other one cosigns."""
    with a_witness(tmp_path / "gone", name="witness.example/gone") as gone:
        pass
    with (
        a_witness(tmp_path / "strange", name="witness.example/strange") as strange,
        closing(LogAtWork(tmp_path / "log", gone, strange, witness)) as log,
    ):
        await log.start()
        await log.grow(5)
        await log.publication.check()
        problems = [standing.problem for standing in log.publication.standings]
        assert "witness.example/gone" in problems[0]
        assert "404" in problems[1]
        assert problems[2] == ""
        assert log.speech.said == []


async def test_the_bus_remembers_by_compare_and_set(buses: Buses) -> None:
    """Of two that read the same, one writes; the other one has to read again."""
    bus = await buses.open("service-auditor")
    first, second = PublishedHead(bus), PublishedHead(bus)
    assert (await first.read(), await second.read()) == (None, None)
    await first.replace("one", size=1)
    with pytest.raises(FaultError, match="another auditor"):
        await second.replace("other", size=1)
    assert await second.read() == "one"
    await second.replace("two", size=2)
    assert await first.read() == "two"


async def test_an_auditor_restored_from_an_older_backup_does_not_start(
    buses: Buses, tmp_path: Path
) -> None:
    """The bus remembers a larger log: exit status 2, and the right log records the event."""
    server, state_dir = buses.server, tmp_path / "auditor"
    catalog = EmittingBus(await buses.open("service-catalog"), "catalog")
    reader = await buses.open("auditor", "ann")
    with a_witness(tmp_path / "witness", vkey(server)) as witness:
        settings = {"witnesses": {witness.key: witness.url}}
        async with running_auditor(server, state_dir, **settings):
            await catalog.emit_many(20)
            await eventually(lambda: _served(reader, 20))
        shutil.copytree(state_dir, tmp_path / "backup")
        async with running_auditor(server, state_dir, **settings) as bus:
            await catalog.emit_many(20)
            await eventually(lambda: _served(reader, 40))

            async def remembered() -> bool:
                entry = await bus.bucket(CHECKPOINTS).get(NEWEST_HEAD)
                return entry is not None and entry.value.tree_size >= 40

            await eventually(remembered)

        process = await asyncio.to_thread(
            start_auditor, server, tmp_path / "backup", tmp_path / "auditor.log"
        )
        assert await asyncio.to_thread(process.wait, 30) == 2
        assert "rolled back" in (tmp_path / "auditor.log").read_text()

        async with running_auditor(server, state_dir, **settings):

            async def said() -> bool:
                found = await reader.request(LIST_RECORDS, ListRecords(action="log.conflict"))
                return len(found.records) == 1

            await eventually(said)


async def _served(reader: Any, least: int) -> bool:
    """Whether the served head is so large."""
    try:
        found = await reader.request(GET_CHECKPOINT, GetCheckpoint())
    except FaultError:
        return False
    return bool(found.tree_size >= least)


async def test_files_of_another_log_are_left_alone_and_of_this_one_believed(
    tmp_path: Path,
) -> None:
    """Another log's head is waited out; one of this log that it does not hold ends it."""
    directory = tmp_path / "tiles"
    directory.mkdir()
    longer = SmallLog([b"x"] * 9, origin=ORIGIN, seed=SEED)
    with closing(LogAtWork(tmp_path / "log")) as log:
        await log.start()
        await log.grow(3)
        publication = Publication(
            log=log.store,
            heads=log.heads,
            witnesses=[],
            published=log.memory,
            tiles=TileDirectory(directory),
        )
        write_tiles = publication.works()[-1]

        (directory / "checkpoint").write_text(SmallLog([b"x"]).note(1))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await write_tiles()
        assert [path.name for path in directory.iterdir()] == ["checkpoint"]

        (directory / "checkpoint").write_text(longer.note(9))
        with pytest.raises(ConflictError, match="the tile directory has seen 9 records"):
            await write_tiles()
