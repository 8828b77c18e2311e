# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Do the tiles follow from the records, level by level, and lead to the log's root?

Pure.  Where a tile and what lies below it differ, the tile above decides which of them was
changed; at the open end of the tree the root does.  Whatever is found to be wrong is replaced by
what it must have been, so that one change is one problem.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from services.auditor.merkle import EMPTY_ROOT, HASH_BYTES, Hash, node_hash, tree_root
from services.auditor.tiles import TILE_WIDTH, Tile, hash_reader
from services.auditor.verification.problems import Problem

TILE_BYTES: Final = TILE_WIDTH * HASH_BYTES
MAX_PLACES: Final = 8
"""How many hashes of one tile are named."""


class DerivedTile(NamedTuple):
    """A tile of the lowest level as the records have it, beside what is kept."""

    offset: int
    root: Hash
    """Of what was derived; only of a full tile."""
    derived: bytes
    """Left out if it is full and the same as what is kept."""
    kept: bytes | None
    """None: there is none."""


@dataclass(slots=True)
class CheckedTree:
    """The tree, with what was wrong put right."""

    problems: list[Problem] = field(default_factory=list)
    tiles: dict[Tile, bytes] = field(default_factory=dict)
    """All of the upper levels; of the lowest one those that are not as they are kept."""
    root: Hash = EMPTY_ROOT


def fold_tile(data: bytes) -> Hash:
    """Root of a full tile."""
    row = [data[at : at + HASH_BYTES] for at in range(0, len(data), HASH_BYTES)]
    while len(row) > 1:
        row = [
            node_hash(Hash(left), Hash(right))
            for left, right in zip(row[::2], row[1::2], strict=True)
        ]
    return Hash(row[0])


def check_tree(
    size: int,
    lowest: Iterable[DerivedTile],
    kept: Mapping[Tile, bytes],
    *,
    root: Hash,
    read_lowest: Callable[[Sequence[Tile]], dict[Tile, bytes]],
) -> CheckedTree:
    """Everything above the leaves.

    Args:
        size: Leaves in the tree.
        lowest: All tiles of level 0, in order.
        kept: The tiles of the other levels.
        root: As the log says it.
        read_lowest: Tiles of level 0 as they are kept.
    """
    return _Levels(size, kept, root, read_lowest).check(list(lowest))


class _Doubt(NamedTuple):
    """A tile that is not what lies below it, and that no tile above decides about."""

    tile: Tile
    derived: bytes
    kept: bytes | None


