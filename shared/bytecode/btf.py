# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""BTF: the types that a compiler wrote beside the code.

Format: Documentation/bpf/btf.rst.  Only what keys, values and map declarations need is resolved;
pointers, floats and objects of the kernel (`bpf_timer`) become `OpaqueType`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from shared.contracts.value_types import (
    ArrayType,
    EnumType,
    IntegerType,
    Layout,
    Member,
    OpaqueType,
    StructType,
    UnionType,
)
from shared.errors import RefusedError

MAX_TYPES: Final = 100_000
"""More than ten times what the largest programs carry; bounds the memory of a parse."""
MAX_DEPTH: Final = 32
MAX_NAME_BYTES: Final = 511
"""Of a type, member or section (include/linux/kallsyms.h, KSYM_NAME_LEN)."""

_MAGIC: Final = 0xEB9F
_HEADER: Final = struct.Struct("<HBBIIIII")
_RECORD: Final = struct.Struct("<III")
_TRIPLE: Final = struct.Struct("<III")
_PAIR: Final = struct.Struct("<II")
_KERNEL_PREFIX: Final = "bpf_"
"""Of structs that the kernel itself keeps in values, as locks and timers."""

INT, PTR, ARRAY, STRUCT, UNION, ENUM, FORWARD, TYPEDEF = range(1, 9)
VOLATILE, CONST, RESTRICT, FUNC, FUNC_PROTO, VAR, DATASEC, FLOAT = range(9, 17)
DECL_TAG, TYPE_TAG, ENUM64 = range(17, 20)
_TRANSPARENT: Final = frozenset((TYPEDEF, VOLATILE, CONST, RESTRICT, TYPE_TAG))
_RESERVED_BITS: Final = 0x60FF0000
_EXTRA_BYTES: Final = {INT: 4, ARRAY: 12, VAR: 4, DECL_TAG: 4}
_EXTRA_BYTES_EACH: Final = {STRUCT: 12, UNION: 12, ENUM: 8, FUNC_PROTO: 8, DATASEC: 12, ENUM64: 12}
_POINTER_BYTES: Final = 8


class MalformedBtfError(RefusedError):
    """The BTF contradicts its own lengths or references."""


class BtfType(NamedTuple):
    """One record of the type section."""

    kind: int
    name: str
    has_flag: bool
    """Struct: its members may be bit fields.  Enumeration: its values are signed."""
    size_or_type: int
    extra: bytes
    """Members, parameters, enumerators or attributes, undecoded."""


