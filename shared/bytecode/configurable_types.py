# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Types of what a deployment may configure: keys and values of maps, global variables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from shared.bytecode.btf import DATASEC, Btf, MalformedBtfError
from shared.bytecode.elf_sections import Sections
from shared.bytecode.map_declarations import MapDeclaration
from shared.bytecode.object_data import Variable
from shared.contracts.package_facts import VariableFacts
from shared.contracts.value_types import (
    ArrayType,
    InnerMap,
    IntegerType,
    Layout,
    StructType,
    is_within,
)

MAX_PARTS: Final = 256
"""Of one type; more is told by no facts, and the node's own trial judges what is configured."""
MAX_VARIABLE_BYTES: Final = 256
MAX_VARIABLES: Final = 256
"""Of one object, in the order of their names."""
_NUMBER_BYTES: Final = (1, 2, 4, 8)
_BYTE: Final = IntegerType(1, is_signed=False, name="unsigned char")


def value_type(btf: Btf | None, type_id: int) -> Layout | None:
    """A type, unless it is not known or has too many parts."""
    if btf is None or not type_id:
        return None
    layout = btf.layout(type_id)
    return layout if is_within(layout, MAX_PARTS) else None


def sized_layout(btf: Btf | None, type_id: int, size_bytes: int) -> Layout:
    """A type; of one that BTF does not tell, an integer if it has the size of one, else bytes.

    Raises:
        MalformedBtfError: `btf` has not that type.
    """
    if type_id and btf is not None:
        return btf.layout(type_id)
    if size_bytes in _NUMBER_BYTES:
        return IntegerType(size_bytes, is_signed=False)
    return ArrayType(_BYTE, size_bytes)


def inner_map(
    declared: MapDeclaration, btf: Btf | None, *, most_parts: int = MAX_PARTS
) -> InnerMap | None:
    """What a map of maps holds; None: it is none, or its types have more parts than that.

    Raises:
        MalformedBtfError: `btf` has not the types that the declaration names.
    """
    held = declared.inner
    if held is None:
        return None
    key = sized_layout(btf, held.key_type_id, held.key_size_bytes)
    value = sized_layout(btf, held.value_type_id, held.value_size_bytes)
    if not is_within(key, most_parts) or not is_within(value, most_parts):
        return None
    return InnerMap(held.type_name, key, value, held.max_entries, held.flags)


def variable_facts(
    sections: Sections, btf: Btf | None, variables: Mapping[str, Variable]
) -> Iterator[VariableFacts]:
    """Every global variable whose type is known, in the order of their names."""
    types = variable_types(btf)
    told = 0
    for name, place in sorted(variables.items()):
        layout = types.get((place.section, name))
        section = sections.named(place.section)
        if layout is None or section is None or told == MAX_VARIABLES:
            continue
        is_sized = layout.size_bytes == place.size_bytes <= MAX_VARIABLE_BYTES
        if not is_sized or not is_within(layout, MAX_PARTS):
            continue
        held = section.data[place.offset_bytes :][: place.size_bytes]
        told += 1
        yield VariableFacts(
            name=name,
            is_constant=place.is_constant,
            type=layout,
            initial=held.ljust(place.size_bytes, b"\0").hex(),
        )


def variable_types(btf: Btf | None) -> dict[tuple[str, str], Layout]:
    """Of all global variables, by section and name; a section that contradicts itself has none."""
    found: dict[tuple[str, str], Layout] = {}
    for type_id in range(1, len(btf) + 1) if btf is not None else ():
        assert btf is not None
        record = btf.type(type_id)
        if record.kind != DATASEC or not record.name.startswith((".data", ".rodata", ".bss")):
            continue
        try:
            section = btf.layout(type_id)
        except MalformedBtfError:
            continue
        if isinstance(section, StructType):
            found |= {(record.name, one.name): one.layout for one in section.members}
    return found
