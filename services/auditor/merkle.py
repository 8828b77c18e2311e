# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The Merkle tree of RFC 6962 (section 2.1): what a log's head commits to, and how to prove it.

Pure.  A tree of any size is a row of complete subtrees; their hashes never change, so a log keeps
them and everything else follows.  A node is named by its level (0: leaves) and its index there.

Rules:
 * A leaf is hashed with prefix 0x00 and an inner node with 0x01, so neither passes for the other.
 * A check says nothing or raises; a proof with one byte or one hash too many does not pass.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Final, NamedTuple, NewType

from shared.errors import VerificationError

Hash = NewType("Hash", bytes)
"""SHA-256, 32 bytes."""
HASH_BYTES: Final = 32
EMPTY_ROOT: Final = Hash(hashlib.sha256(b"").digest())
"""Root of the tree without leaves (RFC 6962 section 2.1)."""


class ProofError(VerificationError):
    """A proof does not show what it was given for."""


class Node(NamedTuple):
    """A complete subtree: the leaves from `offset << level`, `1 << level` of them."""

    level: int
    offset: int


class Run(NamedTuple):
    """Neighbouring complete subtrees of one size."""

    level: int
    offset: int
    """Of the first one."""
    hashes: Sequence[Hash]


HashReader = Callable[[Sequence[Node]], Sequence[Hash]]
"""Hashes of complete subtrees, in the order asked."""


def leaf_hash(data: bytes) -> Hash:
    """Hash of one log entry."""
    return Hash(hashlib.sha256(b"\x00" + data).digest())


def node_hash(left: Hash, right: Hash) -> Hash:
    """Hash of the node over two subtrees."""
    return Hash(hashlib.sha256(b"\x01" + left + right).digest())


@dataclass(frozen=True, slots=True)
class Frontier:
    """All that is needed to go on appending: the complete subtrees, largest first."""

    size: int = 0
    """Leaves in the tree."""
    peaks: tuple[Hash, ...] = ()
    """One for each bit of `size`, the highest bit first."""

    def root(self) -> Hash:
        """Root of the tree with `size` leaves."""
        return _fold(self.peaks)

    def append(self, leaves: Iterable[Hash]) -> tuple[Frontier, list[Run]]:
        """The frontier with `leaves` added, and every subtree that became complete."""
        waiting = dict(zip(_levels(self.size), self.peaks, strict=True))
        added = list(leaves)
        size = self.size + len(added)
        runs: list[Run] = []
        level, offset = 0, self.size
        while added:
            runs.append(Run(level, offset, added))
            left = waiting.pop(level, None)
            row = added if left is None else [left, *added]
            if len(row) & 1:
                waiting[level] = row[-1]
            added = [
                Hash(hashlib.sha256(b"\x01" + first + second).digest())
                for first, second in zip(row[::2], row[1::2], strict=False)
            ]
            level, offset = level + 1, offset // 2
        return Frontier(size, tuple(waiting[level] for level in _levels(size))), runs


def read_frontier(size: int, read: HashReader) -> Frontier:
    """The frontier of the first `size` leaves of a kept tree."""
    return Frontier(size, tuple(read(_cover(0, size))))


def tree_root(size: int, read: HashReader) -> Hash:
    """Root of the first `size` leaves of a kept tree."""
    return read_frontier(size, read).root()


def prove_inclusion(index: int, size: int, read: HashReader) -> tuple[Hash, ...]:
    """Audit path of leaf `index` in the tree of `size` leaves, the leaf's sibling first.

    Raises:
        ProofError: There is no such leaf in a tree of that size.
    """
    if not 0 <= index < size:
        raise ProofError(f"leaf {index} is not in a tree of {size} leaves")
    return _read_groups(_inclusion_groups(index, 0, size), read)


def prove_consistency(old_size: int, new_size: int, read: HashReader) -> tuple[Hash, ...]:
    """That the tree of `old_size` leaves is a prefix of that of `new_size`; empty if they are one.

    Raises:
        ProofError: The old tree is empty or larger than the new one.
    """
    if not 0 < old_size <= new_size:
        raise ProofError(f"a tree of {old_size} leaves is no prefix of one of {new_size}")
    return _read_groups(_consistency_groups(old_size, 0, new_size, is_old_root=True), read)


def check_inclusion(
    proof: Sequence[Hash], *, leaf: Hash, index: int, size: int, root: Hash
) -> None:
    """`leaf` is at `index` in the tree with this size and root (RFC 9162 section 2.1.3.2).

    Raises:
        ProofError: The proof does not show it.
    """
    if not 0 <= index < size:
        raise ProofError(f"leaf {index} is not in a tree of {size} leaves")
    _check_widths((*proof, leaf, root))
    current = leaf
    for sibling, is_left in zip(proof, _sides(index, size - 1, len(proof)), strict=True):
        current = node_hash(sibling, current) if is_left else node_hash(current, sibling)
    if current != root:
        raise ProofError("the inclusion proof leads to another root")


