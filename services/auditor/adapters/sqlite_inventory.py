# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The index of what ran where in SQLite: written with the rows, made again from them.

`inventory.size` says how many records it covers; it always goes as far as the log once the store
is open.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from itertools import groupby
from typing import Any, Final

from services.auditor.adapters.log_rows import json_text
from services.auditor.adapters.sqlite_prunings import demand_ran
from services.auditor.adapters.sqlite_timelines import TABLES, keep_spans, number_chains
from services.auditor.admission import Record
from services.auditor.inventory import (
    PAGE_PLACES,
    PAGE_SIGHTINGS,
    FoundRuns,
    FoundSightings,
    StoredRun,
    StoredSighting,
)
from services.auditor.sightings import ACTIONS, Sighting, kept_sightings, sightings
from services.auditor.timelines import chain_text
from shared.contracts.events import Audience
from shared.contracts.inventory import HookPlace

SCHEMA: Final = """
CREATE TABLE hook_points (
    number INTEGER PRIMARY KEY,
    node TEXT NOT NULL,
    netns TEXT NOT NULL,
    interface TEXT NOT NULL,
    hook TEXT NOT NULL,
    UNIQUE (node, netns, interface, hook)
) STRICT;
CREATE TABLE sightings (
    point INTEGER NOT NULL,
    is_observed INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    idx INTEGER NOT NULL,
    from_us INTEGER NOT NULL
) STRICT;
CREATE INDEX sightings_order ON sightings (point, sequence, idx, from_us);
CREATE INDEX sightings_time ON sightings (point, is_observed, from_us, sequence, idx);
CREATE TABLE sighted_digests (
    digest TEXT NOT NULL,
    point INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    idx INTEGER NOT NULL,
    PRIMARY KEY (digest, point, sequence, idx)
) STRICT, WITHOUT ROWID;
CREATE TABLE inventory (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    size INTEGER NOT NULL
) STRICT;
INSERT INTO inventory VALUES (1, 0);
"""
"""As of version 3; it never changes.  What came later is a step of MIGRATIONS."""
TO_AUDIENCES: Final = """
DROP TABLE hook_points;
CREATE TABLE hook_points (
    number INTEGER PRIMARY KEY,
    node TEXT NOT NULL,
    netns TEXT NOT NULL,
    interface TEXT NOT NULL,
    hook TEXT NOT NULL,
    audience TEXT NOT NULL,
    UNIQUE (node, netns, interface, hook, audience)
) STRICT;
DELETE FROM sightings;
DELETE FROM sighted_digests;
UPDATE inventory SET size = 0;
"""
"""A place has a row for each audience that was told of it; all is made again from the records."""
REBUILT_AT_ONCE: Final = 2_000
_BEFORE_ALL: Final = HookPlace(node="")
_POINT: Final = (
    "(SELECT number FROM hook_points "
    "WHERE node = ? AND netns = ? AND interface = ? AND hook = ? AND audience = ?)"
)
_PLACE: Final = "p.node, p.netns, p.interface, p.hook"
_KINDS: Final = "(SELECT 0 AS kind UNION ALL SELECT 1)"
_SEEN: Final = "audience IN (SELECT value FROM json_each(:seen))"
_BEHIND: Final = "(p.node, p.netns, p.interface, p.hook) > (:node, :netns, :interface, :hook)"
_LATER: Final = (
    "SELECT rowid AS number, sequence, idx FROM sightings WHERE point = {}.number "
    "AND (sequence, idx) > (s.sequence, s.idx) ORDER BY sequence, idx LIMIT 1"
)
_ENDING: Final = (
    f"q.node = p.node AND q.{_SEEN} AND (q.hook = '' "
    "OR (q.netns = p.netns AND q.interface = p.interface AND q.hook = p.hook))"
)
_SIGHTINGS: Final = f"""
SELECT {_PLACE}, p.audience, s.is_observed, s.sequence, s.idx, s.from_us, r.body
FROM hook_points p CROSS JOIN {_KINDS} k
CROSS JOIN sightings s ON s.rowid = (
    SELECT rowid FROM sightings INDEXED BY sightings_time
    WHERE point = p.number AND is_observed = k.kind AND from_us <= :at_us
    ORDER BY from_us DESC, sequence DESC, idx DESC LIMIT 1)
CROSS JOIN records r ON r.idx = s.idx
WHERE p.{_SEEN} AND ({_BEHIND} OR (p.node = :node AND p.hook = ''))
AND (:of = '' OR p.node = :of)
ORDER BY p.node, p.netns, p.interface, p.hook
"""  # noqa: S608 # constants
"""Of each audience the newest word by its own order."""
_DIGEST_PLACES: Final = f"""
SELECT DISTINCT {_PLACE} FROM hook_points p WHERE p.{_SEEN} AND {_BEHIND} AND EXISTS
    (SELECT 1 FROM sighted_digests d WHERE d.digest = :digest AND d.point = p.number)
ORDER BY p.node, p.netns, p.interface, p.hook LIMIT {PAGE_PLACES + 1}
"""  # noqa: S608 # constants
_RUNS: Final = f"""
SELECT {_PLACE}, p.audience, s.sequence, s.idx, s.from_us, n.sequence, n.idx,
    max(n.from_us, s.from_us)
FROM hook_points p CROSS JOIN sighted_digests d ON d.digest = :digest AND d.point = p.number
CROSS JOIN sightings s ON s.point = d.point AND s.sequence = d.sequence AND s.idx = d.idx
LEFT JOIN hook_points w ON w.node = p.node AND w.hook = '' AND w.audience = p.audience
LEFT JOIN sightings n ON n.rowid = (SELECT number FROM (
    SELECT c.rowid AS number, max(c.from_us, s.from_us) AS ending, q.audience, c.sequence, c.idx
    FROM hook_points q CROSS JOIN {_KINDS} k CROSS JOIN sightings c ON c.rowid =
        CASE WHEN q.audience <> p.audience THEN
            (SELECT rowid FROM sightings INDEXED BY sightings_time
            WHERE point = q.number AND is_observed = k.kind
            AND from_us >= s.from_us + (q.audience < p.audience)
            ORDER BY from_us, sequence, idx LIMIT 1)
        WHEN q.number = p.number AND k.kind = 0 THEN
            (SELECT number FROM (SELECT * FROM ({_LATER.format("p")})
                UNION ALL SELECT * FROM ({_LATER.format("w")})) ORDER BY sequence, idx LIMIT 1)
        END
    WHERE {_ENDING}) ORDER BY ending, audience, sequence, idx LIMIT 1)
WHERE p.{_SEEN} AND p.node = :node AND p.netns = :netns AND p.interface = :interface
AND p.hook = :hook ORDER BY p.audience, s.sequence, s.idx
"""  # noqa: S608 # constants
"""What follows in its own audience by sequence, in the others by the clock: the first of those.
A word on the whole node (`w`) ends what was said of its hook points."""


