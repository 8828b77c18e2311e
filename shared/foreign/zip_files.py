# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""ZIP archives that somebody else packed.

Pure.  PKWARE's APPNOTE 6.3.  The directory at the end is read, and each entry's own header must
agree with it; entries follow one another without overlap, so no byte is unpacked twice.
"""

from __future__ import annotations

import io
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import Final

from shared.foreign.archives import (
    DEFAULT_LIMITS,
    Entry,
    ForeignFile,
    Limits,
    archive_error,
    checked_files,
    too_large,
)

_LOCAL: Final = struct.Struct("<4s5H3I2H")
_UNIX: Final = 3
_ENCRYPTED: Final = 0x1 | 0x40 | 0x2000
_UTF_8: Final = 0x800
_DESCRIPTOR: Final = 0x8
_DESCRIPTOR_BYTES: Final = frozenset({12, 16, 20, 24})
"""With and without its mark, with sizes of four and of eight bytes."""
_KINDS: Final = {
    0: "file",
    stat.S_IFREG: "file",
    stat.S_IFDIR: "folder",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
}


def read_zip(data: bytes, limits: Limits = DEFAULT_LIMITS) -> dict[str, ForeignFile]:
    """The files of a ZIP archive.

    Raises:
        ForeignArchiveError: It holds what is not unpacked, or is no such archive.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            listed = archive.infolist()
            end = archive.start_dir
    except (zipfile.BadZipFile, RuntimeError, ValueError, OverflowError) as error:
        raise archive_error("archive", f"is no ZIP file: {error}") from error
    except struct.error as error:
        raise archive_error("archive", "is no ZIP file: a record is cut off") from error
    return checked_files(_entries(data, listed, end, limits), limits)


def _entries(
    data: bytes, listed: list[zipfile.ZipInfo], end: int, limits: Limits
) -> Iterator[Entry]:
    """In the order in which they lie in the file."""
    allowed_bytes = limits.of(len(data))
    found_bytes = behind = 0
    descriptor = False
    for info in sorted(listed, key=lambda one: one.header_offset):
        _check_gap(info.header_offset - behind, follows_descriptor=descriptor)
        packed, behind = _packed(data, info)
        descriptor = bool(info.flag_bits & _DESCRIPTOR)
        kind = _kind(info)
        content = _unpacked(info, packed, allowed_bytes - found_bytes) if kind == "file" else b""
        found_bytes += len(content)
        if found_bytes > allowed_bytes:
            raise too_large(found_bytes, len(data), limits)
        _check_content(info, content, kind)
        yield Entry(path=info.filename, kind=kind, mode=_mode(info), data=content)
    _check_gap(end - behind, follows_descriptor=descriptor)


def _check_gap(gap_bytes: int, *, follows_descriptor: bool) -> None:
    """Between what was read and what comes next lies nothing but a data descriptor."""
    if gap_bytes < 0:
        raise archive_error("archive", "has entries that overlap", gap_bytes)
    if gap_bytes and not (follows_descriptor and gap_bytes in _DESCRIPTOR_BYTES):
        rule = "has bytes that belong to no entry"
        raise archive_error("archive", rule, gap_bytes)


def _packed(data: bytes, info: zipfile.ZipInfo) -> tuple[bytes, int]:
    """The entry's bytes, and where they end."""
    place = f"archive[{info.orig_filename}]"
    if "\0" in info.orig_filename:
        raise archive_error(place, "has a control character")
    if info.flag_bits & _ENCRYPTED:
        raise archive_error(place, "is encrypted")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise archive_error(place, "is compressed in another way than deflate", info.compress_type)
    header = data[info.header_offset : info.header_offset + _LOCAL.size]
    if len(header) < _LOCAL.size or not header.startswith(b"PK\x03\x04"):
        raise archive_error(place, "has no header where the directory says")
    fields = _LOCAL.unpack(header)
    name_bytes, extra_bytes = fields[9], fields[10]
    begin = info.header_offset + _LOCAL.size
    name = data[begin : begin + name_bytes]
    written = info.orig_filename.encode("utf-8" if info.flag_bits & _UTF_8 else "cp437", "replace")
    if name != written or fields[3] != info.compress_type or fields[2] & _ENCRYPTED:
        raise archive_error(place, "its header says something else than the directory")
    begin += name_bytes + extra_bytes
    packed = data[begin : begin + info.compress_size]
    if len(packed) < info.compress_size:
        raise archive_error(place, "is cut off")
    return packed, begin + info.compress_size


def _unpacked(info: zipfile.ZipInfo, packed: bytes, most_bytes: int) -> bytes:
    """At most one byte more than `most_bytes`."""
    if info.compress_type == zipfile.ZIP_STORED:
        return packed[: most_bytes + 1]
    reader = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
    try:
        content = reader.decompress(packed, most_bytes + 1)
    except zlib.error as error:
        raise archive_error(f"archive[{info.filename}]", f"is damaged: {error}") from error
    if len(content) <= most_bytes and (not reader.eof or reader.unused_data):
        raise archive_error(f"archive[{info.filename}]", "ends early, or has bytes behind its end")
    return content


def _check_content(info: zipfile.ZipInfo, content: bytes, kind: str) -> None:
    if kind == "file" and (len(content) != info.file_size or zlib.crc32(content) != info.CRC):
        raise archive_error(f"archive[{info.filename}]", "is not what its checksum and size say")


def _kind(info: zipfile.ZipInfo) -> str:
    if info.create_system == _UNIX:
        kind = _KINDS.get(stat.S_IFMT(info.external_attr >> 16), "of an unknown kind")
        if kind != "file":
            return kind
    return "folder" if info.filename.endswith("/") else "file"


def _mode(info: zipfile.ZipInfo) -> int:
    return (info.external_attr >> 16) & 0o7777 if info.create_system == _UNIX else 0o644
