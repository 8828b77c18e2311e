# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Whatever is changed in an export, `verify` finds it and says where it is."""

from __future__ import annotations

import asyncio
import os
import random
import secrets
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from cli.audit_lines import json_line
from services.auditor.adapters.sqlite_store import SqliteStore
from services.auditor.checkpoint import open_checkpoint
from services.auditor.exports import (
    BLOCK_RECORDS,
    CheckedExport,
    ExportChecker,
    Lines,
    read_export_proof,
)
from services.auditor.merkle import leaf_hash
from services.auditor.proofs import render_bundle
from services.auditor.query import SpelledRecord, StoredRecord, spell_record
from services.auditor.verification.problems import Problem
from shared.contracts.audit import AuditRecord, ProofBundle
from shared.errors import RefusedError, VerificationError
from tests.support.log_stores import ORIGIN
from tests.support.whole_logs import KEY, RECORDS, fill

SEED = int(os.environ.get("L3AF_SEED") or secrets.randbelow(2**32))
CHANGES = 30
RANGES = ((0, RECORDS), (0, 1), (RECORDS - 1, RECORDS), (256, 512), (77, 430), (1, RECORDS - 1))


class Export:
    """Records of a log as lines, and what proves them."""

    def __init__(self, lines: Sequence[bytes], bundles: Sequence[ProofBundle]) -> None:
        self.lines = list(lines)
        self.bundles = bundles

    def proof(
        self, first: int, stop: int, *, is_whole: bool = True, lines: Sequence[bytes] = ()
    ) -> bytes:
        """What goes with the records of a range."""
        told = Lines()
        for line in lines or self.lines[first:stop]:
            told.take(msgspec.json.decode(line, type=AuditRecord).index, line)
        ends = (self.bundles[first], self.bundles[stop - 1]) if is_whole else (None, None)
        return told.proof(*ends)


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Export:
    """A whole log, exported."""
    directory = tmp_path_factory.mktemp("log")

    async def exported() -> Export:
        with closing(SqliteStore.open(directory, origin=ORIGIN)) as store:
            await fill(store)
            newest = await store.newest_checkpoint()
            assert newest is not None
            lines, bundles = [], []
            for index in range(RECORDS):
                stored = await store.record(index)
                assert stored is not None
                lines.append(spelled(spell_record(stored)))
                path = await store.inclusion(index, RECORDS)
                bundles.append(render_bundle(stored, inclusion=path, checkpoint=newest[1], key=KEY))
        assert open_checkpoint(newest[1], key=KEY).size == RECORDS
        return Export(lines, bundles)

    return asyncio.run(exported())


def spelled(record: msgspec.Struct) -> bytes:
    """The line of an export."""
    return json_line(msgspec.json.encode(record))


def check(lines: Sequence[bytes], proof: bytes) -> tuple[CheckedExport, list[Problem]]:
    """What the lines of a file come to, and what is wrong with them."""
    checker = ExportChecker(
        read_export_proof(proof), key_of=lambda _: KEY, spelled=spelled, limit=10_000
    )
    for number, line in enumerate(lines, 1):
        checker.take(number, line)
    return checker.finish(), checker.problems.kept


def names(problems: Sequence[Problem], index: int, number: int) -> bool:
    """Whether one of them names the record, its line, or the block that it is in."""
    first = index // BLOCK_RECORDS * BLOCK_RECORDS
    block = f"{first}-{first + BLOCK_RECORDS - 1}"
    places = {("record", str(index)), ("record", block), ("export", str(number))}
    return any((problem.part, problem.at) in places for problem in problems)


@pytest.mark.parametrize(("first", "stop"), RANGES)
def test_a_range_is_proved_to_be_all_of_the_logs_records_in_it(
    export: Export, first: int, stop: int
) -> None:
    """Wherever it begins and ends, and whatever was recorded: problems, repetitions, heads."""
    done, problems = check(export.lines[first:stop], export.proof(first, stop))

    assert problems == []
    assert (done.records, done.first, done.last) == (stop - first, first, stop - 1)
    assert done.head is not None
    assert (done.head.origin, done.head.size) == (ORIGIN, RECORDS)


def test_an_export_of_an_earlier_release_is_proved(export: Export) -> None:
    """Which wrote the fields of an event in another order: the records are the same."""
    lines = [spelled(msgspec.json.decode(line, type=AuditRecord)) for line in export.lines]
    assert lines != export.lines

    done, problems = check(lines, export.proof(0, RECORDS, lines=lines))

    assert (problems, done.records, done.head is None) == ([], RECORDS, False)


def without_bodies(export: Export, hidden: frozenset[int]) -> Export:
    """The same records as they are exported by somebody who does not see some of them."""

    def hash_in(leaf: str) -> str:
        return leaf_hash(leaf.encode()).hex()

    lines, bundles = list(export.lines), list(export.bundles)
    for index in hidden:
        leaf = msgspec.json.decode(lines[index], type=AuditRecord).leaf
        alone = StoredRecord(index, b"", None, 0, 0, "", leaf_hash=leaf_hash(leaf.encode()))
        lines[index] = spelled(spell_record(alone))
        bundles[index] = msgspec.structs.replace(
            bundles[index], leaf="", body="", event=None, leaf_hash=hash_in(leaf)
        )
    return Export(lines, bundles)


