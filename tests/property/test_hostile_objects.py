# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Object files come from outside: whatever their bytes, they are read or refused."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from shared.bytecode.elf import read_elf_facts, read_object
from shared.configuration.entries import (
    MapLayout,
    encode_config,
    map_codec,
    map_layout,
)
from shared.contracts.value_types import (
    ArrayType,
    IntegerType,
    Layout,
)
from shared.errors import RefusedError
from tests.support.bpf_objects import bpf_object

OBJECT = bpf_object("layouts")


@settings(max_examples=300)
@given(
    changes=st.lists(
        st.tuples(st.integers(0, len(OBJECT) - 1), st.integers(0, 255)), min_size=1, max_size=12
    ),
    length=st.integers(0, len(OBJECT)) | st.just(len(OBJECT)),
)
def test_a_damaged_object_is_read_or_refused(changes: list[tuple[int, int]], length: int) -> None:
    """Nothing but a refusal comes out, whichever bytes are wrong or missing."""
    data = bytearray(OBJECT)
    for position, value in changes:
        data[position] = value

    _read(bytes(data[:length]))


@settings(max_examples=300)
@given(
    field=st.integers(0, 15),
    section=st.integers(0, 40),
    value=st.sampled_from([0, 1, 2**31 - 1, 2**32 - 1, 0x7FFF, 8]),
)
def test_hostile_section_headers_are_read_or_refused(field: int, section: int, value: int) -> None:
    """Sizes, offsets and links that point anywhere."""
    data = bytearray(OBJECT)
    start = int.from_bytes(data[40:48], "little") + 64 * section + 4 * field
    if start + 4 <= len(data):
        data[start : start + 4] = value.to_bytes(4, "little")

    _read(bytes(data))


def _read(data: bytes) -> None:
    with suppress(RefusedError):
        read_elf_facts(data, "damaged.bpf.o")
        parsed = read_object(data, "damaged.bpf.o")
        for declared in parsed.maps:
            map_layout(declared, parsed.btf)


@st.composite
def described(draw: st.DrawFn, depth: int = 2) -> tuple[Layout, Any]:
    """A layout and a value that fits it."""
    if depth and draw(st.booleans()):
        element, value = draw(described(depth - 1))
        count = draw(st.integers(1, 3))
        return ArrayType(element, count), [value] * count
    size = draw(st.sampled_from((1, 2, 4, 8, 16)))
    if draw(st.booleans()):
        bound = 1 << (8 * size - 1)
        return IntegerType(size, is_signed=True), draw(st.integers(-bound, bound - 1))
    return IntegerType(size, is_signed=False), draw(st.integers(0, (1 << 8 * size) - 1))


@given(key=described(), value=described())
def test_what_is_configured_is_what_is_read_back(
    key: tuple[Layout, Any], value: tuple[Layout, Any]
) -> None:
    """Encoding loses nothing."""
    layout = MapLayout(key=key[0], value=value[0], max_entries=4, type_name="hash")
    text = str(key[1]).replace(" ", "")

    [(encoded_key, encoded_value)] = encode_config({"m": {text: value[1]}}, {"m": layout})[
        "m"
    ].items()

    codec = map_codec(layout)
    assert codec.decode_key(encoded_key) == text
    assert codec.value.decode(encoded_value) == value[1]
