# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Sets of small numbers as short text: `1-3,7` is 1, 2, 3 and 7.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterable

from shared.errors import Reason, RefusedError


def render_ranges(numbers: Iterable[int]) -> str:
    """The numbers, ascending, without gaps as ranges.

    >>> render_ranges([7, 1, 2, 3, 9, 10])
    '1-3,7,9-10'
    """
    ranges: list[tuple[int, int]] = []
    for number in sorted(set(numbers)):
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1] = (ranges[-1][0], number)
        else:
            ranges.append((number, number))
    return ",".join(f"{first}-{last}" if last > first else str(first) for first, last in ranges)


def parse_ranges(text: str, *, maximum: int = 65_535) -> frozenset[int]:
    """The numbers that `render_ranges` wrote.

    Raises:
        RefusedError: The text is nothing that it writes, or names a number above `maximum`.
    """
    numbers: set[int] = set()
    for part in filter(None, text.split(",")):
        first, separator, last = part.partition("-")
        ends = (first, last if separator else first)
        if not all(end.isascii() and end.isdecimal() and int(end) <= maximum for end in ends):
            rule = "is neither a number nor a range of numbers"
            raise RefusedError(f"`{part}` {rule}", [Reason(path="", rule=rule, got=part)])
        numbers.update(range(int(ends[0]), int(ends[1]) + 1))
    return frozenset(numbers)
