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

from services.auditor.adapters.postgres_prunings import demand_ran
from services.auditor.adapters.postgres_timelines import TABLES, keep_spans, number_chains
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
"""As of format 3; it never changes.  What came later is a step of MIGRATIONS."""
TO_AUDIENCES: Final = """
TRUNCATE hook_points, sightings, sighted_digests;
ALTER TABLE hook_points ADD COLUMN audience TEXT COLLATE "C" NOT NULL,
    DROP CONSTRAINT hook_points_node_netns_interface_hook_key,
    ADD UNIQUE (node, netns, interface, hook, audience);
UPDATE inventory SET size = 0;
"""
"""A place has a row for each audience that was told of it; all is made again from the records."""
REBUILT_AT_ONCE: Final = 2_000
_FIRST: Final = ("", "", "", "")
_PLACE: Final = "p.node, p.netns, p.interface, p.hook"
_SAME_PLACE: Final = (
    "q.node = p.node AND q.netns = p.netns AND q.interface = p.interface AND q.hook = p.hook "
    "AND q.audience = ANY($1)"
)
_SIGHTINGS: Final = f"""
SELECT {_PLACE}, s.audience, s.is_observed, s.sequence, s.idx, s.from_us, r.body
FROM (SELECT DISTINCT node, netns, interface, hook FROM hook_points p
    WHERE p.audience = ANY($1) AND ($6 = '' OR p.node = $6)
    AND ((p.node, p.netns, p.interface, p.hook) > ($2, $3, $4, $5)
        OR (p.node = $2 AND p.hook = ''))) p
CROSS JOIN (VALUES (false), (true)) AS k (kind)
CROSS JOIN LATERAL (
    SELECT c.*, q.audience FROM hook_points q CROSS JOIN LATERAL (
        SELECT * FROM sightings
        WHERE point = q.number AND is_observed = k.kind AND from_us <= $7
        ORDER BY from_us DESC, sequence DESC, idx DESC LIMIT 1) AS c
    WHERE {_SAME_PLACE} ORDER BY c.from_us DESC, q.audience DESC LIMIT 1) AS s
JOIN records r ON r.idx = s.idx
ORDER BY p.node, p.netns, p.interface, p.hook LIMIT {PAGE_SIGHTINGS + 1}
"""  # noqa: S608 # constants
"""Of each audience the newest word by its own order, and of those the newest by the clock."""
_DIGEST_PLACES: Final = f"""
SELECT DISTINCT {_PLACE} FROM hook_points p
WHERE p.audience = ANY($1) AND (p.node, p.netns, p.interface, p.hook) > ($2, $3, $4, $5)
AND EXISTS (SELECT FROM sighted_digests d WHERE d.digest = $6 AND d.point = p.number)
ORDER BY p.node, p.netns, p.interface, p.hook LIMIT {PAGE_PLACES + 1}
"""  # noqa: S608 # constants
_LATER: Final = (
    "(SELECT * FROM sightings WHERE point = {}.number "
    "AND (sequence, idx) > (s.sequence, s.idx) ORDER BY sequence, idx LIMIT 1)"
)
_SINCE: Final = (
    "(SELECT * FROM sightings WHERE q.audience <> p.audience AND point = q.number AND {} "
    "AND from_us >= s.from_us + (q.audience < p.audience)::int "
    "ORDER BY from_us, sequence, idx LIMIT 1)"
)
_ENDING: Final = (
    "q.node = p.node AND q.audience = ANY($1) AND (q.hook = '' "
    "OR (q.netns = p.netns AND q.interface = p.interface AND q.hook = p.hook))"
)
_RUNS: Final = f"""
SELECT {_PLACE}, p.audience, s.sequence, s.idx, s.from_us, n.sequence, n.idx,
    greatest(n.from_us, s.from_us)
FROM unnest($2::text[], $3::text[], $4::text[], $5::text[])
    AS wanted (node, netns, interface, hook)
JOIN hook_points p USING (node, netns, interface, hook)
JOIN sighted_digests d ON d.digest = $6 AND d.point = p.number
JOIN sightings s ON s.point = d.point AND s.sequence = d.sequence AND s.idx = d.idx
LEFT JOIN hook_points w ON w.node = p.node AND w.hook = '' AND w.audience = p.audience
LEFT JOIN LATERAL (
    SELECT c.*, q.audience FROM hook_points q CROSS JOIN LATERAL (
        (SELECT * FROM ({_LATER.format("p")} UNION ALL {_LATER.format("w")}) AS own
            WHERE q.number = p.number ORDER BY sequence, idx LIMIT 1)
        UNION ALL {_SINCE.format("NOT is_observed")}
        UNION ALL {_SINCE.format("is_observed")}) AS c
    WHERE {_ENDING}
    ORDER BY greatest(c.from_us, s.from_us), q.audience, c.sequence, c.idx LIMIT 1) AS n ON true
WHERE p.audience = ANY($1)
ORDER BY p.node, p.netns, p.interface, p.hook, p.audience, s.sequence, s.idx
"""  # noqa: S608 # constants
"""What follows in its own audience by sequence, in the others by the clock: the first of those.
A word on the whole node (`w`) ends what was said of its hook points."""


