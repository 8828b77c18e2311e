# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Pages of the log out of PostgreSQL, by whichever index has the least to look at.

A filter for one value has an index that gives its records in order.  Of a range of times or a glob
PostgreSQL only guesses how many records match: ranges that match few are fetched first and then
sorted.  Ranges that match many are met soon when the log is read in the order that is asked for,
from the block of records on in which the times first occur.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from asyncpg import Connection, Record

from services.auditor.adapters.log_rows import STORED
from services.auditor.adapters.page_bounds import (
    BLOCKS,
    FEW,
    HIGHEST_CHARACTER,
    asked_times,
    glob_prefix,
    index_bounds,
    time_bounds,
    within_blocks,
)
from services.auditor.adapters.postgres_rows import key_text, read_record, with_kept_hashes
from services.auditor.disclosure import shown
from services.auditor.query import (
    BY_AUDIENCE,
    GLOB_CHARACTERS,
    MAX_PAGE_BYTES,
    TROUBLES,
    RecordQuery,
    StoredRecord,
)
from shared.contracts.base import EVENTS
from shared.contracts.events import PUBLIC

AT_ONCE: Final = 200
"""Rows that are fetched together, because a page may end before its limit."""
MOST_PARTS: Final = 20
"""Audiences whose records are looked for one audience after another."""
_EVENT: Final = (
    "idx IN (SELECT idx FROM event_ids "
    "WHERE emitter IN (SELECT emitter FROM channels) AND event_id = {})"
)
"""Ids are indexed below their emitter, and everyone who emitted anything has a channel."""
_IS_SEEN: Final = (
    f"CASE audience WHEN '' THEN substring(leaf FROM '\"subject\":\"{EVENTS}\\.([^.\"]*)') "
    "ELSE audience END = ANY({}::text[])"
)
"""Of a message whose subject is no event's, the leaf has the subject (`disclosure.audience_of`)."""
_BRACKET: Final = re.compile(r"\[\^?\]?[^\]]*\]")

_Clauses = list[tuple[str, Any]]


async def read_page(
    connection: Connection[Record], query: RecordQuery
) -> tuple[list[StoredRecord], int, bool]:
    """Matching records in the query's order, the tree's size, and whether more of them match."""
    size = await connection.fetchval("SELECT size FROM log")
    times: _Clauses = [(f"{bound} {{}}", time_us) for bound, time_us in time_bounds(query)]
    globs = [_glob_clauses(column, key_text(pattern)) for column, pattern in query.globs]
    above, below = await _bounds(connection, query, size)
    clauses: _Clauses = [
        ("idx > {}", above),
        ("idx < {}", below),
        *_audience_clauses(query),
        *times,
        *(clause for found in globs for clause in found),
        *(
            (_EVENT if column == "event_id" else f"{column} = {{}}", key_text(text))
            for column, text in query.equal
        ),
    ]
    # Said so, the planner may use the indexes that leave other rows out.
    implied = [f"{column} <> ''" for column, _ in query.equal if column != "event_id"]
    if dict(query.equal).get("outcome") in TROUBLES:
        implied.append("outcome IN ('refused', 'failed')")
    implied += ["licence <> ''"] if query.licence else []
    if query.audiences is not None and PUBLIC not in query.audiences:
        implied.append(f"audience <> '{PUBLIC}'")
    where, values = _numbered(clauses)
    matching = f"SELECT {STORED} FROM records WHERE {' AND '.join([where, *implied])}"  # noqa: S608
    order = f"ORDER BY idx {'ASC' if query.is_ascending else 'DESC'} LIMIT {query.limit + 1}"
    audiences = _asked_audiences(query)
    if len(audiences) > MOST_PARTS:
        values = [*values, audiences]
        condition = " AND ".join([where, *implied, "audience = one"])
        part = f"SELECT idx FROM records WHERE {condition} {order}"  # noqa: S608 # constants
        matching = (
            f"SELECT {STORED} FROM records WHERE idx IN (SELECT part.idx FROM "  # noqa: S608
            f"unnest(${len(values)}::text[]) AS one CROSS JOIN LATERAL ({part}) AS part {order})"
        )
    elif audiences:
        # Each part's records are in order in the index: the first few of each hold the page.
        marks = [f"${number}" for number, _ in enumerate(audiences, start=len(values) + 1)]
        parts = [f"({matching} AND audience = {mark} {order})" for mark in marks]
        matching = f"SELECT * FROM ({' UNION ALL '.join(parts)}) AS parts"  # noqa: S608 # a constant
        values = [*values, *audiences]
    elif not query.equal and any(
        [await _matches_few(connection, part) for part in (times, *globs) if part]
    ):
        matching = f"SELECT * FROM ({matching} OFFSET 0) AS few"  # noqa: S608 # a constant
    cursor = await connection.cursor(f"{matching} {order}", *values)
    page: list[StoredRecord] = []
    page_bytes = 0
    while rows := await cursor.fetch(AT_ONCE):
        for found in await with_kept_hashes(connection, [read_record(row) for row in rows]):
            stored = shown(found, query.audiences)
            page_bytes += len(stored.leaf) + len(stored.body or b"")
            if len(page) == query.limit or (page and page_bytes > MAX_PAGE_BYTES):
                return page, size, True
            page.append(stored)
    return page, size, False


