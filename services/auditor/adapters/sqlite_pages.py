# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Pages of the log, by whichever index has the least to look at.

SQLite does not know how many records a range of times or a glob matches.  Ranges that match few
are read by their index and sorted.  Ranges that match many are met soon when the log is read in
the order that is asked for, from the block of records on in which the times first occur.  Of a
glob the values that match are found first, which are few; the records of each are in order.  Nor
does it know how rare a value is: of several filters the index with the fewest records is said.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, Final

from msgspec import structs

from services.auditor.adapters.log_rows import STORED, json_text, stored_record
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
from services.auditor.adapters.sqlite_rows import read_tiles
from services.auditor.disclosure import shown
from services.auditor.merkle import HashReader, Node
from services.auditor.query import (
    BY_AUDIENCE,
    GLOB_CHARACTERS,
    MAX_PAGE_BYTES,
    TROUBLED,
    TROUBLES,
    RecordQuery,
    StoredRecord,
)
from services.auditor.tiles import hash_reader
from shared.contracts.base import EVENTS
from shared.contracts.events import PUBLIC

MANY: Final = 1_000
"""Different values of a column that are gone through for those that match a glob."""
MOST_PARTS: Final = 20
"""Values whose records are looked for one value after another."""
MOST_AUDIENCES: Final = 100
"""Audiences, likewise; of more it is faster to sort the numbers of all their records."""
_INDEXED: Final = ("correlation", "deployment", "node", "package", "actor", "licence", "action")
"""Columns whose index gives the records of a value in order: if in doubt, the first is taken."""
_Parts = tuple[str, str, list[tuple[str, ...]]]
"""Where records are read from, on which condition, and the values of the marks for each part."""
_SUBJECT: Final = f'"subject":"{EVENTS}.'
_AFTER_PREFIX: Final = f"substr(leaf, instr(leaf, '{_SUBJECT}') + {len(_SUBJECT)})"
_IS_SEEN: Final = (
    f"CASE audience WHEN '' THEN substr({_AFTER_PREFIX}, 1, instr({_AFTER_PREFIX}, '.') - 1) "  # noqa: S608
    "ELSE audience END IN (SELECT value FROM json_each(?))"
)
"""Of a message whose subject is no event's, the leaf has the subject (`disclosure.audience_of`)."""

_Clauses = list[tuple[str, Any]]
_ALL: Final = 2**62
"""More records than a log has."""


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
        stored = shown(with_hash(connection, stored_record(row)), query.audiences)
        page_bytes += len(stored.leaf) + len(stored.body or b"")
        if len(page) == query.limit or (page and page_bytes > MAX_PAGE_BYTES):
            found.close()
            return page, size, True
        page.append(stored)
    return page, size, False


def with_hash(connection: sqlite3.Connection, stored: StoredRecord) -> StoredRecord:
    """The record; if it is pruned, with the hash that the tree has of its leaf."""
    if stored.pruned_by is None:
        return stored
    return structs.replace(stored, leaf_hash=stored_hashes(connection)([Node(0, stored.index)])[0])


def stored_hashes(connection: sqlite3.Connection) -> HashReader:
    """What reads the tree's hashes."""
    return hash_reader(lambda tiles: read_tiles(connection, tiles))


def page_statement(
    connection: sqlite3.Connection, query: RecordQuery, size: int
) -> tuple[str, list[Any]]:
    """What is asked of SQLite for one page, and the values of its marks."""
    times: _Clauses = [(f"{bound} ?", time_us) for bound, time_us in time_bounds(query)]
    above, below = _bounds(connection, query, size)
    clauses: _Clauses = [
        ("idx > ?", above),
        ("idx < ?", below),
        *_audience_clauses(query),
        *times,
        *(clause for column, pattern in query.globs for clause in _glob_clauses(column, pattern)),
        *((_equal_clause(column), text) for column, text in query.equal),
    ]
    shortest = _shortest(connection, query)
    clauses = [_beside(clause, shortest) for clause in clauses]
    # Said so, the planner may use the indexes that leave other rows out.
    is_beside = shortest in BY_AUDIENCE
    said = [column for column, _ in query.equal if column != "event_id"]
    said += ["licence"] if query.licence else []
    implied = [f"{column} <> ''" for column in said if not is_beside or column == shortest]
    if dict(query.equal).get("outcome") in TROUBLES:
        implied.append("outcome IN ('refused', 'failed')")
    by_audience = _named_parts(query, shortest) or _space_parts(query)
    is_short = not (query.equal or by_audience) and bool(times) and _matches_few(connection, times)
    if not is_short:
        # The planner would sort whatever the times leave, however much that is.
        clauses = [(clause.replace("time_us", "+time_us"), value) for clause, value in clauses]
    where = " AND ".join([*(clause for clause, _ in clauses), *implied])
    order = f"ORDER BY idx {'ASC' if query.is_ascending else 'DESC'} LIMIT {query.limit + 1}"
    values = [value for _, value in clauses]
    if is_short:
        # Only numbers are sorted, and only the rows of one page are fetched.
        found = f"SELECT idx FROM records INDEXED BY records_time WHERE {where} {order}"  # noqa: S608
        return f"SELECT {STORED} FROM records WHERE idx IN ({found}) {order}", values  # noqa: S608
    matching = by_audience or _glob_parts(connection, query)
    if matching is None:
        return f"SELECT {STORED} FROM records WHERE {where} {order}", values  # noqa: S608 # constants
    # Each part's records are in order in the index: the first few of each hold the page.
    source, condition, part_values = matching
    part = f"SELECT * FROM (SELECT idx FROM {source} WHERE {condition} AND {where} {order})"  # noqa: S608
    parts = " UNION ALL ".join([part] * len(part_values)) or "SELECT NULL WHERE false"
    return (
        f"SELECT {STORED} FROM records WHERE idx IN ({parts}) {order}",  # noqa: S608 # constants
        [one for own in part_values for one in (*own, *values)],
    )