async def add_sightings(connection: Connection[Row], records: Iterable[Record]) -> None:
    """What these records say is in the index.

    In the open transaction, which says too that the index covers them (`write_batch`).
    """
    await _add(connection, list(sightings(records)))


async def catch_up(connection: Connection[Row]) -> None:
    """The index covers every record that there is; in the open transaction."""
    covered = await connection.fetchval("SELECT size FROM inventory")
    size = await connection.fetchval("SELECT size FROM log")
    if not covered:
        await connection.execute(f"TRUNCATE {TABLES}, sighted_digests, sightings, hook_points")
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
    connection: Connection[Row],
    at_us: int,
    *,
    audiences: frozenset[Audience],
    node: str,
    after: HookPlace | None,
) -> FoundSightings:
    """The newest words of each kind up to a moment, the tree's size, and whether that is all."""
    await demand_ran(connection, at_us, audiences=audiences)
    size = await connection.fetchval("SELECT size FROM log")
    behind = _key(after) if after else _FIRST
    found = await connection.fetch(_SIGHTINGS, sorted(audiences), *behind, node, at_us)
    stored = [StoredSighting(_place(row), *row[4:10]) for row in map(tuple, found[:PAGE_SIGHTINGS])]
    return stored, size, len(found) <= PAGE_SIGHTINGS


async def read_runs(
    connection: Connection[Row],
    digest: str,
    *,
    audiences: frozenset[Audience],
    after: HookPlace | None,
) -> FoundRuns:
    """Every sighting of a digest on the next places, the tree's size, and whether that is all."""
    size = await connection.fetchval("SELECT size FROM log")
    seen, behind = sorted(audiences), _key(after) if after else _FIRST
    places = await connection.fetch(_DIGEST_PLACES, seen, *behind, digest)
    asked = [[row[column] for row in places[:PAGE_PLACES]] for column in range(4)]
    found = await connection.fetch(_RUNS, seen, *asked, digest)
    runs = [
        StoredRun(
            _place(row), row[4], row[5], row[6], row[7], row[8:11] if row[8] is not None else None
        )
        for row in map(tuple, found)
    ]
    return runs, size, len(places) <= PAGE_PLACES


async def _add(connection: Connection[Row], found: Sequence[Sighting]) -> None:
    if not found:
        return
    points = sorted({_point(one) for one in found})
    columns = [list(column) for column in zip(*points, strict=True)]
    wanted = "unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[])"
    names = "node, netns, interface, hook, audience"
    await connection.execute(
        f"INSERT INTO hook_points ({names}) SELECT * FROM {wanted} "  # noqa: S608 # constants
        "ON CONFLICT DO NOTHING",
        *columns,
    )
    numbered = await connection.fetch(
        f"SELECT {names}, number FROM {wanted} AS wanted ({names}) "  # noqa: S608 # constants
        f"JOIN hook_points USING ({names})",
        *columns,
    )
    numbers = {tuple(row)[:5]: row[5] for row in numbered}
    rows = [(numbers[_point(one)], one) for one in found]
    texts = [chain_text(one.reading) for one in found]
    chains = await number_chains(connection, texts)
    await connection.executemany(
        "INSERT INTO sightings SELECT $1::bigint, $2::boolean, $3::bigint, $4::bigint, "
        "least($5::bigint, (SELECT min(from_us) FROM sightings WHERE point = $1::bigint "
        "AND sequence > $3::bigint)), $6::bigint",
        [
            (point, one.is_observed, one.sequence, one.record, one.time_us, chains[text])
            for (point, one), text in zip(rows, texts, strict=True)
        ],
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
    await keep_spans(connection, [(point, one.sequence, one.record) for point, one in rows])


def _point(sighting: Sighting) -> tuple[str, str, str, str, str]:
    return (*_key(sighting.place), sighting.audience)


def _key(place: HookPlace) -> tuple[str, str, str, str]:
    return place.node, place.netns, place.interface, place.hook


def _place(row: Sequence[Any]) -> HookPlace:
    return HookPlace(node=row[0], netns=row[1], interface=row[2], hook=row[3])
