# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Changes single records of good BTF, and writes BTF that nothing has checked.

Format: Documentation/bpf/btf.rst.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

_HEADER: Final = struct.Struct("<HBBIIIII")
_RECORD: Final = struct.Struct("<III")
_EXTRA_BYTES: Final = {1: 4, 3: 12, 14: 4, 17: 4}
_EXTRA_BYTES_EACH: Final = {4: 12, 5: 12, 6: 8, 13: 8, 15: 12, 19: 12}


class TypeRecord(NamedTuple):
    """One record as it stands in the section."""

    name: int
    info: int
    size: int
    """Size in bytes, or the id of the type that it refers to."""
    extra: bytes = b""

    @property
    def kind(self) -> int:
        """Its kind's number."""
        return self.info >> 24 & 0x1F


class BtfEditor:
    """A `.BTF` section; `bytes(editor)` is what came of it."""

    def __init__(self, section: bytes) -> None:
        self.header = list(_HEADER.unpack_from(section))
        header_bytes, type_offset, type_bytes, string_offset, string_bytes = self.header[3:]
        types = section[header_bytes + type_offset :][:type_bytes]
        self.strings = bytearray(section[header_bytes + string_offset :][:string_bytes])
        self.records: list[TypeRecord] = []
        place = 0
        while place < len(types):
            name, info, size = _RECORD.unpack_from(types, place)
            record = TypeRecord(name, info, size)
            length = _EXTRA_BYTES.get(record.kind, 0)
            length += _EXTRA_BYTES_EACH.get(record.kind, 0) * (info & 0xFFFF)
            place += _RECORD.size
            self.records.append(record._replace(extra=types[place : place + length]))
            place += length

    def __bytes__(self) -> bytes:
        types = b"".join(_RECORD.pack(*one[:3]) + one.extra for one in self.records)
        lengths = (0, len(types), len(types), len(self.strings))
        return _HEADER.pack(*self.header[:4], *lengths) + types + bytes(self.strings)

    def text(self, content: bytes) -> int:
        """Where this string stands, after it was put there."""
        place = len(self.strings)
        self.strings += content + b"\0"
        return place

    def name_of(self, record: TypeRecord) -> str:
        """The record's name."""
        return self.strings[record.name : self.strings.index(b"\0", record.name)].decode()

    def find(self, kind: int, name: str = "") -> int:
        """The id of the first type of that kind, and of that name if one is given."""
        for type_id, record in enumerate(self.records, start=1):
            if record.kind == kind and (not name or self.name_of(record) == name):
                return type_id
        raise LookupError(f"no type of kind {kind} named {name}")

    def change(self, type_id: int, **fields: int | bytes) -> BtfEditor:
        """The record says so."""
        record = self.records[type_id - 1]
        self.records[type_id - 1] = record._replace(**fields)  # type: ignore[arg-type]
        return self

    def numbers(self, type_id: int, place: int, *numbers: int) -> BtfEditor:
        """Other numbers of four bytes in what follows the record, from that number on."""
        extra = bytearray(self.records[type_id - 1].extra)
        struct.pack_into(f"<{len(numbers)}I", extra, 4 * place, *numbers)
        return self.change(type_id, extra=bytes(extra))

    def add(self, kind: int, size: int, *numbers: int, name: bytes = b"", count: int = 0) -> int:
        """The id of one more type."""
        extra = struct.pack(f"<{len(numbers)}I", *numbers)
        place = self.text(name) if name else 0
        self.records.append(TypeRecord(place, kind << 24 | count, size, extra))
        return len(self.records)
