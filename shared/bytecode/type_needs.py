# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which types and fields of the kernel an object is relocated against, and from what it was made.

Format: Documentation/bpf/btf.rst (`.BTF.ext`), Documentation/bpf/llvm_reloc.rst.  A name ends at
its flavour (`task_struct___old` is the kernel's `task_struct`), as libbpf reads it.
"""

from __future__ import annotations

import posixpath
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from shared.bytecode.btf import ARRAY, ENUM, ENUM64, STRUCT, TYPEDEF, UNION, Btf, MalformedBtfError
from shared.bytecode.core_relocations import core_records
from shared.bytecode.elf_sections import MalformedObjectError, Section, Sections

_EXT_HEADER: Final = struct.Struct("<HBBIIIII")
_LEAST_LINE_BYTES: Final = 16
_FIELD_EXISTS, _LOCAL_TYPE, _TYPE_EXISTS, _ENUMERATOR_EXISTS, _TYPE_MATCHES = 2, 6, 8, 10, 12
_ENUMERATOR_VALUE: Final = 11
_ASKING: Final = frozenset((_FIELD_EXISTS, _TYPE_EXISTS, _ENUMERATOR_EXISTS, _TYPE_MATCHES))
_OF_TYPES: Final = frozenset((7, _TYPE_EXISTS, 9, _TYPE_MATCHES))
"""Id in the kernel, existence, size, match: they name no field."""
_WORDS: Final = {STRUCT: "struct ", UNION: "union ", ENUM: "enum ", ENUM64: "enum ", TYPEDEF: ""}
_ENUMERATOR_BYTES: Final = {ENUM: 8, ENUM64: 12}
_FILE_SYMBOL: Final = 4
MAX_DEPTH: Final = 64


@dataclass(frozen=True, slots=True)
class TypeNeeds:
    """Names as `struct task_struct.pid`, sorted."""

    needed: tuple[str, ...] = ()
    """Without these the kernel refuses what uses them."""
    asked: tuple[str, ...] = ()
    """The object asks whether they are there."""


def read_type_needs(sections: Sections, btf: Btf | None, path: str) -> TypeNeeds:
    """What the object's CO-RE relocations name.

    Raises:
        MalformedObjectError: `.BTF.ext` or BTF contradicts itself.
    """
    if btf is None:
        return TypeNeeds()
    needed: set[str] = set()
    asked: set[str] = set()
    try:
        for type_id, access, kind in set(core_records(sections, path)):
            if kind != _LOCAL_TYPE:
                name = _name(btf, type_id, btf.text(access), kind)
                (asked if kind in _ASKING else needed).add(name)
    except MalformedBtfError as error:
        raise MalformedObjectError(path, error.message) from error
    return TypeNeeds(tuple(sorted(needed - asked)), tuple(sorted(asked)))


def read_source_names(sections: Sections, btf: Btf | None, path: str) -> tuple[str, ...]:
    """Names of source files that the compiler left in the object, sorted.

    Raises:
        MalformedObjectError: the line information is cut off.
    """
    names = {symbol.name for symbol in sections.symbols if symbol.kind == _FILE_SYMBOL}
    section = sections.named(".BTF.ext")
    if section is not None and btf is not None:
        try:
            names.update(btf.text(offset) for offset in _line_files(section, path))
        except MalformedBtfError as error:
            raise MalformedObjectError(path, error.message) from error
    return tuple(sorted({posixpath.normpath(name) for name in names if name}))


def _line_files(section: Section, path: str) -> set[int]:
    data = section.data
    if len(data) < _EXT_HEADER.size:
        return set()
    _, _, _, header_bytes, _, _, line_offset, line_bytes = _EXT_HEADER.unpack_from(data)
    at, end = header_bytes + line_offset, header_bytes + line_offset + line_bytes
    if line_bytes == 0:
        return set()
    found: set[int] = set()
    try:
        (record_bytes,) = struct.unpack_from("<I", data, at)
        at += 4
        if record_bytes < _LEAST_LINE_BYTES or record_bytes % 4 or end > len(data):
            raise MalformedObjectError(path, "has line information that is cut off")
        while at < end:
            _, count = struct.unpack_from("<II", data, at)
            at += 8
            words = record_bytes // 4
            if at + count * record_bytes > end:
                raise MalformedObjectError(path, "has line information that is cut off")
            numbers = struct.unpack_from(f"<{count * words}I", data, at)
            found.update(numbers[1::words])
            at += count * record_bytes
    except struct.error as error:
        raise MalformedObjectError(path, "has line information that is cut off") from error
    return found


def _name(btf: Btf, type_id: int, access: str, kind: int) -> str:
    root = btf.type(type_id)
    name = _WORDS.get(root.kind, "") + _plain(root.name)
    if kind in _OF_TYPES:
        return name
    try:
        steps = [int(step) for step in access.split(":")]
    except ValueError as error:
        raise MalformedBtfError("a CO-RE relocation has an access that is no numbers") from error
    if kind in (_ENUMERATOR_EXISTS, _ENUMERATOR_VALUE):
        return f"{name}.{_enumerator(btf, type_id, steps[0])}"
    return name + "".join(_fields(btf, type_id, steps[1:]))


def _fields(btf: Btf, type_id: int, steps: list[int]) -> Iterator[str]:
    if len(steps) > MAX_DEPTH:
        raise MalformedBtfError("a CO-RE relocation goes too deep")
    for step in steps:
        type_id = btf.strip(type_id)
        if btf.type(type_id).kind == ARRAY:
            type_id = btf.array_parts(type_id)[0]
            continue
        members = btf.members(type_id)
        if not 0 <= step < len(members):
            raise MalformedBtfError("a CO-RE relocation names a member that is not there")
        field, type_id, _, _ = members[step]
        if field:
            yield f".{field}"


def _enumerator(btf: Btf, type_id: int, index: int) -> str:
    record = btf.type(btf.strip(type_id))
    size = _ENUMERATOR_BYTES.get(record.kind, 0)
    if not size or not 0 <= index < len(record.extra) // size:
        raise MalformedBtfError("a CO-RE relocation names an enumerator that is not there")
    (name,) = struct.unpack_from("<I", record.extra, index * size)
    return _plain(btf.text(name))


def _plain(name: str) -> str:
    """Without the flavour."""
    return name.partition("___")[0] or name
