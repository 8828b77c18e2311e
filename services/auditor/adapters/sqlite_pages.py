# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Pages of the log: newest first, by whichever index has the least to look at.

SQLite does not know how many records a range of times or a glob matches.  Ranges that match few
are read by their index and sorted; ranges that match many are met soon when reading backwards.
"""

from __future__ import annotations

import sqlite3
from typing import Any, Final

from services.auditor.adapters.log_rows import STORED, stored_record
from services.auditor.query import GLOB_CHARACTERS, MAX_PAGE_BYTES, RecordQuery, StoredRecord

FEW: Final = 5_000
"""Rows that are sorted faster than the log is read backwards."""
_HIGHEST_CHARACTER: Final = "\U0010ffff"

_Clauses = list[tuple[str, Any]]


def read_page(
    connection: sqlite3.Connection, query: RecordQuery
) -> tuple[list[StoredRecord], int, bool]:
    """Matching records, the tree's size, and whether older ones match too."""
    (size,) = connection.execute("SELECT size FROM log").fetchone()
    times = _time_clauses(query)
    actions = _action_clauses(query)
    clauses: _Clauses = [
        ("idx > ?", query.above),
        ("idx < ?", size if query.below is None else query.below),
        *times,
        *actions,
        *((f"{column} = ?", text) for column, text in query.equal),
    ]
    # Said so, the planner may use the indexes that leave other rows out.
    implied = [f"{column} <> ''" for column, _ in query.equal]
    if ("outcome", "refused") in query.equal or ("outcome", "failed") in query.equal:
        implied.append("outcome IN ('refused', 'failed')")
    found = connection.execute(
        f"SELECT {STORED} FROM records {_index(connection, query, times, actions)} "  # noqa: S608
        f"WHERE {' AND '.join([*(clause for clause, _ in clauses), *implied])} "
        "ORDER BY idx DESC LIMIT ?",
        (*(value for _, value in clauses), query.limit + 1),
    )
    page: list[StoredRecord] = []
    page_bytes = 0
    for row in found:
        stored = stored_record(row)
        page_bytes += len(stored.leaf) + len(stored.body or b"")
        if len(page) == query.limit or (page and page_bytes > MAX_PAGE_BYTES):
            found.close()
            return page, size, True
        page.append(stored)
    return page, size, False


def _time_clauses(query: RecordQuery) -> _Clauses:
    bounds = (("time_us >= ?", query.since_us), ("time_us < ?", query.until_us))
    return [(clause, value) for clause, value in bounds if value is not None]


def _action_clauses(query: RecordQuery) -> _Clauses:
    if not query.action:
        return []
    if not query.has_glob:
        return [("action = ?", query.action)]
    first = min(place for place, letter in enumerate(query.action) if letter in GLOB_CHARACTERS)
    prefix = query.action[:first]
    return [
        ("action GLOB ?", query.action),
        ("action >= ?", prefix),
        ("action < ?", prefix + _HIGHEST_CHARACTER),
    ]


def _index(
    connection: sqlite3.Connection, query: RecordQuery, times: _Clauses, actions: _Clauses
) -> str:
    """The index to insist on; none if a filter for one value leads to one anyway."""
    if query.equal:
        return ""
    for index, clauses in (("records_time", times), ("records_action", actions)):
        if clauses and _matches_few(connection, index, clauses):
            return f"INDEXED BY {index}"
    return ""


def _matches_few(connection: sqlite3.Connection, index: str, clauses: _Clauses) -> bool:
    (count,) = connection.execute(
        f"SELECT count(*) FROM (SELECT 1 FROM records INDEXED BY {index} "  # noqa: S608
        f"WHERE {' AND '.join(clause for clause, _ in clauses)} LIMIT {FEW})",
        [value for _, value in clauses],
    ).fetchone()
    return bool(count < FEW)
