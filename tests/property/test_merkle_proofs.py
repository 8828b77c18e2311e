# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Laws of proofs and signed heads: what was proved checks, and no altered byte does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.auditor.checkpoint import (
    CheckpointError,
    TreeHead,
    open_checkpoint,
    parse_tree_head,
    parse_verifier_key,
    render_tree_head,
    render_verifier_key,
    sign_checkpoint,
    verifier_key,
)
from services.auditor.merkle import (
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
    tree_root,
)

SEED = bytes(range(32))
names = st.text(
    st.characters(codec="ascii", min_codepoint=33, exclude_characters="+\x7f"), min_size=1
)


def kept(size: int) -> HashReader:
    """A reader over a tree of `size` leaves."""
    _, completed = Frontier().append([leaf_hash(b"%d" % index) for index in range(size)])
    hashes = {
        Node(run.level, run.offset + place): item
        for run in completed
        for place, item in enumerate(run.hashes)
    }
    return lambda nodes: [hashes[node] for node in nodes]


def flipped(data: bytes, at: int, bit: int) -> bytes:
    """`data` with one bit changed."""
    at %= len(data)
    return data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]


@given(st.data(), st.integers(1, 600))
def test_an_inclusion_proof_with_any_flipped_bit_is_refused(data: st.DataObject, size: int) -> None:
    """Leaf, root and every hash of the path count to the last bit."""
    read = kept(size)
    index = data.draw(st.integers(0, size - 1))
    at, bit = data.draw(st.integers(0)), data.draw(st.integers(0, 7))
    root = tree_root(size, read)
    leaf = leaf_hash(b"%d" % index)
    proof = prove_inclusion(index, size, read)
    check_inclusion(proof, leaf=leaf, index=index, size=size, root=root)

    joined = flipped(b"".join((leaf, root, *proof)), at, bit)

    parts = [Hash(joined[start : start + 32]) for start in range(0, len(joined), 32)]
    with pytest.raises(ProofError):
        check_inclusion(parts[2:], leaf=parts[0], index=index, size=size, root=parts[1])


@given(st.data(), st.integers(2, 600))
def test_a_consistency_proof_with_any_flipped_bit_is_refused(
    data: st.DataObject, new_size: int
) -> None:
    """Both roots and every hash of the path count to the last bit."""
    read = kept(new_size)
    old_size = data.draw(st.integers(1, new_size))
    at, bit = data.draw(st.integers(0)), data.draw(st.integers(0, 7))
    old_root, new_root = tree_root(old_size, read), tree_root(new_size, read)
    proof = prove_consistency(old_size, new_size, read)
    sizes = {"old_size": old_size, "new_size": new_size}
    check_consistency(proof, old_root=old_root, new_root=new_root, **sizes)

    joined = flipped(b"".join((old_root, new_root, *proof)), at, bit)

    parts = [Hash(joined[start : start + 32]) for start in range(0, len(joined), 32)]
    with pytest.raises(ProofError):
        check_consistency(parts[2:], old_root=parts[0], new_root=parts[1], **sizes)


@given(st.lists(st.integers(0, 90), max_size=8))
def test_appending_in_any_batches_gives_one_tree(batches: list[int]) -> None:
    """The root depends on the leaves and their order alone."""
    leaves = [leaf_hash(b"%d" % index) for index in range(sum(batches))]
    whole, runs = Frontier().append(leaves)

    frontier, start = Frontier(), 0
    completed: dict[int, list[Hash]] = {}
    for count in batches:
        frontier, more = frontier.append(leaves[start : start + count])
        start += count
        for run in more:
            assert run.offset == len(completed.setdefault(run.level, []))
            completed[run.level] += run.hashes

    assert frontier == whole
    assert completed == {run.level: list(run.hashes) for run in runs}


@given(names, st.integers(0, 2**62), st.binary(min_size=32, max_size=32))
def test_a_head_is_what_its_text_says(origin: str, size: int, root: bytes) -> None:
    """Rendering and parsing are inverses, signed or not."""
    head = TreeHead(origin, size, Hash(root))

    assert parse_tree_head(render_tree_head(head)) == head
    key = verifier_key(origin, seed=SEED)
    assert open_checkpoint(sign_checkpoint(head, seed=SEED), key=key) == head
    assert parse_verifier_key(render_verifier_key(key)) == key


@given(st.integers(0), st.integers(0, 7), st.integers(0, 10**9))
def test_a_checkpoint_with_any_flipped_bit_is_refused(at: int, bit: int, size: int) -> None:
    """Text, name, key id and signature: nothing in a signed head can be altered."""
    head = TreeHead("log.example/1", size, Hash(bytes(32)))
    note = sign_checkpoint(head, seed=SEED).encode()

    altered = flipped(note, at, bit).decode(errors="replace")

    with pytest.raises(CheckpointError):
        open_checkpoint(altered, key=verifier_key("log.example/1", seed=SEED))


@given(st.text())
def test_no_text_breaks_the_parsers(text: str) -> None:
    """Whatever comes is a head or a key, or is refused; nothing else is raised."""
    for parse in (parse_tree_head, parse_verifier_key):
        try:
            parse(text)
        except CheckpointError:
            continue
