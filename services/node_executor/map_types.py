# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What the keys and values of a map are, so that two versions of a package can be compared.

Pure.  A description is a digest of the structure that BTF gives: sizes, offsets, signs and counts,
with typedefs and qualifiers taken away.  Names of structs do not count, as they may change freely;
names of members do, since two members of one size that change places are another meaning.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from shared.bytecode.btf import (
    ARRAY,
    ENUM,
    ENUM64,
    FLOAT,
    INT,
    MAX_DEPTH,
    PTR,
    STRUCT,
    TYPE_TAG,
    UNION,
    Btf,
    MalformedBtfError,
)
from shared.bytecode.map_declarations import MapDeclaration
from shared.canonical import canonical_digest
from shared.contracts.value_types import InnerMap, Layout

_INT_SIGNED, _INT_BOOL = 1, 4
_KERNEL_PREFIX: Final = "bpf_"
_TIMERS: Final = frozenset(("bpf_timer", "bpf_wq", "bpf_task_work"))
"""Structs that make the kernel run code of the program that set them, later."""


@dataclass(frozen=True, slots=True)
class MapTypes:
    """The types of one map's keys and values."""

    structure: str
    """Digest, names of members included; equal: the content means the same."""
    shape: str
    """Digest without names; equal: the content can be read, whatever it means."""
    has_timers: bool = False
    """Whether values hold timers, which run code of the program that started them."""


class MapOfMaps(msgspec.Struct, frozen=True, omit_defaults=True):
    """Types of a map of maps, of which the kernel tells none."""

    key: Layout
    inner: InnerMap


def describe_types(declared: MapDeclaration, btf: Btf | None) -> MapTypes | None:
    """The types of a map; None if BTF does not tell them.

    Raises:
        MalformedBtfError: BTF contradicts itself.
    """
    held = declared.inner
    if btf is None or not (held or (declared.key_type_id and declared.value_type_id)):
        return None
    digests = []
    found: set[str] = set()
    for has_names in (True, False):
        description = _Description(btf, has_names=has_names)
        told = _told(description, declared)
        if held is not None:
            sizes = [held.key_size_bytes, held.value_size_bytes, held.max_entries, held.flags]
            told = [told[0], "maps", held.type_number, *sizes, *_told(description, held)]
        digests.append(canonical_digest(told))
        found |= description.kernel_structs
    return MapTypes(digests[0], digests[1], has_timers=bool(found & _TIMERS))


def _told(description: _Description, declared: MapDeclaration) -> list[Any]:
    """Of key and value; "" for one that has a size alone."""
    types = (declared.key_type_id, declared.value_type_id)
    return [description.of(type_id) if type_id else "" for type_id in types]


@dataclass
class _Description:
    """Types of one BTF; each is described once, however often it is used."""

    btf: Btf
    has_names: bool
    kernel_structs: set[str] = field(default_factory=set)
    _known: dict[int, Any] = field(default_factory=dict)

    def of(self, type_id: int, depth: int = 0) -> Any:
        if depth > MAX_DEPTH:
            raise MalformedBtfError("BTF nests types without end")
        stripped = self.btf.strip(type_id)
        if stripped not in self._known:
            self._known[stripped] = self._of(stripped, depth)
        return self._known[stripped]

    def _of(self, type_id: int, depth: int) -> Any:  # noqa: PLR0911 because each kind has its form
        if not type_id:
            return "void"
        record = self.btf.type(type_id)
        if record.kind == INT:
            encoding = record.extra[3]
            kind = "bool" if encoding & _INT_BOOL else "int"
            return [kind, record.size_or_type, bool(encoding & _INT_SIGNED)]
        if record.kind in (ENUM, ENUM64):
            return ["int", record.size_or_type, record.has_flag]
        if record.kind == ARRAY:
            element, count = self.btf.array_parts(type_id)
            return ["array", count, self.of(element, depth + 1)]
        if record.kind in (STRUCT, UNION):
            return self._of_members(type_id, depth)
        if record.kind == PTR:
            return ["pointer", *self._pointee(record.size_or_type)]
        return [record.kind, record.size_or_type if record.kind == FLOAT else record.name]

    def _of_members(self, type_id: int, depth: int) -> Any:
        record = self.btf.type(type_id)
        if record.name.startswith(_KERNEL_PREFIX):
            self.kernel_structs.add(record.name)
            return ["kernel", record.name, record.size_or_type]
        members = [
            [name if self.has_names else "", offset, width, self.of(member, depth + 1)]
            for name, member, offset, width in self.btf.members(type_id)
        ]
        # A digest, so that a description is never larger than the types that it is of.
        return canonical_digest([record.kind, record.size_or_type, members])

    def _pointee(self, type_id: int) -> list[str]:
        """Pointers in maps are to objects of the kernel: the tag says how they are held."""
        names = []
        for _ in range(MAX_DEPTH):
            if not type_id:
                break
            record = self.btf.type(type_id)
            if record.kind == TYPE_TAG or record.kind in (STRUCT, UNION):
                names.append(record.name)
            if record.kind in (STRUCT, UNION):
                break
            type_id = record.size_or_type if self.btf.strip(type_id) != type_id else 0
        return names
