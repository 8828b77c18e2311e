# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""BTF for what bcc compiled: from its descriptions of keys and values, and for map declarations.

Pure.  bcc describes a type as `"unsigned int"` or as `[name, members, kind]` with members
`[name, type]`, `[name, type, [count]]` for arrays and `[name, type, bits]` for bit fields (bcc,
src/cc/json_map_decl_visitor.cc).  Format of BTF: Documentation/bpf/btf.rst.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from shared.bytecode.btf import (
    ARRAY,
    DATASEC,
    FUNC,
    FUNC_PROTO,
    INT,
    PTR,
    STRUCT,
    UNION,
    VAR,
)

_HEADER: Final = struct.Struct("<HBBIIIII")
_MAGIC: Final = 0xEB9F
_SIGNED, _CHARACTER, _BOOLEAN = 1, 2, 4
_INTEGERS: Final[dict[str, tuple[int, int]]] = {
    "char": (1, _SIGNED),
    "signed char": (1, _SIGNED),
    "unsigned char": (1, 0),
    "_Bool": (1, _BOOLEAN),
    "bool": (1, _BOOLEAN),
    "short": (2, _SIGNED),
    "unsigned short": (2, 0),
    "int": (4, _SIGNED),
    "unsigned int": (4, 0),
    "long": (8, _SIGNED),
    "unsigned long": (8, 0),
    "long long": (8, _SIGNED),
    "unsigned long long": (8, 0),
    "__int128": (16, _SIGNED),
    "unsigned __int128": (16, 0),
}
"""Size in bytes and encoding of C's integers for the eBPF machine."""
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MAX_DEPTH: Final = 16
_GLOBAL: Final = 1


class UnknownTypeError(Exception):
    """A description that has no counterpart here; then a map has sizes and no types."""


@dataclass(frozen=True, slots=True)
class TypeRecord:
    """A type that was written, with what is needed to place it."""

    type_id: int
    size_bytes: int
    alignment_bytes: int


