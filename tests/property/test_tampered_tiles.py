# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Whatever is changed in a log that lies as files, `verify` finds it and names the file."""

from __future__ import annotations

import os
import random
import secrets
from pathlib import Path

import pytest

from services.auditor.tile_layout import CHECKPOINT_NAME, ENTRIES, changed_files, render_entries
from services.auditor.verification.adapters.tile_files import verify_tiles
from services.auditor.verification.heads import KeptHead
from shared.errors import RefusedError
from tests.support.small_logs import KEY, SmallLog

SEED = int(os.environ.get("L3AF_SEED") or secrets.randbelow(2**32))
RECORDS = 700
CHANGES = 60


@pytest.fixture(scope="module")
def log() -> SmallLog:
    """Leaves of different sizes."""
    return SmallLog([b"leaf %d " % number * (number % 5 + 1) for number in range(RECORDS)])


def write(log: SmallLog, directory: Path, *, withheld: frozenset[int] = frozenset()) -> list[Path]:
    """The log as files; those below `tile/`.

    Args:
        log: All of it.
        directory: Where to.
        withheld: Numbers of records whose entries do not show them.
    """
    paths = []
    for file in changed_files(0, RECORDS):
        first = file.offset * 256
        if file.level == ENTRIES:
            numbers = range(first, first + file.width)
            data = render_entries([b"" if one in withheld else log.leaves[one] for one in numbers])
        else:
            data = b"".join(log.read(file.nodes))
        path = directory / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        paths.append(path)
    (directory / CHECKPOINT_NAME).write_text(log.note(RECORDS))
    return paths


@pytest.mark.parametrize("withheld", [frozenset(), frozenset(range(3, RECORDS, 4))], ids=len)
def test_any_byte_that_is_changed_in_a_file_is_found_and_named(
    log: SmallLog, tmp_path: Path, withheld: frozenset[int]
) -> None:
    """In an entry bundle: the record or the bundle; in a tile: a tile; nothing else.

    It is so too if some entries are withheld, of which only the tile has the hash.
    """
    paths = write(log, tmp_path, withheld=withheld)
    older = [KeptHead(log.note(size), "a witness") for size in (1, 256, 300, RECORDS)]
    found = verify_tiles(str(tmp_path), keys=[KEY], heads=older)
    assert (found.problems, found.withheld) == ([], len(withheld))
    choice = random.Random(SEED)
    for _ in range(CHANGES):
        path = choice.choice(paths)
        before = path.read_bytes()
        at = choice.randrange(len(before))
        changed = bytearray(before)
        changed[at] ^= choice.randrange(1, 256)
        path.write_bytes(changed)

        problems = verify_tiles(str(tmp_path), keys=[KEY]).problems

        told = f"seed {SEED}: byte {at} of {path}"
        assert problems, told
        parts = {problem.part for problem in problems}
        # Of the last tile only the root says that a hash without an entry is another one.
        tiles = {"tile", "checkpoint"} if withheld else {"tile"}
        assert parts <= ({"record", "entries"} if "entries" in path.parts else tiles), (
            told,
            problems,
        )
        path.write_bytes(before)


def test_a_file_that_is_gone_and_a_head_that_is_not_signed_are_named(
    log: SmallLog, tmp_path: Path
) -> None:
    """Each file that the tree's size asks for must be there; without its key nothing is said."""
    for path in write(log, tmp_path):
        before = path.read_bytes()
        path.unlink()
        assert verify_tiles(str(tmp_path), keys=[KEY]).problems, path
        path.write_bytes(before)
    note = (tmp_path / CHECKPOINT_NAME).read_text()
    (tmp_path / CHECKPOINT_NAME).write_text(note.replace(str(RECORDS), str(RECORDS - 1)))
    with pytest.raises(RefusedError, match="does not verify"):
        verify_tiles(str(tmp_path), keys=[KEY])