def add_sightings(connection: sqlite3.Connection, records: Iterable[Record], *, size: int) -> None:
    """What these records say is in the index, which now covers `size` records.

    In the open transaction.
    """
    _add(connection, list(sightings(records)))
    connection.execute("UPDATE inventory SET size = ?", (size,))


def catch_up(connection: sqlite3.Connection) -> None:
    """The index covers every record that there is; in the open transaction."""
    (covered,) = connection.execute("SELECT size FROM inventory").fetchone()
    (size,) = connection.execute("SELECT size FROM log").fetchone()
    for table in (*TABLES, "sighted_digests", "sightings", "hook_points") if not covered else ():
        connection.execute(f"DELETE FROM {table}")  # noqa: S608 # constants
    while covered < size:
        until = min(covered + REBUILT_AT_ONCE, size)
        kept = connection.execute(
            f"SELECT idx, time_us, body FROM records WHERE idx >= ? AND idx < ? "  # noqa: S608
            f"AND problem = '' AND action IN ({','.join('?' * len(ACTIONS))}) ORDER BY idx",
            (covered, until, *ACTIONS),
        ).fetchall()
        _add(connection, kept_sightings(kept))
        connection.execute("UPDATE inventory SET size = ?", (until,))
        covered = until


def read_sightings(
    connection: sqlite3.Connection,
    at_us: int,
    *,
    audiences: frozenset[Audience],
    node: str,
    after: HookPlace | None,
) -> FoundSightings:
    """The newest words of each kind up to a moment, the tree's size, and whether that is all."""
    demand_ran(connection, at_us, audiences=audiences)
    (size,) = connection.execute("SELECT size FROM log").fetchone()
    asked = {**_marks(audiences, after or _BEFORE_ALL), "of": node, "at_us": at_us}
    stored: list[StoredSighting] = []
    # Rows come as they are asked for: a page is full long before there are no more.
    with closing(connection.execute(_SIGHTINGS, asked)) as rows:
        for _, told in groupby(rows, key=_place_key):
            newest: dict[bool, StoredSighting] = {}
            for row in told:
                one = StoredSighting(_place(row), row[4], bool(row[5]), *row[6:10])
                other = newest.get(one.is_observed)
                if other is None or (one.from_us, one.audience) > (other.from_us, other.audience):
                    newest[one.is_observed] = one
            stored += [newest[kind] for kind in sorted(newest)]
            if len(stored) > PAGE_SIGHTINGS:
                return stored[:PAGE_SIGHTINGS], size, False
    return stored, size, True


