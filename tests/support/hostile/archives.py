# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Hostile archives: names, members that are no files, metadata, lengths, other forms."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

from shared.contracts.package_manifest import MAX_ARTIFACT_BYTES
from shared.package_archive import MAX_FILES, write_archive
from tests.support.hostile.publications import (
    OBJECT,
    Kind,
    good_files,
    with_archive,
)
from tests.support.hostile.tar_blocks import BLOCK, END, beside, member, members, readme

_BAD_PATH: Final = "a path is letters"
_NOT_FILE: Final = "not a regular file"
_NOT_OURS: Final = "is not the canonical archive"
_NOT_TAR: Final = "holds a header that is not ustar"
_NOT_OCTAL: Final = "holds a number that is not octal"
Make = Callable[[], bytes]

_PATHS: Final[dict[str, bytes]] = {
    "a path to the parent folder": b"../one.bpf.o",
    "a path to the parent in its middle": b"LICENSES/../../etc/passwd",
    "a path that ends with the parent": b"LICENSES/..",
    "an absolute path": b"/etc/passwd",
    "an absolute path with two slashes": b"//etc/passwd",
    "a path through the folder itself": b"./README.txt",
    "a path with an empty part": b"LICENSES//MIT.txt",
    "a path that ends with a slash": b"LICENSES/",
    "a path of one dot": b".",
    "no path": b"",
    "a hidden file": b".bashrc",
    "a hidden folder": b".git/config",
    "a path with backslashes": b"..\\..\\windows\\system32",
    "a path with a drive": b"C:/autoexec.bat",
    "a path of the home folder": b"~root/.ssh/authorized_keys",
    "a path with a blank": b"read me",
    "a path with a line feed": b"a\nb",
    "a path with a terminal escape": b"\x1b[2Ja",
    "a path with a bell": b"a\x07",
    "a path that is an option": b"-rf",
    "a path with a wildcard": b"*",
    "a path with a shell command": b"$(reboot)",
    "a path with a quote": b"a'b",
    "a path that is not UTF-8": b"\xff\xfe",
    "a path with an overlong slash": b"..\xc0\xafetc",
    "a path in another script": "\u0433eadme".encode(),
    "a path with a right-to-left mark": "a\u202etxt.o".encode(),
    "a path with a full-width dot": "\uff0e\uff0e/a".encode(),
    "a path with a percent escape": b"%2e%2e/a",
    "a path with a bad part at its end": b"a/b/.c",
}
_MEMBERS: Final[dict[str, tuple[bytes, bytes]]] = {
    "a hard link": (b"1", b"README.md"),
    "a hard link to a file outside": (b"1", b"/etc/shadow"),
    "a symbolic link": (b"2", b"README.md"),
    "a symbolic link to the root": (b"2", b"/"),
    "a symbolic link to itself": (b"2", b"thing"),
    "a character device": (b"3", b""),
    "a block device": (b"4", b""),
    "a folder": (b"5", b""),
    "a FIFO": (b"6", b""),
    "a contiguous file": (b"7", b""),
    "a file of the format before ustar": (b"\0", b""),
    "an extended header": (b"x", b""),
    "a global extended header": (b"g", b""),
    "a long name of GNU tar": (b"L", b""),
    "a long link name of GNU tar": (b"K", b""),
    "a sparse file of GNU tar": (b"S", b""),
    "a continued volume of GNU tar": (b"M", b""),
    "a volume label of GNU tar": (b"V", b""),
    "a dumped folder of GNU tar": (b"D", b""),
    "an access control list of Solaris": (b"A", b""),
    "an extended header of Solaris": (b"X", b""),
    "an unknown kind of member": (b"Z", b""),
}
_METADATA: Final[dict[str, dict[str, bytes]]] = {
    "a file that runs as its owner": {"mode": b"0004755\0"},
    "a file that runs as its group": {"mode": b"0002755\0"},
    "a file that everybody may write": {"mode": b"0000666\0"},
    "an executable file": {"mode": b"0000755\0"},
    "an owner": {"owner": b"0001750\0"},
    "a group": {"group": b"0001750\0"},
    "an owner's name": {"owner_name": b"root"},
    "a group's name": {"group_name": b"wheel"},
    "a time": {"time": b"14700000000\0"},
    "a link name on a file": {"link": b"/etc/passwd"},
    "a device number on a file": {"major": b"0000010\0"},
    "a minor number on a file": {"minor": b"0000003\0"},
    "bytes behind the header": {"tail": b"hidden"},
    "bytes behind a name": {"name": b"README.md\0hidden"},
    "bytes behind a prefix": {"prefix": b"\0hidden"},
    "another ustar version": {"version": b"01"},
    "a number with leading blanks": {"mode": b"    644\0"},
    "a checksum without its blank": {"checksum": b"\0" * 8},
}
_HEADERS: Final[dict[str, tuple[dict[str, bytes], str]]] = {
    "a wrong checksum": ({"checksum": b"000001\0 "}, _NOT_TAR),
    "a checksum in decimal": ({"checksum": b"999999\0 "}, _NOT_OCTAL),
    "the magic of GNU tar": ({"magic": b"ustar ", "version": b" \0"}, _NOT_TAR),
    "no magic": ({"magic": b"", "version": b""}, _NOT_TAR),
    "a size in base 256": ({"size": b"\x80" + bytes(10) + b"\x06"}, _NOT_OCTAL),
    "a negative size": ({"size": b"\xff" * 12}, _NOT_OCTAL),
    "a size with a sign": ({"size": b"-0000000006\0"}, _NOT_OCTAL),
    "a size in hexadecimal": ({"size": b"0x000000006\0"}, _NOT_OCTAL),
    "no size": ({"size": b""}, _NOT_OCTAL),
    "a size that reaches behind the end": ({"size": b"00077777777\0"}, "ends within a file"),
    "the greatest size": ({"size": b"777777777777"}, "ends within a file"),
    "a size that ends within the next header": ({"size": b"00000001001\0"}, _NOT_TAR),
}
_COMPRESSED: Final[dict[str, Callable[[bytes], bytes]]] = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "lzma": partial(lzma.compress, format=lzma.FORMAT_ALONE),
    "zlib": zlib.compress,
    "zstd": lambda data: b"\x28\xb5\x2f\xfd\x00" + data,
    "lz4": lambda data: b"\x04\x22\x4d\x18" + data,
}


