# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The log as files that any tool reads: C2SP tlog-tiles, `tile/<L>/<N>[.p/<W>]` and the entries.

Pure.  Which files a tree of one size has, what they are called, and what an entry bundle holds.
A full tile never changes; a partial one belongs to the size it was made for.  So a leaf that is
withheld from the files stays so; its hash is in the tile beside the bundle.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from services.auditor.checkpoint import CheckpointError
from services.auditor.merkle import Node
from services.auditor.tiles import TILE_LEVELS, TILE_WIDTH

CHECKPOINT_NAME: Final = "checkpoint"
ENTRIES: Final = -1
"""Stands for the level of an entry bundle, which lies beside the tiles of level 0."""
MAX_ENTRY_BYTES: Final = 0xFFFF
WITHHELD: Final = b""
"""Stands in an entry bundle for a leaf that not everybody may see; no leaf is empty."""
_LENGTH: Final = struct.Struct(">H")


class TileFile(NamedTuple):
    """One file below `tile/`."""

    level: int
    """From 0; ENTRIES: an entry bundle."""
    offset: int
    width: int
    """Hashes or entries in it, 1 to 256; fewer than 256: a partial one."""

    @property
    def is_full(self) -> bool:
        """Whether it is never going to change."""
        return self.width == TILE_WIDTH

    @property
    def path(self) -> str:
        """Its place below the log's prefix."""
        level = "entries" if self.level == ENTRIES else str(self.level)
        suffix = "" if self.is_full else f".p/{self.width}"
        return f"tile/{level}/{_number(self.offset)}{suffix}"

    @property
    def partial_directory(self) -> str:
        """Where the partial tiles lie that this one, being full, replaces."""
        return f"{self._replace(width=TILE_WIDTH).path}.p"

    @property
    def nodes(self) -> list[Node]:
        """The subtrees whose hashes a tile holds, in order; not for entries."""
        first = self.offset * TILE_WIDTH
        level = TILE_LEVELS * self.level
        return [Node(level, first + place) for place in range(self.width)]


def changed_files(old_size: int, new_size: int) -> Iterator[TileFile]:
    """The files that a tree of `new_size` leaves has and one of `old_size` had not.

    In an order in which each file needs only those before it; entries come with their tile.
    """
    level = 0
    old, new = old_size, new_size
    while new:
        for file in _changed(level, old, new):
            if level == 0:
                yield file._replace(level=ENTRIES)
            yield file
        level, old, new = level + 1, old // TILE_WIDTH, new // TILE_WIDTH


def render_entries(leaves: Sequence[bytes]) -> bytes:
    """An entry bundle: each leaf after its length in two bytes, big-endian.

    Raises:
        AssertionError: A leaf is larger than the format has room for; no event is.
    """
    for leaf in leaves:
        if len(leaf) > MAX_ENTRY_BYTES:
            raise AssertionError(f"a leaf of {len(leaf)} bytes does not fit an entry bundle")
    return b"".join(part for leaf in leaves for part in (_LENGTH.pack(len(leaf)), leaf))


def parse_entries(data: bytes) -> list[bytes]:
    """The leaves in an entry bundle.

    Raises:
        CheckpointError: The bundle ends within one.
    """
    leaves, at = [], 0
    while at < len(data):
        start = at + _LENGTH.size
        end = start + (int.from_bytes(data[at:start], "big") if start <= len(data) else 1)
        if end > len(data):
            raise CheckpointError("the entry bundle ends within an entry")
        leaves.append(data[start:end])
        at = end
    return leaves


def _changed(level: int, old: int, new: int) -> Iterator[TileFile]:
    if old == new:
        return
    for offset in range(old // TILE_WIDTH, new // TILE_WIDTH):
        yield TileFile(level, offset, TILE_WIDTH)
    if new % TILE_WIDTH:
        yield TileFile(level, new // TILE_WIDTH, new % TILE_WIDTH)


def _number(offset: int) -> str:
    """`x001/x234/067` for 1234067."""
    parts = [f"{offset % 1000:03d}"]
    while offset := offset // 1000:
        parts.append(f"x{offset % 1000:03d}")
    return "/".join(reversed(parts))
