# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""CO-RE relocations: which instructions are changed to fit the types of the kernel.

Format: Documentation/bpf/btf.rst (`.BTF.ext`), Documentation/bpf/llvm_reloc.rst.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Final

from shared.bytecode.btf import Btf
from shared.bytecode.elf_sections import MalformedObjectError, Sections
from shared.bytecode.instructions import INSTRUCTION_BYTES

_HEADER: Final = struct.Struct("<HBBIIIIIII")
_MAGIC: Final = 0xEB9F
_RECORD_SIZE: Final = struct.Struct("<I")
_SECTION: Final = struct.Struct("<II")
_LEAST_RECORD_BYTES: Final = 16


def has_core_relocations(sections: Sections, path: str) -> bool:
    """Whether the object's loader reads the kernel's types to relocate instructions.

    Raises:
        MalformedObjectError: `.BTF.ext` is of an unknown format.
    """
    return bool(_table(sections, path))


def relocated_positions(
    sections: Sections, btf: Btf | None, path: str
) -> Mapping[str, frozenset[int]]:
    """By section of code, the positions of the instructions that are relocated.

    Raises:
        MalformedObjectError: `.BTF.ext` is of an unknown format, or contradicts itself.
    """
    table = _table(sections, path)
    if not table or btf is None:
        return {}
    found: dict[str, set[int]] = {}
    try:
        (record_bytes,) = _RECORD_SIZE.unpack_from(table)
        if record_bytes < _LEAST_RECORD_BYTES:
            raise MalformedObjectError(path, "has CO-RE relocations that are too short")
        at = _RECORD_SIZE.size
        while at < len(table):
            name, count = _SECTION.unpack_from(table, at)
            at += _SECTION.size
            end = at + count * record_bytes
            if end > len(table):
                raise MalformedObjectError(path, "has CO-RE relocations that are cut off")
            offsets = (
                _RECORD_SIZE.unpack_from(table, place)[0] for place in range(at, end, record_bytes)
            )
            positions = found.setdefault(btf.text(name), set())
            positions.update(offset // INSTRUCTION_BYTES for offset in offsets)
            at = end
    except struct.error as error:
        raise MalformedObjectError(path, "has CO-RE relocations that are cut off") from error
    return {name: frozenset(positions) for name, positions in found.items()}


def _table(sections: Sections, path: str) -> bytes:
    """The relocations with the size of each before them; empty: there are none."""
    section = sections.named(".BTF.ext")
    if section is None:
        return b""
    if len(section.data) < _HEADER.size:
        # The first format ended behind line_info and knew no CO-RE relocations.
        return b""
    header = _HEADER.unpack_from(section.data)
    magic, version, _, header_bytes, *_, core_offset, core_bytes = header
    if (magic, version) != (_MAGIC, 1):
        raise MalformedObjectError(path, ".BTF.ext has an unknown magic number or version")
    if header_bytes < _HEADER.size:
        return b""
    first = header_bytes + core_offset
    if core_bytes and first + core_bytes > len(section.data):
        raise MalformedObjectError(path, "has CO-RE relocations behind the end of .BTF.ext")
    return section.data[first : first + core_bytes]
