# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The indexes beside the records, held against what the records come to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from services.auditor.adapters.postgres_rows import plain_text
from services.auditor.timelines import Span
from services.auditor.verification.adapters.sources import LogSource
from services.auditor.verification.inventory import (
    UNKNOWN_CHAIN,
    InventoryReplay,
    KeptChain,
    KeptSighting,
    Point,
)
from services.auditor.verification.problems import Part, Problem, shown

MAX_NAMED: Final = 100
FEW_DIGESTS: Final = 100_000
EVENT_IDS: Final = "event_ids"
_FIRST_DIGITS: Final = tuple(f"{number:02x}" for number in range(256))


def check_indexes(source: LogSource, replay: InventoryReplay, *, size: int) -> Iterator[Problem]:
    """Everything in them that the records do not say, and what they say and is not there.

    The moment of the source must be that of the log's `size`.
    """
    yield from _check_inventory(source, size)
    points = {
        number: Point(*names)
        for number, *names in source.query(
            "SELECT number, node, netns, interface, hook, audience FROM hook_points ORDER BY number"
        )
    }
    yield from replay.check_points(points)
    kept = {
        number: KeptChain(*columns)
        for number, *columns in source.query(
            "SELECT number, sha256, same, facts FROM ran_chains ORDER BY number"
        )
    }
    yield from replay.check_chains(kept)
    numbers = replay.chain_numbers(kept)
    for number, point in points.items():
        # Sorted here and not by the index in that order, which holds only a part of each row.
        rows = source.query(
            "SELECT is_observed, sequence, idx, from_us, chain FROM sightings WHERE point = {:d} "
            "ORDER BY +sequence, +idx",
            number,
        )
        yield from replay.check_sightings(
            point,
            (KeptSighting._make((*row[:4], numbers.get(row[4], UNKNOWN_CHAIN))) for row in rows),
        )
        rows = source.query(
            "SELECT from_us, until_us, chain, idx FROM chain_spans WHERE point = {:d} "
            "ORDER BY from_us",
            number,
        )
        yield from replay.check_spans(
            point,
            (
                Span(from_us, until_us, numbers.get(chain, UNKNOWN_CHAIN), record)
                for from_us, until_us, chain, record in rows
            ),
        )
    yield from _pointless(source)
    yield from replay.check_digests(points, _digests(source))
    if EVENT_IDS in source.tables:
        yield from _check_ids(source)


def _pointless(source: LogSource) -> Iterator[Problem]:
    """Rows of hook points that there are not."""
    tables: tuple[tuple[str, Part], ...] = (
        ("sightings", "sighting"),
        ("chain_spans", "chain span"),
    )
    for table, part in tables:
        for number, record in source.query(
            f"SELECT point, idx FROM {table} WHERE point NOT IN "  # noqa: S608 # constants
            "(SELECT number FROM hook_points) LIMIT {:d}",
            MAX_NAMED,
        ):
            at = f"of hook point {number} by record {record}"
            yield Problem(part, at, "point", "there is no such hook point")


def _check_inventory(source: LogSource, size: int) -> Iterator[Problem]:
    rows = source.query("SELECT one, size FROM inventory")
    if len(rows) != 1 or rows[0][0] != 1:
        yield Problem("inventory", "", "one", f"it has {len(rows)} rows, or not its own")
    for _, covered in rows:
        if covered != size:
            why = f"it is {covered} where the log has {size} records"
            yield Problem("inventory", "", "size", why)


def _digests(source: LogSource) -> Iterator[tuple[str, int, int, int]]:
    """Every digest that is kept; if there are many, a part at a time."""
    ((number,),) = source.query("SELECT count(*) FROM sighted_digests")
    if number <= FEW_DIGESTS:
        yield from source.query("SELECT digest, point, sequence, idx FROM sighted_digests")
        return
    for low, high in zip(("", *_FIRST_DIGITS), (*_FIRST_DIGITS, None), strict=True):
        below = f"AND digest < '{high}'" if high is not None else ""
        yield from source.query(
            "SELECT digest, point, sequence, idx FROM sighted_digests "  # noqa: S608 # constants
            f"WHERE digest >= '{low}' {below}"
        )


def _check_ids(source: LogSource) -> Iterator[Problem]:
    """PostgreSQL keeps ids in a table of their own; the records' columns were derived anew."""
    for emitter, event_id, index in source.query(
        "SELECT kept.emitter, kept.event_id, kept.idx FROM event_ids AS kept "
        "LEFT JOIN records USING (idx) WHERE (records.emitter, records.event_id) "
        "IS DISTINCT FROM (kept.emitter, kept.event_id) LIMIT {:d}",
        MAX_NAMED,
    ):
        at = f"{shown(emitter)} {shown(plain_text(event_id))}"
        yield Problem("event id", at, "", f"record {index} has another one")
    for (index,) in source.query(
        "SELECT idx FROM records WHERE event_id <> '' AND NOT EXISTS (SELECT FROM event_ids "
        "WHERE event_ids.emitter = records.emitter AND event_ids.event_id = records.event_id "
        "AND event_ids.idx = records.idx) LIMIT {:d}",
        MAX_NAMED,
    ):
        yield Problem("event id", f"of record {index}", "", "it is not kept")