def test_a_range_with_restricted_records_is_proved_by_their_hashes(export: Export) -> None:
    """Also at its ends; what is changed in one or put beside it is found and named."""
    choice = random.Random(SEED)
    hidden = frozenset({0, RECORDS - 1, *choice.sample(range(RECORDS), RECORDS // 4)})
    seen = without_bodies(export, hidden)
    proof = seen.proof(0, RECORDS)

    done, problems = check(seen.lines, proof)
    assert problems == []
    assert (done.records, done.restricted) == (RECORDS, len(hidden))
    assert done.head is not None

    for index in choice.sample(sorted(hidden), CHANGES // 2):
        lines = list(seen.lines)
        raw = bytearray(lines[index])
        raw[choice.randrange(len(raw) - 1)] ^= choice.randrange(1, 128)
        lines[index] = bytes(raw)
        told = f"seed {SEED}: {lines[index]!r}"
        assert names(check(lines, proof)[1], index, index + 1), told
        # Whoever makes the digests anew is found by the signed root, or by what is beside a hash.
        forged = msgspec.json.decode(seen.lines[index], type=SpelledRecord)
        for change in ({"leaf_hash": "0" * 64}, {"problem": "seen"}, {"received_at": "now"}):
            line = spelled(msgspec.structs.replace(forged, **change))
            lines[index] = line
            assert check(lines, seen.proof(0, RECORDS, lines=lines))[1], told


@pytest.mark.parametrize("is_whole", [True, False])
def test_any_change_of_a_byte_is_found_and_named(export: Export, is_whole: bool) -> None:
    """Also in what nothing signs, by the digest of its block; also of a selection."""
    choice = random.Random(SEED)
    proof = export.proof(0, RECORDS, is_whole=is_whole)
    for _ in range(CHANGES):
        lines = list(export.lines)
        index = choice.randrange(RECORDS)
        raw = bytearray(lines[index])
        raw[choice.randrange(len(raw) - 1)] ^= choice.randrange(1, 128)
        lines[index] = bytes(raw)

        _, problems = check(lines, proof)

        assert names(problems, index, index + 1), (f"seed {SEED}", lines[index], problems)


@pytest.mark.parametrize("is_whole", [True, False])
def test_any_line_that_is_gone_added_or_elsewhere_is_found_and_named(
    export: Export, is_whole: bool
) -> None:
    """The first and the last as any other; a line that is there twice, or in another place."""
    choice = random.Random(SEED)
    proof = export.proof(0, RECORDS, is_whole=is_whole)
    for index in (0, RECORDS - 1, *(choice.randrange(RECORDS) for _ in range(CHANGES // 3))):
        told = f"seed {SEED}: record {index}"
        gone = [line for at, line in enumerate(export.lines) if at != index]
        assert names(check(gone, proof)[1], index, 0), told
        twice = [*export.lines[: index + 1], *export.lines[index:]]
        assert names(check(twice, proof)[1], index, 0), told
        later = choice.randrange(RECORDS)
        moved = [*gone[:later], export.lines[index], *gone[later:]]
        # Of two neighbours that changed places nobody can say which one was moved.
        either = {index, later} if abs(later - index) == 1 else {index}
        found = check(moved, proof)[1]
        assert moved == export.lines or any(names(found, one, 0) for one in either), told


def test_whoever_makes_the_digests_anew_is_found_by_the_signed_root(export: Export) -> None:
    """A record that fits itself, in the place of another one: it is not the log's."""
    choice = random.Random(SEED)
    first, stop = 100, 300
    for _ in range(CHANGES // 3):
        lines = export.lines[first:stop]
        at = choice.randrange(1, stop - first - 1)
        other = msgspec.json.decode(export.lines[choice.choice([7, 450])], type=SpelledRecord)
        lines[at] = spelled(msgspec.structs.replace(other, index=first + at))

        done, problems = check(lines, export.proof(first, stop, lines=lines))

        assert [problem.part for problem in problems] == ["export"], (SEED, problems)
        assert "not those that were signed" in problems[0].why
        assert done.records == stop - first


def test_a_selection_is_never_taken_for_proved(export: Export) -> None:
    """In order, and no head is given for it."""
    lines = export.lines[::7]
    told = Lines()
    for index, line in zip(range(0, RECORDS, 7), lines, strict=True):
        told.take(index, line)
    assert not told.is_whole

    done, problems = check(lines, told.proof(None, None))

    assert (done.head, problems) == (None, [])


def test_any_change_of_a_byte_of_the_proof_is_refused_or_found(export: Export) -> None:
    """Nothing in it may say something else; how JSON is spaced says nothing."""
    choice = random.Random(SEED)
    proof = export.proof(40, 300)
    meaning = msgspec.json.decode(proof)
    for _ in range(CHANGES):
        raw = bytearray(proof)
        raw[choice.randrange(len(raw))] ^= choice.randrange(1, 128)
        try:
            if msgspec.json.decode(bytes(raw)) == meaning:
                continue
            _, problems = check(export.lines[40:300], bytes(raw))
        except (RefusedError, VerificationError, msgspec.MsgspecError, UnicodeDecodeError):
            continue
        assert problems, (f"seed {SEED}", bytes(raw))


def test_the_file_of_a_proof_is_read_back(export: Export, tmp_path: Path) -> None:
    """As it was written."""
    path = tmp_path / "proof"
    path.write_bytes(export.proof(3, 9))

    proof = read_export_proof(path.read_bytes())

    assert (proof.records, [block for block, _ in proof.blocks]) == (6, [0])