class TypeRecords:
    """A BTF section that grows."""

    def __init__(self) -> None:
        self._types = bytearray()
        self._strings = bytearray(b"\0")
        self._offsets: dict[str, int] = {"": 0}
        self._count = 0
        self._integers: dict[str, TypeRecord] = {}

    def encode(self) -> bytes:
        """The whole section."""
        lengths = (len(self._types), len(self._types), len(self._strings))
        header = _HEADER.pack(_MAGIC, 1, 0, _HEADER.size, 0, *lengths)
        return header + bytes(self._types) + bytes(self._strings)

    def string(self, text: str) -> int:
        """Offset of a string."""
        if text not in self._offsets:
            self._offsets[text] = len(self._strings)
            self._strings += text.encode() + b"\0"
        return self._offsets[text]

    def described(self, description: Any, size_bytes: int) -> int:
        """The type that bcc describes.

        Raises:
            UnknownTypeError: It cannot be written, or would not have `size_bytes`.
        """
        kept = (len(self._types), self._count, dict(self._integers))
        try:
            record = self._described(description, 0)
            if record.size_bytes != size_bytes:
                raise UnknownTypeError(f"{record.size_bytes} bytes instead of {size_bytes}")
        except UnknownTypeError:
            length, self._count, self._integers = kept
            del self._types[length:]
            raise
        return record.type_id

    def number(self, number: int) -> int:
        """A pointer to an array of so many elements: how map declarations hold a number."""
        element = self._integer("int").type_id
        array = self._add("", ARRAY, 0, 0, struct.pack("<III", element, element, number))
        return self.pointer(array)

    def pointer(self, type_id: int) -> int:
        """A pointer."""
        return self._add("", PTR, 0, type_id)

    def structure(self, name: str, size_bytes: int, members: Sequence[tuple[str, int, int]]) -> int:
        """A struct of (name, type id, offset in bits)."""
        extra = b"".join(
            struct.pack("<III", self.string(member), type_id, offset_bits)
            for member, type_id, offset_bits in members
        )
        return self._add(name, STRUCT, len(members), size_bytes, extra)

    def variable(self, name: str, type_id: int) -> int:
        """A global variable."""
        return self._add(name, VAR, 0, type_id, struct.pack("<I", _GLOBAL))

    def section(self, name: str, variables: Sequence[tuple[int, int, int]]) -> int:
        """A data section of (variable, offset in bytes, size in bytes)."""
        extra = b"".join(struct.pack("<III", *variable) for variable in variables)
        size_bytes = sum(size for _, _, size in variables)
        return self._add(name, DATASEC, len(variables), size_bytes, extra)

    def function(self, name: str, *, context: str) -> int:
        """`int name(struct context *ctx)`."""
        pointer = self.pointer(self.structure(context, 0, ()))
        parameter = struct.pack("<II", self.string("ctx"), pointer)
        prototype = self._add("", FUNC_PROTO, 1, self._integer("int").type_id, parameter)
        return self._add(name, FUNC, _GLOBAL, prototype)

    def _add(self, name: str, kind: int, count: int, size_or_type: int, extra: bytes = b"") -> int:
        return self._add_flagged(name, kind << 24 | count, size_or_type, extra)

    def _add_flagged(self, name: str, info: int, size_or_type: int, extra: bytes) -> int:
        self._types += struct.pack("<III", self.string(name), info, size_or_type) + extra
        self._count += 1
        return self._count

    def _integer(self, name: str) -> TypeRecord:
        if name not in self._integers:
            if name not in _INTEGERS:
                raise UnknownTypeError(f"no integer: {name}")
            size_bytes, encoding = _INTEGERS[name]
            extra = struct.pack("<I", encoding << 24 | size_bytes * 8)
            type_id = self._add(name, INT, 0, size_bytes, extra)
            self._integers[name] = TypeRecord(type_id, size_bytes, size_bytes)
        return self._integers[name]

    def _described(self, description: Any, depth: int) -> TypeRecord:
        if depth > _MAX_DEPTH:
            raise UnknownTypeError("nested too deep")
        if isinstance(description, str):
            return self._integer(description)
        match description:
            case [str(name), list(members), "struct" | "struct_packed" | "union" as kind]:
                return self._composed(name, members, kind, depth)
            case [_, list(), "enum"]:
                return self._integer("unsigned int")
        raise UnknownTypeError("not described as a type")

    def _composed(self, name: str, members: list[Any], kind: str, depth: int) -> TypeRecord:
        written: list[tuple[str, int, int]] = []
        end_bits, alignment_bytes, size_bytes = 0, 1, 0
        for member in members:
            match member:
                case [str(label), described]:
                    record, bits = self._described(described, depth + 1), 0
                case [str(label), described, [int(count)]]:
                    record, bits = self._array(self._described(described, depth + 1), count), 0
                case [str(label), described, int(bits)]:
                    record = self._described(described, depth + 1)
                case _:
                    raise UnknownTypeError("a member that is not described")
            start_bits = 0 if kind == "union" else end_bits
            unit_bits = record.size_bytes * 8
            boundary = 8 if kind == "struct_packed" else record.alignment_bytes * 8
            if not bits:
                start_bits = -(-start_bits // boundary) * boundary
            elif start_bits // unit_bits != (start_bits + bits - 1) // unit_bits:
                start_bits = -(-start_bits // unit_bits) * unit_bits
            end_bits = start_bits + (bits or unit_bits)
            size_bytes = max(size_bytes, -(-end_bits // 8))
            if kind != "struct_packed":
                alignment_bytes = max(alignment_bytes, record.alignment_bytes)
            if not label.startswith("__pad_"):
                written.append((label, record.type_id, bits << 24 | start_bits))
        size_bytes = -(-size_bytes // alignment_bytes) * alignment_bytes
        extra = b"".join(
            struct.pack("<III", self.string(_identifier(label)), type_id, place)
            for label, type_id, place in written
        )
        number = UNION if kind == "union" else STRUCT
        # The highest bit says that offsets hold the width of bit fields in their highest byte.
        has_bit_fields = any(place >> 24 for _, _, place in written)
        info = has_bit_fields << 31 | number << 24 | len(written)
        type_id = self._add_flagged(_identifier(name), info, size_bytes, extra)
        return TypeRecord(type_id, size_bytes, alignment_bytes)

    def _array(self, element: TypeRecord, count: int) -> TypeRecord:
        if count <= 0:
            raise UnknownTypeError("an array without elements")
        index = self._integer("unsigned int").type_id
        extra = struct.pack("<III", element.type_id, index, count)
        type_id = self._add("", ARRAY, 0, 0, extra)
        return TypeRecord(type_id, element.size_bytes * count, element.alignment_bytes)


def _identifier(name: str) -> str:
    """The name, or none if it is not one of C's."""
    return name if _NAME.fullmatch(name) else ""
