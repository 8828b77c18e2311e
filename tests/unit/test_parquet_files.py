# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Parquet files: group by group, whole or not there, and of values that have no room."""

from __future__ import annotations

import sys
from pathlib import Path

import duckdb
import msgspec
import pytest

from cli.audit_columns import columns_of
from cli.parquet_files import parquet_file
from services.auditor.query import StoredRecord, render_record, spell_record
from services.auditor.records import read_message
from shared.errors import FaultError, RefusedError
from tests.support.records import altered, an_event, message_of, messages


def records(count: int) -> list[bytes]:
    """Records as they come."""
    return [
        msgspec.json.encode(
            spell_record(StoredRecord(index, read_message(one).leaf, one.data, 0, index + 1, ""))
        )
        for index, one in enumerate(messages(count))
    ]


def test_records_are_written_group_by_group(tmp_path: Path) -> None:
    """So that no more than one group is in memory, however many records there are."""
    path = tmp_path / "a.parquet"
    with parquet_file(path, group_records=10) as table:
        for one in records(35):
            table.take([one])
        assert table.waiting == 5
        table.finish({})

    with duckdb.connect() as database:
        groups = database.execute(
            "SELECT DISTINCT row_group_id, row_group_num_rows FROM parquet_metadata($1) ORDER BY 1",
            [str(path)],
        ).fetchall()
        (numbers,) = database.execute(
            "SELECT list(record ORDER BY record) FROM read_parquet($1)", [str(path)]
        ).fetchone() or ([],)
    assert groups == [(0, 10), (1, 10), (2, 10), (3, 5)]
    assert numbers == list(range(35))


def test_what_fails_leaves_nothing(tmp_path: Path) -> None:
    """A fault, a record that cannot be read, a second command: no file, and none in the making."""
    path = tmp_path / "a.parquet"
    with (
        pytest.raises(FaultError, match="cannot be read"),
        parquet_file(path, group_records=2) as table,
    ):
        table.take([*records(3), b'{"index": "x"}'])
    assert list(tmp_path.iterdir()) == []
    with (
        pytest.raises(RefusedError, match="another command"),
        parquet_file(path),
        parquet_file(path),
    ):
        raise AssertionError
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(RefusedError, match="no such place"), parquet_file(tmp_path / "a" / "b"):
        raise AssertionError


def test_a_missing_library_is_said_with_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parquet is an extra: whoever does not have it hears so, and nothing is left behind."""
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with (
        pytest.raises(RefusedError, match=r"pip install 'l3af-bus\[parquet\]'"),
        parquet_file(tmp_path / "a.parquet"),
    ):
        raise AssertionError
    assert list(tmp_path.iterdir()) == []


def test_what_a_column_has_no_room_for_is_no_value() -> None:
    """A number beyond 64 bits and a time that is none, in a message that is not believed."""
    message = altered(message_of(an_event(7), 7), sequence=10**30, time="yesterday")
    draft = read_message(message)
    assert draft.problem
    record = render_record(StoredRecord(6, draft.leaf, message.data, 0, 7, draft.problem))

    columns = columns_of([record])

    assert (columns["record"], columns["sequence"], columns["time"]) == ([6], [None], [None])
    assert columns["problem"] == [draft.problem]
