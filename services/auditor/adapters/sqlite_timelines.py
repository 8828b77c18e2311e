# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""From when to when what ran, in SQLite: written with the sightings, from which it follows."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final

from services.auditor.adapters.log_rows import json_text
from services.auditor.adapters.sqlite_prunings import demand_ran
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
ALTER TABLE sightings ADD COLUMN chain INTEGER NOT NULL DEFAULT 0;
CREATE TABLE ran_chains (
    number INTEGER PRIMARY KEY,
    sha256 TEXT NOT NULL UNIQUE,
    same TEXT NOT NULL,
    facts TEXT NOT NULL
) STRICT;
CREATE TABLE chain_spans (
    point INTEGER NOT NULL,
    from_us INTEGER NOT NULL,
    until_us INTEGER NOT NULL,
    chain INTEGER NOT NULL,
    idx INTEGER NOT NULL,
    PRIMARY KEY (point, from_us)
) STRICT, WITHOUT ROWID;
UPDATE inventory SET size = 0;
"""
"""What ran is kept with each sighting; all is made again from the records."""
TABLES: Final = ("chain_spans", "ran_chains")
_BEFORE: Final = (
    "SELECT * FROM (SELECT point, is_observed, sequence, idx, from_us, chain FROM sightings "
    "WHERE point = ?1 AND is_observed = {} AND from_us < ?2 "
    "ORDER BY from_us DESC, sequence DESC, idx DESC LIMIT 1)"
)
_WORDS: Final = f"""
SELECT w.*, c.same FROM (
    {_BEFORE.format(0)} UNION ALL {_BEFORE.format(1)} UNION ALL
    SELECT point, is_observed, sequence, idx, from_us, chain FROM sightings
    WHERE point = ?1 AND is_observed IN (0, 1) AND from_us >= ?2
) AS w LEFT JOIN ran_chains c ON c.number = w.chain
"""  # noqa: S608 # constants
"""From a moment on, and the newest of each kind before."""
_SPANS: Final = """
SELECT s.point, s.from_us, s.until_us, s.chain, s.idx
FROM json_each(:points) p CROSS JOIN chain_spans s ON s.point = p.value
WHERE s.from_us < :until_us AND s.until_us > :since_us AND s.from_us >= coalesce(
    (SELECT max(from_us) FROM chain_spans WHERE point = p.value AND from_us <= :since_us),
    :since_us)
"""
"""A hook point's spans do not overlap: only the last one that begins before can reach into it."""
_EVERY_WORD: Final = """
SELECT s.point, s.is_observed, s.sequence, s.idx, s.from_us, s.chain, c.same
FROM json_each(:points) p CROSS JOIN sightings s ON s.point = p.value
LEFT JOIN ran_chains c ON c.number = s.chain WHERE s.from_us < :until_us
"""


def number_chains(connection: sqlite3.Connection, texts: Iterable[str]) -> dict[str, int]:
    """The chains are kept; the number of each, by its text."""
    numbers = {"": NOTHING}
    for text in dict.fromkeys(texts):
        if text:
            digest = sha256_hex(text.encode())
            connection.execute(
                "INSERT OR IGNORE INTO ran_chains (sha256, same, facts) VALUES (?, ?, ?)",
                (digest, identity_text(text), text),
            )
            (numbers[text],) = connection.execute(
                "SELECT number FROM ran_chains WHERE sha256 = ?", (digest,)
            ).fetchone()
    return numbers


def keep_spans(connection: sqlite3.Connection, touched: Collection[tuple[int, int, int]]) -> None:
    """The spans are those of the sightings, of which some are new; in the open transaction.

    Args:
        connection: To the store.
        touched: Number of the point, sequence and record of each that is new.
    """
    since: dict[int, int] = {}
    for point, sequence, record in touched:
        (from_us,) = connection.execute(
            "SELECT from_us FROM sightings WHERE point = ? AND sequence = ? AND idx = ?",
            (point, sequence, record),
        ).fetchone()
        for concerned in _concerned(connection, point):
            since[concerned] = min(from_us, since.get(concerned, from_us))
    for point, from_us in sorted(since.items()):
        _keep(connection, point, from_us)