def read_runs(
    connection: sqlite3.Connection,
    digest: str,
    *,
    audiences: frozenset[Audience],
    after: HookPlace | None,
) -> FoundRuns:
    """Every sighting of a digest on the next places, the tree's size, and whether that is all."""
    (size,) = connection.execute("SELECT size FROM log").fetchone()
    asked = {**_marks(audiences, after or _BEFORE_ALL), "digest": digest}
    places = connection.execute(_DIGEST_PLACES, asked).fetchall()
    runs = []
    for place in map(_place, places[:PAGE_PLACES]):
        found = connection.execute(_RUNS, {**_marks(audiences, place), "digest": digest})
        runs += [
            StoredRun(
                place, row[4], row[5], row[6], row[7], row[8:11] if row[8] is not None else None
            )
            for row in found
        ]
    return runs, size, len(places) <= PAGE_PLACES


def _add(connection: sqlite3.Connection, found: Sequence[Sighting]) -> None:
    if not found:
        return
    points = {_key(one) for one in found}
    connection.executemany(
        "INSERT OR IGNORE INTO hook_points (node, netns, interface, hook, audience) "
        "VALUES (?, ?, ?, ?, ?)",
        sorted(points),
    )
    numbers = {key: connection.execute(f"SELECT {_POINT}", key).fetchone()[0] for key in points}
    rows = [(numbers[_key(one)], one) for one in found]
    texts = [chain_text(one.reading) for one in found]
    chains = number_chains(connection, texts)
    connection.executemany(
        "INSERT INTO sightings VALUES (?1, ?2, ?3, ?4, min(?5, coalesce((SELECT "
        "min(from_us) FROM sightings WHERE point = ?1 AND sequence > ?3), ?5)), ?6)",
        [
            (point, one.is_observed, one.sequence, one.record, one.time_us, chains[text])
            for (point, one), text in zip(rows, texts, strict=True)
        ],
    )
    connection.executemany(
        "UPDATE sightings SET from_us = ?1 WHERE point = ?2 AND is_observed IN (0, 1) "
        "AND from_us > ?1 AND sequence < ?3",
        [(one.time_us, point, one.sequence) for point, one in rows],
    )
    connection.executemany(
        "INSERT OR IGNORE INTO sighted_digests VALUES (?, ?, ?, ?)",
        sorted(
            (digest, point, one.sequence, one.record)
            for point, one in rows
            for digest in one.digests
        ),
    )
    keep_spans(connection, [(point, one.sequence, one.record) for point, one in rows])


def _key(sighting: Sighting) -> tuple[str, str, str, str, str]:
    place = sighting.place
    return place.node, place.netns, place.interface, place.hook, sighting.audience


def _marks(audiences: frozenset[Audience], place: HookPlace) -> dict[str, Any]:
    marks = {name: getattr(place, name) for name in ("node", "netns", "interface", "hook")}
    return {**marks, "seen": json_text(sorted(audiences))}


def _place_key(row: Sequence[Any]) -> Sequence[Any]:
    return row[:4]


def _place(row: Sequence[Any]) -> HookPlace:
    return HookPlace(node=row[0], netns=row[1], interface=row[2], hook=row[3])
