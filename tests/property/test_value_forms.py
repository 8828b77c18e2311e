# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Every form of a value: what is written is what is read back, and nothing else is taken."""

from __future__ import annotations

import ipaddress
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from shared.configuration.entries import MapLayout, encode_config, map_codec
from shared.configuration.kinds import ValueRules, codec_of
from shared.contracts.configuration import MemberEntry, ValueFormat
from shared.contracts.package_manifest import MapEntry
from shared.contracts.value_types import (
    ArrayType,
    EnumType,
    IntegerType,
    Layout,
    Member,
    OpaqueType,
    StructType,
    UnionType,
)
from shared.errors import Reason
from tests.support.json_schemas import accepts

CHAR = IntegerType(1, is_signed=True, name="char")
BYTE = IntegerType(1, name="unsigned char")
COLOURS = EnumType(4, name="colour", values=(("red", 0), ("green", 1), ("far", 70_000)))
SIZES = (1, 2, 4, 8)

Written = tuple[Layout, ValueFormat, Any]


def numbers(*, is_signed: bool, bits: int) -> st.SearchStrategy[int]:
    """All that fit."""
    low = -(1 << bits - 1) if is_signed else 0
    return st.integers(low, low + (1 << bits) - 1)


@st.composite
def integers(draw: st.DrawFn) -> Written:
    """A number of any width."""
    size, is_signed = draw(st.sampled_from(SIZES)), draw(st.booleans())
    value = draw(numbers(is_signed=is_signed, bits=8 * size))
    return IntegerType(size, is_signed), "", value


@st.composite
def prefixes(draw: st.DrawFn) -> Written:
    """An LPM key of either version."""
    size = draw(st.sampled_from((4, 16)))
    length = draw(st.integers(0, 8 * size))
    network = draw(st.integers(0, (1 << length) - 1)) << 8 * size - length
    address = ipaddress.ip_address(network.to_bytes(size, "big"))
    members = (Member("prefixlen", 0, IntegerType(4)), Member("data", 32, ArrayType(BYTE, size)))
    return StructType("key", 4 + size, members), "cidr", f"{address}/{length}"


def texts(size: int) -> st.SearchStrategy[str]:
    """Names that leave a zero at their end."""
    return st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=size - 1).filter(
        lambda text: len(text.encode()) < size and not text.startswith("[")
    )


simple = st.one_of(
    integers(),
    prefixes(),
    st.booleans().map(lambda value: (IntegerType(1, name="_Bool"), "", value)),
    st.booleans().map(lambda value: (IntegerType(4), "bool", value)),
    st.sampled_from([name for name, _ in COLOURS.values]).map(lambda name: (COLOURS, "", name)),
    st.sampled_from([one for _, one in COLOURS.values]).map(lambda one: (COLOURS, "integer", one)),
    texts(16).map(lambda text: (ArrayType(CHAR, 16), "", text)),
    texts(9).map(lambda text: (ArrayType(BYTE, 9), "string", text)),
    st.ip_addresses(v=4).map(lambda one: (IntegerType(4), "ipv4", str(one))),
    st.ip_addresses(v=6).map(lambda one: (ArrayType(IntegerType(4), 4), "ipv6", str(one))),
    st.binary(min_size=6, max_size=6).map(lambda one: (ArrayType(BYTE, 6), "mac", one.hex(":"))),
    st.integers(0, 65535).map(lambda one: (IntegerType(2), "port", one)),
    st.binary(min_size=8, max_size=8).map(lambda one: (IntegerType(8), "hex", one.hex())),
)


