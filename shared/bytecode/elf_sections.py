# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The parts of an eBPF object file: sections, symbols and relocations, within stated bounds.

Everything read lies inside the file, so memory is bounded by its size; whatever the parser
stumbles over becomes a refusal.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from io import BytesIO
from typing import Final

from elftools.common.exceptions import ELFError
from elftools.construct import ConstructError
from elftools.elf.elffile import ELFFile

from shared.errors import Reason, RefusedError

MAX_SECTIONS: Final = 4096
MAX_SYMBOLS: Final = 65_536
MAX_RELOCATIONS: Final = 1_000_000

SECTION_SYMBOL: Final = 3
FUNCTION_SYMBOL: Final = 2
WEAK_BINDING: Final = 2
GLOBAL_BINDINGS: Final = (1, WEAK_BINDING)
UNDEFINED_SECTION: Final = 0

_PROGRAM_BITS: Final = 1
_SYMBOL_TABLE: Final = 2
_NO_BITS: Final = 8
_RELOCATIONS: Final = 9
_EXECUTABLE: Final = 0x4
_COMPRESSED: Final = 0x800
_MACHINE_BPF: Final = 247
_UNREADABLE: Final = (
    *(ELFError, ConstructError, struct.error),
    *(ValueError, KeyError, AttributeError, OverflowError),
)
"""What reading the headers of a damaged file raises."""
_SYMBOL: Final = struct.Struct("<IBBHQQ")
_RELOCATION: Final = struct.Struct("<QQ")


class MalformedObjectError(RefusedError):
    """The file is no eBPF object file, or contradicts itself."""

    def __init__(self, path: str, rule: str) -> None:
        super().__init__(f"{path}: {rule}", [Reason(path=path, rule=rule)])


@dataclass(frozen=True, slots=True)
class Symbol:
    """One entry of the symbol table."""

    name: str
    kind: int
    binding: int
    section: int
    """Section index; 0: defined elsewhere, so a kernel function or variable."""
    offset_bytes: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Relocation:
    """One place of a section that names a symbol."""

    offset_bytes: int
    symbol: Symbol


@dataclass(frozen=True, slots=True)
class Section:
    """One section with its bytes; one without contents in the file (`.bss`) is empty here."""

    index: int
    name: str
    is_executable: bool
    data: bytes
    relocations: tuple[Relocation, ...] = ()


@dataclass(frozen=True, slots=True)
class Sections:
    """All that was read from one file."""

    sections: tuple[Section, ...]
    symbols: tuple[Symbol, ...]

    def named(self, name: str) -> Section | None:
        """The first section of that name."""
        return next((section for section in self.sections if section.name == name), None)


@dataclass(frozen=True, slots=True)
class _Header:
    name: str
    kind: int
    flags: int
    data: bytes
    link: int
    target: int


def read_sections(data: bytes, path: str) -> Sections:
    """Sections, symbols and relocations of an eBPF object file.

    `path` is how refusals call the file.

    Raises:
        MalformedObjectError: not a 64-bit little-endian ELF for eBPF, or it contradicts itself.
    """
    headers = _headers(data, path)
    symbols = _symbols(headers, path)
    relocations = _relocations(headers, symbols, path)
    sections = tuple(
        Section(
            index=index,
            name=header.name,
            is_executable=bool(header.flags & _EXECUTABLE) and header.kind == _PROGRAM_BITS,
            data=header.data,
            relocations=relocations.get(index, ()),
        )
        for index, header in enumerate(headers)
    )
    return Sections(sections, symbols)


def _headers(data: bytes, path: str) -> list[_Header]:
    try:
        elf = ELFFile(BytesIO(data))
        if (elf.elfclass, elf.little_endian) != (64, True):
            raise MalformedObjectError(path, "must be a 64-bit little-endian ELF")
        if elf["e_machine"] not in ("EM_BPF", _MACHINE_BPF):
            raise MalformedObjectError(path, "must be an ELF made for eBPF")
        if elf.num_sections() > MAX_SECTIONS:
            raise MalformedObjectError(path, f"must have at most {MAX_SECTIONS} sections")
        raw = [
            struct.unpack_from("<IIQQQQIIQQ", data, elf["e_shoff"] + index * elf["e_shentsize"])
            for index in range(elf.num_sections())
        ]
        names_index = elf.get_shstrndx()
    except _UNREADABLE as error:
        raise MalformedObjectError(path, "is not a readable ELF file") from error
    contents = [_contents(data, header, path) for header in raw]
    if not 0 <= names_index < len(raw):
        raise MalformedObjectError(path, "has no table of section names")
    names = contents[names_index]
    return [
        _Header(_string(names, header[0], path), header[1], header[2], content, *header[6:8])
        for header, content in zip(raw, contents, strict=True)
    ]


def _contents(data: bytes, header: tuple[int, ...], path: str) -> bytes:
    _, kind, flags, _, offset, size, *_ = header
    if kind in (0, _NO_BITS):
        return b""
    if flags & _COMPRESSED:
        raise MalformedObjectError(path, "must not have compressed sections")
    if offset + size > len(data):
        raise MalformedObjectError(path, "has a section that reaches behind the end of the file")
    return data[offset : offset + size]


def _symbols(headers: list[_Header], path: str) -> tuple[Symbol, ...]:
    table = next((header for header in headers if header.kind == _SYMBOL_TABLE), None)
    if table is None:
        return ()
    if len(table.data) % _SYMBOL.size or len(table.data) > MAX_SYMBOLS * _SYMBOL.size:
        raise MalformedObjectError(path, f"must have at most {MAX_SYMBOLS} whole symbols")
    if table.link >= len(headers):
        raise MalformedObjectError(path, "has symbols without a table of names")
    names = headers[table.link].data
    return tuple(
        Symbol(_string(names, name, path), info & 0xF, info >> 4, section, value, size)
        for name, info, _, section, value, size in _SYMBOL.iter_unpack(table.data)
    )


def _relocations(
    headers: list[_Header], symbols: tuple[Symbol, ...], path: str
) -> dict[int, tuple[Relocation, ...]]:
    found: dict[int, tuple[Relocation, ...]] = {}
    for header in headers:
        if header.kind != _RELOCATIONS:
            continue
        if len(header.data) % _RELOCATION.size:
            raise MalformedObjectError(path, "has a relocation that is cut off")
        if len(header.data) > MAX_RELOCATIONS * _RELOCATION.size:
            raise MalformedObjectError(path, f"must have at most {MAX_RELOCATIONS} relocations")
        entries = []
        for offset, info in _RELOCATION.iter_unpack(header.data):
            if info >> 32 >= len(symbols):
                raise MalformedObjectError(path, "has a relocation against an unknown symbol")
            entries.append(Relocation(offset, symbols[info >> 32]))
        found[header.target] = tuple(entries)
    return found


def _string(table: bytes, offset: int, path: str) -> str:
    end = table.find(b"\0", offset)
    if end < 0:
        raise MalformedObjectError(path, "has a name behind the end of its table")
    return table[offset:end].decode(errors="replace")
