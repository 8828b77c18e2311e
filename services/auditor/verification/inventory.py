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
from services.auditor.verification.problems import Problem, shown

ROW_NUMBERS: Final = 6


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


class SightingColumns(NamedTuple):
    """What some neighbouring records say of hook points, as it travels between processes."""

    points: list[Point]
    digests: list[frozenset[str]]
    rows: array[int]
    """Of each sighting the numbers of its point and of its digests, sequence, record, time, and
    whether it was found so: ROW_NUMBERS after one another."""


def in_columns(found: Iterable[Sighting]) -> SightingColumns:
    """The same sightings, in their order."""
    points: dict[tuple[object, str], int] = {}
    named: list[Point] = []
    sets: dict[frozenset[str], int] = {}
    rows = array("q")
    for one in found:
        place = one.place
        point = points.setdefault((place, one.audience), len(named))
        if point == len(named):
            named.append(Point(place.node, place.netns, place.interface, place.hook, one.audience))
        digests = sets.setdefault(one.digests, len(sets))
        rows.extend((point, digests, one.sequence, one.record, one.time_us, one.is_observed))
    return SightingColumns(named, list(sets), rows)


class InventoryReplay:
    """What the records come to, when they are taken one after another."""

    def __init__(self) -> None:
        self._points: Final[dict[Point, _Told]] = {}
        self._sets: Final[dict[frozenset[str], int]] = {}
        self._digests: Final[list[frozenset[str]]] = []

    def take(self, found: SightingColumns) -> None:
        """What the records that come next say."""
        numbers = [self._number(digests) for digests in found.digests]
        told = [self._points.setdefault(point, _Told()) for point in found.points]
        columns = (found.rows[at::ROW_NUMBERS] for at in range(ROW_NUMBERS))
        for point, digests, sequence, record, time_us, kind in zip(*columns, strict=True):
            told[point].add(sequence, record, time_us, kind, numbers[digests])

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

    def add(self, sequence: int, record: int, time_us: int, kind: int, digests: int) -> None:
        """The next one."""
        self.sequences.append(sequence)
        self.records.append(record)
        self._times.append(time_us)
        self._kinds.append(kind)
        self.digests.append(digests)
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

    def rows_in_order(self) -> list[tuple[int, int, int, int]]:
        """As they must be kept, by sequence; only if they are in order."""
        columns = (self._kinds, self.sequences, self.records, self._times)
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
                found[record] = KeptSighting(kind, sequence, record, from_us)
        return found
