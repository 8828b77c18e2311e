# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Whole logs verified where they are kept, by the command, and a disk that is full meanwhile."""

from __future__ import annotations

import asyncio
import subprocess
import tempfile
from collections.abc import Iterator, MutableMapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from services.auditor.adapters.sqlite_store import SqliteStore
from services.auditor.checkpoint import render_verifier_key, verifier_key
from services.auditor.health.alarms import ALARM, RECOVER
from services.auditor.store import StoreFaultError
from services.auditor.verification.adapters.verifying import verify_store
from tests.integration.conftest import Buses
from tests.support.auditing import (
    SEED,
    EmittingBus,
    eventually,
    heard_actions,
    running_auditor,
)
from tests.support.command_line import run_l3af
from tests.support.independent_log import leaves_on_disk
from tests.support.log_stores import (
    ORIGIN,
    LogPlace,
    PostgresPlace,
    SqlitePlace,
    append,
    leaves_in,
    where,
)
from tests.support.postgres import PostgresServer
from tests.support.records import messages
from tests.support.whole_logs import KEY, RECORDS, fill, sign

VERIFY = ("audit", "verify", "--json", "--store")
WAITING_EVENTS = 3_000
MANY_RECORDS = 100_000
DISK_BYTES = 16 * 1024 * 1024
DATABASE_BYTES = 128 * 1024 * 1024
"""An empty one has 40 MiB, of which 16 are the first part of its write-ahead log."""
LIMITS = {"look_seconds": "0.05", "disk_mib": "0.5"}
FULL = {"log-alarm-intake-1", "log-alarm-disk-1"}
ROOM = {"log-recover-intake-1", "log-recover-disk-1"}


@contextmanager
def disk_of(size_bytes: int) -> Iterator[Path]:
    """A file system of its own that any user may enter."""
    path = Path(tempfile.mkdtemp(prefix="l3af-disk-"))
    path.chmod(0o755)
    options = f"size={size_bytes},mode=0755"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "l3af-test", path], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)
        path.rmdir()


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """It is soon full."""
    with disk_of(DISK_BYTES) as path:
        yield path


@pytest.fixture
def small_postgres() -> Iterator[PostgresServer]:
    """A server whose data, write-ahead log and all, are on a disk that is soon full."""
    with disk_of(DATABASE_BYTES) as path:
        server = PostgresServer(fsync=True, parent=path)
        try:
            server.start()
            yield server
        finally:
            server.stop()


async def test_every_store_is_verified_alike(place: LogPlace) -> None:
    """In order, then with three changes: each is named, and nothing else is."""
    async with place.open() as store:
        await fill(store)
        running = await asyncio.to_thread(verify_store, where(place), keys=[KEY])
    assert (running.size, running.problems) == (RECORDS, [])

    await place.execute("UPDATE records SET action = 'chain.detach' WHERE idx = 300")
    await place.execute("UPDATE records SET leaf = '{}' WHERE idx = 17")
    await place.execute("DELETE FROM gaps WHERE gap LIKE '%repeated%'")
    found = await asyncio.to_thread(verify_store, where(place), keys=[KEY])

    assert [(one.part, one.at, one.field) for one in found.problems if one.part != "gap"] == [
        ("record", "17", "leaf"),
        ("record", "300", "action"),
    ]
    assert found.problem_count == len(found.problems)


async def test_the_command_names_what_is_wrong_and_says_so_with_its_status(tmp_path: Path) -> None:
    """Status 0 and 2; the list is bounded, the count is not; a head kept elsewhere is held to."""
    place = SqlitePlace(tmp_path / "log")
    async with place.open() as store:
        notes = await fill(store)
    (tmp_path / "kept").write_text(notes[-1])
    options = ["--key", render_verifier_key(KEY), "--checkpoint", str(tmp_path / "kept")]

    answer = await run_l3af(*VERIFY, str(place.directory), *options)
    assert answer.status == 0, answer
    assert (answer.document["verified"], answer.document["signed_size"]) == (True, RECORDS)

    await place.execute("UPDATE records SET outcome = 'observed' WHERE idx >= 500")
    answer = await run_l3af(*VERIFY, str(place.directory / "log.db"), *options, "--limit", "3")

    told = answer.document
    assert (answer.status, told["verified"], len(told["problems"])) == (2, False, 3)
    assert told["problem_count"] > 50
    assert told["problems"][0]["field"] == "outcome"


