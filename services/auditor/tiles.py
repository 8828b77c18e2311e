# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""How the tree is kept: tiles of 256 hashes, every eighth level (C2SP tlog-tiles).

Pure.  Tile (level, offset) holds the hashes of level `8 * level` from `256 * offset`; the seven
levels between are hashed anew when asked for.  Two rows a batch instead of two rows a leaf.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from services.auditor.merkle import HASH_BYTES, Hash, HashReader, Node, Run, node_hash

TILE_LEVELS: Final = 8
TILE_WIDTH: Final = 1 << TILE_LEVELS


class Tile(NamedTuple):
    """The place of one tile."""

    level: int
    offset: int


TileReader = Callable[[Sequence[Tile]], dict[Tile, bytes]]
"""The tiles that were asked for and exist: up to 256 hashes, one after another."""


def hash_reader(read_tiles: TileReader) -> HashReader:
    """Hashes of complete subtrees, out of tiles.

    The reader raises LookupError if the tiles do not hold a subtree: the store is damaged.
    """

    def read(nodes: Sequence[Node]) -> list[Hash]:
        wanted = {node: _place(node) for node in nodes}
        tiles = read_tiles(sorted({tile for tile, _, _ in wanted.values()}))
        return [
            _subtree(tiles.get(tile, b""), node, start, count)
            for node in nodes
            for tile, start, count in (wanted[node],)
        ]

    return read


def extend_tiles(tails: Mapping[Tile, bytes], completed: Iterable[Run]) -> dict[Tile, bytes]:
    """Every tile that `completed` changes, with its new contents.

    Args:
        tails: Contents of the tiles that are not full yet; a missing one is empty.
        completed: As `Frontier.append` gives them.
    """
    changed: dict[Tile, bytes] = {}
    for run in completed:
        if run.level % TILE_LEVELS:
            continue
        start = 0
        while start < len(run.hashes):
            offset = run.offset + start
            tile = Tile(run.level // TILE_LEVELS, offset // TILE_WIDTH)
            count = TILE_WIDTH - offset % TILE_WIDTH
            kept = tails.get(tile, b"")
            if len(kept) != offset % TILE_WIDTH * HASH_BYTES:
                raise AssertionError(f"tile {tile} holds {len(kept)} bytes before {offset}")
            changed[tile] = kept + b"".join(run.hashes[start : start + count])
            start += count
    return changed


def tail_tiles(size: int) -> list[Tile]:
    """The tiles of a tree of `size` leaves that exist and are not full."""
    tails = []
    level, count = 0, size
    while count:
        if count % TILE_WIDTH:
            tails.append(Tile(level, count // TILE_WIDTH))
        level, count = level + 1, count // TILE_WIDTH
    return tails


def _place(node: Node) -> tuple[Tile, int, int]:
    """Tile, first hash in it, and number of hashes that `node` is made of."""
    count = 1 << node.level % TILE_LEVELS
    first = node.offset * count
    return Tile(node.level // TILE_LEVELS, first // TILE_WIDTH), first % TILE_WIDTH, count


def _subtree(contents: bytes, node: Node, start: int, count: int) -> Hash:
    part = contents[start * HASH_BYTES : (start + count) * HASH_BYTES]
    if len(part) != count * HASH_BYTES:
        raise LookupError(f"the tiles do not hold the subtree at level {node.level}, {node.offset}")
    hashes = [Hash(part[at : at + HASH_BYTES]) for at in range(0, len(part), HASH_BYTES)]
    while len(hashes) > 1:
        hashes = [
            node_hash(left, right) for left, right in zip(hashes[::2], hashes[1::2], strict=True)
        ]
    return hashes[0]
