# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The tree against the published vectors and against RFC 6962's own recursive definition."""

from __future__ import annotations

import hashlib
from itertools import pairwise

import pytest

from services.auditor.merkle import (
    EMPTY_ROOT,
    Frontier,
    Hash,
    HashReader,
    Node,
    ProofError,
    check_consistency,
    check_inclusion,
    leaf_hash,
    prove_consistency,
    prove_inclusion,
    read_frontier,
    tree_root,
)
from services.auditor.tiles import Tile, extend_tiles, hash_reader, tail_tiles

# The reference data of Certificate Transparency (transparency-dev/merkle, testonly).
LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
LEAF_1 = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7"
NODE_2_4 = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e"
NODE_4_8 = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"
LEAF_4 = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"
NODE_4_6 = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a"
NODE_6_8 = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0"
LEAF_6 = "b08693ec2e721597130641e8211e7eedccb4c26413963eee6c1e2ed16ffb1a5f"
INCLUSION = [
    (0, 1, []),
    (0, 8, [LEAF_1, NODE_2_4, NODE_4_8]),
    (5, 8, [LEAF_4, NODE_6_8, ROOTS[4]]),
    (2, 3, [ROOTS[2]]),
    (1, 5, [ROOTS[1], NODE_2_4, LEAF_4]),
]
CONSISTENCY = [
    (1, 1, []),
    (1, 8, [LEAF_1, NODE_2_4, NODE_4_8]),
    (6, 8, [NODE_4_6, NODE_6_8, ROOTS[4]]),
    (2, 5, [NODE_2_4, LEAF_4]),
    (6, 7, [NODE_4_6, LEAF_6, ROOTS[4]]),
]
LARGEST = 64


class KeptTree:
    """A tree in memory, kept as the store keeps it: tiles."""

    def __init__(self, leaves: list[bytes]) -> None:
        self.tiles: dict[Tile, bytes] = {}
        self.frontier = Frontier()
        self.extend(leaves)

    def extend(self, leaves: list[bytes]) -> None:
        """Append as one batch."""
        tails = {tile: self.tiles[tile] for tile in tail_tiles(self.frontier.size)}
        self.frontier, completed = self.frontier.append([leaf_hash(leaf) for leaf in leaves])
        self.tiles |= extend_tiles(tails, completed)

    @property
    def read(self) -> HashReader:
        """Hashes of the kept subtrees."""
        return hash_reader(lambda tiles: {tile: self.tiles[tile] for tile in tiles})


def many(count: int) -> list[bytes]:
    """Leaves that differ."""
    return [b"leaf %d" % index for index in range(count)]


