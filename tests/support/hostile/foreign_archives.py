# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Hostile archives of others' making: tar in gzip and ZIP, each with why it is refused."""

from __future__ import annotations

import gzip
import io
import stat
import struct
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from tests.support.hostile.tar_blocks import END, member

_UNIX: Final = 3
LONG: Final = 2_000_000
"""Zeros that pack to about a thousandth."""


@dataclass(frozen=True)
class ForeignKind:
    """One archive, and a part of the refusal's reason."""

    name: str
    data: bytes
    rule: str


def packed(*blocks: bytes, end: bytes = END) -> bytes:
    """Members as a `.tar.gz`."""
    return gzip.compress(b"".join((*blocks, end)), mtime=0)


def pax(*records: bytes, kind: bytes = b"x") -> bytes:
    """An extended header of `key=value` records."""
    lines = b""
    for record in records:
        length = len(record) + 2
        while len(str(length)) + len(record) + 2 != length:
            length = len(str(length)) + len(record) + 2
        lines += b"%d %b\n" % (length, record)
    return member(b"PaxHeader", lines, kind=kind)


def zipped(*files: tuple[str, bytes], mode: int = stat.S_IFREG | 0o644) -> bytes:
    """A ZIP file as Info-ZIP makes it; all entries have the mode."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files:
            info = zipfile.ZipInfo(name)
            info.create_system, info.external_attr = _UNIX, mode << 16
            archive.writestr(info, data, zipfile.ZIP_DEFLATED)
    return held.getvalue()


_NAMES: Final[dict[str, tuple[str, str]]] = {
    "a path to the parent folder": ("../one.o", "leads out of its folder"),
    "a path with the parent in its middle": ("a/../../one.o", "leads out of its folder"),
    "an absolute path": ("/etc/passwd", "is an absolute path"),
    "a path with a drive": ("C:/autoexec.bat", "is an absolute path"),
    "a path with backslashes": ("..\\..\\system32", "has a backslash"),
    "a path with an empty part": ("a//one.o", "has an empty part"),
    "a path with a line feed": ("a\nb.o", "has a control character"),
    "a path with a right-to-left mark": ("a\u202eo.exe", "has a control character"),
    "a path that is too long": ("a/" * 600 + "b", "too long"),
}
_PAIRS: Final[dict[str, tuple[tuple[str, str], str]]] = {
    "a name twice": (("one.o", "one.o"), "is there twice"),
    "names that differ by case": (("one.o", "ONE.O"), "only by case or Unicode form"),
    "names that differ by Unicode form": (("é.o", "e\u0301.o"), "only by case or Unicode form"),
    "folders that differ by case": (("a/one.o", "A/two.o"), "its folder differs"),
    "a file below a file": (("a", "a/one.o"), "its folder is a file"),
    "a file that is a folder": (("a/one.o", "a"), "is also the folder"),
}
_TAR_KINDS: Final[dict[str, tuple[bytes, str]]] = {
    "a hard link": (b"1", "is a hard link"),
    "a symbolic link": (b"2", "is a symbolic link"),
    "a character device": (b"3", "is a character device"),
    "a block device": (b"4", "is a block device"),
    "a FIFO": (b"6", "is a FIFO"),
    "a contiguous file": (b"7", "is a contiguous file"),
    "a sparse file of GNU tar": (b"S", "is a sparse file"),
    "a part of another volume": (b"M", "is a part of a file"),
    "an unknown kind": (b"Z", "is of an unknown kind"),
}
_TARS: Final[dict[str, tuple[Callable[[], bytes], str]]] = {
    "a setuid file": (
        lambda: packed(member(b"sh", b"x", mode=b"0004755\0")),
        "has a setuid or setgid bit",
    ),
    "a setgid file": (
        lambda: packed(member(b"sh", b"x", mode=b"0002755\0")),
        "has a setuid or setgid bit",
    ),
    "a bomb by ratio": (lambda: packed(member(b"zeros", bytes(LONG))), "times as large"),
    "a bomb of nested members": (
        lambda: gzip.compress(member(b"a", b"x")) + gzip.compress(bytes(LONG)),
        "times as large",
    ),
    "no end mark": (lambda: packed(member(b"a"), end=b""), "ends without an end mark"),
    "bytes behind the end mark": (
        lambda: packed(member(b"a"), end=END + member(b"b")),
        "has bytes behind its end mark",
    ),
    "bytes behind the packed content": (
        lambda: packed(member(b"a")) + b"more",
        "has bytes behind its end",
    ),
    "packed content that is cut off": (
        lambda: packed(member(b"a"))[:-12],
        "ends within its compressed content",
    ),
    "a damaged checksum of the packing": (
        lambda: packed(member(b"a"))[:-8] + bytes(8),
        "is damaged",
    ),
    "a size that reaches behind the end": (
        lambda: packed(member(b"a", size=b"00077777777\0")),
        "ends within a file",
    ),
    "a negative size": (lambda: packed(member(b"a", size=b"\xff" * 12)), "in base 256"),
    "a size that is no number": (lambda: packed(member(b"a", size=b"0x1")), "not octal"),
    "a wrong checksum": (lambda: packed(member(b"a", checksum=b"000001\0 ")), "no tar's"),
    "a name that is not UTF-8": (lambda: packed(member(b"\xff\xfe")), "not UTF-8"),
    "a long name to the parent": (
        lambda: packed(member(b"././@LongLink", b"../one.o\0", kind=b"L"), member(b"a")),
        "leads out of its folder",
    ),
    "an extended path to the parent": (
        lambda: packed(pax(b"path=../one.o"), member(b"a")),
        "leads out of its folder",
    ),
    "an extended size behind the end": (
        lambda: packed(pax(b"size=99999999"), member(b"a")),
        "ends within a file",
    ),
    "an extended size that is no number": (
        lambda: packed(pax(b"size=-1"), member(b"a")),
        "a size that is no number",
    ),
    "an extended header that is malformed": (
        lambda: packed(member(b"PaxHeader", b"999 path=a\n", kind=b"x"), member(b"a")),
        "extended header that is malformed",
    ),
    "a global header with a path": (
        lambda: packed(pax(b"path=one.o", kind=b"g"), member(b"a")),
        "global header that names",
    ),
    "a sparse file of pax": (
        lambda: packed(pax(b"GNU.sparse.size=9"), member(b"a")),
        "is a sparse file",
    ),
    "an extended header without end": (
        lambda: packed(member(b"PaxHeader", b"1" * 70_000, kind=b"x"), member(b"a")),
        "extended header that is too large",
    ),
    "more members than are unpacked": (
        lambda: packed(*(member(b"%d" % number, b"") for number in range(4097))),
        "more entries",
    ),
}


def foreign_tars() -> Iterator[ForeignKind]:
    """All that are tar in gzip."""
    for name, (path, rule) in _NAMES.items():
        long = member(b"././@LongLink", path.encode() + b"\0", kind=b"L")
        yield ForeignKind(f"tar: {name}", packed(long, member(b"a")), rule)
    for name, (pair, rule) in _PAIRS.items():
        both = [member(path.encode()) for path in pair]
        yield ForeignKind(f"tar: {name}", packed(*both), rule)
    for name, (kind, rule) in _TAR_KINDS.items():
        yield ForeignKind(f"tar: {name}", packed(member(b"a", b"", kind=kind)), rule)
    for name, (make, rule) in _TARS.items():
        yield ForeignKind(f"tar: {name}", make(), rule)


_ZIP_KINDS: Final[dict[str, tuple[int, str]]] = {
    "a symbolic link": (stat.S_IFLNK | 0o777, "is a symbolic link"),
    "a character device": (stat.S_IFCHR | 0o644, "is a character device"),
    "a block device": (stat.S_IFBLK | 0o644, "is a block device"),
    "a FIFO": (stat.S_IFIFO | 0o644, "is a FIFO"),
    "a socket": (stat.S_IFSOCK | 0o644, "is a socket"),
    "an unknown kind": (0o170000 | 0o644, "is of an unknown kind"),
    "a setuid file": (stat.S_IFREG | 0o4755, "has a setuid or setgid bit"),
    "a setgid file": (stat.S_IFREG | 0o2755, "has a setuid or setgid bit"),
}


def foreign_zips() -> Iterator[ForeignKind]:
    """All that are ZIP."""
    for name, (path, rule) in _NAMES.items():
        yield ForeignKind(f"zip: {name}", zipped((path, b"x")), rule)
    for name, ((one, other), rule) in _PAIRS.items():
        yield ForeignKind(f"zip: {name}", _two(one, other), rule)
    for name, (mode, rule) in _ZIP_KINDS.items():
        yield ForeignKind(f"zip: {name}", zipped(("a", b"x"), mode=mode), rule)
    good = zipped(("a", b"one"), ("b", b"two"))
    yield ForeignKind("zip: a bomb by ratio", zipped(("zeros", bytes(LONG))), "times as large")
    yield ForeignKind("zip: entries that overlap", _overlapping(good), "overlap")
    yield ForeignKind("zip: a name of its own in the entry", _renamed(good), "something else than")
    yield ForeignKind("zip: an encrypted entry", _flagged(good, 1), "is encrypted")
    yield ForeignKind("zip: another compression", _compressed(good, 12), "than deflate")
    yield ForeignKind("zip: a wrong checksum", _checksummed(good), "checksum and size")
    yield ForeignKind("zip: bytes before the first entry", b"#!/bin/sh\n" + good, "no entry")
    yield ForeignKind("zip: a directory that is cut off", good[:-30], "no ZIP file")
    zero = zipped(("a~b.o", b"x")).replace(b"a~b.o", b"a\0b.o")
    yield ForeignKind("zip: a name with a zero byte", zero, "has a control character")
    many = [(str(number), b"") for number in range(4097)]
    yield ForeignKind("zip: more entries than are unpacked", zipped(*many), "more entries")


def _two(one: str, other: str) -> bytes:
    """Two entries; the writer warns of equal names, so the second is renamed in the bytes."""
    if one != other:
        return zipped((one, b"x"), (other, b"x"))
    stand_in = one[:-1] + "~"
    return zipped((one, b"x"), (stand_in, b"x")).replace(stand_in.encode(), one.encode())


def _directory(data: bytes, number: int) -> int:
    """Where the directory's entry with this number begins."""
    at = -1
    for _ in range(number + 1):
        at = data.index(b"PK\x01\x02", at + 1)
    return at


def _overlapping(data: bytes) -> bytes:
    second = bytearray(data)
    at = _directory(data, 1)
    second[at + 42 : at + 46] = bytes(4)  # the offset of the first
    second[at + 46] = ord("a")
    return bytes(second)


def _renamed(data: bytes) -> bytes:
    return data[:30] + b"z" + data[31:]


def _flagged(data: bytes, flag: int) -> bytes:
    at = _directory(data, 0)
    return data[: at + 8] + struct.pack("<H", flag) + data[at + 10 :]


def _compressed(data: bytes, method: int) -> bytes:
    at = _directory(data, 0)
    return data[: at + 10] + struct.pack("<H", method) + data[at + 12 :]


def _checksummed(data: bytes) -> bytes:
    at = _directory(data, 0)
    return data[: at + 16] + bytes(4) + data[at + 20 :]