async def test_a_full_disk_keeps_nothing_and_what_waited_is_kept_when_there_is_room(
    small_disk: Path,
) -> None:
    """A real file system without room: batches fail, nothing of them is there, nothing is lost."""
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(DISK_BYTES * 7 // 8))
    directory = small_disk / "log"
    with closing(SqliteStore.open(directory, origin=ORIGIN)) as store:
        kept = await fill_disk(store)
        assert store.size == kept > 0
        with pytest.raises(StoreFaultError, match="full"):
            await append(store, messages(50, first=kept + 1))

        ballast.unlink()
        await append(store, messages(50, first=kept + 1))
        await sign(store)
        assert store.size == kept + 50

    found = await asyncio.to_thread(verify_store, str(directory), keys=[KEY])
    assert (found.size, found.signed_size, found.problems) == (kept + 50, kept + 50, [])


async def fill_disk(store: SqliteStore) -> int:
    """Records that were kept before there was no more room."""
    kept = 0
    with suppress(StoreFaultError):
        while kept < MANY_RECORDS:
            await append(store, messages(50, first=kept + 1))
            kept += 50
    return kept


async def test_while_the_disk_is_full_the_stream_holds_what_comes(
    buses: Buses, small_disk: Path
) -> None:
    """Recording stops, which is said at once; with room it goes on, and nothing is missing."""
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(DISK_BYTES * 7 // 8))
    catalog = EmittingBus(await buses.open("service-catalog"), "catalog")
    state_dir = small_disk / "log"
    said = await heard_actions(await buses.open("viewer", "ann"), ALARM, RECOVER)
    async with running_auditor(buses.server, state_dir, alarms=LIMITS):
        sent = await catalog.emit_many(WAITING_EVENTS)
        await eventually(lambda: set(said) >= FULL)
        assert len(leaves_on_disk(state_dir)) < WAITING_EVENTS
        assert set(said) == FULL
        ballast.unlink()
        await eventually(lambda: recorded_ids(state_dir) >= {one.id for one in sent} | FULL | ROOM)
        assert sorted(said) == sorted(FULL | ROOM)

    recorded = [msgspec.json.decode(leaf)["id"] for leaf in leaves_on_disk(state_dir)]
    assert [one for one in recorded if one.startswith("catalog.")] == [one.id for one in sent]
    assert len(recorded) == len(set(recorded))
    key = verifier_key(ORIGIN, seed=SEED)
    assert (await asyncio.to_thread(verify_store, str(state_dir), keys=[key])).problems == []


async def test_an_auditor_that_is_started_on_a_full_disk_repeats_no_alarm(
    buses: Buses, small_disk: Path
) -> None:
    """Its log lacks what was said before; it finds the same anew, and listeners hear it once."""
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(DISK_BYTES * 7 // 8))
    catalog = EmittingBus(await buses.open("service-catalog"), "catalog")
    state_dir = small_disk / "log"
    said = await heard_actions(await buses.open("viewer", "ann"), ALARM, RECOVER)
    async with running_auditor(buses.server, state_dir, alarms=LIMITS):
        await catalog.emit_many(WAITING_EVENTS)
        await eventually(lambda: set(said) >= FULL)
    assert not recorded_ids(state_dir) & FULL

    with capture_logs() as logged:

        async def make_room() -> None:
            await eventually(lambda: {"disk", "intake"} <= alarmed(logged))
            ballast.unlink()

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(make_room())
            async with running_auditor(buses.server, state_dir, alarms=LIMITS):
                await eventually(lambda: recorded_ids(state_dir) >= FULL | ROOM)

    assert sorted(said) == sorted(FULL | ROOM)


def alarmed(logged: Sequence[MutableMapping[str, Any]]) -> set[str]:
    """The conditions that were found to begin."""
    return {one["condition"] for one in logged if one["event"] == "log_alarm"}


def recorded_ids(state_dir: Path) -> set[str]:
    """Of every event in the log."""
    return {msgspec.json.decode(leaf)["id"] for leaf in leaves_on_disk(state_dir)}


async def test_while_the_disk_of_the_database_is_full_the_stream_holds_what_comes(
    buses: Buses, small_postgres: PostgresServer, tmp_path: Path
) -> None:
    """PostgreSQL as any other store: it goes on when there is room, each event is there once."""
    place = PostgresPlace(await small_postgres.new_database())
    catalog = EmittingBus(await buses.open("service-catalog"), "catalog")
    ballast = small_postgres.directory.parent / "ballast"
    with capture_logs() as said:
        async with running_auditor(buses.server, tmp_path / "log", store=place.setting):
            before = await catalog.emit_many(50)
            await eventually(lambda: recorded_in(place, 50))
            fill_up(ballast)
            sent = await catalog.emit_many(WAITING_EVENTS)
            await eventually(
                lambda: any(one["event"] == "recording_delayed" for one in said), seconds=60
            )
            assert len(await leaves_in(place)) < WAITING_EVENTS
            ballast.unlink()
            await eventually(lambda: recorded_in(place, 50 + WAITING_EVENTS), seconds=60)

    assert any("space" in one["why"] for one in said if one["event"] == "recording_delayed")
    recorded = [msgspec.json.decode(leaf)["id"] for leaf in await leaves_in(place)]
    wanted = [one.id for one in (*before, *sent)]
    assert [one for one in recorded if one.startswith("catalog.")] == wanted
    key = verifier_key(ORIGIN, seed=SEED)
    assert (await asyncio.to_thread(verify_store, place.setting, keys=[key])).problems == []


async def recorded_in(place: PostgresPlace, count: int) -> bool:
    """Whether so many records are there."""
    return len(await leaves_in(place)) >= count


def fill_up(ballast: Path) -> None:
    """No byte more goes onto its disk."""
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