def make_spans(connection: sqlite3.Connection, points: Iterable[int]) -> None:
    """The spans of some hook points are made anew, because words on them, or nodes, are gone.

    Chains that no word names any more are gone too; in the open transaction.
    """
    concerned = {one for point in points for one in _concerned(connection, point)}
    for point in sorted(concerned):
        _keep(connection, point, EARLIEST_US)
    connection.execute("DELETE FROM ran_chains WHERE number NOT IN (SELECT chain FROM sightings)")


def read_spans(
    connection: sqlite3.Connection,
    asked: Range,
    *,
    audiences: frozenset[Audience],
    wanted: Callable[[str], bool],
) -> RanSpans:
    """What ran within a range on the nodes that are wanted, as these audiences were told."""
    demand_ran(connection, asked.since_us, audiences=audiences)
    (size,) = connection.execute("SELECT size FROM log").fetchone()
    points = connection.execute(
        "SELECT number, node, netns, interface, hook, audience FROM hook_points "
        "WHERE audience IN (SELECT value FROM json_each(?))",
        (json_text(sorted(audiences)),),
    ).fetchall()
    told = told_places(points, wanted=wanted)
    marks = {**asked._asdict(), "points": json_text(told.kept)}
    found: list[PlacedSpan] = connection.execute(_SPANS, marks).fetchall()
    if told.mixed:
        numbers = sorted({one for every in told.mixed.values() for one in every})
        words = connection.execute(_EVERY_WORD, {**marks, "points": json_text(numbers)})
        found += mixed_spans(told, words, asked)
    return RanSpans(told.places, found, _chains(connection, {one[3] for one in found}), size)


def _chains(connection: sqlite3.Connection, numbers: Collection[int]) -> Mapping[int, RanChain]:
    rows = connection.execute(
        "SELECT number, facts FROM json_each(?) JOIN ran_chains ON number = value",
        (json_text(sorted(numbers)),),
    )
    return {number: read_chain(facts) for number, facts in rows}


def _concerned(connection: sqlite3.Connection, point: int) -> list[int]:
    """The point; of a whole node, each of its hook points that the same audience was told of."""
    node, hook, audience = connection.execute(
        "SELECT node, hook, audience FROM hook_points WHERE number = ?", (point,)
    ).fetchone()
    if hook:
        return [point]
    rows = connection.execute(
        "SELECT number FROM hook_points WHERE node = ? AND audience = ? AND hook <> ''",
        (node, audience),
    )
    return [number for (number,) in rows]


def _keep(connection: sqlite3.Connection, point: int, from_us: int) -> None:
    words = _words(connection, point, from_us, is_node=False)
    whole = connection.execute(
        "SELECT w.number FROM hook_points p JOIN hook_points w ON w.node = p.node "
        "AND w.netns = '' AND w.interface = '' AND w.hook = '' AND w.audience = p.audience "
        "WHERE p.number = ?",
        (point,),
    ).fetchone()
    if whole is not None:
        words += _words(connection, whole[0], from_us, is_node=True)
    row = connection.execute(
        "SELECT from_us, until_us, chain, idx FROM chain_spans WHERE point = ? AND from_us < ? "
        "ORDER BY from_us DESC LIMIT 1",
        (point, from_us),
    ).fetchone()
    standing = Span(*row) if row is not None else None
    connection.execute("DELETE FROM chain_spans WHERE point = ? AND from_us >= ?", (point, from_us))
    connection.executemany(
        "INSERT OR REPLACE INTO chain_spans VALUES (?, ?, ?, ?, ?)",
        [(point, *span) for span in respanned(words, standing, from_us=from_us)],
    )


def _words(
    connection: sqlite3.Connection, point: int, from_us: int, *, is_node: bool
) -> list[Word]:
    rows = connection.execute(_WORDS, (point, from_us))
    return [word_of(row, audience="", is_node=is_node) for row in rows]