class _Levels:
    def __init__(
        self,
        size: int,
        kept: Mapping[Tile, bytes],
        root: Hash,
        read_lowest: Callable[[Sequence[Tile]], dict[Tile, bytes]],
    ) -> None:
        self._size: Final = size
        self._kept: Final = kept
        self._root: Final = root
        self._read_lowest: Final = read_lowest
        self._tree: Final = CheckedTree()
        self._doubts: Final[list[_Doubt]] = []

    def check(self, lowest: list[DerivedTile]) -> CheckedTree:
        level, tiles = 0, lowest
        while tiles:
            believed = [self._decide(level, tile) for tile in tiles]
            full = [one for one in believed if one is not None]
            level += 1
            tiles = self._above(level, full)
        self._settle()
        return self._tree

    def _above(self, level: int, roots: Sequence[Hash]) -> list[DerivedTile]:
        """The tiles that the roots of full tiles make."""
        tiles = []
        for offset in range(-(-len(roots) // TILE_WIDTH)):
            derived = b"".join(roots[offset * TILE_WIDTH : (offset + 1) * TILE_WIDTH])
            kept = self._kept.get(Tile(level, offset))
            self._tree.tiles[Tile(level, offset)] = derived
            is_full = len(derived) == TILE_BYTES
            top = fold_tile(derived) if is_full else Hash(b"")
            tiles.append(DerivedTile(offset, top, derived, kept))
        return tiles

    def _decide(self, level: int, found: DerivedTile) -> Hash | None:
        """The root of a full tile, of what is believed of it; None if it is not full."""
        tile = Tile(level, found.offset)
        is_full = bool(found.root)
        if found.kept == found.derived or (is_full and not found.derived):
            return found.root if is_full else None
        if found.kept is None or len(found.kept) != len(found.derived):
            have = "is missing" if found.kept is None else f"has {len(found.kept)} bytes"
            self._blame_tile(tile, f"it {have} where {len(found.derived)} are expected")
            self._believe(tile, found.derived)
            return found.root if is_full else None
        if not is_full:
            self._doubts.append(_Doubt(tile, found.derived, found.kept))
            self._believe(tile, found.derived)
            return None
        above = self._hash_above(tile)
        top = fold_tile(found.kept)
        if above == top:
            self._blame_below(tile, found.derived, found.kept)
            self._believe(tile, found.kept)
            return top
        if above is None and self._is_root(tile, top):
            self._blame_below(tile, found.derived, found.kept)
            self._believe(tile, found.kept)
            return top
        self._blame_hashes(tile, found.derived, found.kept)
        self._believe(tile, found.derived)
        return found.root

    def _settle(self) -> None:
        """The open end of each level, and with it the root."""
        self._tree.root = self._derived_root()
        if self._doubts and self._tree.root != self._root:
            for doubt in self._doubts:
                self._believe(doubt.tile, doubt.kept or b"")
            if self._derived_root() == self._root:
                for doubt in self._doubts:
                    self._blame_below(doubt.tile, doubt.derived, doubt.kept or b"")
                self._tree.root = self._root
                return
            for doubt in self._doubts:
                self._believe(doubt.tile, doubt.derived)
        for doubt in self._doubts:
            self._blame_hashes(doubt.tile, doubt.derived, doubt.kept or b"")
        if self._tree.root != self._root:
            why = f"it is {self._root.hex()} where the records lead to {self._tree.root.hex()}"
            self._tree.problems.append(Problem("log", "", "root", why))

    def _derived_root(self) -> Hash:
        return tree_root(self._size, hash_reader(self._read))

    def _read(self, wanted: Sequence[Tile]) -> dict[Tile, bytes]:
        return read_believed(wanted, self._tree.tiles, self._read_lowest)

    def _hash_above(self, tile: Tile) -> Hash | None:
        data = self._kept.get(Tile(tile.level + 1, tile.offset // TILE_WIDTH), b"")
        at = tile.offset % TILE_WIDTH * HASH_BYTES
        return Hash(data[at : at + HASH_BYTES]) if at + HASH_BYTES <= len(data) else None

    def _is_root(self, tile: Tile, top: Hash) -> bool:
        """Whether a full tile is the whole tree, and leads to its root."""
        return self._size == TILE_WIDTH ** (tile.level + 1) and top == self._root

    def _believe(self, tile: Tile, data: bytes) -> None:
        self._tree.tiles[tile] = data

    def _blame_tile(self, tile: Tile, why: str) -> None:
        self._tree.problems.append(Problem("tile", f"{tile.level}/{tile.offset}", "", why))

    def _blame_hashes(self, tile: Tile, derived: bytes, kept: bytes) -> None:
        below = "the records" if tile.level == 0 else f"level {tile.level - 1}"
        places = _places(derived, kept)
        self._blame_tile(tile, f"{_listed('hash', places)} of it do not follow from {below}")

    def _blame_below(self, tile: Tile, derived: bytes, kept: bytes) -> None:
        first = tile.offset * TILE_WIDTH
        for place in _places(derived, kept):
            at = first + place
            if tile.level == 0:
                why = "the tree holds another leaf there: leaf and message were replaced"
                self._tree.problems.append(Problem("record", str(at), "leaf", why))
            else:
                why = "it was replaced with everything below it: the tile above holds another root"
                at_below = f"{tile.level - 1}/{at}"
                self._tree.problems.append(Problem("tile", at_below, "", why))


def read_believed(
    wanted: Sequence[Tile],
    believed: Mapping[Tile, bytes],
    read_lowest: Callable[[Sequence[Tile]], dict[Tile, bytes]],
) -> dict[Tile, bytes]:
    """The tiles, those that were put right in place of those that are kept."""
    known = {tile: believed[tile] for tile in wanted if tile in believed}
    left = [tile for tile in wanted if tile not in known and tile.level == 0]
    return known | (read_lowest(left) if left else {})


def _places(derived: bytes, kept: bytes) -> list[int]:
    """Which hashes differ."""
    return [
        at // HASH_BYTES
        for at in range(0, max(len(derived), len(kept)), HASH_BYTES)
        if derived[at : at + HASH_BYTES] != kept[at : at + HASH_BYTES]
    ]


def _listed(what: str, places: Sequence[int]) -> str:
    named = ", ".join(map(str, places[:MAX_PLACES]))
    more = f" and {len(places) - MAX_PLACES} more" if len(places) > MAX_PLACES else ""
    return f"{what} {named}{more}"
