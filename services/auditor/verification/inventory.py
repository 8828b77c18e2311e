# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Does the index of what ran where hold what the records say, and nothing else?

Pure.  What the records say of a hook point is gathered in the order of the log, and each row that
is kept must be one of it.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from operator import le, lt
from typing import Final, NamedTuple

from services.auditor.sightings import Sighting
from services.auditor.timelines import NOTHING, Span, Word, chain_text, identity_text, timeline
from services.auditor.verification.problems import Problem, shown
from shared.canonical import sha256_hex

ROW_NUMBERS: Final = 7
UNKNOWN_CHAIN: Final = -1
"""Stands for a number under which no chain is kept that the records speak of."""


class Point(NamedTuple):
    """A hook point, and the audience that was told of it."""

    node: str
    netns: str
    interface: str
    hook: str
    audience: str

    def __str__(self) -> str:
        return ascii("/".join(self))[1:-1]


class KeptSighting(NamedTuple):
    """One row of `sightings`, without its point."""

    is_observed: bool
    sequence: int
    record: int
    from_us: int
    chain: int
    """As `InventoryReplay` numbers it."""


class KeptChain(NamedTuple):
    """One row of `ran_chains`, without its number."""

    sha256: str
    same: str
    """What other readings of the same chain have as well."""
    facts: str


class SightingColumns(NamedTuple):
    """What some neighbouring records say of hook points, as it travels between processes."""

    points: list[Point]
    digests: list[frozenset[str]]
    chains: list[str]
    rows: array[int]
    """Of each sighting the numbers of its point, of its digests and of its chain, sequence, record,
    time, and whether it was found so: ROW_NUMBERS after one another."""


def in_columns(found: Iterable[Sighting]) -> SightingColumns:
    """The same sightings, in their order."""
    points: dict[tuple[object, str], int] = {}
    named: list[Point] = []
    sets: dict[frozenset[str], int] = {}
    chains: dict[str, int] = {}
    rows = array("q")
    for one in found:
        place = one.place
        point = points.setdefault((place, one.audience), len(named))
        if point == len(named):
            named.append(Point(place.node, place.netns, place.interface, place.hook, one.audience))
        digests = sets.setdefault(one.digests, len(sets))
        chain = chains.setdefault(chain_text(one.reading), len(chains))
        word = (one.sequence, one.record, one.time_us, one.is_observed)
        rows.extend((point, digests, chain, *word))
    return SightingColumns(named, list(sets), list(chains), rows)


