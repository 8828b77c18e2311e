# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Pages of the log, by whichever index has the least to look at.

SQLite does not know how many records a range of times or a glob matches.  Ranges that match few
are read by their index and sorted.  Ranges that match many are met soon when the log is read in
the order that is asked for, from the block of records on in which the times first occur.
"""

from __future__ import annotations

import sqlite3
from typing import Any, Final

from services.auditor.adapters.log_rows import BLOCK_RECORDS, STORED, stored_record
from services.auditor.query import GLOB_CHARACTERS, MAX_PAGE_BYTES, RecordQuery, StoredRecord

FEW: Final = 5_000
"""Rows that are sorted faster than the log is read backwards."""
_HIGHEST_CHARACTER: Final = "\U0010ffff"
_EARLIEST: Final = -(2**62)
_LATEST: Final = 2**62

_Clauses = list[tuple[str, Any]]


def read_page(
    connection: sqlite3.Connection, query: RecordQuery
) -> tuple[list[StoredRecord], int, bool]:
    """Matching records in the query's order, the tree's size, and whether more of them match."""
    (size,) = connection.execute("SELECT size FROM log").fetchone()
    statement, values = page_statement(connection, query, size)
    found = connection.execute(statement, values)
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


def page_statement(
    connection: sqlite3.Connection, query: RecordQuery, size: int
) -> tuple[str, list[Any]]:
    """What is asked of SQLite for one page, and the values of its marks."""
    times = _time_clauses(query)
    globs = [(column, _glob_clauses(column, pattern)) for column, pattern in query.globs]
    above, below = _bounds(connection, query, size)
    clauses: _Clauses = [
        ("idx > ?", above),
        ("idx < ?", below),
        *times,
        *(clause for _, found in globs for clause in found),
        *((f"{column} = ?", text) for column, text in query.equal),
    ]
    # Said so, the planner may use the indexes that leave other rows out.
    implied = [f"{column} <> ''" for column, _ in query.equal]
    if ("outcome", "refused") in query.equal or ("outcome", "failed") in query.equal:
        implied.append("outcome IN ('refused', 'failed')")
    implied += ["licence <> ''"] if query.licence else []
    where = " AND ".join([*(clause for clause, _ in clauses), *implied])
    order = f"ORDER BY idx {'ASC' if query.is_ascending else 'DESC'} LIMIT {query.limit + 1}"
    values = [value for _, value in clauses]
    index = _short_index(connection, query, times, globs)
    if index:
        # Only numbers are sorted, and only the rows of one page are fetched.
        where = f"idx IN (SELECT idx FROM records INDEXED BY {index} WHERE {where} {order})"  # noqa: S608
    return f"SELECT {STORED} FROM records WHERE {where} {order}", values  # noqa: S608 # constants


def _bounds(connection: sqlite3.Connection, query: RecordQuery, size: int) -> tuple[int, int]:
    """Indexes between which everything lies that can match: above the one, below the other."""
    above, below = query.above, size if query.below is None else query.below
    if query.since_us is None and query.until_us is None:
        return above, below
    first, last = connection.execute(
        "SELECT min(block), max(block) FROM spans WHERE last_us >= ? AND first_us < ?",
        (_EARLIEST if query.since_us is None else query.since_us,
         _LATEST if query.until_us is None else query.until_us),
    ).fetchone()  # fmt: skip
    if first is None:
        return above, 0
    return max(above, first * BLOCK_RECORDS - 1), min(below, (last + 1) * BLOCK_RECORDS)


def _time_clauses(query: RecordQuery) -> _Clauses:
    bounds = (("time_us >= ?", query.since_us), ("time_us < ?", query.until_us))
    return [(clause, value) for clause, value in bounds if value is not None]


def _glob_clauses(column: str, pattern: str) -> _Clauses:
    if GLOB_CHARACTERS.isdisjoint(pattern):
        return [(f"{column} = ?", pattern)]
    first = min(place for place, letter in enumerate(pattern) if letter in GLOB_CHARACTERS)
    prefix = pattern[:first]
    return [
        (f"{column} GLOB ?", pattern),
        (f"{column} >= ?", prefix),
        (f"{column} < ?", prefix + _HIGHEST_CHARACTER),
    ]


def _short_index(
    connection: sqlite3.Connection,
    query: RecordQuery,
    times: _Clauses,
    globs: list[tuple[str, _Clauses]],
) -> str:
    """The index to insist on; none if a filter for one value leads to one anyway."""
    if query.equal:
        return ""
    for column, clauses in (("time", times), *globs):
        if clauses and _matches_few(connection, f"records_{column}", clauses):
            return f"records_{column}"
    return ""


def _matches_few(connection: sqlite3.Connection, index: str, clauses: _Clauses) -> bool:
    implied = ["licence <> ''"] if index == "records_licence" else []
    where = " AND ".join([*(clause for clause, _ in clauses), *implied])
    (count,) = connection.execute(
        f"SELECT count(*) FROM (SELECT 1 FROM records INDEXED BY {index} "  # noqa: S608
        f"WHERE {where} LIMIT {FEW})",
        [value for _, value in clauses],
    ).fetchone()
    return bool(count < FEW)
