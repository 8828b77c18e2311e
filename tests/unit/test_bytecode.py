# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Facts read from object files and instructions without loading them."""

from __future__ import annotations

import struct

import pytest

from shared.bytecode.btf import (
    MalformedBtfError,
    parse_btf,
)
from shared.bytecode.elf import read_elf_facts, read_object
from shared.bytecode.instructions import Instruction, decode, encode, subprogram_starts
from shared.bytecode.licences import is_gpl_compatible
from shared.contracts.package_facts import MapFacts
from shared.contracts.value_types import (
    ArrayType,
    IntegerType,
    OpaqueType,
    StructType,
)
from shared.errors import RefusedError
from tests.support.bpf_objects import bpf_object, compile_source


def test_an_object_s_programs_are_its_global_functions_with_their_sections() -> None:
    """Functions that programs call are no programs."""
    facts = read_elf_facts(bpf_object("bodies"), "bodies.bpf.o")
    sections = {program.function: program.section for program in facts.programs}

    assert sections["passes"] == "xdp"
    assert sections["reads_frags"] == "xdp.frags"
    assert sections["older_section"] == "xdp_older_name"
    assert "weigh" not in sections
    assert "bump" not in sections


def test_helpers_of_called_functions_and_callbacks_count_as_the_program_s() -> None:
    """Licence rules need every helper that can be reached."""
    facts = read_elf_facts(bpf_object("bodies"), "bodies.bpf.o")
    helpers = {program.function: program.helpers for program in facts.programs}

    assert helpers["calls"] == (1, 2)
    assert helpers["calls_back"] == (181,)
    assert helpers["passes"] == ()


def test_an_object_s_licence_is_its_licence_section() -> None:
    """Byte by byte, as the kernel reads it."""
    assert read_elf_facts(bpf_object("closed"), "c").licence == "Proprietary"
    assert read_elf_facts(bpf_object("bodies"), "b").licence == "Dual BSD/GPL"


def test_an_object_without_licence_and_types_has_facts_too() -> None:
    """The kernel takes both for what they are."""
    source = '__attribute__((section("xdp"), used)) int plain(void *ctx) { return 2; }'

    facts = read_elf_facts(compile_source(source), "plain.bpf.o")

    assert facts.licence == ""
    assert facts.programs[0].instructions == 2


def test_maps_are_read_with_their_sizes() -> None:
    """Declared by type or by size."""
    facts = read_elf_facts(bpf_object("layouts"), "layouts.bpf.o")

    byte, short = (IntegerType(1, name="unsigned char"), IntegerType(2, name="unsigned short"))
    assert {found.name: found for found in facts.maps}["grid"] == MapFacts(
        name="grid",
        type="lru_hash",
        key_size_bytes=2,
        value_size_bytes=12,
        max_entries=8,
        key=ArrayType(byte, 2),
        value=ArrayType(ArrayType(short, 3), 2),
    )
    assert {found.name: found.value_size_bytes for found in facts.maps}["plain"] == 3
    assert {found.name: found.type for found in facts.maps}["events"] == "ringbuf"
    assert [found.name for found in facts.maps if found.is_pinned_by_name] == ["plain"]


def test_maps_of_the_older_section_are_read() -> None:
    """Objects for libbpf before 1.0 declare maps as a struct of five numbers."""
    source = """
struct bpf_map_def { unsigned int type, key_size, value_size, max_entries, map_flags; };
struct bpf_map_def __attribute__((section("maps"), used)) older = {1, 4, 16, 100, 0};
"""

    assert read_elf_facts(compile_source(source), "o").maps == (
        MapFacts(name="older", type="hash", key_size_bytes=4, value_size_bytes=16, max_entries=100),
    )


@pytest.mark.parametrize(
    ("attribute", "needed"), [("__attribute__((preserve_access_index))", True), ("", False)]
)
def test_core_relocations_are_what_needs_the_kernel_s_types(attribute: str, needed: bool) -> None:
    """Reading them costs the node about ten milliseconds, so plans show it."""
    source = f"""
struct thing {{ int field; }} {attribute};
__attribute__((section("xdp"), used)) int reads(struct thing *thing) {{ return thing->field; }}
"""

    assert read_elf_facts(compile_source(source), "o").needs_kernel_btf is needed


