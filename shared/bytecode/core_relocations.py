# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""CO-RE relocations: which instructions are changed to fit the types of the kernel.

Format: Documentation/bpf/btf.rst (`.BTF.ext`), Documentation/bpf/llvm_reloc.rst.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping
from typing import Final

from shared.bytecode.btf import Btf
from shared.bytecode.elf_sections import MalformedObjectError, Sections
from shared.bytecode.instructions import INSTRUCTION_BYTES

_HEADER: Final = struct.Struct("<HBBIIIIIII")
_MAGIC: Final = 0xEB9F
_RECORD_SIZE: Final = struct.Struct("<I")
_SECTION: Final = struct.Struct("<II")
_RECORD: Final = struct.Struct("<IIII")
"""Offset of the instruction, type, path to the member, kind (include/uapi/linux/bpf.h, struct
bpf_core_relo)."""
_Record = tuple[int, int, int, int]
_LEAST_RECORD_BYTES: Final = _RECORD.size
_LAST_KIND: Final = 12
"""BPF_CORE_TYPE_MATCHES."""
_PATH: Final = re.compile(r"[0-9]{1,10}(:[0-9]{1,10}){0,63}")


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
    if btf is None:
        return {}
    found: dict[str, set[int]] = {}
    for name, records in _records(table, path):
        section = btf.text(name)
        code = sections.named(section)
        if code is None or not code.is_executable:
            raise MalformedObjectError(path, f"has CO-RE relocations of no section {section}")
        positions = found.setdefault(section, set())
        for record in records:
            if (problem := _problem(record, btf, len(code.data))) is not None:
                raise MalformedObjectError(path, f"has a CO-RE relocation {problem}")
            positions.add(record[0] // INSTRUCTION_BYTES)
    return {name: frozenset(positions) for name, positions in found.items()}


def core_records(sections: Sections, path: str) -> Iterator[tuple[int, int, int]]:
    """Type, place of the access string in BTF's strings, and kind of every relocation.

    Raises:
        MalformedObjectError: `.BTF.ext` is of an unknown format, or contradicts itself.
    """
    for _, records in _records(_table(sections, path), path):
        for _, type_id, access, kind in records:
            yield type_id, access, kind


def _records(table: bytes, path: str) -> Iterator[tuple[int, Iterator[_Record]]]:
    """By section of code, the place of its name in BTF's strings, and its relocations."""
    if not table:
        return
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
            yield (
                name,
                (_RECORD.unpack_from(table, place) for place in range(at, end, record_bytes)),
            )
            at = end
    except struct.error as error:
        raise MalformedObjectError(path, "has CO-RE relocations that are cut off") from error


def _problem(record: _Record, btf: Btf, code_bytes: int) -> str | None:
    """What is wrong with one relocation."""
    offset, type_id, path, kind = record
    if offset >= code_bytes:
        return "behind the code"
    if offset % INSTRUCTION_BYTES:
        return "of no instruction"
    if kind > _LAST_KIND:
        return f"of the unknown kind {kind}"
    if not _PATH.fullmatch(btf.text(path)):
        return "with a path that is none"
    btf.type(type_id)
    return None


def _table(sections: Sections, path: str) -> bytes:
    """The relocations with the size of each before them; empty: there are none."""
    section = sections.named(".BTF.ext")
    if section is None:
        return b""
    if len(section.data) < _HEADER.size:
        # The first format ended behind line_info and knew no CO-RE relocations.
        return b""
    header = _HEADER.unpack_from(section.data)
    magic, version, _, header_bytes, *bounds = header
    *_, core_offset, core_bytes = bounds
    if (magic, version) != (_MAGIC, 1):
        raise MalformedObjectError(path, ".BTF.ext has an unknown magic number or version")
    for offset, length in zip(bounds[::2], bounds[1::2], strict=True):
        if header_bytes + offset + length > len(section.data) and header_bytes >= _HEADER.size:
            raise MalformedObjectError(path, "has a part of .BTF.ext behind the end of it")
    if header_bytes < _HEADER.size:
        return b""
    first = header_bytes + core_offset
    if core_bytes and first + core_bytes > len(section.data):
        raise MalformedObjectError(path, "has CO-RE relocations behind the end of .BTF.ext")
    return section.data[first : first + core_bytes]
