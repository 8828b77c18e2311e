# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The index of what ran where in PostgreSQL: written with the rows, made again from them.

The same tables and rules as in SQLite (`sqlite_inventory`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from asyncpg import Connection
from asyncpg import Record as Row

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
    number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    node TEXT COLLATE "C" NOT NULL,
    netns TEXT COLLATE "C" NOT NULL,
    interface TEXT COLLATE "C" NOT NULL,
    hook TEXT COLLATE "C" NOT NULL,
    UNIQUE (node, netns, interface, hook)
);
CREATE TABLE sightings (
    point BIGINT NOT NULL,
    is_observed BOOLEAN NOT NULL,
    sequence BIGINT NOT NULL,
    idx BIGINT NOT NULL,
    from_us BIGINT NOT NULL
);
CREATE INDEX sightings_order ON sightings (point, sequence, idx);
CREATE INDEX sightings_time ON sightings (point, is_observed, from_us, sequence, idx);
CREATE TABLE sighted_digests (
    digest TEXT COLLATE "C" NOT NULL,
    point BIGINT NOT NULL,
    sequence BIGINT NOT NULL,
    idx BIGINT NOT NULL,
    PRIMARY KEY (digest, point, sequence, idx)
);
CREATE TABLE inventory (
    one BOOLEAN PRIMARY KEY CHECK (one),
    size BIGINT NOT NULL
);
INSERT INTO inventory VALUES (true, 0);
"""
REBUILT_AT_ONCE: Final = 2_000
_FIRST: Final = ("", "", "", "")


async def add_sightings(connection: Connection[Row], records: Iterable[Record]) -> None:
    """What these records say is in the index.

    In the open transaction, which says too that the index covers them (`write_batch`).
    """
    await _add(connection, list(sightings(records)))


async def catch_up(connection: Connection[Row]) -> None:
    """The index covers every record that there is; in the open transaction."""
    covered = await connection.fetchval("SELECT size FROM inventory")
    size = await connection.fetchval("SELECT size FROM log")
    while covered < size:
        until = min(covered + REBUILT_AT_ONCE, size)
        kept = await connection.fetch(
            "SELECT idx, time_us, body FROM records WHERE idx >= $1 AND idx < $2 "
            "AND problem = '' AND action = ANY($3) ORDER BY idx",
            covered,
            until,
            list(ACTIONS),
        )
        await _add(connection, kept_sightings((row[0], row[1], row[2]) for row in kept))
        await connection.execute("UPDATE inventory SET size = $1", until)
        covered = until


async def read_sightings(
    connection: Connection[Row], at_us: int, *, node: str, after: HookPlace | None
) -> FoundSightings:
    """The newest words of each kind up to a moment, the tree's size, and whether that is all."""
    size = await connection.fetchval("SELECT size FROM log")
    found = await connection.fetch(
        "SELECT p.node, p.netns, p.interface, p.hook, s.is_observed, s.sequence, s.idx, "
        "s.from_us, r.body FROM hook_points p "
        "CROSS JOIN (VALUES (false), (true)) AS k (kind) "
        "CROSS JOIN LATERAL (SELECT * FROM sightings "
        "WHERE point = p.number AND is_observed = k.kind AND from_us <= $1 "
        "ORDER BY from_us DESC, sequence DESC, idx DESC LIMIT 1) AS s "
        "JOIN records r ON r.idx = s.idx "
        "WHERE ((p.node, p.netns, p.interface, p.hook) > ($2, $3, $4, $5) "
        "OR (p.node = $2 AND p.hook = '')) AND ($6 = '' OR p.node = $6) "
        "ORDER BY p.node, p.netns, p.interface, p.hook LIMIT $7",
        at_us,
        *(_key(after) if after else _FIRST),
        node,
        PAGE_SIGHTINGS + 1,
    )
    stored = [StoredSighting(_place(row), *row[4:9]) for row in map(tuple, found[:PAGE_SIGHTINGS])]
    return stored, size, len(found) <= PAGE_SIGHTINGS


