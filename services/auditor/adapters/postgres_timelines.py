# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""From when to when what ran, in PostgreSQL: the same tables and rules as in SQLite.

Every statement is for all hook points of a batch: each that is sent is waited for.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final

from asyncpg import Connection
from asyncpg import Record as Row

from services.auditor.adapters.postgres_prunings import demand_ran
from services.auditor.timelines import (
    EARLIEST_US,
    NOTHING,
    RanChain,
    Span,
    Word,
    identity_text,
    read_chain,
    respanned,
)
from services.auditor.told_places import (
    PlacedSpan,
    Range,
    RanSpans,
    mixed_spans,
    told_places,
    word_of,
)
from shared.canonical import sha256_hex
from shared.contracts.events import Audience

TO_TIMELINES: Final = """
TRUNCATE hook_points, sightings, sighted_digests;
ALTER TABLE sightings ADD COLUMN chain BIGINT NOT NULL;
CREATE TABLE ran_chains (
    number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sha256 TEXT COLLATE "C" NOT NULL UNIQUE,
    same TEXT COLLATE "C" NOT NULL,
    facts TEXT COLLATE "C" NOT NULL
);
CREATE TABLE chain_spans (
    point BIGINT NOT NULL,
    from_us BIGINT NOT NULL,
    until_us BIGINT NOT NULL,
    chain BIGINT NOT NULL,
    idx BIGINT NOT NULL,
    PRIMARY KEY (point, from_us)
);
UPDATE inventory SET size = 0;
"""
"""What ran is kept with each sighting; all is made again from the records."""
TABLES: Final = "chain_spans, ran_chains"
_CONCERNED: Final = """
SELECT p.number, w.number, min(s.from_us)
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS new (point, sequence, idx)
JOIN sightings s USING (point, sequence, idx)
JOIN hook_points t ON t.number = new.point
JOIN hook_points p ON p.node = t.node AND p.audience = t.audience AND p.hook <> ''
    AND (t.hook = '' OR p.number = t.number)
LEFT JOIN hook_points w ON w.node = p.node AND w.hook = '' AND w.audience = p.audience
GROUP BY p.number, w.number
"""
"""Each hook point that something new is said of, or of whose node, its node, and since when."""
_OF_POINTS: Final = """
SELECT DISTINCT p.number, w.number, $2::bigint FROM unnest($1::bigint[]) AS gone (point)
JOIN hook_points t ON t.number = gone.point
JOIN hook_points p ON p.node = t.node AND p.audience = t.audience AND p.hook <> ''
    AND (t.hook = '' OR p.number = t.number)
LEFT JOIN hook_points w ON w.node = p.node AND w.hook = '' AND w.audience = p.audience
"""
_BEFORE: Final = (
    "(SELECT * FROM sightings WHERE point = t.point AND is_observed = {0} AND from_us < t.from_us "
    "ORDER BY from_us DESC, sequence DESC, idx DESC LIMIT 1)"
)
_SINCE: Final = (
    "(SELECT * FROM sightings WHERE point = t.point AND is_observed = {0} AND from_us >= t.from_us)"
)
_WORDS: Final = f"""
SELECT t.place, w.is_observed, w.sequence, w.idx, w.from_us, w.chain, c.same, t.place <> t.point
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS t (place, point, from_us)
CROSS JOIN LATERAL (
    {_BEFORE.format(False)} UNION ALL {_BEFORE.format(True)}
    UNION ALL {_SINCE.format(False)} UNION ALL {_SINCE.format(True)}
) AS w LEFT JOIN ran_chains c ON c.number = w.chain
"""  # noqa: S608 # constants
"""From a moment on, and the newest of each kind before."""
_STANDING: Final = """
SELECT s.* FROM unnest($1::bigint[], $2::bigint[]) AS t (point, from_us) CROSS JOIN LATERAL (
    SELECT point, from_us, until_us, chain, idx FROM chain_spans
    WHERE point = t.point AND from_us < t.from_us ORDER BY from_us DESC LIMIT 1) AS s
"""
_SPANS: Final = """
SELECT s.* FROM unnest($1::bigint[]) WITH ORDINALITY AS p (number, place) CROSS JOIN LATERAL (
    SELECT point, from_us, until_us, chain, idx FROM chain_spans
    WHERE point = p.number AND from_us < $3 AND until_us > $2 AND from_us >= coalesce(
        (SELECT max(from_us) FROM chain_spans WHERE point = p.number AND from_us <= $2), $2)
) AS s ORDER BY p.place
"""
"""A hook point's spans do not overlap: only the last one that begins before can reach into it."""
_EVERY_WORD: Final = """
SELECT s.point, s.is_observed, s.sequence, s.idx, s.from_us, s.chain, c.same
FROM sightings s LEFT JOIN ran_chains c ON c.number = s.chain
WHERE s.point = ANY($1::bigint[]) AND s.from_us < $2
"""


