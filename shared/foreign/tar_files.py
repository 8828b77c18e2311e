# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Tar archives that somebody else packed: ustar, GNU and pax, plain or in gzip.

Pure.  pax(1) "pax Interchange Format" and "ustar Interchange Format", GNU tar "Basic Tar Format".
A reader of its own, because every length in it is checked before it is used.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from shared.foreign.archives import (
    DEFAULT_LIMITS,
    MAX_PATH_BYTES,
    Entry,
    ForeignFile,
    Limits,
    archive_error,
    checked_files,
    gunzip,
    is_gzip,
)

_BLOCK: Final = 512
_CHECKSUM: Final = slice(148, 156)
_MAX_EXTENSION_BYTES: Final = 64 * 1024
_KINDS: Final = {
    b"0": "file",
    b"\0": "file",
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a character device",
    b"4": "a block device",
    b"5": "folder",
    b"6": "a FIFO",
    b"7": "a contiguous file",
    b"S": "a sparse file",
    b"M": "a part of a file of another volume",
    b"V": "a volume's name",
}


@dataclass(slots=True)
class _Extension:
    """What headers before a member say of it."""

    path: str | None = None
    size_bytes: int | None = None
    kind: str = ""
    """What it is whatever its own header says."""


def read_tar(data: bytes, limits: Limits = DEFAULT_LIMITS) -> dict[str, ForeignFile]:
    """The files of a tar archive, which may be packed with gzip.

    Raises:
        ForeignArchiveError: It holds what is not unpacked, or is no such archive.
    """
    plain = gunzip(data, limits) if is_gzip(data) else data
    return checked_files(_entries(memoryview(plain)), limits)


def _entries(data: memoryview) -> Iterator[Entry]:
    offset = 0
    extension = _Extension()
    while True:
        header = bytes(data[offset : offset + _BLOCK])
        if len(header) < _BLOCK:
            raise archive_error("archive", "ends without an end mark", offset)
        if header == bytes(_BLOCK):
            if any(data[offset:]):
                raise archive_error("archive", "has bytes behind its end mark", offset)
            return
        _check_header(header, offset)
        kind = header[156:157]
        size_bytes = _number(header[124:136], "size", offset)
        if extension.size_bytes is not None and kind not in b"xgLK":
            size_bytes = extension.size_bytes
        offset += _BLOCK
        content = data[offset : offset + size_bytes]
        if len(content) < size_bytes:
            raise archive_error("archive", "ends within a file", offset)
        offset += size_bytes + (-size_bytes % _BLOCK)
        if kind in b"xgLK":
            _extend(extension, kind, content)
            continue
        yield _entry(header, kind, content, extension)
        extension = _Extension()


def _entry(header: bytes, kind: bytes, content: memoryview, extension: _Extension) -> Entry:
    name, prefix = _text(header[:100]), _text(header[345:500])
    has_prefix = header[257:263] == b"ustar\0" and prefix
    path = extension.path
    if path is None:
        path = f"{prefix}/{name}" if has_prefix else name
    what = extension.kind or _KINDS.get(kind, f"of an unknown kind ({kind!r})")
    if what == "file" and path.endswith("/"):  # as before POSIX.1-1988
        what = "folder"
    return Entry(
        path=path,
        kind=what,
        mode=_number(header[100:108], "mode", 0),
        data=bytes(content) if what == "file" else b"",
    )


def _extend(extension: _Extension, kind: bytes, content: memoryview) -> None:
    if len(content) > _MAX_EXTENSION_BYTES:
        raise archive_error("archive", "has an extended header that is too large", len(content))
    text = bytes(content)
    if kind == b"L":
        extension.path = _text(text)
    elif kind == b"x":
        _read_pax(extension, text)
    elif kind == b"g":
        told = _Extension()
        _read_pax(told, text)
        if told != _Extension():
            raise archive_error("archive", "has a global header that names all its files")


def _read_pax(extension: _Extension, text: bytes) -> None:
    """Records: length, a space, key, `=`, value and a line feed."""
    rest = text.rstrip(b"\0")
    while rest:
        digits, _, _ = rest[:20].partition(b" ")
        length = int(digits) if digits.isdigit() else 0
        record = rest[:length]
        key, equals, value = record[len(digits) + 1 : -1].partition(b"=")
        if not equals or not record.endswith(b"\n") or len(record) != length:
            raise archive_error("archive", "has an extended header that is malformed")
        rest = rest[length:]
        if key == b"path":
            extension.path = _text(value, whole=True)
        elif key == b"size":
            extension.size_bytes = _decimal(value)
        elif key.startswith(b"GNU.sparse."):
            extension.kind = _KINDS[b"S"]
        elif key == b"hdrcharset" and value != b"ISO-IR 10646 2000 UTF-8":
            raise archive_error("archive", "has names that are not UTF-8")


def _check_header(header: bytes, offset: int) -> None:
    expected = sum(header) - sum(header[_CHECKSUM]) + 8 * ord(" ")
    if _number(header[_CHECKSUM], "checksum", offset) != expected:
        raise archive_error("archive", "holds a header that is no tar's or is damaged", offset)


def _number(field: bytes, what: str, offset: int) -> int:
    digits = field.strip(b" \0")
    if field[0] & 0x80:
        raise archive_error("archive", f"holds a {what} in base 256, larger than any file here")
    if digits.strip(b"01234567"):
        raise archive_error("archive", f"holds a {what} that is not octal", offset)
    return int(digits or b"0", 8)


def _decimal(value: bytes) -> int:
    if not value.isdigit() or len(value) > 15:  # noqa: PLR2004 more digits than any size has
        raise archive_error("archive", "holds a size that is no number")
    return int(value)


def _text(field: bytes, *, whole: bool = False) -> str:
    if not whole:
        field = field.partition(b"\0")[0]
    if len(field) > MAX_PATH_BYTES:
        raise archive_error("archive", "holds a path that is too long", len(field), MAX_PATH_BYTES)
    try:
        return field.decode()
    except UnicodeDecodeError as error:
        raise archive_error("archive", "has names that are not UTF-8", field.hex()) from error
