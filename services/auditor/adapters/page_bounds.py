# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Between which records of the log a page can lie: the same in every store."""

from __future__ import annotations

from typing import Final

from services.auditor.adapters.log_rows import BLOCK_RECORDS
from services.auditor.query import GLOB_CHARACTERS, RecordQuery

FEW: Final = 5_000
"""Rows that are sorted faster than the log is read backwards."""
HIGHEST_CHARACTER: Final = "\U0010ffff"
BLOCKS: Final = "SELECT min(block), max(block) FROM spans WHERE last_us >= {} AND first_us < {}"
"""The first and the last block of records that can have times between two."""
_EARLIEST: Final = -(2**62)
_LATEST: Final = 2**62


def asked_times(query: RecordQuery) -> tuple[int, int] | None:
    """From when, and until before when; None if it is not asked by time."""
    if query.since_us is None and query.until_us is None:
        return None
    since_us = _EARLIEST if query.since_us is None else query.since_us
    return since_us, _LATEST if query.until_us is None else query.until_us


def time_bounds(query: RecordQuery) -> list[tuple[str, int]]:
    """The comparisons with times that are asked for, and the times."""
    bounds = (("time_us >=", query.since_us), ("time_us <", query.until_us))
    return [(comparison, time_us) for comparison, time_us in bounds if time_us is not None]


def index_bounds(query: RecordQuery, size: int) -> tuple[int, int]:
    """Indexes between which everything lies that can match: above the one, below the other."""
    return query.above, size if query.below is None else query.below


def within_blocks(bounds: tuple[int, int], first: int | None, last: int | None) -> tuple[int, int]:
    """The same of the records of these blocks, both included; None: there is no block."""
    above, below = bounds
    if first is None or last is None:
        return above, 0
    return max(above, first * BLOCK_RECORDS - 1), min(below, (last + 1) * BLOCK_RECORDS)


def glob_prefix(pattern: str) -> str:
    """What everything that matches begins with."""
    places = (place for place, letter in enumerate(pattern) if letter in GLOB_CHARACTERS)
    return pattern[: min(places, default=len(pattern))]
