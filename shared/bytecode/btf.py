# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""BTF: the types that a compiler wrote beside the code.

Format: Documentation/bpf/btf.rst.  Only what keys, values and map declarations need is resolved;
pointers, unions, functions and floats become `OpaqueType`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from shared.errors import RefusedError

MAX_TYPES: Final = 100_000
"""More than ten times what the largest programs carry; bounds the memory of a parse."""
MAX_DEPTH: Final = 32

_MAGIC: Final = 0xEB9F
_HEADER: Final = struct.Struct("<HBBIIIII")
_RECORD: Final = struct.Struct("<III")
_TRIPLE: Final = struct.Struct("<III")

INT, PTR, ARRAY, STRUCT, UNION, ENUM, FORWARD, TYPEDEF = range(1, 9)
VOLATILE, CONST, RESTRICT, FUNC, FUNC_PROTO, VAR, DATASEC, FLOAT = range(9, 17)
DECL_TAG, TYPE_TAG, ENUM64 = range(17, 20)
_TRANSPARENT: Final = frozenset((TYPEDEF, VOLATILE, CONST, RESTRICT, TYPE_TAG))
_EXTRA_BYTES: Final = {INT: 4, ARRAY: 12, VAR: 4, DECL_TAG: 4}
_EXTRA_BYTES_EACH: Final = {STRUCT: 12, UNION: 12, ENUM: 8, FUNC_PROTO: 8, DATASEC: 12, ENUM64: 12}
_POINTER_BYTES: Final = 8


class MalformedBtfError(RefusedError):
    """The BTF contradicts its own lengths or references."""


@dataclass(frozen=True, slots=True)
class IntegerType:
    """A whole number, a boolean, a character or an enumeration."""

    size_bytes: int
    is_signed: bool
    name: str = ""


@dataclass(frozen=True, slots=True)
class ArrayType:
    """A fixed number of elements, one behind the other."""

    element: Layout
    count: int

    @property
    def size_bytes(self) -> int:
        """Of all elements together."""
        return self.element.size_bytes * self.count


@dataclass(frozen=True, slots=True)
class Member:
    """One member of a struct."""

    name: str
    offset_bits: int
    layout: Layout
    bitfield_bits: int = 0
    """0: not a bit field."""


@dataclass(frozen=True, slots=True)
class StructType:
    """A struct; padding between members belongs to no member."""

    name: str
    size_bytes: int
    members: tuple[Member, ...]


@dataclass(frozen=True, slots=True)
class OpaqueType:
    """Bytes that have no text form here: a union, a pointer, a float."""

    kind: str
    size_bytes: int


Layout = IntegerType | ArrayType | StructType | OpaqueType


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

    def _resolve(self, type_id: int, depth: int) -> Layout:
        record = self.type(type_id)
        if record.kind == INT:
            return IntegerType(record.size_or_type, bool(record.extra[3] & 1), record.name)
        if record.kind in (ENUM, ENUM64):
            return IntegerType(record.size_or_type, record.has_flag, record.name)
        if record.kind == ARRAY:
            element, count = self.array_parts(type_id)
            return ArrayType(self._layout(element, depth + 1), count)
        if record.kind in (STRUCT, DATASEC):
            members = tuple(self._laid_out(type_id, record, depth))
            return StructType(record.name, record.size_or_type, members)
        if record.kind == PTR:
            return OpaqueType("pointer", _POINTER_BYTES)
        if record.kind in (UNION, FLOAT):
            return OpaqueType("union" if record.kind == UNION else "float", record.size_or_type)
        raise MalformedBtfError(f"BTF uses type {type_id} as a value, but it has no size")

    def _laid_out(self, type_id: int, record: BtfType, depth: int) -> Iterator[Member]:
        """The members of a struct, or the variables of a data section."""
        if record.kind == STRUCT:
            for name, member_type, offset, width in self.members(type_id):
                yield Member(name, offset, self._layout(member_type, depth + 1), width)
        else:
            for variable, offset, _ in _TRIPLE.iter_unpack(record.extra):
                held = self.type(variable)
                yield Member(held.name, offset * 8, self._layout(held.size_or_type, depth + 1))


def parse_btf(section: bytes) -> Btf:
    """The types of a `.BTF` section.

    Raises:
        MalformedBtfError: lengths or names point outside, a kind is unknown, or there are more
            than MAX_TYPES types.
    """
    if len(section) < _HEADER.size:
        raise MalformedBtfError("the BTF section is shorter than its header")
    magic, version, _, header_bytes, *bounds = _HEADER.unpack_from(section)
    if magic != _MAGIC or version != 1:
        raise MalformedBtfError("the BTF section has an unknown magic number or version")
    type_offset, type_bytes, string_offset, string_bytes = bounds
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
    return strings[offset : strings.index(b"\0", offset)].decode(errors="replace")
