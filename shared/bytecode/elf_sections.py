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

from shared.bytecode.section_headers import (
    COMPRESSED,
    MAX_NAME_BYTES,
    NO_BITS,
    RELOCATION_BYTES,
    RELOCATIONS,
    SYMBOL_BYTES,
    SYMBOL_TABLE,
    SectionHeader,
    header_problems,
    overlap_problem,
)
from shared.errors import Reason, RefusedError

MAX_SECTIONS: Final = 4096
MAX_SYMBOLS: Final = 65_536
MAX_RELOCATIONS: Final = 1_000_000
"""Of all sections together."""

FUNCTION_SYMBOL: Final = 2
WEAK_BINDING: Final = 2
GLOBAL_BINDINGS: Final = (1, WEAK_BINDING)
UNDEFINED_SECTION: Final = 0

_MACHINE_BPF: Final = 247
_HEADER: Final = struct.Struct("<IIQQQQIIQQ")
_FIRST_RESERVED: Final = 0xFF00
_RESERVED_SECTIONS: Final = (0xFFF1, 0xFFF2)
"""SHN_ABS and SHN_COMMON; a section's index ends before _FIRST_RESERVED."""
_CODE_BYTES: Final = 8
_UNREADABLE: Final = (
    *(ELFError, ConstructError, struct.error),
    *(ValueError, KeyError, AttributeError, OverflowError),
)
"""What reading the headers of a damaged file raises."""
_SYMBOL: Final = struct.Struct("<IBBHQQ")
_RELOCATION: Final = struct.Struct("<QQ")


class MalformedObjectError(RefusedError):
    """The file is no eBPF object file, or contradicts itself."""

    def __init__(self, path: str, *rules: str) -> None:
        super().__init__(f"{path}: {rules[0]}", [Reason(path=path, rule=rule) for rule in rules])


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
            is_executable=header.is_executable,
            data=header.data,
            relocations=relocations.get(index, ()),
        )
        for index, header in enumerate(headers)
    )
    return Sections(sections, symbols)


def _raw_headers(data: bytes, path: str) -> tuple[list[tuple[int, ...]], int]:
    """The headers as they stand in the file, and which of them has the names."""
    try:
        elf = ELFFile(BytesIO(data))
        if (elf.elfclass, elf.little_endian) != (64, True):
            raise MalformedObjectError(path, "must be a 64-bit little-endian ELF")
        if elf["e_machine"] not in ("EM_BPF", _MACHINE_BPF):
            raise MalformedObjectError(path, "must be an ELF made for eBPF")
        if elf["e_type"] != "ET_REL":
            raise MalformedObjectError(path, "must be an object that is still to be linked")
        if elf["e_shentsize"] != _HEADER.size:
            raise MalformedObjectError(path, "has section headers of another length")
        if elf.num_sections() > MAX_SECTIONS:
            raise MalformedObjectError(path, f"must have at most {MAX_SECTIONS} sections")
        raw = [
            _HEADER.unpack_from(data, elf["e_shoff"] + index * _HEADER.size)
            for index in range(elf.num_sections())
        ]
        return raw, elf.get_shstrndx()
    except _UNREADABLE as error:
        raise MalformedObjectError(path, "is not a readable ELF file") from error


def _headers(data: bytes, path: str) -> list[SectionHeader]:
    raw, names_index = _raw_headers(data, path)
    places = [(header[4], header[5]) for header in raw if header[1] not in (0, NO_BITS)]
    if any(offset + size > len(data) for offset, size in places):
        raise MalformedObjectError(path, "has a section that reaches behind the end of the file")
    if (problem := overlap_problem(places)) is not None:
        raise MalformedObjectError(path, problem)
    contents = [_contents(data, header, path) for header in raw]
    if not 0 <= names_index < len(raw):
        raise MalformedObjectError(path, "has no table of section names")
    names = contents[names_index]
    headers = [
        SectionHeader(
            name=_string(names, header[0], path),
            kind=header[1],
            flags=header[2],
            offset=header[4],
            data=content,
            link=header[6],
            target=header[7],
            entry_bytes=header[9],
        )
        for header, content in zip(raw, contents, strict=True)
    ]
    if problems := list(header_problems(headers)):
        raise MalformedObjectError(path, *problems)
    return headers


def _contents(data: bytes, header: tuple[int, ...], path: str) -> bytes:
    _, kind, flags, _, offset, size, *_ = header
    if kind in (0, NO_BITS):
        return b""
    if flags & COMPRESSED:
        raise MalformedObjectError(path, "must not have compressed sections")
    return data[offset : offset + size]


def _symbols(headers: list[SectionHeader], path: str) -> tuple[Symbol, ...]:
    table = next((header for header in headers if header.kind == SYMBOL_TABLE), None)
    if table is None:
        return ()
    if len(table.data) % SYMBOL_BYTES or len(table.data) > MAX_SYMBOLS * SYMBOL_BYTES:
        raise MalformedObjectError(path, f"must have at most {MAX_SYMBOLS} whole symbols")
    names = headers[table.link].data
    found = tuple(
        Symbol(_string(names, name, path), info & 0xF, info >> 4, section, value, size)
        for name, info, _, section, value, size in _SYMBOL.iter_unpack(table.data)
    )
    for symbol in found:
        last = len(headers) if symbol.section < _FIRST_RESERVED else 0
        if symbol.section >= last and symbol.section not in _RESERVED_SECTIONS:
            raise MalformedObjectError(path, f"has symbol {symbol.name} in no section")
    return found


def _relocations(
    headers: list[SectionHeader], symbols: tuple[Symbol, ...], path: str
) -> dict[int, tuple[Relocation, ...]]:
    found: dict[int, tuple[Relocation, ...]] = {}
    tables = [header for header in headers if header.kind == RELOCATIONS]
    if sum(len(table.data) for table in tables) > MAX_RELOCATIONS * RELOCATION_BYTES:
        raise MalformedObjectError(path, f"must have at most {MAX_RELOCATIONS} relocations")
    for header in tables:
        if len(header.data) % RELOCATION_BYTES:
            raise MalformedObjectError(path, "has a relocation that is cut off")
        target = headers[header.target]
        entries = []
        for offset, info in _RELOCATION.iter_unpack(header.data):
            if info >> 32 >= len(symbols):
                raise MalformedObjectError(path, "has a relocation against an unknown symbol")
            if offset >= len(target.data):
                raise MalformedObjectError(
                    path, f"has a relocation of {target.name} behind the end of its section"
                )
            if target.is_executable and offset % _CODE_BYTES:
                raise MalformedObjectError(path, "has a relocation of no instruction")
            entries.append(Relocation(offset, symbols[info >> 32]))
        found[header.target] = tuple(entries)
    return found


def _string(table: bytes, offset: int, path: str) -> str:
    end = table.find(b"\0", offset)
    if end < 0:
        raise MalformedObjectError(path, "has a name behind the end of its table")
    if end - offset > MAX_NAME_BYTES:
        raise MalformedObjectError(path, f"has a name longer than {MAX_NAME_BYTES} bytes")
    try:
        name = table[offset:end].decode()
    except UnicodeDecodeError as error:
        raise MalformedObjectError(path, "has a name that is not UTF-8") from error
    if not name.isprintable():
        raise MalformedObjectError(path, "has a name that cannot be shown")
    return name