@st.composite
def nested(draw: st.DrawFn, parts: st.SearchStrategy[Written]) -> Written:
    """An array, or a struct with holes between its members, and bit fields."""
    if draw(st.booleans()):
        layout, form, value = draw(parts)
        if form:  # formats of elements are said of the member that the array is
            layout, form, value = IntegerType(2), "", 7
        count = draw(st.integers(1, 3))
        return ArrayType(layout, count), form, [value] * count
    members, values, end = [], {}, 0
    for number, part in enumerate(draw(st.lists(parts, min_size=1, max_size=4))):
        layout, _, value = part if not part[1] else (IntegerType(4), "", 3)
        end += 8 * draw(st.integers(0, 3))
        members.append(Member(f"m{number}", end, layout))
        values[f"m{number}"] = value
        end += 8 * layout.size_bytes
    if draw(st.booleans()):
        bits, is_signed = draw(st.integers(1, 15)), draw(st.booleans())
        members.append(Member("bits", end + 3, IntegerType(4, is_signed), bits))
        values["bits"] = draw(numbers(is_signed=is_signed, bits=bits))
        end += 32
    return StructType("s", end // 8 + 1, tuple(members)), "", values


written = st.recursive(simple, nested, max_leaves=8)


@given(key=written, value=written)
def test_what_is_configured_is_what_is_read_back(key: Written, value: Written) -> None:
    """Encoding loses nothing, of keys as text and of values as JSON; bytes come back as bytes."""
    layout = MapLayout(key[0], value[0], 16, "hash")
    entry = MapEntry(key_format=key[1], value_format=value[1])
    text = key[2] if isinstance(key[2], str) else msgspec.json.encode(key[2]).decode()

    [(stored_key, stored)] = encode_config({"m": {text: value[2]}}, {"m": layout}, {"m": entry})[
        "m"
    ].items()

    codec = map_codec(layout, entry)
    assert (len(stored_key), len(stored)) == (key[0].size_bytes, value[0].size_bytes)
    assert (codec.decode_key(stored_key), codec.value.decode(stored)) == (text, value[2])


@given(one=written)
def test_what_fits_is_taken_by_the_published_schema(one: Written) -> None:
    """Editors and forms refuse nothing that a plan would take."""
    assert accepts(codec_of(one[0], ValueRules(one[1]), []).schema(), one[2])


@given(one=written, data=st.data())
def test_whatever_the_kernel_holds_is_shown_and_written_again(
    one: Written, data: st.DataObject
) -> None:
    """Any bytes have a form, and where that form is taken, the bytes are the same again."""
    layout, form, _ = one
    size = layout.size_bytes
    held = data.draw(st.binary(min_size=size, max_size=size))
    codec = codec_of(layout, ValueRules(form), [])
    problems: list[Reason] = []

    shown = codec.decode(held)
    again = codec.encode(msgspec.json.decode(msgspec.json.encode(shown)), "v", problems)

    assert problems or codec.decode(again) == shown


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=6,
)


@given(one=written, value=anything)
def test_a_value_fits_or_is_refused_with_its_path(one: Written, value: Any) -> None:
    """Nothing else comes out, whatever is written."""
    codec = codec_of(one[0], ValueRules(one[1]), [])
    problems: list[Reason] = []

    encoded = codec.encode(value, "config.m.1", problems)

    assert problems or len(encoded) == codec.size_bytes
    assert all(reason.path.startswith("config.m.1") for reason in problems)


@given(first=st.integers(0, 2**32 - 1), second=st.integers(0, 2**16 - 1))
def test_members_of_a_union_share_their_bytes(first: int, second: int) -> None:
    """One is enough, all are shown, and those that are given must agree."""
    union = UnionType(
        "u", 4, (Member("wide", 0, IntegerType(4)), Member("port", 0, IntegerType(2)))
    )
    codec = codec_of(union, ValueRules(members={"port": MemberEntry(format="port")}), [])
    problems: list[Reason] = []

    wide = codec.encode({"wide": first}, "v", problems)
    both = codec.encode({"wide": first, "port": second}, "v", problems)

    assert wide == first.to_bytes(4, "little")
    agree = second.to_bytes(2, "big") == wide[:2]
    assert codec.decode(wide)["wide"] == first
    assert codec.encode(codec.decode(wide), "v", []) == wide
    assert (not problems and both == wide) if agree else problems[0].path == "v.port"


@given(layout=st.sampled_from([OpaqueType("pointer", 8), OpaqueType("bpf_timer", 16)]))
def test_what_has_no_form_is_shown_and_never_taken(layout: Layout) -> None:
    """Whatever format is asked for."""
    for form in ("", "hex", "ipv6", "integer"):
        codec = codec_of(layout, ValueRules(form), [])
        problems: list[Reason] = []
        codec.encode(codec.decode(bytes(layout.size_bytes)), "v", problems)
        assert problems
