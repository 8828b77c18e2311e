# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Laws of archives."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.package_archive import ArchiveError, read_archive, unpack_archive, write_archive
from tests.package_builders import a_manifest, a_program

parts = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,30}", fullmatch=True)
paths = st.lists(parts, min_size=1, max_size=4).map("/".join)


def _can_lie_on_a_disk(files: dict[str, bytes]) -> bool:
    """Whether no two names meet, of files or of their folders, where case does not count."""
    named = [path.split("/") for path in files]
    folders = {"/".join(parts[:end]) for parts in named for end in range(1, len(parts))}
    return len({path.casefold() for path in folders | files.keys()}) == len(folders) + len(files)


archives = st.dictionaries(paths, st.binary(max_size=1500), min_size=1, max_size=5).filter(
    _can_lie_on_a_disk
)


@given(archives)
def test_what_is_written_is_read(files: dict[str, bytes]) -> None:
    """Reading is the inverse of writing."""
    assert unpack_archive(write_archive(files)) == files


@given(archives, st.randoms())
def test_the_order_of_files_makes_no_difference(files: dict[str, bytes], random: object) -> None:
    """Equal files make equal bytes."""
    shuffled = list(files.items())
    random.shuffle(shuffled)  # type: ignore[attr-defined]

    assert write_archive(dict(shuffled)) == write_archive(files)


@given(archives, st.data())
def test_every_altered_byte_is_refused(files: dict[str, bytes], data: st.DataObject) -> None:
    """No single byte of an archive can change without being noticed against its manifest."""
    archive = bytearray(write_archive(files))
    place = data.draw(st.integers(0, len(archive) - 1))
    archive[place] ^= data.draw(st.integers(1, 255))
    manifest = a_manifest(files, programs=(a_program(object=min(files)),))

    with pytest.raises(ArchiveError):
        read_archive(bytes(archive), manifest)


@given(st.binary(max_size=3000))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    """No bytes make the reader fail in another way."""
    with suppress(ArchiveError):
        assert write_archive(unpack_archive(data)) == data
