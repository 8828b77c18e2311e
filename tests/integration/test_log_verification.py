# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Whole logs verified where they are kept, by the command, and a disk that is full meanwhile."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import msgspec
import pytest

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
from tests.support.log_stores import ORIGIN, LogPlace, PostgresPlace, SqlitePlace, append
from tests.support.postgres import PostgresServer
from tests.support.records import messages
from tests.support.whole_logs import KEY, RECORDS, fill, sign

VERIFY = ("audit", "verify", "--json", "--store")
WAITING_EVENTS = 3_000
MANY_RECORDS = 100_000
DISK_BYTES = 16 * 1024 * 1024
FULL = {"log-alarm-intake-1", "log-alarm-disk-1"}
ROOM = {"log-recover-intake-1", "log-recover-disk-1"}


@pytest.fixture(params=["sqlite", "postgresql"])
async def place(
    request: pytest.FixtureRequest, tmp_path: Path, postgres: PostgresServer
) -> LogPlace:
    """Nothing in it yet."""
    if request.param == "sqlite":
        return SqlitePlace(tmp_path / "log")
    return PostgresPlace(await postgres.new_database())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own that is soon full."""
    path = tmp_path / "disk"
    path.mkdir()
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "l3af-test", path], check=True
    )
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)


def where(place: LogPlace) -> str:
    """As `--store` has it."""
    return str(place.directory) if isinstance(place, SqlitePlace) else place.setting


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

    assert [(one.part, one.at, one.field) for one in found.problems[:2]] == [
        ("record", "17", "leaf"),
        ("record", "300", "action"),
    ]
    assert {one.part for one in found.problems[2:]} == {"gap"}
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
    assert told["problem_count"] > 90
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
    limits = {"look_seconds": "0.05", "disk_mib": "0.5"}
    said = await heard_actions(await buses.open("viewer", "ann"), ALARM, RECOVER)
    async with running_auditor(buses.server, state_dir, alarms=limits):
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


def recorded_ids(state_dir: Path) -> set[str]:
    """Of every event in the log."""
    return {msgspec.json.decode(leaf)["id"] for leaf in leaves_on_disk(state_dir)}
