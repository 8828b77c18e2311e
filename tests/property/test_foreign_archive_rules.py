# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Whatever an archive holds, it is read or refused; and what is read has safe names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import PurePosixPath

from hypothesis import given
from hypothesis import strategies as st

from shared.foreign.archives import ForeignArchiveError, ForeignFile, Limits
from shared.foreign.tar_files import read_tar
from shared.foreign.zip_files import read_zip
from tests.support.hostile.foreign_archives import pax, zipped
from tests.support.hostile.tar_blocks import END, member

Read = Callable[[bytes], Mapping[str, ForeignFile]]
GOOD_TAR = b"".join(
    (pax(b"path=folder/one.o", b"mtime=1.5"), member(b"x", b"one"), member(b"two.o", b"2"), END)
)
GOOD_ZIP = zipped(("folder/one.o", b"one"), ("two.o", b"2"))
NAMES = st.text(alphabet="aA/.\\:\u0301é\n", min_size=1, max_size=12)


def check(read: Read, data: bytes) -> None:
    """Read or refused, by nothing else than a refusal."""
    with suppress(ForeignArchiveError):
        files = read(data)
        folded = [path.casefold() for path in files]
        assert len(set(folded)) == len(folded)
        for path in files:
            assert not PurePosixPath(path).is_absolute()
            assert ".." not in PurePosixPath(path).parts
            assert not any(other.startswith(f"{path}/") for other in files)


@given(st.data())
def test_damage_anywhere_is_read_or_refused(data: st.DataObject) -> None:
    """One to eight bytes of a good archive are something else."""
    for read, good in ((read_tar, GOOD_TAR), (read_zip, GOOD_ZIP)):
        damaged = bytearray(good)
        for _ in range(data.draw(st.integers(1, 8))):
            place = data.draw(st.integers(0, len(damaged) - 1))
            damaged[place] = data.draw(st.integers(0, 255))
        check(read, bytes(damaged[: data.draw(st.integers(0, len(damaged)))]))
        check(read, bytes(damaged))


@given(st.lists(NAMES, max_size=6))
def test_any_names_are_read_safely_or_refused(names: list[str]) -> None:
    """In both kinds of archive."""
    check(read_tar, b"".join((*(member(name.encode()) for name in names), END)))
    check(read_zip, zipped(*((name, b"x") for name in dict.fromkeys(names))))


@given(st.binary(max_size=2000), st.integers(0, 3000))
def test_nothing_larger_than_the_limits_comes_out(content: bytes, total_bytes: int) -> None:
    """All files together are within the limit, or the archive is refused."""
    limits = Limits(total_bytes=total_bytes)
    for read, data in (
        (read_tar, b"".join((member(b"a", content), member(b"b", content), END))),
        (read_zip, zipped(("a", content), ("b", content))),
    ):
        with suppress(ForeignArchiveError):
            files = read(data, limits)
            assert sum(len(file.data) for file in files.values()) <= total_bytes
            assert [file.data for file in files.values()] == [content, content]
