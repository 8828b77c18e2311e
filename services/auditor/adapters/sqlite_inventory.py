# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The index of what ran where in SQLite: written with the rows, made again from them.

`inventory.size` says how many records it covers; it always goes as far as the log once the store
is open.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any, Final

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
REBUILT_AT_ONCE: Final = 2_000
_POINT: Final = (
    "(SELECT number FROM hook_points WHERE node = ? AND netns = ? AND interface = ? AND hook = ?)"
)
_PLACE: Final = "p.node, p.netns, p.interface, p.hook"


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
    connection: sqlite3.Connection, at_us: int, *, node: str, after: HookPlace | None
) -> FoundSightings:
    """The newest words of each kind up to a moment, the tree's size, and whether that is all."""
    (size,) = connection.execute("SELECT size FROM log").fetchone()
    behind = _key(after) if after else ("", "", "", "")
    found = connection.execute(
        f"SELECT {_PLACE}, s.is_observed, s.sequence, s.idx, s.from_us, r.body "  # noqa: S608
        "FROM hook_points p CROSS JOIN (SELECT 0 AS kind UNION ALL SELECT 1) AS k "
        "CROSS JOIN sightings s ON s.rowid = ("
        "SELECT rowid FROM sightings INDEXED BY sightings_time "
        "WHERE point = p.number AND is_observed = k.kind AND from_us <= ? "
        "ORDER BY from_us DESC, sequence DESC, idx DESC LIMIT 1) "
        "CROSS JOIN records r ON r.idx = s.idx "
        "WHERE ((p.node, p.netns, p.interface, p.hook) > (?, ?, ?, ?) "
        "OR (p.node = ? AND p.hook = '')) AND (? = '' OR p.node = ?) "
        "ORDER BY p.node, p.netns, p.interface, p.hook LIMIT ?",
        (at_us, *behind, behind[0], node, node, PAGE_SIGHTINGS + 1),
    ).fetchall()
    stored = [
        StoredSighting(_place(row), bool(row[4]), *row[5:9]) for row in found[:PAGE_SIGHTINGS]
    ]
    return stored, size, len(found) <= PAGE_SIGHTINGS


def read_runs(connection: sqlite3.Connection, digest: str, *, after: HookPlace | None) -> FoundRuns:
    """Every sighting of a digest on the next places, the tree's size, and whether that is all."""
    (size,) = connection.execute("SELECT size FROM log").fetchone()
    points = connection.execute(
        "SELECT p.number FROM hook_points p WHERE EXISTS "
        "(SELECT 1 FROM sighted_digests d WHERE d.digest = ? AND d.point = p.number) "
        "AND (p.node, p.netns, p.interface, p.hook) > (?, ?, ?, ?) "
        "ORDER BY p.node, p.netns, p.interface, p.hook LIMIT ?",
        (digest, *(_key(after) if after else ("", "", "", "")), PAGE_PLACES + 1),
    ).fetchall()
    runs = []
    for (point,) in points[:PAGE_PLACES]:
        found = connection.execute(
            f"SELECT {_PLACE}, s.sequence, s.idx, s.from_us, n.sequence, n.idx, n.from_us "  # noqa: S608
            "FROM sighted_digests d JOIN hook_points p ON p.number = d.point "
            "JOIN sightings s ON s.point = d.point AND s.sequence = d.sequence AND s.idx = d.idx "
            "LEFT JOIN sightings n ON n.rowid = (SELECT rowid FROM sightings "
            "WHERE point = d.point AND (sequence, idx) > (d.sequence, d.idx) "
            "ORDER BY sequence, idx LIMIT 1) WHERE d.digest = ? AND d.point = ? "
            "ORDER BY d.sequence, d.idx",
            (digest, point),
        )
        runs += [
            StoredRun(
                _place(row), row[4], row[5], row[6], row[7:10] if row[7] is not None else None
            )
            for row in found
        ]
    return runs, size, len(points) <= PAGE_PLACES


def _add(connection: sqlite3.Connection, found: Sequence[Sighting]) -> None:
    if not found:
        return
    places = {_key(one.place) for one in found}
    connection.executemany(
        "INSERT OR IGNORE INTO hook_points (node, netns, interface, hook) VALUES (?, ?, ?, ?)",
        sorted(places),
    )
    numbers = {key: connection.execute(f"SELECT {_POINT}", key).fetchone()[0] for key in places}
    rows = [(numbers[_key(one.place)], one) for one in found]
    connection.executemany(
        "INSERT INTO sightings VALUES (?1, ?2, ?3, ?4, min(?5, coalesce((SELECT from_us FROM "
        "sightings WHERE point = ?1 AND sequence > ?3 ORDER BY sequence, idx LIMIT 1), ?5)))",
        [(point, one.is_observed, one.sequence, one.record, one.time_us) for point, one in rows],
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


def _key(place: HookPlace) -> tuple[str, str, str, str]:
    return place.node, place.netns, place.interface, place.hook


def _place(row: Sequence[Any]) -> HookPlace:
    return HookPlace(node=row[0], netns=row[1], interface=row[2], hook=row[3])
