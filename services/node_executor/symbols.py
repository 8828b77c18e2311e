# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Where a symbol of a program or library lies in its file, as a uprobe is told.

Pure: takes the file's bytes.  Source: the ELF specification (gabi 4.1); an offset in the file is
the symbol's address less its segment's, plus where the segment begins.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from mmap import mmap
from typing import Final, NamedTuple, TypeAlias

FileBytes: TypeAlias = bytes | mmap

_SYMBOL_TABLES: Final = (2, 11)
"""SHT_SYMTAB, SHT_DYNSYM."""
_LOADED: Final = 1
_FUNCTIONS: Final = (2, 10)
"""STT_FUNC, STT_GNU_IFUNC."""


class NotAnExecutableError(Exception):
    """The file is no ELF file, or a broken one."""


class _Form(NamedTuple):
    """What differs between the classes of ELF files."""

    order: str
    is_64: bool

    @property
    def header(self) -> struct.Struct:
        """e_phoff, e_shoff, e_flags, e_ehsize, e_phentsize, e_phnum, e_shentsize, e_shnum."""
        return struct.Struct(self.order + ("QQIHHHHH" if self.is_64 else "IIIHHHHH"))

    @property
    def header_at(self) -> int:
        return 32 if self.is_64 else 28

    @property
    def section(self) -> struct.Struct:
        """sh_name, sh_type, flags, addr, offset, size, link, info, align, entsize."""
        return struct.Struct(self.order + ("IIQQQQIIQQ" if self.is_64 else "IIIIIIIIII"))


def symbol_offset(data: FileBytes, symbol: str) -> int | None:
    """Where the function begins in the file; None: the file's tables have no such function.

    Raises:
        NotAnExecutableError: It cannot be read.
    """
    try:
        return _symbol_offset(data, symbol)
    except (struct.error, IndexError, OverflowError) as error:
        raise NotAnExecutableError("the file is cut off") from error


def _symbol_offset(data: FileBytes, symbol: str) -> int | None:
    if data[:4] != b"\x7fELF" or data[4] not in (1, 2) or data[5] not in (1, 2):
        raise NotAnExecutableError("the file is no ELF file")
    form = _Form("<" if data[5] == 1 else ">", data[4] == 2)  # noqa: PLR2004 because of ELFCLASS64
    (
        segments_at,
        sections_at,
        _,
        _,
        segment_bytes,
        segment_count,
        section_bytes,
        section_count,
    ) = form.header.unpack_from(data, form.header_at)
    sections = [
        form.section.unpack_from(data, sections_at + number * section_bytes)
        for number in range(section_count)
    ]
    segments = [
        _segment(data, form, segments_at + number * segment_bytes)
        for number in range(segment_count)
    ]
    for section in sections:
        if section[1] not in _SYMBOL_TABLES or section[6] >= len(sections):
            continue
        strings = sections[section[6]]
        for name_at, address in _functions(data, form, section):
            start = strings[4] + name_at
            end = data.find(b"\0", start, strings[4] + strings[5])
            if data[start:end] == symbol.encode():
                return next(
                    (
                        address - virtual + offset
                        for kind, offset, virtual, size in segments
                        if kind == _LOADED and virtual <= address < virtual + size
                    ),
                    None,
                )
    return None


def _functions(data: FileBytes, form: _Form, section: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """Where its name is, and its address, of each function that the file itself has."""
    entry = struct.Struct(form.order + ("IBBHQQ" if form.is_64 else "IIIBBH"))
    for at in range(section[4], section[4] + section[5], section[9] or entry.size):
        if form.is_64:
            name, info, _, home, address, _ = entry.unpack_from(data, at)
        else:
            name, address, _, info, _, home = entry.unpack_from(data, at)
        if info & 0xF in _FUNCTIONS and home:
            yield name, address


def _segment(data: FileBytes, form: _Form, at: int) -> tuple[int, int, int, int]:
    """Type, offset in the file, address, and size in the file."""
    if form.is_64:
        kind, _, offset, virtual, _, size = struct.unpack_from(form.order + "IIQQQQ", data, at)
    else:
        kind, offset, virtual, _, size = struct.unpack_from(form.order + "IIIII", data, at)
    return kind, offset, virtual, size
