# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Archives of others: what is read, and that what is hostile is refused for what is wrong."""

from __future__ import annotations

import io
import tarfile
import tracemalloc
import zipfile

import pytest

from shared.foreign.archives import ForeignArchiveError, ForeignFile, Limits
from shared.foreign.tar_files import read_tar
from shared.foreign.zip_files import read_zip
from tests.support.hostile.foreign_archives import (
    LONG,
    ForeignKind,
    foreign_tars,
    foreign_zips,
    packed,
    zipped,
)
from tests.support.hostile.tar_blocks import member

LONG_NAME = "l3af_ratelimiting/" + "deep/" * 40 + "ratelimiting.bpf.o"
MEMORY_BYTES = 8 << 20


def refused(kind: ForeignKind) -> list[str]:
    """The rules that the archive breaks."""
    read = read_zip if kind.name.startswith("zip") else read_tar
    tracemalloc.start()
    try:
        with pytest.raises(ForeignArchiveError) as caught:
            read(kind.data)
        assert tracemalloc.get_traced_memory()[1] < MEMORY_BYTES
    finally:
        tracemalloc.stop()
    return [reason.rule for reason in caught.value.reasons]


@pytest.mark.parametrize(
    "kind", [*foreign_tars(), *foreign_zips()], ids=lambda kind: str(kind.name)
)
def test_what_is_hostile_is_refused_for_what_is_wrong_with_it(kind: ForeignKind) -> None:
    """By the name of the rule, and before it has cost more memory than a small archive may."""
    rules = refused(kind)

    assert any(kind.rule in rule for rule in rules), rules


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_common_form_of_tar_is_read(form: int) -> None:
    """As tar, bsdtar and Go write them: folders, long names, executables."""
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w:gz", format=form) as archive:
        folder = tarfile.TarInfo("./l3af_ratelimiting/")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name, data, mode in (
            ("./l3af_ratelimiting/ratelimiting", b"\x7fELF", 0o755),
            (LONG_NAME, b"object", 0o644),
        ):
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), mode
            archive.addfile(info, io.BytesIO(data))

    assert read_tar(held.getvalue()) == {
        "l3af_ratelimiting/ratelimiting": ForeignFile(b"\x7fELF", is_executable=True),
        LONG_NAME: ForeignFile(b"object"),
    }


def test_zip_files_are_read() -> None:
    """Stored and deflated, written to a disk or to a pipe, from Unix and from Windows."""

    class Pipe(io.RawIOBase):
        """What cannot seek, so that sizes follow the content."""

        def __init__(self) -> None:
            self.held = b""

        def writable(self) -> bool:
            return True

        def write(self, data: object) -> int:
            written = bytes(data)  # type: ignore[call-overload]
            self.held += written
            return len(written)

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("folder/one.o", b"one" * 100)
        archive.writestr("two.o", b"two", zipfile.ZIP_STORED)

    assert read_zip(pipe.held) == {
        "folder/one.o": ForeignFile(b"one" * 100),
        "two.o": ForeignFile(b"two"),
    }
    assert read_zip(zipped(("a/", b""), ("a/run", b"x"), mode=0o100755)) == {
        "a/run": ForeignFile(b"x", is_executable=True)
    }


def test_the_limits_are_the_callers() -> None:
    """In all, by ratio and by number; what fits is read, and one more is not."""
    zeros = packed(member(b"zeros", bytes(LONG)))

    assert len(read_tar(zeros, Limits(ratio=2000))["zeros"].data) == LONG
    for read, data in ((read_tar, zeros), (read_zip, zipped(("zeros", bytes(LONG))))):
        with pytest.raises(ForeignArchiveError, match="larger unpacked than it may be"):
            read(data, Limits(total_bytes=LONG - 1, ratio=2000))
    two = packed(member(b"a"), member(b"b"))
    assert set(read_tar(two, Limits(files=2))) == {"a", "b"}
    with pytest.raises(ForeignArchiveError, match="more entries"):
        read_tar(two, Limits(files=1))


def test_every_problem_is_named() -> None:
    """Not only the first."""
    data = packed(member(b"../a"), member(b"/b"), member(b"c", b"", kind=b"2"), member(b"good"))

    with pytest.raises(ForeignArchiveError) as caught:
        read_tar(data)

    assert [reason.path for reason in caught.value.reasons] == [
        "archive[../a]",
        "archive[/b]",
        "archive[c]",
    ]