class InventoryReplay:
    """What the records come to, when they are taken one after another."""

    def __init__(self) -> None:
        self._points: Final[dict[Point, _Told]] = {}
        self._sets: Final[dict[frozenset[str], int]] = {}
        self._digests: Final[list[frozenset[str]]] = []
        self._chains: Final[dict[str, int]] = {"": NOTHING}
        self._same: Final[list[str]] = [""]

    def take(self, found: SightingColumns) -> None:
        """What the records that come next say."""
        numbers = [self._number(digests) for digests in found.digests]
        chains = [self._chain(text) for text in found.chains]
        told = [self._points.setdefault(point, _Told()) for point in found.points]
        columns = (found.rows[at::ROW_NUMBERS] for at in range(ROW_NUMBERS))
        for point, digests, chain, sequence, record, time_us, kind in zip(*columns, strict=True):
            told[point].add(sequence, record, time_us, kind, (numbers[digests], chains[chain]))

    def _chain(self, text: str) -> int:
        number = self._chains.setdefault(text, len(self._chains))
        if number == len(self._same):
            self._same.append(identity_text(text))
        return number

    def chain_numbers(self, kept: Mapping[int, KeptChain]) -> dict[int, int]:
        """The number that a chain has here, by the one under which it is kept."""
        digests: dict[str, int] = {
            sha256_hex(text.encode()): number for text, number in self._chains.items()
        }
        numbers = {
            number: self._chains.get(one.facts, digests.get(one.sha256, UNKNOWN_CHAIN))
            for number, one in kept.items()
        }
        return {**numbers, NOTHING: NOTHING}

    def check_chains(self, kept: Mapping[int, KeptChain]) -> Iterator[Problem]:
        """Chains that are kept and not told of, or otherwise, and the other way round.

        Args:
            kept: By number.
        """
        missing: dict[str, str] = {sha256_hex(text.encode()): text for text in self._chains if text}
        for number, one in kept.items():
            digest: str = sha256_hex(one.facts.encode("utf-8", "surrogateescape"))
            text = missing.pop(digest if digest in missing else one.sha256, "")
            if not text or number == NOTHING:
                why = "no record speaks of it, or it is kept twice"
                yield Problem("chain", str(number), "", why)
                continue
            expected = KeptChain(sha256_hex(text.encode()), self._same[self._chains[text]], text)
            for field, got, right in zip(KeptChain._fields, one, expected, strict=True):
                if got != right:
                    why = f"it is {shown(got)} where the records say {shown(right)}"
                    yield Problem("chain", str(number), field, why)
        for digest in sorted(missing):
            yield Problem("chain", digest, "", "it is not kept")

    def check_spans(self, point: Point, kept: Iterable[Span]) -> Iterator[Problem]:
        """Spans of one hook point that are not those of its sightings.

        Args:
            point: Any; of a whole node there are none.
            kept: By their begin, chains as they are numbered here.
        """
        wanted = {one.from_us: one for one in self._spans(point)}
        for row in kept:
            expected = wanted.pop(row.from_us, None)
            at = f"of {point} from {row.from_us}"
            if expected is None:
                yield Problem("chain span", at, "", "the records say no such thing")
                continue
            for field, got, right in zip(Span._fields, row, expected, strict=True):
                if got != right:
                    why = f"it is {shown(got)} where the records say {shown(right)}"
                    yield Problem("chain span", at, field, why)
        for from_us in wanted:
            yield Problem("chain span", f"of {point} from {from_us}", "", "it is not kept")

    def _spans(self, point: Point) -> list[Span]:
        if not point.hook:
            return []
        node = Point(point.node, "", "", "", point.audience)
        return timeline(
            Word(
                "lost" if each is node else "found" if row.is_observed else "change",
                point.audience,
                row.sequence,
                row.record,
                row.from_us,
                row.chain,
                self._same[row.chain],
            )
            for each in (point, node)
            if (told := self._points.get(each)) is not None
            for row in told.rows().values()
        )

    def _number(self, digests: frozenset[str]) -> int:
        number = self._sets.setdefault(digests, len(self._digests))
        if number == len(self._digests):
            self._digests.append(digests)
        return number

    def check_points(self, kept: Mapping[int, Point]) -> Iterator[Problem]:
        """Hook points that are kept and not told of, and the other way round.

        Args:
            kept: By number.
        """
        for number, point in kept.items():
            if point not in self._points:
                yield Problem("hook point", str(number), "", f"no record speaks of {point}")
        for point in sorted(self._points.keys() - set(kept.values())):
            first = self._points[point].records[0]
            yield Problem("hook point", str(point), "", f"record {first} speaks of it: not kept")

    def check_sightings(self, point: Point, kept: Iterable[KeptSighting]) -> Iterator[Problem]:
        """Sightings of one hook point that are not as the records have them."""
        told = self._points.get(point)
        if told is not None and told.is_in_order():
            kept = list(kept)
            if kept == told.rows_in_order():
                return  # nearly always
        wanted = {} if told is None else told.rows()
        for row in kept:
            expected = wanted.pop(row.record, None)
            at = f"of {point} by record {row.record}"
            if expected is None:
                yield Problem("sighting", at, "", "the record says no such thing")
                continue
            for field, got, right in zip(KeptSighting._fields, row, expected, strict=True):
                if got != right:
                    why = f"it is {shown(got)} where the records say {shown(right)}"
                    yield Problem("sighting", at, field, why)
        for record in wanted:
            yield Problem("sighting", f"of {point} by record {record}", "", "it is not kept")

    def check_digests(
        self, points: Mapping[int, Point], kept: Iterable[tuple[str, int, int, int]]
    ) -> Iterator[Problem]:
        """Digests that are kept and not told of, and the other way round.

        Args:
            points: By number.
            kept: Digest, number of the hook point, sequence and record of each.
        """
        for digest, number, sequence, record in kept:
            point = points.get(number)
            told = self._points.get(point) if point is not None else None
            place = told.place_of(record) if told is not None else None
            if told is None or place is None or told.sequences[place] != sequence:
                at = f"{shown(digest)} at hook point {number} by record {record}"
                yield Problem("digest", at, "", "the record says no such thing")
            elif digest not in self._digests[told.digests[place]]:
                at = f"{shown(digest)} at {point} by record {record}"
                yield Problem("digest", at, "", "the record does not name it")
            else:
                told.seen[place] += 1
        for point, told in self._points.items():
            for place, seen in enumerate(told.seen):
                missing = len(self._digests[told.digests[place]]) - seen
                if missing:
                    at = f"at {point} by record {told.records[place]}"
                    yield Problem("digest", at, "", f"{missing} of them are not kept")


class _Told:
    """What was said of one hook point to one audience, in columns: there may be millions."""

    def __init__(self) -> None:
        self.sequences: Final = array("q")
        self.records: Final = array("q")
        """Growing, as the log does."""
        self.digests: Final = array("q")
        self.seen: Final = array("h")
        self._times: Final = array("q")
        self._kinds: Final = bytearray()
        self._chains: Final = array("q")

    def add(
        self, sequence: int, record: int, time_us: int, kind: int, named: tuple[int, int]
    ) -> None:
        """The next one, with the numbers of its digests and of its chain."""
        self.sequences.append(sequence)
        self.records.append(record)
        self._times.append(time_us)
        self._kinds.append(kind)
        self.digests.append(named[0])
        self._chains.append(named[1])
        self.seen.append(0)

    def place_of(self, record: int) -> int | None:
        """Where the word of a record stands."""
        place = bisect_left(self.records, record)
        is_there = place < len(self.records) and self.records[place] == record
        return place if is_there else None

    def is_in_order(self) -> bool:
        """Whether each came with a higher sequence than the one before, and no earlier time."""
        sequences, times = self.sequences, self._times
        return all(map(lt, sequences, sequences[1:])) and all(map(le, times, times[1:]))

    def rows_in_order(self) -> list[tuple[int, int, int, int, int]]:
        """As they must be kept, by sequence; only if they are in order."""
        columns = (self._kinds, self.sequences, self.records, self._times, self._chains)
        return list(zip(*columns, strict=True))

    def rows(self) -> dict[int, KeptSighting]:
        """As they must be kept, by record: each holds from the earliest later time on."""
        order = sorted(range(len(self.records)), key=self.sequences.__getitem__, reverse=True)
        found: dict[int, KeptSighting] = {}
        earliest: int | None = None
        for sequence, group in groupby(order, key=self.sequences.__getitem__):
            later = earliest
            for place in group:
                time_us = self._times[place]
                from_us = time_us if later is None else min(time_us, later)
                earliest = from_us if earliest is None else min(earliest, from_us)
                record = self.records[place]
                kind = bool(self._kinds[place])
                chain = self._chains[place]
                found[record] = KeptSighting(kind, sequence, record, from_us, chain)
        return found
