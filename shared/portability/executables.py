# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What an executable of user space is linked to and calls, read from its ELF file."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from itertools import islice
from typing import Any, Final

from elftools.common.exceptions import ELFError
from elftools.construct import ConstructError
from elftools.elf.dynamic import DynamicSection
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from shared.bytecode.elf_sections import UNDEFINED_SECTION, MalformedObjectError

MAX_SYMBOLS: Final = 200_000
MAX_LIBRARIES: Final = 64
MAX_SECTIONS: Final = 4096
_KINDS: Final = ("ET_EXEC", "ET_DYN")
_MACHINES: Final = {
    "EM_X86_64": "x86_64",
    "EM_AARCH64": "aarch64",
    "EM_RISCV": "riscv64",
    "EM_PPC64": "ppc64le",
    "EM_LOONGARCH": "loongarch64",
    258: "loongarch64",
}
_UNREADABLE: Final = (
    *(ELFError, ConstructError, struct.error, ArithmeticError),
    *(ValueError, KeyError, AttributeError, TypeError, IndexError, AssertionError),
)
"""What reading a damaged file raises."""
_SYMBOL: Final = struct.Struct("<IBBHQQ")
_FUNCTIONS: Final = frozenset((0, 2))
"""Kinds of symbols: a function, or not said."""
_LIBBPF_SAYS: Final = b"libbpf: "
_LIBBPF_VERSION: Final = re.compile(rb"\0v(\d{1,2}\.\d{1,3})\0")


@dataclass(frozen=True, slots=True)
class Executable:
    """What one file says of itself."""

    architecture: str
    """As `uname -m` says; empty: none that nodes have."""
    interpreter: str
    libraries: tuple[str, ...]
    imported: frozenset[str]
    """Functions that it takes from libraries."""
    own: frozenset[str]
    """Functions in it, unless their names were removed."""
    libbpf: str
    """Version of a libbpf that is linked into it; empty: there is none, or it does not say."""


def read_executable(data: bytes, path: str) -> Executable:
    """What the file at `path` of an archive is linked to.

    Raises:
        MalformedObjectError: It is no executable ELF file, or contradicts itself.
    """
    try:
        elf = ELFFile(BytesIO(data))
        if (elf.elfclass, elf.little_endian) != (64, True) or elf["e_type"] not in _KINDS:
            raise MalformedObjectError(path, "must be a 64-bit little-endian executable")
        if elf.num_sections() > MAX_SECTIONS or elf.num_segments() > MAX_SECTIONS:
            raise MalformedObjectError(path, f"must have at most {MAX_SECTIONS} sections")
        symbols = list(_functions(elf, data, path))
        return Executable(
            architecture=_MACHINES.get(elf["e_machine"], ""),
            interpreter=_interpreter(elf),
            libraries=_libraries(elf),
            imported=frozenset(name for name, is_own in symbols if not is_own),
            own=frozenset(name for name, is_own in symbols if is_own),
            libbpf=_libbpf(data),
        )
    except _UNREADABLE as error:
        raise MalformedObjectError(path, "is not a readable ELF file") from error


def _functions(elf: Any, data: bytes, path: str) -> Iterator[tuple[str, bool]]:
    """Names of functions and whether they are in the file."""
    for section in elf.iter_sections():
        if not isinstance(section, SymbolTableSection):
            continue
        # Not by the library's own reading, which unpacks compressed sections of any size.
        table, names = _content(section, data), _content(section.stringtable, data)
        if len(table) > MAX_SYMBOLS * _SYMBOL.size:
            raise MalformedObjectError(path, f"must have at most {MAX_SYMBOLS} symbols")
        for offset, info, _, index, _, _ in _SYMBOL.iter_unpack(table):
            if info & 0xF in _FUNCTIONS and offset:
                name = names[offset : names.index(b"\0", offset)].decode(errors="replace")
                # A table that is kept for debuggers has versions behind the names.
                yield name.partition("@")[0], index != UNDEFINED_SECTION


def _content(section: Any, data: bytes) -> bytes:
    offset: int = section["sh_offset"]
    return data[offset : offset + section["sh_size"]]


def _interpreter(elf: Any) -> str:
    for segment in elf.iter_segments():
        if segment["p_type"] == "PT_INTERP":
            return str(segment.get_interp_name())
    return ""


def _libraries(elf: Any) -> tuple[str, ...]:
    tags: Iterator[Any] = (
        tag
        for section in elf.iter_sections()
        if isinstance(section, DynamicSection)
        for tag in section.iter_tags("DT_NEEDED")
    )
    return tuple(str(tag.needed) for tag in islice(tags, MAX_LIBRARIES))


def _libbpf(data: bytes) -> str:
    """What libbpf_version_string returns, of a file that has libbpf's messages."""
    if _LIBBPF_SAYS not in data:
        return ""
    found = _LIBBPF_VERSION.search(data)
    return found[1].decode() if found else ""
