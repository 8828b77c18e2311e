# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which chains ran at any moment of a range of time, and where.

Pure.  It follows from spans (`timelines`), so each moment counts as `inventory` answers for it.

Rules:
 * Readings that tell the same of programs and licences are one chain, on however many hook points
   and however often.
 * What lies outside of the range does not count.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from services.auditor.query import page_behind
from services.auditor.records import render_time_us
from services.auditor.timelines import RanChain
from services.auditor.told_places import Range, RanSpans
from shared.canonical import canonical_bytes, sha256_hex
from shared.contracts.inventory import (
    MAX_PLACES_NAMED,
    ChainInRange,
    GetRange,
    HookPlace,
    RangeShown,
)


@dataclass(slots=True)
class _Seen:
    """What is known of one chain."""

    first: tuple[int, int]
    """When it ran first, and the record that says so."""
    last_us: int
    points: set[int] = field(default_factory=set)


def chains_in_range(ran: RanSpans, asked: Range) -> list[ChainInRange]:
    """Every chain, by key.

    Args:
        ran: Everything that ran within the range.
        asked: The range.
    """
    seen: dict[int, _Seen] = {}
    for point, from_us, until_us, chain, record in ran.spans:
        begin, end = max(from_us, asked.since_us), min(until_us, asked.until_us)
        if begin >= end:
            continue
        found = seen.setdefault(chain, _Seen((begin, record), end))
        found.first = min(found.first, (begin, record))
        found.last_us = max(found.last_us, end)
        found.points.add(point)
    chains = (_chain(ran.chains[number], one, ran, asked) for number, one in seen.items())
    return sorted(chains, key=lambda one: one.key)


def range_page(ran: RanSpans, asked: Range, *, after: str) -> RangeShown:
    """One page, of chains behind a key."""
    kept, following = page_behind(chains_in_range(ran, asked), after)
    return RangeShown(
        since=render_time_us(asked.since_us),
        until=render_time_us(asked.until_us),
        chains=kept,
        tree_size=ran.tree_size,
        next=following,
    )


def range_reading(request: GetRange) -> dict[str, Any]:
    """What is recorded about a reading."""
    asked = {"since": request.since, "until": request.until, "node": request.node}
    return {"inventory_of": {name: value for name, value in asked.items() if value}}


def _chain(chain: RanChain, seen: _Seen, ran: RanSpans, asked: Range) -> ChainInRange:
    places = sorted((ran.places[point] for point in seen.points), key=_order)
    return ChainInRange(
        key=sha256_hex(canonical_bytes(chain)),
        program_tag=chain.tag,
        running=chain.running,
        since=render_time_us(seen.first[0]),
        until=render_time_us(seen.last_us) if seen.last_us < asked.until_us else "",
        record=seen.first[1],
        hook_points=len(places),
        places=tuple(places[:MAX_PLACES_NAMED]),
    )


def _order(place: HookPlace) -> tuple[str, str, str, str]:
    return place.node, place.netns, place.interface, place.hook
