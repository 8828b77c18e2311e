# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What Go's libraries read of the files, proofs and cosignatures that a running auditor gives."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.auditor.checkpoint import split_note
from services.auditor.tile_layout import changed_files, parse_entries
from services.auditor.tlog_proof import render_tlog_proof
from shared.adapters.bus import Bus
from shared.contracts.audit import (
    GET_CHECKPOINT,
    PROVE_RECORD,
    Checkpoint,
    GetCheckpoint,
    ProveRecord,
)
from shared.errors import FaultError
from tests.integration.conftest import Buses
from tests.support.auditing import EmittingBus, eventually, running_auditor, vkey
from tests.support.go_verifier import GoVerifier, a_go_verifier
from tests.support.independent_log import leaves_on_disk
from tests.support.witnesses import a_witness


@pytest.fixture(scope="module")
def go() -> Iterator[GoVerifier]:
    """Go's verifiers."""
    with a_go_verifier() as verifier:
        yield verifier


def size_in(tiles: Path) -> int:
    """The tree size that the files are of."""
    checkpoint = tiles / "checkpoint"
    return int(checkpoint.read_text().split("\n")[1]) if checkpoint.exists() else 0


def flip(path: Path, bit: int) -> None:
    """One bit of the file, changed; the same once more undoes it."""
    data = bytearray(path.read_bytes())
    data[bit // 8 % len(data)] ^= 1 << bit % 8
    path.write_bytes(data)


async def test_go_reads_every_entry_out_of_the_files_that_a_running_auditor_keeps(
    go: GoVerifier, buses: Buses, tmp_path: Path
) -> None:
    """Whatever sizes it was written at; a flipped bit in any file is found.

    The bundles hold leaves alone: nothing of a body.
    """
    server, state_dir, tiles = buses.server, tmp_path / "auditor", tmp_path / "tiles"
    catalog = EmittingBus(await buses.open("service-catalog"), "catalog")
    settings = {"tiles_dir": str(tiles)}
    async with running_auditor(server, state_dir, **settings):
        await catalog.emit_many(100, reason="a word of the body")
        await eventually(lambda: size_in(tiles) >= 100)
        assert go.answer(verifier_key=vkey(server), tiles=str(tiles)) == "ok"
    async with running_auditor(server, state_dir, **settings):
        await catalog.emit_many(560, reason="a word of the body")
        await eventually(lambda: size_in(tiles) >= 660)
    assert go.answer(verifier_key=vkey(server), tiles=str(tiles)) == "ok"

    size = size_in(tiles)
    leaves = leaves_on_disk(state_dir)[:size]
    needed = [tiles / file.path for file in changed_files(0, size)]
    bundles = [path for path in needed if "entries" in path.parts]
    assert [leaf for path in bundles for leaf in parse_entries(path.read_bytes())] == leaves
    assert not any(b"a word of the body" in path.read_bytes() for path in needed)
    assert not list(tiles.rglob("*.new"))
    assert not (tiles / "tile" / "0" / "000.p").exists()

    chance = random.Random(660)
    for path in needed:
        bit = chance.randrange(8 * path.stat().st_size)
        flip(path, bit)
        answer = go.answer(verifier_key=vkey(server), tiles=str(tiles))
        flip(path, bit)
        assert answer != "ok", path
    assert go.answer(verifier_key=vkey(server), tiles=str(tiles)) == "ok"


async def test_files_made_again_are_the_same(buses: Buses, tmp_path: Path) -> None:
    """A directory that was lost is written again from the log, every full tile as it was."""
    server, tiles = buses.server, tmp_path / "tiles"
    catalog = EmittingBus(await buses.open("service-catalog"), "catalog")
    settings = {"tiles_dir": str(tiles)}
    async with running_auditor(server, tmp_path / "auditor", **settings):
        await catalog.emit_many(300)
        await eventually(lambda: size_in(tiles) >= 300)
    full = {path: path.read_bytes() for path in tiles.rglob("000")}
    assert len(full) == 2

    shutil.rmtree(tiles)
    async with running_auditor(server, tmp_path / "auditor", **settings):
        await eventually(lambda: size_in(tiles) >= 300)
    assert {path: path.read_bytes() for path in full} == full


async def test_go_verifies_a_tlog_proof_and_its_cosignature(
    go: GoVerifier, buses: Buses, tmp_path: Path
) -> None:
    """The proof of a cosigned head; neither with a flipped bit, nor for another witness."""
    server = buses.server
    catalog = EmittingBus(await buses.open("service-catalog"), "catalog")
    reader = await buses.open("auditor", "ann")
    with (
        a_witness(tmp_path / "witness", vkey(server)) as witness,
        a_witness(tmp_path / "other", name="witness.example/other") as other,
    ):
        settings = {"witnesses": {witness.key: witness.url, other.key: other.url}}
        async with running_auditor(server, tmp_path / "auditor", **settings):
            await catalog.emit_many(300)
            head = await eventually(lambda: cosigned(reader, 300))
            bundle = await reader.request(PROVE_RECORD, ProveRecord(index=200))
    names = [seen.verifier_key.partition("+")[0] for seen in head.witnesses]
    assert names == ["witness.example/w1", "witness.example/other"]
    assert head.witnesses[0].problem == ""
    assert "404" in head.witnesses[1].problem

    proof = render_tlog_proof(bundle)
    key = vkey(server)
    assert go.answer(verifier_key=key, proof=proof, witness=witness.key) == "ok"
    assert go.answer(verifier_key=key, proof=proof, witness=other.key) != "ok"
    # Within what is signed and what is hashed; not in spare bits of base64 or in keys' names.
    body = proof.index("index ")
    text = split_note(bundle.checkpoint)[0]
    end = proof.index(text) + len(text)
    places = [at for at in range(body, end) if proof[at + 1] != "="]
    for at in random.Random(200).sample(places, 60):
        altered = proof[:at] + chr(ord(proof[at]) ^ 1) + proof[at + 1 :]
        assert go.answer(verifier_key=key, proof=altered, witness=witness.key) != "ok", at


async def cosigned(reader: Bus, least: int) -> Checkpoint | None:
    """The newest head, once it is so large and cosigned."""
    try:
        found = await reader.request(GET_CHECKPOINT, GetCheckpoint())
    except FaultError:
        return None
    is_cosigned = "witness.example/w1" in found.checkpoint and found.tree_size >= least
    return found if is_cosigned else None
