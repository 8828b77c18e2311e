# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""In which order what was found is shown, and where a page begins.

Pure.  What was found is cut into groups of equal rank, in each of which names decide, and then the
newest version.  Of a large group only what is shown is looked for, in the order in which the index
keeps it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import ClassVar, Final

import msgspec

from services.catalog.search.documents import Document
from services.catalog.search.index import SearchIndex
from services.catalog.search.postings import as_bytes, bits_of, numbers_in
from shared.contracts.errors import ErrorCode
from shared.contracts.events import Audience
from shared.contracts.search import SearchPackages
from shared.errors import Reason, RefusedError
from shared.versions import parse_version, precedence

LISTED: Final = 1000
"""Up to so many versions are sorted; of more, those that are shown are looked for in order."""
_LAST: Final = 1e18
"""The rank of what has none."""


class AfterError(RefusedError):
    """The place where the page shall begin was not given out by this question."""

    code: ClassVar[ErrorCode] = "invalid_request"


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of versions beside their records, by number."""

    nodes: Mapping[int, Mapping[Audience, int]] = field(default_factory=dict)
    """Nodes that run it, by space of the deployments that they run it for."""
    stars: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    """How many ratings there are, and their sum."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """Some of the versions, all of one rank; the lower is shown first."""

    rank: float
    bits: int


@dataclass(frozen=True, slots=True)
class Place:
    """Behind which version a page begins."""

    rank: float
    name: str
    space: Audience
    version: str


def ranked(
    index: SearchIndex,
    asked: SearchPackages,
    found: int,
    *,
    tiers: Sequence[tuple[int, int]],
    nodes: Mapping[int, int],
    known: Known,
    after: Place | None,
    sorted_up_to: int,
) -> Iterator[Ranked]:
    """The versions that were found, in groups of equal rank."""
    if asked.sort == "relevance":
        for tier, better in enumerate(_tiers(index, asked.words, tiers)):
            yield Ranked(float(tier), found & better)
            found &= ~better
    elif asked.sort in ("nodes", "stars"):
        worth: dict[float, list[int]] = {}
        counts: Iterable[tuple[int, float]] = nodes.items()
        if asked.sort == "stars":
            counts = ((one, total / count) for one, (count, total) in known.stars.items() if count)
        for number, value in counts:
            if number < found.bit_length() and found >> number & 1:
                worth.setdefault(-value, []).append(number)
        for rank in sorted(worth):
            bits = bits_of(worth[rank])
            yield Ranked(rank, bits)
            found &= ~bits
    elif asked.sort == "newest":
        yield from _by_time(index, found, after, sorted_up_to)
        return
    yield Ranked(_LAST, found)


def _by_time(
    index: SearchIndex, found: int, after: Place | None, sorted_up_to: int
) -> Iterator[Ranked]:
    """By when they were published, the last first."""
    latest = -after.rank if after else None
    if found.bit_count() <= sorted_up_to:
        latest_first: Iterable[int] = sorted(numbers_in(found), key=index.time_of, reverse=True)
    else:
        data = as_bytes(found)
        latest_first = (one for one in index.backwards(latest) if is_in(data, one))
    for time, numbers in groupby(latest_first, key=index.time_of):
        yield Ranked(-time, bits_of(list(numbers)))


def _tiers(index: SearchIndex, words: str, tiers: Sequence[tuple[int, int]]) -> Iterator[int]:
    """The named package, then those with every word in their names or tags."""
    if words:
        yield index.named(words.strip().casefold())
    if tiers:
        better = -1
        for one, _ in tiers:
            better &= one
        yield better


def ordered(
    index: SearchIndex, groups: Iterable[Ranked], after: Place | None, sorted_up_to: int
) -> Iterator[tuple[float, int]]:
    """Rank and number of every version behind the place, in order."""
    for group in groups:
        if after is not None and group.rank < after.rank:
            continue
        begin = after if after is not None and group.rank == after.rank else None
        for number in _by_name(index, group.bits, begin, sorted_up_to):
            yield group.rank, number


def _by_name(
    index: SearchIndex, bits: int, after: Place | None, sorted_up_to: int
) -> Iterator[int]:
    """By name, then by space, then the newest version first."""
    if bits.bit_count() > sorted_up_to:
        data = as_bytes(bits)
        first = bisect_left(index.packages, (after.name, after.space)) if after else 0
        listed = (one for place in range(first, len(index.packages)) for one in index.at(place))
        numbers: Iterable[int] = (one for one in listed if is_in(data, one))
    else:
        documents = index.documents
        numbers = sorted(numbers_in(bits), key=lambda one: documents[one].order, reverse=True)
        numbers = sorted(numbers, key=lambda one: (documents[one].name, documents[one].space))
    for number in numbers:
        if after is None or _is_behind(index.documents[number], after):
            yield number


def _is_behind(document: Document, after: Place) -> bool:
    package, begin = (document.name, document.space), (after.name, after.space)
    if package != begin:
        return package > begin
    return document.order < (precedence(after.version), after.version)


def is_in(data: bytes, number: int) -> bool:
    """Whether the number is in a set, byte by byte."""
    return number >> 3 < len(data) and bool(data[number >> 3] >> (number & 7) & 1)


def written(index: SearchIndex, rank: float, number: int) -> str:
    """The place behind a version that was shown, for whoever asks for the next page."""
    one = index.documents[number]
    return msgspec.json.encode([rank, one.name, one.space, one.version]).decode()


def place_of(after: str) -> Place | None:
    """The place that was given out; None: a first page is asked for.

    Raises:
        AfterError: It was not given out.
    """
    if not after:
        return None
    try:
        place = Place(*msgspec.json.decode(after, type=tuple[float, str, str, str]))
    except msgspec.DecodeError as error:
        reason = Reason(path="after", rule="was not given out as `next`", got=after)
        raise AfterError("the page cannot begin there", [reason]) from error
    parse_version(place.version, path="after")
    return place
