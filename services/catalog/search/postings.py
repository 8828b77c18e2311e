# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which versions have a term: sets of small numbers that are cheap to intersect and to count.

Pure.  A set that is asked about is one large integer, whose bit n says whether number n is in it:
a hundred thousand versions are 12.5 KB, and `&` and `bit_count` of that take microseconds.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

_LISTED: Final = 64
"""Up to so many numbers a posting is a list, however few numbers there are in all."""
_BITS_OF_A_NUMBER: Final = 32
_SET_BYTE: Final = re.compile(rb"[^\0]", re.DOTALL)
_ONE: Final = ord("1")
_DIGITS: Final = bytes.maketrans(b"01", b"\0\1")
_BITS: Final = tuple(tuple(bit for bit in range(8) if byte >> bit & 1) for byte in range(256))


class Posting:
    """The numbers of one term, as a list while they are few, else as bits."""

    __slots__ = ("_bits", "_listed", "field", "size", "value")

    def __init__(self, field: str, value: str) -> None:
        self.field: Final = field
        self.value: Final = value
        self.size = 0
        """How many numbers there are."""
        self._listed: array[int] | None = array("I")
        self._bits = bytearray()

    def add(self, numbers: Sequence[int], size: int) -> None:
        """The numbers are in; they were not before.

        Args:
            numbers: At least 0.
            size: How many numbers there are in all, about.
        """
        self.size += len(numbers)
        if self._listed is not None:
            self._listed.extend(numbers)
            if len(self._listed) > max(_LISTED, size // _BITS_OF_A_NUMBER):
                self._bits = _bits_of(self._listed)
                self._listed = None
            return
        places = (max(numbers) >> 3) + 1
        if places > len(self._bits):
            self._bits.extend(bytes(places - len(self._bits)))
        for number in numbers:
            self._bits[number >> 3] |= 1 << (number & 7)

    def discard(self, number: int) -> None:
        """The number is not in."""
        place, bit = number >> 3, 1 << (number & 7)
        if self._listed is not None:
            if number in self._listed:
                self._listed.remove(number)
                self.size -= 1
        elif place < len(self._bits) and self._bits[place] & bit:
            self._bits[place] &= ~bit
            self.size -= 1

    @property
    def listed(self) -> Sequence[int] | None:
        """All of it, if it is a list."""
        return self._listed

    @property
    def bits(self) -> int:
        """All of it."""
        found = self._bits if self._listed is None else _bits_of(self._listed)
        return int.from_bytes(found, "little")

    def count_in(self, among: int, members: bytes) -> int:
        """How many of its numbers are among these.

        Args:
            among: They.
            members: The same, as `members_of` has it, long enough for every number.
        """
        if self._listed is None:
            return (int.from_bytes(self._bits, "little") & among).bit_count()
        return sum(map(members.__getitem__, self._listed))


def union(postings: Iterable[Posting], size: int) -> int:
    """The numbers that any of the terms has.

    Args:
        postings: Of the terms.
        size: Above every number.
    """
    found, digits = 0, bytearray(b"0") * size
    for posting in postings:
        listed = posting.listed
        if listed is None:
            found |= posting.bits
        else:
            for number in listed:
                digits[number] = _ONE
    return found | int(digits[::-1] or b"0", 2)


def as_bytes(bits: int) -> bytes:
    """The same set, byte by byte."""
    return bits.to_bytes((bits.bit_length() + 7) // 8, "little")


def members_of(bits: int, size: int) -> bytes:
    """One byte for each number below `size`: 1 if it is in the set, else 0."""
    return f"{bits:0{size}b}".encode()[::-1].translate(_DIGITS)


def numbers_in(bits: int) -> Iterator[int]:
    """The numbers of a set, ascending."""
    data = as_bytes(bits)
    for match in _SET_BYTE.finditer(data):
        place = match.start()
        for bit in _BITS[data[place]]:
            yield place << 3 | bit


def bits_of(numbers: array[int] | list[int]) -> int:
    """The set of these numbers."""
    return int.from_bytes(_bits_of(numbers), "little")


def _bits_of(numbers: array[int] | list[int]) -> bytearray:
    found = bytearray((max(numbers, default=0) >> 3) + 1)
    for number in numbers:
        found[number >> 3] |= 1 << (number & 7)
    return found