async def number_chains(connection: Connection[Row], texts: Iterable[str]) -> dict[str, int]:
    """The chains are kept; the number of each, by its text."""
    digests = {sha256_hex(text.encode()): text for text in texts if text}
    named = list(digests)
    await connection.execute(
        "INSERT INTO ran_chains (sha256, same, facts) "
        "SELECT * FROM unnest($1::text[], $2::text[], $3::text[]) AS new (sha256, same, facts) "
        "WHERE NOT EXISTS (SELECT FROM ran_chains c WHERE c.sha256 = new.sha256)",
        named,
        [identity_text(digests[one]) for one in named],
        [digests[one] for one in named],
    )
    rows = await connection.fetch(
        "SELECT sha256, number FROM ran_chains WHERE sha256 = ANY($1)", named
    )
    return {"": NOTHING, **{digests[digest]: number for digest, number in rows}}


async def keep_spans(
    connection: Connection[Row], touched: Collection[tuple[int, int, int]]
) -> None:
    """The spans are those of the sightings, of which some are new; in the open transaction.

    Args:
        connection: To the store.
        touched: Number of the point, sequence and record of each that is new.
    """
    new = [list(column) for column in zip(*touched, strict=True)]
    await _span_anew(connection, [tuple(row) for row in await connection.fetch(_CONCERNED, *new)])


async def make_spans(connection: Connection[Row], points: Collection[int]) -> None:
    """The spans of some hook points are made anew, because words on them, or nodes, are gone.

    Chains that no word names any more are gone too; in the open transaction.
    """
    concerned = await connection.fetch(_OF_POINTS, list(points), EARLIEST_US)
    await _span_anew(connection, [tuple(row) for row in concerned])
    await connection.execute(
        "DELETE FROM ran_chains c WHERE NOT EXISTS "
        "(SELECT FROM (SELECT DISTINCT chain FROM sightings) AS s WHERE s.chain = c.number)"
    )


async def _span_anew(
    connection: Connection[Row], concerned: Collection[tuple[int, int | None, int]]
) -> None:
    """The spans of hook points are those of the sightings, each from a moment on.

    Args:
        connection: To the store.
        concerned: Number of the point, of its node if anything was said of that, and the moment.
    """
    since = {point: from_us for point, _, from_us in concerned}
    asked = [(point, point, from_us) for point, _, from_us in concerned]
    asked += [(point, node, from_us) for point, node, from_us in concerned if node is not None]
    words: dict[int, list[Word]] = {}
    for row in await connection.fetch(_WORDS, *_columns(asked, 3)):
        *told, is_node = row
        words.setdefault(row[0], []).append(word_of(tuple(told), audience="", is_node=is_node))
    ends = _columns(list(since.items()), 2)
    standing = {
        row[0]: Span(*row[1:]) for row in map(tuple, await connection.fetch(_STANDING, *ends))
    }
    spans = [
        (point, *span)
        for point, from_us in since.items()
        for span in respanned(words.get(point, ()), standing.get(point), from_us=from_us)
    ]
    await connection.execute(
        "DELETE FROM chain_spans s USING unnest($1::bigint[], $2::bigint[]) AS t (point, from_us) "
        "WHERE s.point = t.point AND s.from_us >= t.from_us",
        *ends,
    )
    await connection.execute(
        "INSERT INTO chain_spans SELECT * FROM unnest("
        "$1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[]) "
        "ON CONFLICT (point, from_us) DO UPDATE SET until_us = excluded.until_us",
        *_columns(spans, 5),
    )


async def read_spans(
    connection: Connection[Row],
    asked: Range,
    *,
    audiences: frozenset[Audience],
    wanted: Callable[[str], bool],
) -> RanSpans:
    """What ran within a range on the nodes that are wanted, as these audiences were told."""
    await demand_ran(connection, asked.since_us, audiences=audiences)
    size = await connection.fetchval("SELECT size FROM log")
    points = await connection.fetch(
        "SELECT number, node, netns, interface, hook, audience FROM hook_points "
        "WHERE audience = ANY($1)",
        sorted(audiences),
    )
    told = told_places(map(tuple, points), wanted=wanted)
    rows = await connection.fetch(_SPANS, told.kept, *asked)
    found: list[PlacedSpan] = [(one[0], one[1], one[2], one[3], one[4]) for one in rows]
    if told.mixed:
        numbers = sorted({one for every in told.mixed.values() for one in every})
        words = await connection.fetch(_EVERY_WORD, numbers, asked.until_us)
        found += mixed_spans(told, map(tuple, words), asked)
    return RanSpans(told.places, found, await _chains(connection, {one[3] for one in found}), size)


async def _chains(connection: Connection[Row], numbers: Collection[int]) -> Mapping[int, RanChain]:
    rows = await connection.fetch(
        "SELECT number, facts FROM ran_chains WHERE number = ANY($1)", sorted(numbers)
    )
    return {number: read_chain(facts) for number, facts in rows}


def _columns(rows: Collection[tuple[Any, ...]], count: int) -> list[list[Any]]:
    return [[row[column] for row in rows] for column in range(count)]
