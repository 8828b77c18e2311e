# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Copies of the log's file: whole, of one moment, made while the auditor writes."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from services.auditor.adapters.sqlite_backup import back_up
from services.auditor.store import DamagedLogError
from shared.errors import RefusedError
from tests.support.log_stores import ORIGIN, SqlitePlace, append
from tests.support.records import messages

COMMAND = Path(sys.executable).parent / "l3af"


def ignore(_done: int, _total: int) -> None:
    """Nobody looks."""


def run(words: list[str | Path]) -> subprocess.CompletedProcess[bytes]:
    """A command to its end."""
    return subprocess.run([COMMAND, *words], capture_output=True, check=False)


async def test_a_copy_is_of_one_moment_though_the_log_grows_at_every_step(tmp_path: Path) -> None:
    """A batch is committed between any two steps of the copying; none of them is in the copy."""
    place = SqlitePlace(tmp_path / "log")
    loop = asyncio.get_running_loop()
    steps = 0
    async with place.open() as store:
        await append(store, messages(4_000))

        def grow(_done: int, _total: int) -> None:
            nonlocal steps
            steps += 1
            batch = messages(10, first=3_991 + 10 * steps)
            asyncio.run_coroutine_threadsafe(append(store, batch), loop).result(10)

        copied = await asyncio.to_thread(
            back_up, place.directory, tmp_path / "copy.db", progress=grow
        )

        assert steps >= 2
        assert store.size == 4_000 + 10 * steps
        assert copied.tree_size == 4_000
        assert (await store.root(4_000)).hex() == copied.root
        assert copied.origin == ORIGIN

    (tmp_path / "restored").mkdir()
    (tmp_path / "copy.db").rename(tmp_path / "restored" / "log.db")
    (tmp_path / "copy.db.persons").rename(tmp_path / "restored" / "persons.db")
    async with SqlitePlace(tmp_path / "restored").open() as restored:
        await restored.check_every_leaf()
        await append(restored, messages(10, first=4_001))
        assert restored.size == 4_010
    assert [path.name for path in tmp_path.iterdir() if "copy" in path.name] == []


async def test_nothing_is_replaced_and_nothing_is_made_up(tmp_path: Path) -> None:
    """A file that is there is not touched; where there is no log, none is copied."""
    place = SqlitePlace(tmp_path / "log")
    async with place.open() as store:
        await append(store, messages(3))
    (tmp_path / "copy").write_text("precious")

    with pytest.raises(RefusedError, match="exists"):
        back_up(place.directory, tmp_path / "copy", progress=ignore)
    with pytest.raises(RefusedError, match="pg_dump"):
        back_up(tmp_path, tmp_path / "other", progress=ignore)

    assert (tmp_path / "copy").read_text() == "precious"
    assert not (tmp_path / "other").exists()


async def test_a_damaged_page_is_found_at_the_start_and_by_the_copy(tmp_path: Path) -> None:
    """A page of an index that no start reads otherwise: the auditor refuses, no copy is left."""
    place = SqlitePlace(tmp_path / "log")
    async with place.open() as store:
        await append(store, messages(2_000))
    path = place.directory / "log.db"
    with closing(sqlite3.connect(path)) as database:
        (page_bytes,) = database.execute("PRAGMA page_size").fetchone()
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (page,) = database.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'records_correlation'"
        ).fetchone()
    with path.open("r+b") as file:
        file.seek((page - 1) * page_bytes)
        file.write(b"\xff" * page_bytes)

    with pytest.raises(DamagedLogError, match="damaged"):
        async with place.open():
            pass
    with pytest.raises(DamagedLogError, match="damaged"):
        back_up(place.directory, tmp_path / "copy.db", progress=ignore)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log"]


async def test_the_command_copies_a_log_that_is_open(tmp_path: Path) -> None:
    """`l3af audit backup` says what the copy holds; a second time it refuses."""
    place = SqlitePlace(tmp_path / "log")
    words: list[str | Path] = [
        "audit",
        "backup",
        tmp_path / "copy.db",
        "--state-dir",
        place.directory,
        "--json",
    ]
    async with place.open() as store:
        await append(store, messages(7))
        runs = [await asyncio.to_thread(run, words) for _ in range(2)]
        root = store.state.frontier.root().hex()

    assert [run.returncode for run in runs] == [0, 2]
    said = json.loads(runs[0].stdout)
    assert (said["tree_size"], said["root"], said["origin"]) == (7, root, ORIGIN)
    assert said["file_bytes"] == (tmp_path / "copy.db").stat().st_size