def frontier_before(proof: Sequence[Hash], index: int, size: int) -> Frontier:
    """The frontier of the leaves before `index`, from the audit path of that leaf.

    Raises:
        ProofError: The path has another length than the tree asks for.
    """
    sides = _sides(index, size - 1, len(proof))
    left = [sibling for sibling, is_left in zip(proof, sides, strict=True) if is_left]
    return Frontier(index, tuple(reversed(left)))


def check_consistency(
    proof: Sequence[Hash], *, old_size: int, old_root: Hash, new_size: int, new_root: Hash
) -> None:
    """The old tree is a prefix of the new one (RFC 9162 section 2.1.4.2).

    Raises:
        ProofError: The proof does not show it.
    """
    if not 0 < old_size <= new_size:
        raise ProofError(f"a tree of {old_size} leaves is no prefix of one of {new_size}")
    _check_widths((*proof, old_root, new_root))
    if old_size == new_size:
        if proof or old_root != new_root:
            raise ProofError("two trees of one size have one root and need no proof")
        return
    height = _trailing_ones(old_size - 1)
    is_complete = old_size == 1 << height
    if not proof:
        raise ProofError("the consistency proof is empty")
    old = new = old_root if is_complete else proof[0]
    path = proof if is_complete else proof[1:]
    sides = _sides((old_size - 1) >> height, (new_size - 1) >> height, len(path))
    for sibling, is_left in zip(path, sides, strict=True):
        old = node_hash(sibling, old) if is_left else old
        new = node_hash(sibling, new) if is_left else node_hash(new, sibling)
    if old != old_root:
        raise ProofError("the consistency proof leads to another old root")
    if new != new_root:
        raise ProofError("the consistency proof leads to another new root")


def _sides(position: int, last: int, count: int) -> list[bool]:
    """For each sibling on the way up from `position`, whether it stands on the left.

    Args:
        position: Index of the node at its level.
        last: Index of the last node of that level.
        count: Siblings in the proof; the tree leaves no choice.
    """
    sides = []
    while last:
        if position & 1 or position == last:
            sides.append(True)
            while not position & 1 and position:
                position >>= 1
                last >>= 1
        else:
            sides.append(False)
        position >>= 1
        last >>= 1
    if len(sides) != count:
        raise ProofError(f"the proof has {count} hashes where the tree asks for {len(sides)}")
    return sides


def _trailing_ones(number: int) -> int:
    return (~number & (number + 1)).bit_length() - 1


def _levels(size: int) -> list[int]:
    """Levels of the complete subtrees that a tree of `size` leaves is made of, largest first."""
    return [level for level in range(size.bit_length() - 1, -1, -1) if size >> level & 1]


def _fold(peaks: Sequence[Hash]) -> Hash:
    """Root over neighbouring complete subtrees, largest first."""
    if not peaks:
        return EMPTY_ROOT
    return reduce(lambda right, left: node_hash(left, right), reversed(peaks))


def _split(size: int) -> int:
    """The largest power of two below `size`, which is at least 2 (RFC 6962 section 2.1)."""
    return 1 << ((size - 1).bit_length() - 1)


def _cover(start: int, stop: int) -> list[Node]:
    """The complete subtrees over leaves [start, stop), largest first; `start` is a tree's begin."""
    nodes = []
    while start < stop:
        level = (stop - start).bit_length() - 1
        nodes.append(Node(level, start >> level))
        start += 1 << level
    return nodes


def _inclusion_groups(index: int, start: int, stop: int) -> list[list[Node]]:
    """RFC 6962 section 2.1.1, PATH: each hash of the path as the subtrees it is folded from."""
    groups: list[list[Node]] = []
    while stop - start > 1:
        middle = start + _split(stop - start)
        if index < middle:
            groups.append(_cover(middle, stop))
            stop = middle
        else:
            groups.append(_cover(start, middle))
            start = middle
    groups.reverse()
    return groups


def _consistency_groups(
    old_size: int, start: int, stop: int, *, is_old_root: bool
) -> list[list[Node]]:
    """RFC 6962 section 2.1.2, SUBPROOF, bottom up."""
    groups: list[list[Node]] = []
    while old_size < stop:
        middle = start + _split(stop - start)
        if old_size <= middle:
            groups.append(_cover(middle, stop))
            stop = middle
        else:
            groups.append(_cover(start, middle))
            start = middle
            is_old_root = False
    if not is_old_root:
        groups.append(_cover(start, stop))
    groups.reverse()
    return groups


def _read_groups(groups: Sequence[Sequence[Node]], read: HashReader) -> tuple[Hash, ...]:
    """One folded hash for each group, everything read at once."""
    hashes = iter(read([node for group in groups for node in group]))
    return tuple(_fold([next(hashes) for _ in group]) for group in groups)


def _check_widths(hashes: Iterable[Hash]) -> None:
    if any(len(item) != HASH_BYTES for item in hashes):
        raise ProofError(f"a hash must have {HASH_BYTES} bytes")
