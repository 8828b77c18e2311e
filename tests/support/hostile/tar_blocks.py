# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Blocks of tar archives in which every field can be anything (pax(1), ustar and its relatives)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from tests.support.hostile.publications import good_files

BLOCK: Final = 512
END: Final = bytes(2 * BLOCK)
_FIELDS: Final[dict[str, tuple[int, int]]] = {
    "name": (0, 100),
    "mode": (100, 8),
    "owner": (108, 8),
    "group": (116, 8),
    "size": (124, 12),
    "time": (136, 12),
    "kind": (156, 1),
    "link": (157, 100),
    "magic": (257, 6),
    "version": (263, 2),
    "owner_name": (265, 32),
    "group_name": (297, 32),
    "major": (329, 8),
    "minor": (337, 8),
    "prefix": (345, 155),
    "tail": (500, 12),
}
_CHECKSUM: Final = slice(148, 156)


def member(path: bytes, data: bytes = b"x", /, **fields: bytes) -> bytes:
    """One member as this product writes it, but for the fields that are given.

    `checksum` is what stands in its place; left out, it is right.
    """
    usual = {
        "name": path,
        "mode": b"0000644\0",
        "owner": b"0000000\0",
        "group": b"0000000\0",
        "size": b"%011o\0" % len(data),
        "time": b"%011o\0" % 0,
        "kind": b"0",
        "magic": b"ustar\0",
        "version": b"00",
        "major": b"0000000\0",
        "minor": b"0000000\0",
    }
    block = bytearray(BLOCK)
    for field, value in {**usual, **fields}.items():
        if field != "checksum":
            start, length = _FIELDS[field]
            block[start : start + length] = value.ljust(length, b"\0")[:length]
    block[_CHECKSUM] = b" " * 8
    block[_CHECKSUM] = fields.get("checksum", b"%06o\0 " % sum(block))
    return bytes(block) + data + bytes(-len(data) % BLOCK)


def members(changed: Mapping[str, bytes] | None = None) -> list[bytes]:
    """The members of the good package, each in its place, or what stands there instead."""
    instead = changed or {}
    return [
        instead.get(path, member(path.encode(), data))
        for path, data in sorted(good_files().items())
    ]


def beside(*more: bytes) -> Callable[[], bytes]:
    """The good package and further members behind its own."""
    return lambda: b"".join((*members(), *more, END))


def readme(**fields: bytes) -> Callable[[], bytes]:
    """The good package, in which the header of README.md says something else."""
    data = good_files()["README.md"]
    return lambda: b"".join((*members({"README.md": member(b"README.md", data, **fields)}), END))
