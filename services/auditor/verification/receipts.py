# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Were records received when and from where the rows say?  Rows, receipts and what was signed.

Pure.  Where rows and receipts differ, the digest that was signed next decides which were changed.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from services.auditor.receipts import (
    NO_RECEIPTS,
    Receipt,
    ReceiptHead,
    extend_head,
    place_reached,
)
from services.auditor.verification.problems import Problem, shown


class Arrival(NamedTuple):
    """Neighbours with one time, each one place behind the one before, as the rows have them."""

    first: int
    stop: int
    received_us: int
    stream_sequence: int


class Mark(NamedTuple):
    """All receipts up to one, by a word that is signed or in a record."""

    receipts: ReceiptHead
    size: int
    """Records by then: the next receipt begins there."""
    where: str


class ArrivalBuilder:
    """Gathers rows into arrivals."""

    def __init__(self) -> None:
        self._arrivals: Final[list[Arrival]] = []
        self._first = self._stop = self._received_us = self._stream_sequence = 0

    def add(self, index: int, received_us: int, stream_sequence: int) -> None:
        """The next row."""
        if (
            index == self._stop
            and received_us == self._received_us
            and stream_sequence - index == self._stream_sequence - self._first
        ):
            self._stop += 1
            return
        self._close()
        self._first, self._stop = index, index + 1
        self._received_us, self._stream_sequence = received_us, stream_sequence

    def finish(self) -> list[Arrival]:
        """All of them, by index."""
        self._close()
        return self._arrivals

    def _close(self) -> None:
        """The arrival that was gathered last is complete."""
        if self._first < self._stop:
            self._arrivals.append(
                Arrival(self._first, self._stop, self._received_us, self._stream_sequence)
            )
        self._first = self._stop


class KeptPlace(NamedTuple):
    """How far the log is, as it says."""

    size: int
    receipts: ReceiptHead
    stream_id: str
    stream_sequence: int


def check_receipts(
    arrivals: Sequence[Arrival],
    kept: Iterable[tuple[int, Receipt]],
    marks: Iterable[Mark],
    log: KeptPlace,
) -> Iterator[Problem]:
    """What of times, places and receipts is not as it was signed.

    Args:
        arrivals: By index.
        kept: Receipts with their numbers, by number.
        marks: In any order.
        log: As it was when the receipts were read.
    """
    walk = _Walk(arrivals, marks, log)
    before: tuple[int, Receipt] | None = None
    for number, receipt in kept:
        if before is not None:
            yield from walk.take(*before, until=receipt.first)
        before = number, receipt
    if before is not None:
        yield from walk.take(*before, until=log.size)
    yield from walk.finish()


class _Doubt(NamedTuple):
    """Rows that are not as a receipt has them."""

    receipt: int
    first: int
    stop: int
    field: str
    got: int
    wanted: int


