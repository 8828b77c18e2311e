# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Logs in memory, of which any number can share a beginning, and what they sign and prove."""

from __future__ import annotations

from collections.abc import Sequence

from services.auditor.checkpoint import TreeHead, sign_checkpoint, verifier_key
from services.auditor.merkle import Frontier, Hash, leaf_hash, prove_consistency, prove_inclusion
from services.auditor.tiles import Tile, extend_tiles, hash_reader

ORIGIN = "example.org/log"
SEED = bytes(range(32))
KEY = verifier_key(ORIGIN, seed=SEED)


class SmallLog:
    """The log of some leaves, at every size at once."""

    def __init__(
        self, leaves: Sequence[bytes], *, origin: str = ORIGIN, seed: bytes = SEED
    ) -> None:
        self.leaves = list(leaves)
        self.origin = origin
        self.seed = seed
        self.roots = [Frontier().root()]
        self.tiles: dict[Tile, bytes] = {}
        frontier = Frontier()
        for leaf in leaves:
            frontier, completed = frontier.append([leaf_hash(leaf)])
            self.tiles |= extend_tiles(self.tiles, completed)
            self.roots.append(frontier.root())
        self.read = hash_reader(
            lambda wanted: {tile: self.tiles[tile] for tile in wanted if tile in self.tiles}
        )

    def head(self, size: int) -> TreeHead:
        """Of the first leaves."""
        return TreeHead(self.origin, size, self.roots[size])

    def note(self, size: int) -> str:
        """That head, signed."""
        return sign_checkpoint(self.head(size), seed=self.seed)

    def consistency(self, old: int, new: int) -> tuple[Hash, ...]:
        """That the smaller tree is a prefix of the larger one."""
        return prove_consistency(old, new, self.read) if 0 < old < new else ()

    def inclusion(self, index: int, size: int) -> tuple[Hash, ...]:
        """A leaf's audit path."""
        return prove_inclusion(index, size, self.read)
