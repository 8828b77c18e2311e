# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a store says of its log besides the records, all of one moment.  Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from services.auditor.admission import Channel, Gap, Ranges
from services.auditor.merkle import Hash
from services.auditor.receipts import ReceiptHead
from services.auditor.tiles import TILE_LEVELS, TILE_WIDTH, Tile
from services.auditor.verification.heads import KeptHead
from services.auditor.verification.problems import Problem
from services.auditor.verification.prunings import CarriedOut


@dataclass(frozen=True, slots=True)
class LogSnapshot:
    """The tables as they are, to be held against the records."""

    origin: str
    said_size: int
    """Records in the log, as it says."""
    size: int
    """Records in the log, as its rows and tiles have it."""
    root: Hash
    stream_id: str
    stream_sequence: int
    receipts: ReceiptHead
    columns: tuple[str, ...]
    """Of the table of records."""
    heads: Mapping[Channel, int]
    missing: Mapping[Channel, Ranges]
    gaps: Sequence[tuple[int, Gap]]
    announced: frozenset[int]
    """Numbers of the gaps that were said."""
    checkpoints: Sequence[KeptHead]
    upper_tiles: Mapping[Tile, bytes]
    """All tiles but those of level 0."""
    beyond: Sequence[int]
    """Indexes of records that the log's size does not cover; some of them, if there are many."""
    lowest_beyond: Sequence[int]
    """The same of tiles of level 0."""
    spans: Mapping[int, tuple[int, int]]
    """Earliest and latest time of each block of records."""
    spans_beyond: Sequence[int]
    """Those of them that the log's size does not cover."""
    prunings: Sequence[CarriedOut]
    """Those that were carried out."""
    unreadable: Sequence[Problem]
    """What is kept as JSON and is not as it was written, and rows that say that they are others."""


def check_extent(log: LogSnapshot) -> list[Problem]:
    """What is there and belongs to no tree of the log's size."""
    problems = list(log.unreadable)
    if log.said_size != log.size:
        why = f"it is {log.said_size} where the log's rows and tiles end at {log.size}"
        problems.append(Problem("log", "", "size", why))
    why = f"the log has {log.size} records"
    problems += [Problem("record", str(index), "idx", why) for index in log.beyond]
    places = [Tile(0, offset) for offset in log.lowest_beyond]
    places += [tile for tile in sorted(log.upper_tiles) if not _belongs(tile, log.size)]
    why = f"a tree of {log.size} records has no such tile"
    problems += [Problem("tile", f"{level}/{offset}", "", why) for level, offset in places]
    why = f"a log of {log.size} records has no such block"
    problems += [Problem("span", str(block), "block", why) for block in log.spans_beyond]
    return problems


def check_spans(
    derived: Iterable[tuple[int, int, int]], kept: Mapping[int, tuple[int, int]]
) -> Iterator[Problem]:
    """Blocks whose times are not those of their records.

    Args:
        derived: Block, earliest and latest time.
        kept: The times by block.
    """
    for block, *times in derived:
        found = kept.get(block)
        if found is None:
            yield Problem("span", str(block), "", "it is missing")
            continue
        for field, got, wanted in zip(("first_us", "last_us"), found, times, strict=True):
            if got != wanted:
                why = f"it is {got} where the records say {wanted}"
                yield Problem("span", str(block), field, why)


def likely_size(said: int, *, rows: int, tiles: int) -> int:
    """How many records the log must have had, whichever of the three was changed.

    Args:
        said: By the log.
        rows: One more than the highest index of a record.
        tiles: Hashes that the lowest tiles have room for up to the last one.
    """
    if said in {rows, tiles}:
        return said
    return rows if rows == tiles else max(0, min(said, max(rows, tiles)))


def _belongs(tile: Tile, size: int) -> bool:
    """Whether a tree of this size has the tile."""
    if not 0 <= tile.level <= size.bit_length():
        return False
    return 0 <= tile.offset * TILE_WIDTH < (size >> TILE_LEVELS * tile.level)
