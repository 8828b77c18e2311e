# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Laws of the log as files: what a tree of any size has, and what a bundle of entries holds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.auditor.checkpoint import CheckpointError
from services.auditor.tile_layout import (
    ENTRIES,
    TileFile,
    changed_files,
    parse_entries,
    render_entries,
)

SIZES = st.integers(0, 300_000)


def needed(size: int) -> set[str]:
    """Every file of a tree of `size`, by the words of the specification."""
    paths, level = set(), 0
    while count := size // 256**level:
        for offset in range(count // 256):
            paths.add(TileFile(level, offset, 256).path)
            if level == 0:
                paths.add(TileFile(ENTRIES, offset, 256).path)
        if count % 256:
            paths.add(TileFile(level, count // 256, count % 256).path)
            if level == 0:
                paths.add(TileFile(ENTRIES, count // 256, count % 256).path)
        level += 1
    return paths


@given(st.lists(SIZES, min_size=1, max_size=6).map(sorted))
def test_a_log_written_in_steps_has_every_file_of_every_step(sizes: list[int]) -> None:
    """Whatever the sizes in between were, each step adds exactly what its size has and lacked."""
    written: set[str] = set()
    before = 0
    for size in sizes:
        changed = {file.path for file in changed_files(before, size)}
        assert written | changed >= needed(size)
        assert changed <= needed(size)
        written |= changed
        before = size


@pytest.mark.parametrize(
    ("file", "path"),
    [
        (TileFile(0, 1234067, 256), "tile/0/x001/x234/067"),
        (TileFile(0, 0, 1), "tile/0/000.p/1"),
        (TileFile(2, 1000, 255), "tile/2/x001/000.p/255"),
        (TileFile(ENTRIES, 273, 112), "tile/entries/273.p/112"),
    ],
)
def test_files_are_called_as_the_specification_says(file: TileFile, path: str) -> None:
    """Three digits an element, all but the last with an x; a partial one below its width."""
    assert file.path == path


@pytest.mark.parametrize(
    ("size", "widths"),
    [
        (70_000, {(0, 256): 273, (0, 112): 1, (1, 256): 1, (1, 17): 1, (2, 1): 1}),
        (256, {(0, 256): 1, (1, 1): 1}),
    ],
)
def test_the_examples_of_the_specification(size: int, widths: dict[tuple[int, int], int]) -> None:
    """Trees of 70,000 and of 256 leaves have the tiles that tlog-tiles counts."""
    counted: dict[tuple[int, int], int] = {}
    for file in changed_files(0, size):
        if file.level != ENTRIES:
            counted[file.level, file.width] = counted.get((file.level, file.width), 0) + 1
    assert counted == widths


@given(st.lists(st.binary(max_size=400), max_size=256))
def test_entries_come_back_as_they_were_written(leaves: list[bytes]) -> None:
    """Reading a bundle gives the leaves; one that is cut anywhere is refused or shorter."""
    data = render_entries(leaves)

    assert parse_entries(data) == leaves
    for cut in range(max(len(data) - 3, 0), len(data)):
        try:
            assert len(parse_entries(data[:cut])) < len(leaves)
        except CheckpointError:
            continue


def test_an_entry_that_does_not_fit_is_a_bug() -> None:
    """65,535 bytes are the largest entry; no envelope is larger."""
    largest = b"x" * 65_535
    assert parse_entries(render_entries([largest])) == [largest]
    with pytest.raises(AssertionError):
        render_entries([b"x" * 65_536])
