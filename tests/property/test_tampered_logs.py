# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Whatever is changed in a log's tables, `verify` finds it and says where it is."""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from services.auditor.adapters.sqlite_store import SqliteStore
from services.auditor.verification.adapters.verifying import VerifiedLog, verify_store
from services.auditor.verification.heads import KeptHead
from services.auditor.verification.problems import Problem
from tests.support.log_stores import ORIGIN
from tests.support.whole_logs import KEY, RECORDS, fill

SEED = int(os.environ.get("L3AF_SEED") or secrets.randbelow(2**32))
CHANGES = 4
"""Of each column."""
TIMES = {("records", "received_us"), ("checkpoints", "signed_us")}
"""By the auditor's own clock alone: nothing that is signed says them again."""
NOT_DERIVED = {
    ("log", "one"),
    ("log", "stream_id"),
    ("log", "stream_sequence"),  # it may be ahead of the last record: repetitions make none
    ("gaps", "number"),
    ("gaps", "is_announced"),
}
"""How far the auditor is, not what the log holds."""
PARTS = {
    "records": "record",
    "tiles": "tile",
    "checkpoints": "checkpoint",
    "channels": "channel",
    "gaps": "gap",
    "log": "log",
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, list[str]]:
    """A log's file, and the heads that were signed while it grew."""
    directory = tmp_path_factory.mktemp("whole")

    async def written() -> list[str]:
        with closing(SqliteStore.open(directory, origin=ORIGIN)) as store:
            return await fill(store)

    notes = asyncio.run(written())
    with closing(sqlite3.connect(directory / "log.db")) as database:
        database.execute("PRAGMA journal_mode = DELETE")
    return (directory / "log.db").read_bytes(), notes


def verify(path: Path, **options: Any) -> VerifiedLog:
    """What is wrong with the log in a file."""
    return verify_store(str(path), keys=[KEY], **options)


def columns_of(data: bytes, path: Path) -> list[tuple[str, str]]:
    """Every column of every table."""
    path.write_bytes(data)
    with closing(sqlite3.connect(path)) as database:
        return [
            (table, name)
            for table in PARTS
            for _, name, *_ in database.execute(f"PRAGMA table_info({table})")
        ]


def changed(value: Any, choice: random.Random) -> Any:
    """The value with one byte changed, or with one if it had none."""
    if isinstance(value, int):
        return value + choice.choice([-1, 1, 256, 1 << 40])
    raw = bytearray(value.encode() if isinstance(value, str) else value or b"")
    if not raw:
        return b"x"
    raw[choice.randrange(len(raw))] ^= choice.randrange(1, 256)
    return bytes(raw)


def test_a_log_in_order_has_no_problems(whole: tuple[bytes, list[str]], tmp_path: Path) -> None:
    """Problems, gaps, late and repeated sequences are parts of a log, not damage to it."""
    path = tmp_path / "log.db"
    path.write_bytes(whole[0])

    found = verify(path, heads=[KeptHead(note, "a witness") for note in whole[1]])

    assert found.problems == []
    assert (found.size, found.signed_size) == (RECORDS, RECORDS)


def test_any_change_in_a_table_is_found_and_named(
    whole: tuple[bytes, list[str]], tmp_path: Path
) -> None:
    """One byte of one column of one row: `verify` names the row, or what it was changed into."""
    path = tmp_path / "log.db"
    choice = random.Random(SEED)
    for table, column in sorted(set(columns_of(whole[0], path)) - TIMES - NOT_DERIVED):
        for _ in range(CHANGES):
            path.write_bytes(whole[0])
            with closing(sqlite3.connect(path)) as database:
                told, before, row = tamper(database, table, column, choice)
            if row is not None:
                check_named(verify(path).problems, f"{table}.{column}", before, str(row), told)


def tamper(
    database: sqlite3.Connection, table: str, column: str, choice: random.Random
) -> tuple[str, tuple[Any, ...], int | None]:
    """Change one value; what was done, the row as it was, and its number."""
    database.execute("PRAGMA ignore_check_constraints = ON")
    rows = [row for (row,) in database.execute(f"SELECT rowid FROM {table} ORDER BY rowid")]
    row = choice.choice(rows)
    names = [name for _, name, *_ in database.execute(f"PRAGMA table_info({table})")]
    before = database.execute(f"SELECT * FROM {table} WHERE rowid = ?", (row,)).fetchone()
    old = before[names.index(column)]
    value = changed(old, choice)
    cast = "CAST(? AS TEXT)" if isinstance(old, str) else "?"
    told = f"seed {SEED}: {table}.{column} of row {row} was {old!r} and is now {value!r}"
    try:
        database.execute(f"UPDATE {table} SET {column} = {cast} WHERE rowid = ?", (value, row))
    except sqlite3.IntegrityError:
        return told, before, None  # the table itself does not let it in
    database.commit()
    return told, before, row


def check_named(
    problems: list[Problem],
    place: str,
    before: tuple[Any, ...],
    row: str,
    told: str,
) -> None:
    """The problems name the place that was changed, and no other place that is in order."""
    table, column = place.split(".")
    named = [problem for problem in problems if problem.part == PARTS[table]]
    assert named, (told, problems)
    if table == "records" and column != "idx":
        fields = {problem.field for problem in named if problem.at == row}
        assert any(column in field for field in fields), (told, problems)
        assert {problem.at for problem in named} == {row}, (told, problems)
    if table == "tiles" and column == "hashes":
        assert [problem.at for problem in problems] == [f"{before[0]}/{before[1]}"], (
            told,
            problems,
        )


def test_any_row_that_is_gone_is_found_and_named(
    whole: tuple[bytes, list[str]], tmp_path: Path
) -> None:
    """A record, a tile, a channel or a gap that was deleted is named as what is missing."""
    path = tmp_path / "log.db"
    choice = random.Random(SEED)
    for table in ("records", "tiles", "channels", "gaps") * CHANGES:
        path.write_bytes(whole[0])
        with closing(sqlite3.connect(path)) as database:
            rows = [row for (row,) in database.execute(f"SELECT rowid FROM {table}")]
            row = choice.choice(sorted(rows))
            database.execute(f"DELETE FROM {table} WHERE rowid = ?", (row,))
            database.commit()

        problems = verify(path).problems

        told = f"seed {SEED}: row {row} of {table} was deleted"
        assert PARTS[table] in {problem.part for problem in problems}, (told, problems)
        if table == "records":
            assert [(one.at, one.why) for one in problems if one.part == "record"] == [
                (str(row), "it is missing")
            ], (told, problems)