async def read_runs(
    connection: Connection[Row], digest: str, *, after: HookPlace | None
) -> FoundRuns:
    """Every sighting of a digest on the next places, the tree's size, and whether that is all."""
    size = await connection.fetchval("SELECT size FROM log")
    points = await connection.fetch(
        "SELECT p.number FROM hook_points p WHERE EXISTS "
        "(SELECT 1 FROM sighted_digests d WHERE d.digest = $1 AND d.point = p.number) "
        "AND (p.node, p.netns, p.interface, p.hook) > ($2, $3, $4, $5) "
        "ORDER BY p.node, p.netns, p.interface, p.hook LIMIT $6",
        digest,
        *(_key(after) if after else _FIRST),
        PAGE_PLACES + 1,
    )
    found = await connection.fetch(
        "SELECT p.node, p.netns, p.interface, p.hook, s.sequence, s.idx, s.from_us, "
        "n.sequence, n.idx, n.from_us "
        "FROM sighted_digests d JOIN hook_points p ON p.number = d.point "
        "JOIN sightings s ON s.point = d.point AND s.sequence = d.sequence AND s.idx = d.idx "
        "LEFT JOIN LATERAL (SELECT * FROM sightings "
        "WHERE point = d.point AND (sequence, idx) > (d.sequence, d.idx) "
        "ORDER BY sequence, idx LIMIT 1) AS n ON true "
        "WHERE d.digest = $1 AND d.point = ANY($2) "
        "ORDER BY p.node, p.netns, p.interface, p.hook, s.sequence, s.idx",
        digest,
        [point for (point,) in points[:PAGE_PLACES]],
    )
    runs = [
        StoredRun(_place(row), row[4], row[5], row[6], row[7:10] if row[7] is not None else None)
        for row in map(tuple, found)
    ]
    return runs, size, len(points) <= PAGE_PLACES


async def _add(connection: Connection[Row], found: Sequence[Sighting]) -> None:
    if not found:
        return
    places = sorted({_key(one.place) for one in found})
    columns = [list(column) for column in zip(*places, strict=True)]
    wanted = "unnest($1::text[], $2::text[], $3::text[], $4::text[])"
    await connection.execute(
        f"INSERT INTO hook_points (node, netns, interface, hook) SELECT * FROM {wanted} "  # noqa: S608
        "ON CONFLICT DO NOTHING",
        *columns,
    )
    numbered = await connection.fetch(
        f"SELECT node, netns, interface, hook, number FROM {wanted} "  # noqa: S608 # a constant
        "AS wanted (node, netns, interface, hook) "
        "JOIN hook_points USING (node, netns, interface, hook)",
        *columns,
    )
    numbers = {tuple(row)[:4]: row[4] for row in numbered}
    rows = [(numbers[_key(one.place)], one) for one in found]
    await connection.executemany(
        "INSERT INTO sightings SELECT $1::bigint, $2::boolean, $3::bigint, $4::bigint, "
        "least($5::bigint, (SELECT from_us FROM sightings WHERE point = $1::bigint "
        "AND sequence > $3::bigint ORDER BY sequence, idx LIMIT 1))",
        [(point, one.is_observed, one.sequence, one.record, one.time_us) for point, one in rows],
    )
    await connection.executemany(
        "UPDATE sightings SET from_us = $1 WHERE point = $2 AND is_observed IN (false, true) "
        "AND from_us > $1 AND sequence < $3",
        [(one.time_us, point, one.sequence) for point, one in rows],
    )
    await connection.executemany(
        "INSERT INTO sighted_digests VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
        [
            (digest, point, one.sequence, one.record)
            for point, one in rows
            for digest in sorted(one.digests)
        ],
    )


def _key(place: HookPlace) -> tuple[str, str, str, str]:
    return place.node, place.netns, place.interface, place.hook


def _place(row: Sequence[Any]) -> HookPlace:
    return HookPlace(node=row[0], netns=row[1], interface=row[2], hook=row[3])