def read_actions(
    connection: sqlite3.Connection,
    actions: Sequence[str],
    emitter: str,
    first: int,
    stop: int | None,
) -> list[StoredRecord]:
    """Believed records with one of the actions, oldest first; of one emitter, if it is named."""
    # Else SQLite would go through all records of a range, because they are in order there.
    found = connection.execute(
        f"SELECT {STORED} FROM records INDEXED BY records_action "  # noqa: S608 # a constant
        "WHERE action IN (SELECT value FROM json_each(?)) AND idx >= ? AND idx < ? "
        "AND (? = '' OR emitter = ?) AND problem = '' ORDER BY idx",
        (json_text(list(actions)), first, _ALL if stop is None else stop, emitter, emitter),
    )
    return [stored_record(row) for row in found.fetchall()]


def _named_parts(query: RecordQuery, shortest: str) -> _Parts | None:
    """The records of a name that a space may have, by audience; None if no such name is given.

    So a name that only hidden records have takes as long as one that there is not.
    """
    values = dict(query.equal)
    named = [column for column in (shortest,) if column] or values
    column = next((column for column in BY_AUDIENCE if column in named), "")
    if query.audiences is None or not column:
        return None
    source = f"records INDEXED BY records_{column}"
    if values.get("outcome") in TROUBLES and column in TROUBLED:
        source += "_trouble"
    # Of a message whose subject is no event's the audience is none.
    audiences = sorted({"", *query.audiences})
    if len(audiences) > MOST_AUDIENCES:
        # Joined, and not IN: there SQLite gives up at once for a name that there is not.
        source = f"json_each(?) AS seen CROSS JOIN {source}"
        condition = f"{column} = ? AND audience = seen.value"
        return source, condition, [(json_text(audiences), values[column])]
    return source, f"{column} = ? AND audience = ?", [(values[column], one) for one in audiences]


def _space_parts(query: RecordQuery) -> _Parts | None:
    """The records of a space, or of none; None if the question is not about one."""
    audiences = query.audiences
    if audiences is None or PUBLIC in audiences or len(audiences) >= MOST_AUDIENCES:
        return None
    source = "records INDEXED BY records_space"
    # Of a message whose subject is no event's the audience is none.
    parts: list[tuple[str, ...]] = [(one,) for one in sorted({"", *audiences})]
    return source, f"audience <> '{PUBLIC}' AND audience = ?", parts


def _glob_parts(connection: sqlite3.Connection, query: RecordQuery) -> _Parts | None:
    """The records of each value that a glob matches; None if there is no glob, or are too many."""
    found = None if query.equal else _matching_values(connection, query)
    if found is None:
        return None
    column, values = found
    return f"records INDEXED BY records_{column}", f"{column} = ?", [(value,) for value in values]


