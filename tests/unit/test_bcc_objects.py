# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What bcc compiled, laid out as an object file that every reader of object files reads."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from services.node_executor.bcc_compiler.messages import (
    CompiledFunction,
    CompiledMap,
    CompiledSource,
    MapReference,
)
from services.node_executor.bcc_compiler.objects import (
    NotInSourceError,
    function_of,
    make_object,
)
from shared.bytecode.elf import read_elf_facts, read_object
from shared.contracts.value_types import (
    ArrayType,
    IntegerType,
    StructType,
    UnionType,
)

CODE = b"".join(
    struct.pack("<BBhi", operation, registers, 0, value)
    for operation, registers, value in ((0x18, 1, 0), (0, 0, 0), (0xB7, 0, 2), (0x95, 0, 0))
)
"""r1 = map; r0 = 2; exit."""


def a_map(name: str = "flows", **changes: Any) -> CompiledMap:
    """A hash of ports."""
    fields: dict[str, Any] = {
        "type_number": 1,
        "key_size_bytes": 2,
        "value_size_bytes": 8,
        "max_entries": 64,
        "flags": 0,
        "key": "unsigned short",
        "value": "unsigned long long",
    }
    return CompiledMap(name=name, **{**fields, **changes})


def a_source(*maps: CompiledMap) -> CompiledSource:
    """One function that loads the first map."""
    references = (MapReference(position=0, map=maps[0].name),) if maps else ()
    function = CompiledFunction(name="gate", code=CODE, references=references)
    return CompiledSource(licence="Dual BSD/GPL", functions=(function,), maps=maps)


def value_of(one: CompiledMap) -> Any:
    """What the object says of the values of a map; None: only their size."""
    compiled = a_source(one)
    parsed = read_object(make_object(compiled, compiled.functions[0], "xdp"), "gate.c")
    (declared,) = parsed.maps
    assert declared.value_size_bytes == one.value_size_bytes
    assert parsed.btf is not None
    return parsed.btf.layout(declared.value_type_id) if declared.value_type_id else None


def test_program_licence_and_maps_are_read_back() -> None:
    """As from an object of clang, by hook."""
    compiled = a_source(
        a_map(), a_map("seen", type_number=27, key_size_bytes=0, value_size_bytes=0)
    )

    xdp = read_elf_facts(make_object(compiled, compiled.functions[0], "xdp"), "gate.c")
    tc = read_elf_facts(make_object(compiled, compiled.functions[0], "tc-egress"), "gate.c")

    assert (xdp.licence, xdp.has_btf, xdp.needs_kernel_btf) == ("Dual BSD/GPL", True, False)
    assert [(one.function, one.section, one.instructions) for one in xdp.programs] == [
        ("gate", "xdp", 4)
    ]
    assert [one.section for one in tc.programs] == ["tc"]
    assert [(one.name, one.type, one.key_size_bytes, one.max_entries) for one in xdp.maps] == [
        ("flows", "hash", 2, 64),
        ("seen", "ringbuf", 0, 64),
    ]


def test_the_same_input_gives_the_same_bytes() -> None:
    """So a digest means something."""
    compiled = a_source(a_map())

    made = {make_object(compiled, compiled.functions[0], "xdp") for _ in range(3)}

    assert len(made) == 1


def test_described_values_become_types() -> None:
    """Structs with arrays, bit fields, enumerations, and unions that nobody can fill in."""
    described = [
        "leaf",
        [
            ["count", "unsigned long long"],
            ["words", "unsigned short", [3]],
            ["flag", "unsigned int", 3],
            ["kind", ["kinds", ["A", "B"], "enum"]],
            ["either", ["", [["a", "unsigned int"], ["b", "char", [4]]], "union"]],
        ],
        "struct",
    ]

    layout = value_of(a_map(value_size_bytes=24, value=described))

    assert isinstance(layout, StructType)
    assert [(one.name, one.offset_bits, one.bitfield_bits) for one in layout.members] == [
        ("count", 0, 0),
        ("words", 64, 0),
        ("flag", 112, 3),
        ("kind", 128, 0),
        ("either", 160, 0),
    ]
    assert layout.members[1].layout == ArrayType(
        IntegerType(2, is_signed=False, name="unsigned short"), 3
    )
    assert isinstance(layout.members[4].layout, UnionType)


def test_padding_that_bcc_writes_out_is_no_member() -> None:
    """It has a place and no name that anybody could set."""
    described = [
        "key",
        [["port", "unsigned short"], ["__pad_1", "char", [2]], ["address", "unsigned int"]],
        "struct_packed",
    ]

    layout = value_of(a_map(value_size_bytes=8, value=described))

    assert isinstance(layout, StructType)
    assert [(one.name, one.offset_bits) for one in layout.members] == [("port", 0), ("address", 32)]


@pytest.mark.parametrize(
    "described",
    [None, "float", ["x", [["a", "int"]], "struct"], ["x", [["a"]], "struct"], {"a": 1}, ["x"]],
)
def test_what_cannot_be_described_keeps_its_size(described: Any) -> None:
    """Also a description that does not come to the size of the map's values."""
    assert value_of(a_map(value=described)) is None


def test_a_function_that_is_not_there_is_refused_by_name() -> None:
    """With those that are."""
    with pytest.raises(NotInSourceError) as caught:
        function_of(a_source(), "other", source="gate.c")

    assert caught.value.reasons[0].allowed == ["gate"]


def test_maps_of_maps_are_refused_by_name() -> None:
    """What lies inside is not known."""
    with pytest.raises(NotInSourceError) as caught:
        function_of(a_source(a_map("outer", type_number=13)), "gate", source="gate.c")

    assert caught.value.reasons[0].path == "gate.c.outer"