def test_types_are_resolved_through_typedefs_enumerations_and_arrays() -> None:
    """What keys and values need."""
    parsed = read_object(bpf_object("layouts"), "layouts")
    declared = {found.name: found for found in parsed.maps}
    assert parsed.btf is not None

    pair = parsed.btf.layout(declared["pairs"].value_type_id)
    grid = parsed.btf.layout(declared["grid"].value_type_id)

    assert isinstance(pair, StructType)
    assert [(m.name, m.offset_bits, m.layout.size_bytes) for m in pair.members] == [
        ("left", 0, 4),
        ("right", 64, 8),
    ]
    assert isinstance(grid, ArrayType)
    assert (grid.count, grid.size_bytes) == (2, 12)
    assert parsed.btf.layout(declared["limits"].value_type_id) == IntegerType(
        4, is_signed=True, name="int"
    )


def test_pointers_have_a_size_and_no_text_form() -> None:
    """They are never configured."""
    btf = parse_btf(a_btf(struct.pack("<III", 0, 2 << 24, 0)))

    assert btf.layout(1) == OpaqueType("pointer", 8)


@pytest.mark.parametrize(
    "types",
    [
        struct.pack("<III", 0, 8 << 24, 1),
        struct.pack("<III", 0, 3 << 24, 0) + struct.pack("<III", 1, 1, 4),
        struct.pack("<III", 0, 8 << 24, 9),
        struct.pack("<III", 0, 25 << 24, 0),
        struct.pack("<III", 0, 4 << 24 | 2, 8),
        struct.pack("<III", 99, 2 << 24, 0),
        struct.pack("<II", 0, 1 << 24),
    ],
    ids=["typedef-loop", "array-of-itself", "dangling", "kind", "members", "name", "cut-off"],
)
def test_btf_that_contradicts_itself_is_refused(types: bytes) -> None:
    """It comes from outside."""
    with pytest.raises(MalformedBtfError):
        parse_btf(a_btf(types)).layout(1)


@pytest.mark.parametrize(
    "data", [b"", b"\x7fELF", b"#!/bin/sh\n", bytes(64), b"\x7fELF\x02\x01" + bytes(58)]
)
def test_what_is_no_object_file_is_refused_by_its_name(data: bytes) -> None:
    """The archive's path of the file is in the refusal."""
    with pytest.raises(RefusedError, match=r"kernel/some\.o"):
        read_elf_facts(data, "kernel/some.o")


def test_an_object_for_another_machine_is_refused() -> None:
    """Only eBPF goes into the kernel."""
    data = bytearray(bpf_object("closed"))
    data[18:20] = (62).to_bytes(2, "little")

    with pytest.raises(RefusedError, match="made for eBPF"):
        read_elf_facts(bytes(data), "x86.o")


def test_instructions_survive_decoding_and_encoding() -> None:
    """Signed offsets and immediates included."""
    code = (Instruction(0x18, 1, 2, -3, -4), Instruction(0), Instruction(0x95))

    assert decode(encode(code)) == code
    with pytest.raises(RefusedError):
        decode(b"\0" * 9)


def test_functions_start_where_calls_and_callbacks_point_to() -> None:
    """A pc-relative call, and a reference that a helper calls back."""
    code = (
        Instruction(0x85, source=1, immediate=3),
        Instruction(0x18, source=4, immediate=3),
        Instruction(0),
        Instruction(0x95),
        Instruction(0x95),
        Instruction(0x95),
    )

    assert subprogram_starts(code) == (0, 4, 5)
    with pytest.raises(RefusedError):
        subprogram_starts((Instruction(0x85, source=1, immediate=7),))


def test_the_kernel_knows_exactly_six_licence_strings() -> None:
    """SPDX identifiers and other spellings are not among them."""
    assert is_gpl_compatible("Dual BSD/GPL")
    assert not any(map(is_gpl_compatible, ("GPL-2.0-only", "gpl", "GPL ", "Dual Apache/GPL", "")))


def a_btf(types: bytes) -> bytes:
    """A section with these type records and no names."""
    return struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), 1) + types + b"\0"
