# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What Go's verifiers (golang.org/x/mod/sumdb/{note,tlog}) say of the auditor's log."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from services.auditor.checkpoint import (
    TreeHead,
    render_verifier_key,
    sign_checkpoint,
    verifier_key,
)
from services.auditor.merkle import (
    Frontier,
    HashReader,
    leaf_hash,
    prove_consistency,
    prove_inclusion,
    tree_root,
)
from services.auditor.tiles import Tile, extend_tiles, hash_reader
from shared.adapters.bus import Bus
from shared.contracts.audit import (
    GET_CHECKPOINT,
    PROVE_RECORD,
    Checkpoint,
    GetCheckpoint,
    ProveRecord,
)
from tests.integration.conftest import Buses
from tests.support.auditing import EmittingBus, eventually, running_auditor
from tests.support.go_verifier import GoVerifier, a_go_verifier

SEED = bytes(range(32))
ORIGIN = "example.org/log"
KEY = render_verifier_key(verifier_key(ORIGIN, seed=SEED))
LEAVES = [b"leaf %d" % index for index in range(600)]


@pytest.fixture(scope="module")
def go() -> Iterator[GoVerifier]:
    """Go's verifiers."""
    with a_go_verifier() as verifier:
        yield verifier


@pytest.fixture
async def auditor(buses: Buses, tmp_path: Path) -> AsyncIterator[Bus]:
    """A running auditor."""
    async with running_auditor(buses.server, tmp_path / "auditor") as bus:
        yield bus


@pytest.fixture(scope="module")
def tree() -> HashReader:
    """Over all LEAVES, out of tiles as the log keeps them."""
    tiles: dict[Tile, bytes] = {}
    frontier = Frontier()
    for leaf in LEAVES:
        frontier, completed = frontier.append([leaf_hash(leaf)])
        tiles |= extend_tiles(tiles, completed)
    return hash_reader(lambda wanted: {tile: tiles[tile] for tile in wanted})


def signed(size: int, tree: HashReader) -> str:
    """The head of the first `size` leaves."""
    return sign_checkpoint(TreeHead(ORIGIN, size, tree_root(size, tree)), seed=SEED)


def flipped(data: bytes, random_bit: int) -> bytes:
    """`data` with one bit changed."""
    at, bit = divmod(random_bit % (8 * len(data)), 8)
    return data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]


def damaged(value: Any, random_bit: int) -> Any:
    """The same with one bit changed: bytes, a path's hash, or a note.

    The last digit of a note is left out: it carries spare bits that Go does not look at.
    """
    if isinstance(value, bytes):
        return flipped(value, random_bit)
    if isinstance(value, str):
        text, digit = value[:-3].encode(), value[-3:]
        return flipped(text, random_bit).decode(errors="replace") + digit
    at = random_bit % len(value)
    return [flipped(one, random_bit // 7) if n == at else one for n, one in enumerate(value)]


def test_go_verifies_inclusion_and_consistency_at_every_kind_of_size(
    go: GoVerifier, tree: HashReader
) -> None:
    """Around every power of two up to two levels of tiles, and for leaves at both ends."""
    sizes = sorted({size + by for size in (1, 2, 4, 8, 128, 256, 512) for by in (-1, 0, 1)} - {0})
    for size, older in zip(sizes[1:], sizes, strict=False):
        for index in {0, older - 1, size - 1}:
            answer = go.answer(
                verifier_key=KEY,
                checkpoint=signed(size, tree),
                leaf=LEAVES[index],
                index=index,
                inclusion=prove_inclusion(index, size, tree),
                older=signed(older, tree),
                consistency=prove_consistency(older, size, tree),
            )
            assert answer == "ok", (size, older, index)


@pytest.mark.parametrize("part", ["leaf", "inclusion", "consistency", "checkpoint", "older"])
def test_go_rejects_a_flipped_bit_wherever_it_is(
    go: GoVerifier, tree: HashReader, part: str
) -> None:
    """In the leaf, in any hash of a path, in either signed head; each forty times at random."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")  # noqa: T201 because a failure is repeated with it
    chance = random.Random(seed)
    for _ in range(40):
        # A power of two would be a full subtree, whose root is no part of its proof.
        older = 2 * chance.randint(1, 200) + 1
        size = chance.randint(older + 1, len(LEAVES))
        index, bit = chance.randrange(size), chance.randrange(2**20)
        fields: dict[str, Any] = {
            "leaf": LEAVES[index],
            "inclusion": prove_inclusion(index, size, tree),
            "consistency": prove_consistency(older, size, tree),
            "checkpoint": signed(size, tree),
            "older": signed(older, tree),
        }
        fields[part] = damaged(fields[part], bit)
        answer = go.answer(verifier_key=KEY, index=index, **fields)
        assert answer != "ok", (size, older, index, bit)


@pytest.mark.usefixtures("auditor")
async def test_go_verifies_what_a_running_auditor_proves(go: GoVerifier, buses: Buses) -> None:
    """A record's bundle, and that the log only grew since an older head; not another's leaf."""
    catalog = EmittingBus(await buses.open("service-catalog"), "catalog")
    reader = await buses.open("auditor", "ann")
    await catalog.emit_many(20)

    async def head(least: int) -> Checkpoint | None:
        found = await reader.request(GET_CHECKPOINT, GetCheckpoint())
        return found if found.tree_size >= least else None

    older = await eventually(lambda: head(20))
    await catalog.emit_many(300)
    await eventually(lambda: head(320))
    newest = await reader.request(
        GET_CHECKPOINT, GetCheckpoint(consistent_with_size=older.tree_size)
    )
    answer = go.answer(
        verifier_key=newest.verifier_key,
        checkpoint=newest.checkpoint,
        older=older.checkpoint,
        consistency=[bytes.fromhex(one) for one in newest.consistency],
    )
    assert answer == "ok"

    bundle = await reader.request(PROVE_RECORD, ProveRecord(index=17))
    for leaf, expected in ((bundle.leaf, True), (bundle.leaf.replace("catalog", "catalOg"), False)):
        answer = go.answer(
            verifier_key=bundle.verifier_key,
            checkpoint=bundle.checkpoint,
            leaf=leaf.encode(),
            index=17,
            inclusion=[bytes.fromhex(one) for one in bundle.inclusion],
        )
        assert (answer == "ok") is expected, answer
