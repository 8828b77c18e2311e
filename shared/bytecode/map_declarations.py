# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The maps that an object file declares: in BTF (`.maps`), or in the older `maps` section.

A BTF declaration is a struct whose members are pointers: `type`, `max_entries` and the like point
to an array with as many elements as the value says; `key` and `value` point to the type itself
(libbpf, bpf_helpers.h, __uint and __type).  `values` is an array of pointers to what a map of maps
holds: a declaration of the same kind (__array).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from shared.bytecode.btf import ARRAY, PTR, STRUCT, VAR, Btf, MalformedBtfError
from shared.bytecode.elf_sections import MalformedObjectError, Sections

MAP_TYPES: Final = (
    *("unspec", "hash", "array", "prog_array", "perf_event_array", "percpu_hash"),
    *("percpu_array", "stack_trace", "cgroup_array", "lru_hash", "lru_percpu_hash", "lpm_trie"),
    *("array_of_maps", "hash_of_maps", "devmap", "sockmap", "cpumap", "xskmap", "sockhash"),
    *("cgroup_storage", "reuseport_sockarray", "percpu_cgroup_storage", "queue", "stack"),
    *("sk_storage", "devmap_hash", "struct_ops", "ringbuf", "inode_storage", "task_storage"),
    *("bloom_filter", "user_ringbuf", "cgrp_storage", "arena"),
)
"""Kernel names in lower case, by number (include/uapi/linux/bpf.h, enum bpf_map_type)."""

_LEGACY: Final = struct.Struct("<IIIII")
_SIZES: Final = ("type", "key_size", "value_size", "max_entries", "map_flags", "pinning")
_PIN_BY_NAME: Final = 1
"""LIBBPF_PIN_BY_NAME (libbpf, bpf_helpers.h, enum libbpf_pin_type)."""


@dataclass(frozen=True, slots=True)
class MapDeclaration:
    """One declared map."""

    name: str
    type_number: int
    key_size_bytes: int
    value_size_bytes: int
    max_entries: int
    flags: int = 0
    key_type_id: int = 0
    """BTF type of the key; 0 if the declaration gives a size only."""
    value_type_id: int = 0
    is_pinned_by_name: bool = False
    """Whether every loader that follows libbpf would take the one map of that name."""
    inner: MapDeclaration | None = None
    """Of a map of maps: what it holds."""

    @property
    def type_name(self) -> str:
        """Kernel name in lower case; the number if it is newer than this list."""
        return map_type_name(self.type_number)


def map_type_name(number: int) -> str:
    """Kernel name of a map type in lower case; the number in digits if it is not known here."""
    return MAP_TYPES[number] if number < len(MAP_TYPES) else str(number)


def read_map_declarations(
    sections: Sections, btf: Btf | None, path: str
) -> tuple[MapDeclaration, ...]:
    """All declared maps, in the order of their declaration.

    Raises:
        MalformedObjectError: a declaration is cut off.
        MalformedBtfError: BTF contradicts itself.
    """
    declared = _from_btf(btf) if btf else ()
    return (*declared, *_legacy(sections, path))


def _from_btf(btf: Btf) -> tuple[MapDeclaration, ...]:
    return tuple(_declaration(btf, variable) for variable in btf.section_variables(".maps"))


def _declaration(btf: Btf, variable_id: int) -> MapDeclaration:
    variable = btf.type(variable_id)
    struct_id = btf.strip(variable.size_or_type) if variable.kind == VAR else variable_id
    return _declared(btf, struct_id, variable.name)


def _declared(btf: Btf, struct_id: int, name: str, *, is_inner: bool = False) -> MapDeclaration:
    numbers = dict.fromkeys(_SIZES, 0)
    types = {"key": 0, "value": 0}
    inner = None
    for member, type_id, _, _ in btf.members(struct_id):
        if member in numbers:
            numbers[member] = btf.array_parts(btf.pointee(type_id))[1]
        elif member in types:
            types[member] = btf.pointee(type_id)
            numbers[f"{member}_size"] = btf.layout(types[member]).size_bytes
        elif member == "values" and not is_inner and (held := _held_struct(btf, type_id)):
            inner = _inner(btf, held, name)
    return MapDeclaration(
        name=name,
        type_number=numbers["type"],
        key_size_bytes=numbers["key_size"],
        value_size_bytes=numbers["value_size"],
        max_entries=numbers["max_entries"],
        flags=numbers["map_flags"],
        key_type_id=types["key"],
        value_type_id=types["value"],
        is_pinned_by_name=numbers["pinning"] == _PIN_BY_NAME,
        inner=inner,
    )


def _inner(btf: Btf, struct_id: int, name: str) -> MapDeclaration:
    try:
        return _declared(btf, struct_id, f"{name}.inner", is_inner=True)
    except MalformedBtfError as error:
        # Compilers complete types that only inner maps use in no object; libbpf refuses them, too.
        rule = "keys or values of the maps in it have a type that nothing else in the object uses"
        raise MalformedBtfError(f"map {name}: {rule}: {error.message}") from error


def _held_struct(btf: Btf, type_id: int) -> int:
    """What the elements of `values` point to; 0: no map (programs, in an array of programs)."""
    array_id = btf.strip(type_id)
    if btf.type(array_id).kind != ARRAY:
        return 0
    element_id = btf.strip(btf.array_parts(array_id)[0])
    if not element_id or btf.type(element_id).kind != PTR:
        return 0
    held_id = btf.strip(btf.pointee(element_id))
    return held_id if held_id and btf.type(held_id).kind == STRUCT else 0


def _legacy(sections: Sections, path: str) -> tuple[MapDeclaration, ...]:
    section = sections.named("maps")
    if section is None:
        return ()
    found = []
    for symbol in sections.symbols:
        if symbol.section != section.index or not symbol.name:
            continue
        if symbol.offset_bytes + _LEGACY.size > len(section.data):
            raise MalformedObjectError(path, f"declares map {symbol.name} behind its section's end")
        found.append(
            MapDeclaration(symbol.name, *_LEGACY.unpack_from(section.data, symbol.offset_bytes))
        )
    return tuple(found)
