# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Of which hook points the spans that are kept are the answer, and which are worked out anew.

Pure.  Spans are kept for each hook point and audience as if nothing else had been said.  Where
several of the audiences that somebody sees were told of one hook point, or of its node, those are
put together from the words themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from services.auditor.timelines import RanChain, Word, WordKind, clipped, timeline
from shared.contracts.events import Audience
from shared.contracts.inventory import HookPlace

PointRow = tuple[int, str, str, str, str, Audience]
"""Number, node, netns, interface, hook (empty: the whole node) and audience."""
WordRow = tuple[int, bool, int, int, int, int, str | None]
"""Number of the point, whether it was found so, sequence, record, from_us, chain, and what of it
other readings of the same chain have as well."""


class Range(NamedTuple):
    """From when to before when, microseconds since 1970."""

    since_us: int
    until_us: int


PlacedSpan = tuple[int, int, int, int, int]
"""Number of a hook point, and a Span's fields: there may be hundreds of thousands."""


class RanSpans(NamedTuple):
    """What ran on some hook points within a range, as a store has it."""

    places: Mapping[int, HookPlace]
    """By a number for each hook point."""
    spans: Sequence[PlacedSpan]
    """Those that reach into the range, in any order."""
    chains: Mapping[int, RanChain]
    """By the numbers that the spans have."""
    tree_size: int


class ToldPlaces(NamedTuple):
    """Hook points, and where the answer about each is."""

    places: Mapping[int, HookPlace]
    """By the number that stands for the hook point."""
    kept: Sequence[int]
    """Those whose spans are kept; by node."""
    mixed: Mapping[int, Sequence[int]]
    """The others, each with every number that words on it or on its node have."""
    audiences: Mapping[int, Audience]
    """Of every number."""
    nodes: frozenset[int]
    """Numbers of whole nodes."""


def told_places(points: Iterable[PointRow], *, wanted: Callable[[str], bool]) -> ToldPlaces:
    """Every hook point of the nodes that are wanted, as far as these rows tell of it.

    Args:
        points: Of the audiences that are seen.
        wanted: Whether a node of this name is meant.
    """
    nodes: dict[str, list[int]] = {}
    found: dict[tuple[str, str, str, str], list[int]] = {}
    audiences: dict[int, Audience] = {}
    meant: dict[str, bool] = {}
    for number, node, netns, interface, hook, audience in points:
        if node not in meant:
            meant[node] = wanted(node)
        if not meant[node]:
            continue
        audiences[number] = audience
        if hook:
            found.setdefault((node, netns, interface, hook), []).append(number)
        else:
            nodes.setdefault(node, []).append(number)
    places, kept, mixed = {}, [], {}
    for key in sorted(found):
        numbers = found[key]
        place = HookPlace(node=key[0], netns=key[1], interface=key[2], hook=key[3])
        places[numbers[0]] = place
        every = [*numbers, *nodes.get(place.node, ())]
        if len({audiences[one] for one in every}) == 1:
            kept.append(numbers[0])
        else:
            mixed[numbers[0]] = every
    whole = frozenset(number for numbers in nodes.values() for number in numbers)
    return ToldPlaces(places, kept, mixed, audiences, whole)


def word_of(row: WordRow, *, audience: Audience, is_node: bool) -> Word:
    """The word in a row of an index."""
    _, is_observed, sequence, record, from_us, chain, same = row
    kind: WordKind = "found" if is_observed else "change"
    kind = "lost" if is_node else kind
    return Word(kind, audience, sequence, record, from_us, chain, same or "")


def mixed_spans(told: ToldPlaces, rows: Iterable[WordRow], asked: Range) -> list[PlacedSpan]:
    """What ran on the hook points of which several audiences were told, within a range.

    Args:
        told: The hook points.
        rows: Every word on them and their nodes that holds before the range's end.
        asked: The range.
    """
    words: dict[int, list[Word]] = {}
    for row in rows:
        number = row[0]
        word = word_of(row, audience=told.audiences[number], is_node=number in told.nodes)
        words.setdefault(number, []).append(word)
    return [
        (place, *span)
        for place, numbers in told.mixed.items()
        for span in clipped(
            timeline(word for number in numbers for word in words.get(number, ())),
            since_us=asked.since_us,
            until_us=asked.until_us,
        )
    ]