def _matching_values(
    connection: sqlite3.Connection, query: RecordQuery
) -> tuple[str, list[str]] | None:
    """The column of a glob and the values in it that match; None if there are too many of them."""
    for column, pattern in reversed(query.globs):
        implied = f"AND {column} <> ''" if column == "licence" else ""
        prefix = glob_prefix(pattern)
        # From each value to the next one by the index, however many records have it.
        values = connection.execute(
            "WITH RECURSIVE found (value) AS ("  # noqa: S608 # columns, constants
            f"SELECT min({column}) FROM records WHERE {column} >= ?1 AND {column} < ?2 {implied} "
            f"UNION ALL SELECT (SELECT min({column}) FROM records WHERE {column} > found.value "
            f"AND {column} < ?2 {implied}) FROM found WHERE found.value IS NOT NULL LIMIT {MANY}) "
            "SELECT value, value GLOB ?3 FROM found WHERE value IS NOT NULL",
            (prefix, prefix + HIGHEST_CHARACTER, pattern),
        ).fetchall()
        matching = [value for value, is_matching in values if is_matching]
        if len(values) < MANY - 1 and len(matching) <= MOST_PARTS:
            return column, matching
    return None


def _bounds(connection: sqlite3.Connection, query: RecordQuery, size: int) -> tuple[int, int]:
    """Indexes between which everything lies that can match: above the one, below the other."""
    bounds, times = index_bounds(query, size), asked_times(query)
    if times is None:
        return bounds
    return within_blocks(bounds, *connection.execute(BLOCKS.format("?", "?"), times).fetchone())


def _beside(clause: tuple[str, Any], shortest: str) -> tuple[str, Any]:
    """The condition as it is checked of records that are found by another column, `shortest`.

    By its own index, where neighbours lie together, and not in the records, which lie apart.
    """
    text, value = clause
    column = text.partition(" = ?")[0]
    if not shortest or column not in _INDEXED or column == shortest:
        return clause
    if shortest not in BY_AUDIENCE:
        return f"+{text}", value  # whose index does not know the audience
    audience = "AND other.audience = records.audience " if column in BY_AUDIENCE else ""
    found = (
        f"SELECT 1 FROM records AS other INDEXED BY records_{column} "  # noqa: S608 # constants
        f"WHERE other.{text} AND other.{column} <> '' {audience}AND other.idx = records.idx"
    )
    return f"EXISTS ({found})", value


def _equal_clause(column: str) -> str:
    """The condition that a column is equal to something."""
    if column != "event_id":
        return f"{column} = ?"
    # Ids are indexed below their emitter, and everyone who emitted anything has a channel.
    return (
        "idx IN (SELECT idx FROM records INDEXED BY records_event WHERE event_id <> '' "
        "AND emitter IN (SELECT emitter FROM channels) AND event_id = ?)"
    )


def _shortest(connection: sqlite3.Connection, query: RecordQuery) -> str:
    """The column whose index has the fewest records to look at; empty if there is no choice.

    Troubles have indexes together with another column, which the planner finds.
    """
    values = dict(query.equal)
    if "event_id" in values:
        return "event_id"
    if values.get("outcome") in TROUBLES:
        return ""
    values |= {column: text for column, text in query.globs if GLOB_CHARACTERS.isdisjoint(text)}
    columns = [column for column in _INDEXED if column in values]
    if len(columns) < 2:  # noqa: PLR2004
        return ""
    return min(columns, key=lambda column: _count(connection, query, column, values[column]))


def _count(connection: sqlite3.Connection, query: RecordQuery, column: str, value: str) -> int:
    """Records with this value, as far as FEW; of a name that a space may have, those shown."""
    seen, values = "", [value]
    if query.audiences is not None and column in BY_AUDIENCE:
        seen = "AND audience IN (SELECT value FROM json_each(?))"
        values.append(json_text(sorted(query.audiences)))
    (count,) = connection.execute(
        f"SELECT count(*) FROM (SELECT 1 FROM records INDEXED BY records_{column} "  # noqa: S608
        f"WHERE {column} = ? AND {column} <> '' {seen} LIMIT {FEW})",
        values,
    ).fetchone()
    return int(count)


def _audience_clauses(query: RecordQuery) -> _Clauses:
    """What leaves out the records that are not shown, before anything is counted."""
    if query.audiences is None or query.lists_restricted:
        return []
    return [(_IS_SEEN, json_text(sorted(query.audiences)))]


def _glob_clauses(column: str, pattern: str) -> _Clauses:
    if GLOB_CHARACTERS.isdisjoint(pattern):
        return [(f"{column} = ?", pattern)]
    prefix = glob_prefix(pattern)
    return [
        (f"{column} GLOB ?", pattern),
        (f"{column} >= ?", prefix),
        (f"{column} < ?", prefix + HIGHEST_CHARACTER),
    ]


def _matches_few(connection: sqlite3.Connection, times: _Clauses) -> bool:
    (count,) = connection.execute(
        "SELECT count(*) FROM (SELECT 1 FROM records INDEXED BY records_time "  # noqa: S608
        f"WHERE {' AND '.join(clause for clause, _ in times)} LIMIT {FEW})",
        [value for _, value in times],
    ).fetchone()
    return bool(count < FEW)