class Btf:
    """A parsed `.BTF` section; type ids start at 1, 0 is void."""

    def __init__(self, types: tuple[BtfType, ...], strings: bytes) -> None:
        self._types: Final = types
        self._strings: Final = strings
        self._layouts: Final[dict[int, Layout]] = {}

    def __len__(self) -> int:
        return len(self._types)

    def type(self, type_id: int) -> BtfType:
        """The record with that id.

        Raises:
            MalformedBtfError: there is none.
        """
        if not 0 < type_id <= len(self._types):
            raise MalformedBtfError(f"BTF refers to type {type_id}, which does not exist")
        return self._types[type_id - 1]

    def text(self, offset: int) -> str:
        """The name at that place of the strings.

        Raises:
            MalformedBtfError: there is none.
        """
        return _string(self._strings, offset)

    def find(self, kind: int, name: str) -> int:
        """The id of the first type of that kind and name; 0 if there is none."""
        for type_id, candidate in enumerate(self._types, start=1):
            if candidate.kind == kind and candidate.name == name:
                return type_id
        return 0

    def strip(self, type_id: int) -> int:
        """The id behind typedefs and qualifiers."""
        for _ in range(MAX_DEPTH):
            if type_id == 0 or self.type(type_id).kind not in _TRANSPARENT:
                return type_id
            type_id = self.type(type_id).size_or_type
        raise MalformedBtfError("BTF nests typedefs without end")

    def pointee(self, type_id: int) -> int:
        """The id of what a pointer points to, typedefs and qualifiers kept.

        Raises:
            MalformedBtfError: the type is no pointer.
        """
        pointer = self.type(self.strip(type_id))
        if pointer.kind != PTR:
            raise MalformedBtfError("BTF has a map attribute that is no pointer")
        return pointer.size_or_type

    def array_parts(self, type_id: int) -> tuple[int, int]:
        """Element type id and number of elements of an array.

        Raises:
            MalformedBtfError: the type is no array.
        """
        array = self.type(self.strip(type_id))
        if array.kind != ARRAY:
            raise MalformedBtfError("BTF has a map attribute that is no array")
        element, _, count = _TRIPLE.unpack(array.extra)
        return element, count

    def members(self, type_id: int) -> list[tuple[str, int, int, int]]:
        """Name, type id, offset in bits and bit-field width of each member of a struct or union.

        Raises:
            MalformedBtfError: the type is neither.
        """
        record = self.type(type_id)
        if record.kind not in (STRUCT, UNION):
            raise MalformedBtfError(f"BTF has type {type_id} where a struct belongs")
        found = []
        for name, member_type, offset in _TRIPLE.iter_unpack(record.extra):
            width = offset >> 24 if record.has_flag else 0
            start = offset & 0xFFFFFF if record.has_flag else offset
            found.append((_string(self._strings, name), member_type, start, width))
        return found

    def enumerators(self, type_id: int) -> Iterator[tuple[str, int]]:
        """Names and values of an enumeration."""
        record = self.type(type_id)
        is_wide = record.kind == ENUM64
        for fields in (_TRIPLE if is_wide else _PAIR).iter_unpack(record.extra):
            bits = 64 if is_wide else 32
            value = fields[1] | (fields[2] << 32 if is_wide else 0)
            if record.has_flag and value >> (bits - 1):
                value -= 1 << bits
            yield _string(self._strings, fields[0]), value

    def section_variables(self, name: str) -> list[int]:
        """Type ids of what lies in a data section; empty if BTF does not name the section."""
        section = self.find(DATASEC, name)
        if not section:
            return []
        return [variable for variable, _, _ in _TRIPLE.iter_unpack(self.type(section).extra)]

    def layout(self, type_id: int) -> Layout:
        """How a value of that type lies in memory.

        Raises:
            MalformedBtfError: the type does not exist, contains itself or has no size.
        """
        return self._layout(type_id, 0)

    def _layout(self, type_id: int, depth: int) -> Layout:
        if depth > MAX_DEPTH:
            raise MalformedBtfError("BTF nests types without end")
        known = self._layouts.get(type_id)
        if known is None:
            known = self._resolve(self.strip(type_id), depth)
            self._layouts[type_id] = known
        return known

    def _resolve(  # noqa: PLR0911 because each kind has its layout
        self, type_id: int, depth: int
    ) -> Layout:
        record = self.type(type_id)
        if record.kind == INT:
            return IntegerType(record.size_or_type, bool(record.extra[3] & 1), record.name)
        if record.kind in (ENUM, ENUM64):
            values = tuple(self.enumerators(type_id))
            return EnumType(record.size_or_type, record.has_flag, record.name, values)
        if record.kind == ARRAY:
            element, count = self.array_parts(type_id)
            return ArrayType(self._layout(element, depth + 1), count)
        if record.kind == STRUCT and record.name.startswith(_KERNEL_PREFIX):
            return OpaqueType(record.name, record.size_or_type)
        if record.kind in (STRUCT, UNION, DATASEC):
            members = tuple(self._laid_out(type_id, record, depth))
            if record.kind == UNION:
                return UnionType(record.name, record.size_or_type, members)
            return StructType(record.name, record.size_or_type, members)
        if record.kind == PTR:
            return OpaqueType("pointer", _POINTER_BYTES)
        if record.kind == FLOAT:
            return OpaqueType("float", record.size_or_type)
        raise MalformedBtfError(f"BTF uses type {type_id} as a value, but it has no size")

    def _laid_out(self, type_id: int, record: BtfType, depth: int) -> Iterator[Member]:
        """The members of a struct or union, or the variables of a data section."""
        if record.kind != DATASEC:
            for name, member_type, offset, width in self.members(type_id):
                layout = self._layout(member_type, depth + 1)
                if not name and isinstance(layout, StructType) and record.kind == STRUCT:
                    for one in layout.members:
                        start = offset + one.offset_bits
                        yield Member(one.name, start, one.layout, one.bitfield_bits)
                else:
                    yield Member(name, offset, layout, width)
        else:
            for variable, offset, _ in _TRIPLE.iter_unpack(record.extra):
                held = self.type(variable)
                yield Member(held.name, offset * 8, self._layout(held.size_or_type, depth + 1))