def defined_root(leaves: list[bytes]) -> bytes:
    """MTH as section 2.1 defines it, without any shortcut."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\0" + leaves[0]).digest()
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    parts = defined_root(leaves[:split]) + defined_root(leaves[split:])
    return hashlib.sha256(b"\1" + parts).digest()


@pytest.mark.parametrize("size", range(9))
def test_published_leaves_have_the_published_roots(size: int) -> None:
    """Every size up to 8 gives the root that Certificate Transparency publishes."""
    tree = KeptTree(LEAVES[:size])

    assert tree.frontier.root().hex() == ROOTS[size]
    assert tree_root(size, tree.read).hex() == ROOTS[size]


@pytest.mark.parametrize(("index", "size", "path"), INCLUSION)
def test_published_inclusion_proofs_are_given_and_accepted(
    index: int, size: int, path: list[str]
) -> None:
    """The path is the published one, and it checks."""
    tree = KeptTree(LEAVES)

    proof = prove_inclusion(index, size, tree.read)

    assert [item.hex() for item in proof] == path
    root = Hash(bytes.fromhex(ROOTS[size]))
    check_inclusion(proof, leaf=leaf_hash(LEAVES[index]), index=index, size=size, root=root)


@pytest.mark.parametrize(("old", "new", "path"), CONSISTENCY)
def test_published_consistency_proofs_are_given_and_accepted(
    old: int, new: int, path: list[str]
) -> None:
    """The path is the published one, and it checks."""
    tree = KeptTree(LEAVES)

    proof = prove_consistency(old, new, tree.read)

    assert [item.hex() for item in proof] == path
    roots = [Hash(bytes.fromhex(ROOTS[size])) for size in (old, new)]
    check_consistency(proof, old_size=old, old_root=roots[0], new_size=new, new_root=roots[1])


def test_every_leaf_of_every_tree_up_to_64_is_proved() -> None:
    """Each (index, size) gives a proof that checks, for that leaf, size and root alone."""
    tree = KeptTree(many(LARGEST))
    roots = [Hash(defined_root(many(size))) for size in range(LARGEST + 1)]

    for size in range(1, LARGEST + 1):
        assert tree_root(size, tree.read) == roots[size]
        for index in range(size):
            leaf = leaf_hash(b"leaf %d" % index)
            proof = prove_inclusion(index, size, tree.read)
            check_inclusion(proof, leaf=leaf, index=index, size=size, root=roots[size])
            for wrong in ((index + 1) % size, size, -1):
                if wrong != index:
                    with pytest.raises(ProofError):
                        check_inclusion(proof, leaf=leaf, index=wrong, size=size, root=roots[size])


def test_every_pair_of_trees_up_to_64_is_consistent() -> None:
    """Each (old, new) gives a proof that checks, and for no other old size."""
    tree = KeptTree(many(LARGEST))
    roots = [tree_root(size, tree.read) for size in range(LARGEST + 1)]

    for new in range(1, LARGEST + 1):
        for old in range(1, new + 1):
            proof = prove_consistency(old, new, tree.read)
            check_consistency(
                proof, old_size=old, old_root=roots[old], new_size=new, new_root=roots[new]
            )
            if old < new:
                with pytest.raises(ProofError):
                    check_consistency(
                        proof,
                        old_size=old + 1,
                        old_root=roots[old],
                        new_size=new,
                        new_root=roots[new],
                    )


@pytest.mark.parametrize("batch", [1, 3, 255, 256, 257, 1000])
def test_batches_do_not_change_the_tree(batch: int) -> None:
    """However the leaves are batched, tiles and root are the same, over tile borders too."""
    leaves = many(1000)
    whole = KeptTree(leaves)

    tree = KeptTree([])
    for start in range(0, len(leaves), batch):
        tree.extend(leaves[start : start + batch])

    assert tree.tiles == whole.tiles
    assert tree.frontier == whole.frontier == read_frontier(1000, tree.read)
    assert tree.frontier.root() == defined_root(leaves)


def test_tiles_hold_every_complete_subtree() -> None:
    """Any node of a large tree can be read back, between the tile levels too."""
    tree = KeptTree(many(70_000))

    for level in range(17):
        count = 70_000 >> level
        for index in {0, count // 2, count - 1}:
            left, right = (
                tree.read([Node(level - 1, 2 * index), Node(level - 1, 2 * index + 1)])
                if level
                else (b"", b"")
            )
            expected = (
                hashlib.sha256(b"\1" + left + right).digest()
                if level
                else leaf_hash(b"leaf %d" % index)
            )
            assert tree.read([Node(level, index)]) == [expected]


def test_a_damaged_tile_is_noticed() -> None:
    """A subtree that the tiles do not hold is no hash of something shorter."""
    read = hash_reader(lambda tiles: dict.fromkeys(tiles, b"\0" * 33))

    with pytest.raises(LookupError, match="do not hold"):
        read([Node(0, 1)])


def test_proofs_of_what_is_not_there_are_refused() -> None:
    """No proof is made for a leaf beyond the tree, or for a larger tree inside a smaller."""
    tree = KeptTree(many(5))

    for index, size in ((5, 5), (-1, 5), (0, 0)):
        with pytest.raises(ProofError):
            prove_inclusion(index, size, tree.read)
    for old, new in ((0, 5), (5, 4), (-1, 5)):
        with pytest.raises(ProofError):
            prove_consistency(old, new, tree.read)


def test_proofs_of_another_length_are_refused() -> None:
    """One hash more or one hash less, at either end, does not check."""
    for size in (1, 2, 7, 8, 33):
        tree = KeptTree(many(size))
        root = tree.frontier.root()
        leaf = leaf_hash(b"leaf 0")
        proof = prove_inclusion(0, size, tree.read)
        longer = [(*proof, root), (root, *proof), (*proof, Hash(bytes(32)))]
        shorter = [proof[1:], proof[:-1]] if proof else []
        for wrong in (*longer, *shorter, (*proof[:-1], Hash(b"short"))):
            with pytest.raises(ProofError):
                check_inclusion(wrong, leaf=leaf, index=0, size=size, root=root)


def test_consistency_proofs_of_another_length_are_refused() -> None:
    """One hash more or one hash less, at either end, does not check."""
    tree = KeptTree(many(33))
    roots = [tree_root(size, tree.read) for size in range(34)]
    for old, new in ((1, 1), (3, 3), (4, 7), (6, 8), (8, 33), (32, 33)):
        proof = prove_consistency(old, new, tree.read)
        longer = [(*proof, roots[new]), (roots[old], *proof), (*proof, Hash(bytes(32)))]
        shorter = [proof[1:], proof[:-1], ()] if proof else []
        for wrong in (*longer, *shorter):
            with pytest.raises(ProofError):
                check_consistency(
                    wrong, old_size=old, old_root=roots[old], new_size=new, new_root=roots[new]
                )


def test_roots_of_growing_trees_differ() -> None:
    """No two sizes share a root, the empty tree included."""
    tree = KeptTree(many(20))
    roots = [tree_root(size, tree.read) for size in range(21)]

    assert roots[0] == EMPTY_ROOT
    assert all(before != after for before, after in pairwise(roots))
    assert len(set(roots)) == len(roots)
