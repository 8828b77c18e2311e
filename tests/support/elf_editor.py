# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Changes single fields, sections, symbols and relocations of a good ELF file.

Knows as much of the format as it takes to find a place: nothing is checked, so that anything can be
written there (System V gABI, chapter 4; 64 bits, little-endian).
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

_HEADER: Final = {
    "e_type": (16, "<H"),
    "e_machine": (18, "<H"),
    "e_shoff": (40, "<Q"),
    "e_ehsize": (52, "<H"),
    "e_shentsize": (58, "<H"),
    "e_shnum": (60, "<H"),
    "e_shstrndx": (62, "<H"),
}
_SECTION: Final = struct.Struct("<IIQQQQIIQQ")
_SYMBOL: Final = struct.Struct("<IBBHQQ")
_RELOCATION: Final = struct.Struct("<QQ")


class SectionHeader(NamedTuple):
    """As it stands in the file."""

    name: int
    type: int
    flags: int
    address: int
    offset: int
    size: int
    link: int
    info: int
    alignment: int
    entry_size: int


class SymbolEntry(NamedTuple):
    """As it stands in the file."""

    name: int
    info: int
    other: int
    section: int
    value: int
    size: int


class ElfEditor:
    """An object file that is changed in place; `bytes(editor)` is what came of it."""

    def __init__(self, data: bytes) -> None:
        self._data: Final = bytearray(data)

    def __bytes__(self) -> bytes:
        return bytes(self._data)

    def header(self, field: str) -> int:
        """A field of the file's header."""
        place, form = _HEADER[field]
        value: int = struct.unpack_from(form, self._data, place)[0]
        return value

    def set_header(self, field: str, value: int) -> ElfEditor:
        """The field says `value`."""
        place, form = _HEADER[field]
        struct.pack_into(form, self._data, place, value)
        return self

    def sections(self) -> list[SectionHeader]:
        """All section headers, by index."""
        start, count = self.header("e_shoff"), self.header("e_shnum")
        return [
            SectionHeader(*_SECTION.unpack_from(self._data, start + index * _SECTION.size))
            for index in range(count)
        ]

    def index_of(self, name: str) -> int:
        """Of the first section with that name."""
        sections = self.sections()
        names = self.content(self.header("e_shstrndx"))
        found = [_text(names, section.name) for section in sections]
        return found.index(name)

    def content(self, index: int) -> bytes:
        """A section's bytes."""
        section = self.sections()[index]
        return bytes(self._data[section.offset : section.offset + section.size])

    def set_section(self, index: int, /, **fields: int) -> ElfEditor:
        """The section's header says so."""
        header = self.sections()[index]._replace(**fields)
        _SECTION.pack_into(self._data, self.header("e_shoff") + index * _SECTION.size, *header)
        return self

    def replace(self, section: str, content: bytes, /, **fields: int) -> ElfEditor:
        """The section has other content, which lies behind everything else."""
        offset = self._append(content)
        return self.set_section(self.index_of(section), offset=offset, size=len(content), **fields)

    def add_section(self, header: SectionHeader, content: bytes) -> ElfEditor:
        """One more section, the last one; the table of headers moves to the end."""
        placed = header._replace(offset=self._append(content), size=len(content))
        headers = [*self.sections(), placed]
        start = self._append(b"".join(_SECTION.pack(*one) for one in headers))
        return self.set_header("e_shoff", start).set_header("e_shnum", len(headers))

    def copy_section(self, name: str, content: bytes) -> ElfEditor:
        """A second section of that name and type."""
        return self.add_section(self.sections()[self.index_of(name)], content)

    def symbol_index(self, name: str) -> int:
        """Of the first symbol with that name."""
        names = self.content(self.sections()[self.index_of(".symtab")].link)
        found = [_text(names, symbol.name) for symbol in self.symbols()]
        return found.index(name)

    def symbols(self) -> list[SymbolEntry]:
        """The symbol table."""
        return [
            SymbolEntry(*entry)
            for entry in _SYMBOL.iter_unpack(self.content(self.index_of(".symtab")))
        ]

    def set_symbol(self, symbol: str, /, **fields: int) -> ElfEditor:
        """The symbol says so."""
        index = self.symbol_index(symbol)
        table = self.sections()[self.index_of(".symtab")].offset
        entry = self.symbols()[index]._replace(**fields)
        _SYMBOL.pack_into(self._data, table + index * _SYMBOL.size, *entry)
        return self

    def set_relocation(self, section: str, *, offset: int, symbol: int) -> ElfEditor:
        """The first relocation of that table of relocations is another one."""
        table = self.sections()[self.index_of(section)].offset
        _RELOCATION.pack_into(self._data, table, offset, symbol << 32 | 1)
        return self

    def patch(self, section: str, place: int, data: bytes) -> ElfEditor:
        """Other bytes within a section."""
        start = self.sections()[self.index_of(section)].offset + place
        self._data[start : start + len(data)] = data
        return self

    def rename(self, old: bytes, new: bytes) -> ElfEditor:
        """A section or symbol named `old` is named `new`, of the same length."""
        assert len(old) == len(new)
        place = self.content(self.index_of(".strtab")).index(old + b"\0")
        return self.patch(".strtab", place, new)

    def _append(self, content: bytes) -> int:
        self._data.extend(bytes(-len(self._data) % 8))
        start = len(self._data)
        self._data.extend(content)
        return start


def _text(table: bytes, place: int) -> str:
    return table[place : table.index(b"\0", place)].decode()