class _Walk:
    def __init__(self, arrivals: Sequence[Arrival], marks: Iterable[Mark], log: KeptPlace) -> None:
        self._arrivals: Final = arrivals
        self._firsts: Final = [one.first for one in arrivals]
        self._marks: Final[dict[int, list[Mark]]] = {}
        for mark in marks:
            self._marks.setdefault(mark.receipts.number, []).append(mark)
        self._log: Final = log
        self._head = NO_RECEIPTS
        self._agreed = 0
        """Number of the last receipt that was as signed."""
        self._is_broken = False
        """Whether it was said already why the digest cannot be as signed."""
        self._doubts: list[_Doubt] = []
        self._last: Receipt | None = None
        self._stream_id = ""

    def take(self, number: int, receipt: Receipt, *, until: int) -> Iterator[Problem]:
        """The next receipt, which ends where the one after it begins."""
        expected = self._head.number + 1
        if number < expected:
            yield Problem("receipt", str(number), "number", f"number {expected} comes next")
            return
        if number > expected:
            missing = str(expected) if number == expected + 1 else f"{expected} to {number - 1}"
            yield Problem("receipt", missing, "", "it is missing")
            self._is_broken = True
        self._head = extend_head(ReceiptHead(number - 1, self._head.digest), [receipt])
        self._last = receipt
        self._stream_id = receipt.stream_id or self._stream_id
        marks = self._marks.get(number, ())
        size = marks[0].size if marks else until
        self._compare(number, receipt, size)
        for mark in marks:
            yield from self._conclude(mark.receipts.digest, mark.where)
        if until != size:
            self._doubts.append(_Doubt(number + 1, size, size + 1, "idx", size, until))

    def finish(self) -> Iterator[Problem]:
        """What the log itself says of all of them."""
        log, head = self._log, self._head
        if log.receipts.number != head.number:
            why = f"it ends with number {log.receipts.number}, the receipts with {head.number}"
            yield Problem("log", "", "receipts", why)
            yield from self._blame_rows()
            return
        is_settled = log.receipts.digest == head.digest
        if not is_settled and not self._doubts and not self._is_broken:
            yield Problem("log", "", "receipts", "it does not follow from the receipts")
        elif is_settled or not self._is_broken:
            yield from self._conclude(log.receipts.digest, "the log")
        if not is_settled:
            return
        reached = place_reached(self._last, log.size) if self._last is not None else 0
        if log.stream_sequence != reached:
            why = f"it is {log.stream_sequence} where the receipts end at {reached}"
            yield Problem("log", "", "stream_sequence", why)
        if log.stream_id != self._stream_id:
            why = f"it is {shown(log.stream_id)} where the receipts say {shown(self._stream_id)}"
            yield Problem("log", "", "stream_id", why)

    def _compare(self, number: int, receipt: Receipt, until: int) -> None:
        at = max(0, bisect_right(self._firsts, receipt.first) - 1)
        while at < len(self._arrivals) and self._arrivals[at].first < until:
            arrival = self._arrivals[at]
            at += 1
            first, stop = max(arrival.first, receipt.first), min(arrival.stop, until)
            if first >= stop:
                continue
            place = arrival.stream_sequence + first - arrival.first
            wanted = receipt.stream_sequence + first - receipt.first
            if arrival.received_us != receipt.received_us:
                got = arrival.received_us
                self._doubts.append(
                    _Doubt(number, first, stop, "received_us", got, receipt.received_us)
                )
            if place != wanted:
                self._doubts.append(_Doubt(number, first, stop, "stream_sequence", place, wanted))

    def _conclude(self, digest: bytes, where: str) -> Iterator[Problem]:
        """All receipts since the last such word are as signed, or they are to blame."""
        if self._head.digest == digest:
            yield from self._blame_rows()
        elif not self._is_broken:
            yield from self._blame_receipts(where)
        self._doubts.clear()
        self._is_broken = False
        self._agreed = self._head.number
        self._head = ReceiptHead(self._head.number, digest)

    def _blame_rows(self) -> Iterator[Problem]:
        for receipt, first, stop, field, got, wanted in self._doubts:
            if field == "idx":
                continue
            is_place = field == "stream_sequence"
            for index in range(first, stop):
                more = index - first if is_place else 0
                why = f"it is {got + more} where receipt {receipt} says {wanted + more}"
                yield Problem("record", str(index), field, why)

    def _blame_receipts(self, where: str) -> Iterator[Problem]:
        if not self._doubts:
            first, last = self._agreed + 1, self._head.number
            places = str(first) if first == last else f"{first} to {last}"
            yield Problem("receipt", places, "", f"not what was signed with {where}")
        for receipt, first, stop, field, got, wanted in self._doubts:
            rows = f"record {first} says" if stop == first + 1 else f"record {first} and others say"
            why = f"{rows} {got} where it says {wanted}, and it is not what was signed with {where}"
            yield Problem("receipt", str(receipt), field, why)