def archive_kinds() -> Iterator[Kind]:
    """All of them."""
    for name, path in _PATHS.items():
        place = f"files[{path.decode('latin-1')}]"
        yield _kind(f"archive: {name}", beside(member(path)), place, _BAD_PATH)
    for name, (kind, link) in _MEMBERS.items():
        make = beside(member(b"thing", b"", kind=kind, link=link))
        yield _kind(f"archive: {name}", make, "archive[thing]", _NOT_FILE)
    for name, fields in _METADATA.items():
        rule = _NOT_OURS if "checksum" not in fields else _NOT_OCTAL
        yield _kind(f"archive: {name}", readme(**fields), "archive", rule)
    for name, (fields, rule) in _HEADERS.items():
        yield _kind(f"archive: {name}", readme(**fields), "archive", rule)
    for name, compress in _COMPRESSED.items():
        yield _kind(f"archive: {name}", partial(_whole, compress), "archive", "")
    yield from _forms()
    yield from _lengths()
    yield from _names()
    yield from _differences()


def _kind(name: str, make: Make, path: str, rule: str) -> Kind:
    return Kind(name, lambda: with_archive(make()), path, rule)


def _whole(change: Callable[[bytes], bytes]) -> bytes:
    return change(write_archive(good_files()))


def _tar(form: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as tar:
        for path, data in good_files().items():
            entry = tarfile.TarInfo(path)
            entry.size, entry.mtime = len(data), 1.5
            tar.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def _zip(method: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for path, data in good_files().items():
            archive.writestr(path, data)
    return buffer.getvalue()


def _forms() -> Iterator[Kind]:
    """Archives of other tools, and things that are none."""
    forms: dict[str, Make] = {
        "a tar of another tool": partial(_tar, tarfile.USTAR_FORMAT),
        "a tar of GNU": partial(_tar, tarfile.GNU_FORMAT),
        "a zip": partial(_zip, zipfile.ZIP_STORED),
        "a compressed zip": partial(_zip, zipfile.ZIP_DEFLATED),
        "a cpio": lambda: b"070701" + b"0" * 104 + b"TRAILER!!!\0",
        "an ar": lambda: b"!<arch>\n" + b" " * 600,
        "a 7z": lambda: b"7z\xbc\xaf\x27\x1c" + bytes(600),
        "a squashfs": lambda: b"hsqs" + bytes(600),
        "an object file": lambda: good_files()[OBJECT],
        "a script": lambda: b"#!/bin/sh\nreboot\n" * 40,
        "a gzip bomb": lambda: gzip.compress(bytes(16 << 20)),
        "bytes without meaning": lambda: bytes(range(256)) * 8,
    }
    for name, make in forms.items():
        yield _kind(f"archive: {name}", make, "archive", "")


def _lengths() -> Iterator[Kind]:
    """Ends that are missing, doubled or followed by something."""
    lengths: dict[str, tuple[Make, str]] = {
        "an archive of one byte": (lambda: b"\0", "ends without an end mark"),
        "an archive cut within a header": (lambda: _whole(lambda d: d[:700]), "without an end"),
        "an archive cut within a file": (lambda: _whole(lambda d: d[:514]), "ends within a file"),
        "no end mark": (lambda: b"".join(members()), "ends without an end mark"),
        "half an end mark": (lambda: b"".join(members()) + bytes(BLOCK), _NOT_OURS),
        "an end mark cut short": (lambda: _whole(lambda d: d[:-1]), _NOT_OURS),
        "a record of twenty blocks": (lambda: _whole(lambda d: d + bytes(10240)), _NOT_OURS),
        "bytes behind the end": (lambda: _whole(lambda d: d + b"hidden"), _NOT_OURS),
        "a second archive behind the end": (lambda: _whole(lambda d: d + d), _NOT_OURS),
        "an object behind the end": (
            lambda: _whole(lambda d: d + good_files()[OBJECT]),
            _NOT_OURS,
        ),
        "a file in the padding": (
            lambda: _whole(lambda d: d[:516] + b"hidden" + d[522:]),
            _NOT_OURS,
        ),
        "an archive over the limit": (
            lambda: bytes(MAX_ARTIFACT_BYTES + 1),
            "larger than an archive may be",
        ),
    }
    for name, (make, rule) in lengths.items():
        yield _kind(f"archive: {name}", make, "archive", rule)
    pax = partial(_tar, tarfile.PAX_FORMAT)
    yield _kind("archive: a tar of pax", pax, "files[././@PaxHeader]", _BAD_PATH)
    nothing = Kind("archive: no files", lambda: with_archive(END), f"archive[{OBJECT}]", "lacks")
    yield nothing


def _names() -> Iterator[Kind]:
    """Names that meet one another, too many of them, or too long ones."""
    parts = b"/".join([b"d" * 30] * 5)
    names: dict[str, tuple[Make, str, str]] = {
        "a file twice": (beside(member(b"README.md")), "files[README.md]", "is there twice"),
        "an object twice": (beside(member(OBJECT.encode())), f"files[{OBJECT}]", "is there twice"),
        "names that differ by case": (
            beside(member(b"readme.MD")),
            "files[readme.MD]",
            "differs from another only by case",
        ),
        "folders that differ by case": (
            beside(member(b"licenses/GPL-2.0-only.txt")),
            "files[licenses/GPL-2.0-only.txt]",
            "differs from another only by case",
        ),
        "a file that is also a folder": (
            beside(member(b"README.md/inside")),
            "files[README.md/inside]",
            "is a file",
        ),
        "a folder that is also a file": (beside(member(b"licenses")), "files[licenses]", "folder"),
        "more files than are allowed": (
            beside(*(member(b"f%d" % number, b"") for number in range(MAX_FILES))),
            "files",
            "too many files",
        ),
        "a hundred thousand files": (
            beside(*(member(b"f%d" % number, b"") for number in range(100_000))),
            "files",
            "too many files",
        ),
        "a thousand files of one name": (
            beside(*(member(b"same") for _ in range(1000))),
            "files[same]",
            "is there twice",
        ),
        "a path of 256 bytes": (
            beside(member(b"n" * 100, prefix=parts + b"d")),
            f"files[{(parts + b'd').decode()}/{'n' * 100}]",
            "too long",
        ),
        "a prefix that leaves the folder": (
            beside(member(b"passwd", prefix=b"../../etc")),
            "files[../../etc/passwd]",
            _BAD_PATH,
        ),
        "a prefix of the root": (
            beside(member(b"passwd", prefix=b"/")),
            "files[//passwd]",
            _BAD_PATH,
        ),
        "a path that is split elsewhere": (
            lambda: b"".join((*members(), member(b"b", prefix=b"a"), END)),
            "archive[a/b]",
            "does not name",
        ),
        "an order of its own": (
            lambda: b"".join((*reversed(members()), END)),
            "archive",
            _NOT_OURS,
        ),
    }
    for name, (make, path, rule) in names.items():
        yield _kind(f"archive: {name}", make, path, rule)


def _differences() -> Iterator[Kind]:
    """Good archives that are not the manifest's."""
    good = dict(good_files())
    changed = {**good, "README.md": b"# two\n"}
    longer = {**good, "README.md": b"# more\n"}
    missing = {path: data for path, data in good.items() if path != "one.bpf.c"}
    more = {**good, "run.sh": b"#!/bin/sh\n"}
    for name, files, path, rule in (
        ("a file with other content", changed, "archive[README.md].sha256", "digest differs"),
        ("a file of another size", longer, "archive[README.md].size_bytes", "size differs"),
        ("a file that is missing", missing, "archive[one.bpf.c]", "lacks this file"),
        ("a file that nobody named", more, "archive[run.sh]", "does not name this file"),
    ):
        yield Kind(
            f"archive: {name}",
            partial(with_archive, write_archive(files)),
            path,
            rule,
        )