def glob_pattern(glob: str) -> str:
    """The regular expression of PostgreSQL that matches what SQLite's GLOB matches."""
    pattern, place = "", 0
    while place < len(glob):
        letter = glob[place]
        bracket = _BRACKET.match(glob, place) if letter == "[" else None
        if bracket is not None:
            pattern += _bracket_pattern(bracket[0])
            place = bracket.end()
            continue
        if letter == "[":
            return "^(?!)"  # it never closes: nothing matches
        pattern += {"*": ".*", "?": "."}.get(letter) or _literal(letter)
        place += 1
    return f"^{pattern}$"


async def read_actions(
    connection: Connection[Record],
    actions: Sequence[str],
    emitter: str,
    first: int,
    stop: int | None,
) -> list[StoredRecord]:
    """Believed records with one of the actions, oldest first; of one emitter, if it is named."""
    found = await connection.fetch(
        f"SELECT {STORED} FROM records WHERE action = ANY($1) AND idx >= $2 "  # noqa: S608
        "AND ($3::bigint IS NULL OR idx < $3) AND ($4 = '' OR emitter = $4) AND problem = '' "
        "ORDER BY idx",
        [key_text(one) for one in actions],
        first,
        stop,
        emitter,
    )
    return [read_record(row) for row in found]


def _bracket_pattern(bracket: str) -> str:
    inner = bracket[1:-1]
    negation, inner = ("^", inner[1:]) if inner.startswith("^") else ("", inner)
    members = "".join(letter if letter == "-" else _literal(letter) for letter in inner)
    return f"[{negation}{members}]"


def _literal(letter: str) -> str:
    return letter if letter.isalnum() or letter == "_" else f"\\U{ord(letter):08x}"


def _asked_audiences(query: RecordQuery) -> list[str]:
    """The audiences by which the records of a space, or of a name it may have, are looked for.

    So a name that only hidden records have takes as long as one that there is not.  None if no
    such name is given and the question is not about a space.
    """
    audiences = query.audiences
    if audiences is None:
        return []
    is_named = any(column in BY_AUDIENCE for column, _ in query.equal)
    # Of a message whose subject is no event's the audience is none.
    return sorted({"", *audiences}) if is_named or PUBLIC not in audiences else []


def _audience_clauses(query: RecordQuery) -> _Clauses:
    """What leaves out the records that are not shown, before anything is counted."""
    if query.audiences is None or query.lists_restricted:
        return []
    return [(_IS_SEEN, sorted(query.audiences))]


def _glob_clauses(column: str, pattern: str) -> _Clauses:
    if GLOB_CHARACTERS.isdisjoint(pattern):
        return [(f"{column} = {{}}", pattern)]
    prefix = glob_prefix(pattern)
    return [
        (f"{column} ~ {{}}", glob_pattern(pattern)),
        (f"{column} >= {{}}", prefix),
        (f"{column} < {{}}", prefix + HIGHEST_CHARACTER),
    ]


async def _bounds(connection: Connection[Record], query: RecordQuery, size: int) -> tuple[int, int]:
    """Indexes between which everything lies that can match: above the one, below the other."""
    bounds, times = index_bounds(query, size), asked_times(query)
    if times is None:
        return bounds
    found = await connection.fetchrow(BLOCKS.format("$1", "$2"), *times)
    assert found is not None
    return within_blocks(bounds, *found)


def _numbered(clauses: _Clauses) -> tuple[str, list[Any]]:
    """The conditions in a row, with $1, $2 and so on for their values."""
    texts = [clause.format(f"${number}") for number, (clause, _) in enumerate(clauses, start=1)]
    return " AND ".join(texts), [value for _, value in clauses]


async def _matches_few(connection: Connection[Record], clauses: _Clauses) -> bool:
    where, values = _numbered(clauses)
    count = await connection.fetchval(
        f"SELECT count(*) FROM (SELECT FROM records WHERE {where} LIMIT {FEW}) AS matched",  # noqa: S608
        *values,
    )
    return bool(count < FEW)