def numbers_of(record: BtfType) -> tuple[int, ...]:
    """The numbers of four bytes behind a record."""
    return struct.unpack(f"<{len(record.extra) // 4}I", record.extra)


def parse_btf(section: bytes) -> Btf:
    """The types of a `.BTF` section.

    Raises:
        MalformedBtfError: lengths or names point outside, a kind is unknown, or there are more
            than MAX_TYPES types.
    """
    if len(section) < _HEADER.size:
        raise MalformedBtfError("the BTF section is shorter than its header")
    magic, version, flags, header_bytes, *bounds = _HEADER.unpack_from(section)
    if magic != _MAGIC or version != 1 or flags:
        raise MalformedBtfError("the BTF section has an unknown magic number, version or flags")
    type_offset, type_bytes, string_offset, string_bytes = bounds
    ends = (type_offset + type_bytes, string_offset + string_bytes)
    if header_bytes < _HEADER.size or header_bytes + max(ends) < len(section):
        raise MalformedBtfError("the BTF section has bytes that belong to nothing")
    types = _slice(section, header_bytes + type_offset, type_bytes)
    strings = _slice(section, header_bytes + string_offset, string_bytes)
    if not strings.startswith(b"\0") or not strings.endswith(b"\0"):
        raise MalformedBtfError("the BTF strings do not begin and end with a zero byte")
    return Btf(tuple(_records(types, strings)), strings)


def _records(types: bytes, strings: bytes) -> list[BtfType]:
    records: list[BtfType] = []
    position = 0
    while position < len(types):
        if len(records) == MAX_TYPES or position + _RECORD.size > len(types):
            raise MalformedBtfError(f"BTF is cut off or has more than {MAX_TYPES} types")
        name, info, size_or_type = _RECORD.unpack_from(types, position)
        position += _RECORD.size
        kind, count = info >> 24 & 0x1F, info & 0xFFFF
        if info & _RESERVED_BITS:
            raise MalformedBtfError("BTF has a type with reserved bits")
        if not INT <= kind <= ENUM64:
            raise MalformedBtfError(f"BTF has a type of unknown kind {kind}")
        extra_bytes = _EXTRA_BYTES.get(kind, 0) + _EXTRA_BYTES_EACH.get(kind, 0) * count
        extra = _slice(types, position, extra_bytes)
        position += extra_bytes
        records.append(BtfType(kind, _string(strings, name), bool(info >> 31), size_or_type, extra))
    return records


def _slice(data: bytes, offset: int, length: int) -> bytes:
    if offset + length > len(data):
        raise MalformedBtfError("BTF points behind its end")
    return data[offset : offset + length]


def _string(strings: bytes, offset: int) -> str:
    if offset >= len(strings):
        raise MalformedBtfError("BTF has a name behind the end of its strings")
    end = strings.index(b"\0", offset)
    if end - offset > MAX_NAME_BYTES:
        raise MalformedBtfError(f"BTF has a name longer than {MAX_NAME_BYTES} bytes")
    try:
        return strings[offset:end].decode()
    except UnicodeDecodeError as error:
        raise MalformedBtfError("BTF has a name that is not UTF-8") from error
