# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Whatever is changed in a log's tables, `verify` finds it and says where it is."""

from __future__ import annotations

import asyncio
import random
import shutil
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
from tests.support.pruning import prune_some
from tests.support.tampering import NOT_SAID, PARTS, ROWS, SEED, changed
from tests.support.whole_logs import KEY, RECORDS, fill

CHANGES = 2
"""Of each column."""
NEEDED = ROWS | {
    "sealed": "sealed WHERE EXISTS"
    " (SELECT 1 FROM records WHERE instr(body, CAST(token AS BLOB)) > 0)"
}
"""Rows that are missed: nothing asks for words that pruned records alone had."""


@pytest.fixture(autouse=True)
def keys_beside(whole: tuple[bytes, list[str]], whole_keys: Path, tmp_path: Path) -> None:
    """Every file that a test writes is one of the log that the keys belong to."""
    assert whole[0]
    shutil.copy(whole_keys / "persons.db", tmp_path)


@pytest.fixture(scope="module")
def whole_keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the log is written, and keeps the keys of persons."""
    return tmp_path_factory.mktemp("whole")


@pytest.fixture(scope="module")
def whole(whole_keys: Path) -> tuple[bytes, list[str]]:
    """A log's file, and the heads that were signed while it grew."""
    directory = whole_keys

    async def written() -> list[str]:
        with closing(SqliteStore.open(directory, origin=ORIGIN)) as store:
            return [*await fill(store), await prune_some(store)]

    notes = asyncio.run(written())
    with closing(sqlite3.connect(directory / "log.db")) as database:
        database.execute("PRAGMA journal_mode = DELETE")
    return (directory / "log.db").read_bytes(), notes


def verify(path: Path, **options: Any) -> VerifiedLog:
    """What is wrong with the log in a file."""
    return verify_store(str(path), keys=[KEY], **options)


def columns_of(data: bytes, path: Path) -> list[tuple[str, str]]:
    """Every column of every table that the file has."""
    path.write_bytes(data)
    with closing(sqlite3.connect(path)) as database:
        tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        return [
            (table, name)
            for (table,) in tables
            for _, name, *_ in database.execute(f"PRAGMA table_info({table})")
        ]


def test_a_log_in_order_has_no_problems(whole: tuple[bytes, list[str]], tmp_path: Path) -> None:
    """Problems, gaps, late and repeated sequences are parts of a log, not damage to it."""
    path = tmp_path / "log.db"
    path.write_bytes(whole[0])

    found = verify(path, heads=[KeptHead(note, "a witness") for note in whole[1]])

    assert found.problems == []
    assert found.size == found.signed_size == RECORDS + 1
    assert found.pruned > 20


def test_any_change_in_a_table_is_found_and_named(
    whole: tuple[bytes, list[str]], tmp_path: Path
) -> None:
    """One byte of one column of one row: `verify` names the row, or what it was changed into."""
    path = tmp_path / "log.db"
    choice = random.Random(SEED)
    for table, column in columns_of(whole[0], path):
        if table == NOT_SAID:
            continue
        for _ in range(CHANGES):
            path.write_bytes(whole[0])
            with closing(sqlite3.connect(path)) as database:
                told, before, is_done = tamper(database, table, column, choice)
            if is_done:
                check_named(verify(path).problems, f"{table}.{column}", before, told)


def tamper(
    database: sqlite3.Connection, table: str, column: str, choice: random.Random
) -> tuple[str, dict[str, Any], bool]:
    """Change one value; what was done, the row as it was, and whether the table let it in."""
    database.execute("PRAGMA ignore_check_constraints = ON")
    cursor = database.execute(f"SELECT * FROM {ROWS.get(table, table)}")
    names = [name for name, *_ in cursor.description]
    before = dict(zip(names, choice.choice(cursor.fetchall()), strict=True))
    value = changed(before[column], choice)
    cast = "CAST(? AS TEXT)" if isinstance(before[column], str) else "?"
    told = f"seed {SEED}: {table}.{column} of row {before} is now {value!r}"
    same = " AND ".join(f"{name} IS ?" for name in names)
    try:
        database.execute(
            f"UPDATE {table} SET {column} = {cast} WHERE {same}", (value, *before.values())
        )
    except sqlite3.IntegrityError:
        return told, before, False
    database.commit()
    return told, before, True


def check_named(problems: list[Problem], place: str, before: dict[str, Any], told: str) -> None:
    """The problems name the place that was changed, and no other place that is in order."""
    table, column = place.split(".")
    named = [problem for problem in problems if problem.part in PARTS[table]]
    assert named, (told, problems)
    if table == "records" and column != "idx":
        fields = {problem.field for problem in named if problem.at == str(before["idx"])}
        assert any(column in field for field in fields), (told, problems)
        assert {problem.at for problem in named} == {str(before["idx"])}, (told, problems)
    if table == "checkpoints" and column != "size":
        assert {problem.at for problem in problems} == {str(before["size"])}, (told, problems)
    if table == "tiles" and column == "hashes":
        at = f"{before['level']}/{before['position']}"
        # What a pruned record's hash was cannot be known elsewhere: heads in between miss it too.
        assert problems[0].at == at, (told, problems)
        assert {problem.part for problem in problems[1:]} <= {"checkpoint"}, (told, problems)


def test_any_row_that_is_gone_is_found_and_named(
    whole: tuple[bytes, list[str]], tmp_path: Path
) -> None:
    """Whichever row of whichever table is deleted: its table is named, of a record its place."""
    path = tmp_path / "log.db"
    choice = random.Random(SEED)
    tables = {table for table, _ in columns_of(whole[0], path)} - {"log", "checkpoints", NOT_SAID}
    for table in sorted(tables) * CHANGES:
        path.write_bytes(whole[0])
        with closing(sqlite3.connect(path)) as database:
            cursor = database.execute(f"SELECT * FROM {NEEDED.get(table, table)}")
            row = choice.choice(cursor.fetchall())
            same = " AND ".join(f"{name} IS ?" for name, *_ in cursor.description)
            database.execute(f"DELETE FROM {table} WHERE {same}", row)
            database.commit()

        problems = verify(path).problems

        told = f"seed {SEED}: row {row} of {table} was deleted"
        names = {problem.part for problem in problems} & PARTS[table]
        assert names or table in {problem.field for problem in problems}, (told, problems)
        if table == "records":
            assert [(one.at, one.why) for one in problems if one.part == "record"] == [
                (str(row[0]), "it is missing")
            ], (told, problems)
