# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Map configuration and the bytes it becomes."""

from __future__ import annotations

from typing import Any

import pytest

from shared.bytecode.elf import read_object
from shared.configuration.entries import (
    MapLayout,
    MapValueError,
    encode_config,
    encode_key,
    map_codec,
    map_layout,
)
from shared.contracts.value_types import (
    ArrayType,
    IntegerType,
)
from tests.support.bpf_objects import bpf_object

U8, S8 = IntegerType(1, is_signed=False), IntegerType(1, is_signed=True)
U16, U32 = IntegerType(2, is_signed=False), IntegerType(4, is_signed=False)
U64, S64 = IntegerType(8, is_signed=False), IntegerType(8, is_signed=True)


def a_layout(key: Any = U32, value: Any = U64, entries: int = 16, kind: str = "hash") -> MapLayout:
    """A map of plain integers, with whatever a test cares for."""
    return MapLayout(key=key, value=value, max_entries=entries, type_name=kind)


def layouts_of(name: str) -> dict[str, MapLayout]:
    """The layouts of an object's maps, by name."""
    parsed = read_object(bpf_object(name), name)
    return {declared.name: map_layout(declared, parsed.btf) for declared in parsed.maps}


def problems_of(config: dict[str, Any], **layouts: MapLayout) -> dict[str, str]:
    """Path to rule of everything that does not fit."""
    with pytest.raises(MapValueError) as refused:
        encode_config(config, layouts)
    return {reason.path: reason.rule for reason in refused.value.reasons}


def test_layouts_come_from_the_object_s_btf() -> None:
    """Typedefs, enumerations and nested arrays are seen through; sizes alone become bytes."""
    layouts = layouts_of("layouts")

    assert encode_config({"limits": {"443": -7}}, layouts)["limits"] == {
        b"\xbb\x01": b"\xf9\xff\xff\xff"
    }
    assert encode_config({"grid": {"[1,2]": [[1, 2, 3], [4, 5, 65535]]}}, layouts)["grid"] == {
        b"\x01\x02": bytes([1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 255, 255])
    }
    assert layouts["plain"].value == ArrayType(
        IntegerType(1, is_signed=False, name="unsigned char"), 3
    )
    assert layouts["pairs"].key.size_bytes == 4


@pytest.mark.parametrize(
    ("layout", "lowest", "highest"),
    [
        (U8, 0, 255),
        (S8, -128, 127),
        (U16, 0, 65535),
        (U64, 0, 2**64 - 1),
        (S64, -(2**63), 2**63 - 1),
    ],
)
def test_integers_fit_up_to_their_limits_and_not_beyond(
    layout: IntegerType, lowest: int, highest: int
) -> None:
    """The refusal says what would fit."""
    for value in (lowest, highest):
        codec = map_codec(a_layout(value=layout)).value
        encoded = encode_config({"m": {"1": value}}, {"m": a_layout(value=layout)})["m"]
        assert [codec.decode(data) for data in encoded.values()] == [value]

    for value in (lowest - 1, highest + 1):
        with pytest.raises(MapValueError) as refused:
            encode_config({"m": {"1": value}}, {"m": a_layout(value=layout)})
        assert refused.value.reasons[0].allowed == [lowest, highest]


def test_every_problem_is_listed_with_its_path() -> None:
    """One attempt shows everything there is to mend."""
    found = problems_of(
        {
            "ports": {"70000": 1, "80": "many", "x": 3, "443": True, "22": 1.5},
            "grid": {"[1,2]": [1, 300], "[1]": [1, 2], "5": [0, 0]},
            "absent": {"1": 1},
            "ring": {"1": 1},
        },
        ports=a_layout(key=U16),
        grid=a_layout(key=ArrayType(U8, 2), value=ArrayType(U8, 2)),
        ring=a_layout(kind="ringbuf"),
    )

    assert found == {
        "config.ports.70000": "is out of range for 16-bit integer",
        "config.ports.80": "must be an integer",
        "config.ports.x": "the key must be an integer or a list",
        "config.ports.443": "must be an integer",
        "config.ports.22": "must be an integer",
        "config.grid.[1,2][1]": "is out of range for 8-bit integer",
        "config.grid.[1]": "must be a list of so many elements",
        "config.grid.5": "must be a list of so many elements",
        "config.absent": "must be a map of the program",
        "config.ring": "maps of this type cannot be configured",
    }


def test_structs_are_written_by_their_members() -> None:
    """Padding is zero, names of an enumeration are keys, and every member must be given."""
    layouts = layouts_of("layouts")

    assert encode_config({"pairs": {"GREEN": {"left": 1, "right": -1}}}, layouts)["pairs"] == {
        b"\1\0\0\0": b"\1" + bytes(7) + b"\xff" * 8
    }
    with pytest.raises(MapValueError) as refused:
        encode_config({"pairs": {"RED": {"left": 1, "rigth": 2}, "BLUE": 5}}, layouts)
    assert [reason.path for reason in refused.value.reasons] == [
        "config.pairs.RED.rigth",
        "config.pairs.RED.right",
        "config.pairs.BLUE",
        "config.pairs.BLUE",
    ]


def test_an_array_s_keys_are_its_positions() -> None:
    """The kernel would refuse the write; the plan says so before."""
    assert problems_of({"a": {"4": 1}}, a=a_layout(entries=4, kind="array")) == {
        "config.a.4": "must be a position in the array"
    }


def test_more_entries_than_the_map_holds_are_refused() -> None:
    """Before the first is written."""
    config = {"m": {str(key): 1 for key in range(3)}}

    assert problems_of(config, m=a_layout(entries=2)) == {
        "config.m": "has more entries than the map can hold"
    }


def test_one_key_written_twice_is_refused() -> None:
    """`[1,2]` and `[1, 2]` are the same key, and only one of the values could win."""
    layout = a_layout(key=ArrayType(U8, 2))

    assert problems_of({"m": {"[1,2]": 1, "[1, 2]": 2}}, m=layout) == {
        "config.m.[1, 2]": "names the same key twice"
    }


@pytest.mark.parametrize("text", [" 80", "80 ", "\n80", "8_0", "+80", "080", ""])
def test_a_key_has_one_form(text: str) -> None:
    """White space and other spellings of a number are refused, so that nothing is guessed."""
    assert problems_of({"m": {text: 1}}, m=a_layout()) == {
        f"config.m.{text}": "the key must be an integer or a list"
    }


@pytest.mark.parametrize(
    ("text", "layout"), [("80", U16), ("[1,2]", ArrayType(U8, 2)), ("-3", S64)]
)
def test_keys_are_rendered_as_they_are_written(text: str, layout: Any) -> None:
    """Rendering is the inverse of encoding."""
    codec = map_codec(a_layout(key=layout))
    assert codec.decode_key(encode_key(text, layout, path="metrics.m.key")) == text


def test_a_deeply_nested_key_is_refused_and_no_crash() -> None:
    """Text from outside never ends a process."""
    with pytest.raises(MapValueError):
        encode_key("[" * 100_000, U8, path="key")
