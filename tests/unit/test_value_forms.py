# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Forms of values: the bytes that each becomes, and what is refused and why."""

from __future__ import annotations

from typing import Any

import pytest

from shared.configuration.entries import MapLayout, map_codec
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

U8, U16, U32 = (IntegerType(size) for size in (1, 2, 4))
CHARS = ArrayType(IntegerType(1, is_signed=True, name="char"), 4)
PREFIX = StructType("k", 8, (Member("prefixlen", 0, U32), Member("address", 32, U32)))
FLOW = StructType(
    "flow",
    12,
    (
        Member("address", 0, U32),
        Member("port", 32, U16),
        Member("", 64, UnionType("", 4, (Member("tag", 0, U32), Member("pair", 0, U16)))),
    ),
)
MODES = EnumType(4, is_signed=True, name="mode", values=(("off", 0), ("less", -1)))


def encoded(layout: Layout, value: Any, rules: ValueRules) -> tuple[bytes, list[Reason]]:
    """Bytes and problems."""
    problems: list[Reason] = []
    return codec_of(layout, rules, []).encode(value, "v", problems), problems


@pytest.mark.parametrize(
    ("layout", "form", "value", "stored"),
    [
        (U32, "ipv4", "192.0.2.1", "c0000201"),
        (ArrayType(U8, 4), "ipv4", "192.0.2.1", "c0000201"),
        (ArrayType(U16, 8), "ipv6", "2001:db8::1", "20010db8000000000000000000000001"),
        (ArrayType(U8, 6), "mac", "02:00:00:00:00:ff", "0200000000ff"),
        (U16, "port", 443, "01bb"),
        (U16, "", 443, "bb01"),
        (PREFIX, "cidr", "10.0.0.0/8", "080000000a000000"),
        (CHARS, "", "abc", "61626300"),
        (CHARS, "integer", [97, 98, 99, -1], "616263ff"),
        (ArrayType(U8, 4), "string", "é", "c3a90000"),
        (U32, "hex", "00ff00ff", "00ff00ff"),
        (U32, "bool", True, "01000000"),
        (MODES, "", "less", "ffffffff"),
        (MODES, "", -1, "ffffffff"),
        (ArrayType(PREFIX, 2), "cidr", ["0.0.0.0/0", "1.0.0.0/8"], "00" * 8 + "0800000001000000"),
        (ArrayType(U32, 2), "ipv4", ["1.2.3.4", "0.0.0.1"], "0102030400000001"),
    ],
)
def test_the_bytes_of_each_form(layout: Layout, form: ValueFormat, value: Any, stored: str) -> None:
    """What packets hold lies in network order, numbers in the machine's."""
    data, problems = encoded(layout, value, ValueRules(form))

    assert (data.hex(), problems) == (stored, [])


@pytest.mark.parametrize(
    ("layout", "form", "value", "rule"),
    [
        (U32, "ipv4", "::1", "must be an IPv4 address"),
        (U32, "ipv4", "192.0.2.256", "must be an IPv4 address"),
        (U32, "ipv4", "010.0.0.1", "must be an IPv4 address"),
        (ArrayType(U8, 16), "ipv6", "fe80::1%eth0", "must be an IPv6 address"),
        (ArrayType(U8, 6), "mac", "02-00-00-00-00-01", "must be an Ethernet address, as"),
        (U16, "port", 65536, "is out of range for 16-bit integer"),
        (PREFIX, "cidr", "10.0.0.1/8", "has bits set behind the prefix"),
        (PREFIX, "cidr", "10.0.0.0/33", "must be an IPv4 prefix"),
        (PREFIX, "cidr", "10.0.0.0/08", "must be an IPv4 prefix"),
        (CHARS, "", "four", "must leave a byte for the zero"),
        (CHARS, "", "a\0b", "must be a text without zeros"),
        (CHARS, "", "\ud800", "must be a text without halves"),
        (CHARS, "", [1, 2, 3, 200], "must be a text, or a list of 4 numbers"),
        (U32, "hex", "00ff", "must be 8 hexadecimal digits"),
        (U32, "bool", 2, "must be true or false"),
        (MODES, "", "on", "is no value of the enumeration mode"),
        (MODES, "", 7, "is no value of the enumeration mode"),
        (OpaqueType("bpf_spin_lock", 4), "", 0, "values of type bpf_spin_lock cannot be"),
    ],
)
def test_what_does_not_fit_says_why(
    layout: Layout, form: ValueFormat, value: Any, rule: str
) -> None:
    """One reason each."""
    _, problems = encoded(layout, value, ValueRules(form))

    assert [one.rule[: len(rule)] for one in problems] == [rule]


def test_members_have_formats_and_ranges_of_their_own() -> None:
    """A union without a name lends its members to the struct around it."""
    rules = ValueRules(
        members={
            "address": MemberEntry(format="ipv4"),
            "port": MemberEntry(format="port", minimum=1024),
        }
    )

    data, problems = encoded(FLOW, {"address": "1.2.3.4", "port": 8080, "tag": 9}, rules)
    _, refused = encoded(FLOW, {"address": "1.2.3.4", "port": 80, "tag": 65537, "pair": 2}, rules)

    assert (data.hex(), problems) == ("01020304" + "1f90" + "0000" + "09000000", [])
    assert codec_of(FLOW, rules, []).decode(data) == {
        "address": "1.2.3.4",
        "port": 8080,
        "tag": 9,
        "pair": 9,
    }
    assert {one.path: one.rule for one in refused} == {
        "v.port": "is outside the range that the package states",
        "v.pair": "says other bytes than another member of the union",
    }


def test_rules_that_fit_no_type_are_all_told() -> None:
    """At publication, before anybody configures anything."""
    problems: list[Reason] = []
    entry = MapEntry(
        key_format="mac",
        value_minimum=1,
        value_members={
            "address": MemberEntry(format="ipv6"),
            "port": MemberEntry(minimum=5, maximum=4),
            "prot": MemberEntry(),
        },
    )

    map_codec(
        MapLayout(U32, FLOW, 4, "hash"), entry, path="maps.m", problems=problems, has_ranges=True
    )

    assert [one.path for one in problems] == [
        "maps.m.key_format",
        "maps.m.value_members.address.format",
        "maps.m.value_members.port.minimum",
        "maps.m.value_minimum",
        "maps.m.value_members.prot",
    ]


def test_keys_of_an_lpm_trie_are_prefixes_without_being_told() -> None:
    """Anything else would be unreadable; whoever wants the struct names a format of its members."""
    plain = map_codec(MapLayout(PREFIX, U32, 4, "lpm_trie"))
    members = MapEntry(key_members={"address": MemberEntry(format="ipv4")})

    key = plain.encode_key("10.0.0.0/8", "k", [])

    assert plain.decode_key(key) == "10.0.0.0/8"
    assert map_codec(MapLayout(PREFIX, U32, 4, "lpm_trie"), members).decode_key(key) == (
        '{"prefixlen":8,"address":"10.0.0.0"}'
    )


def test_padding_need_not_be_written() -> None:
    """By its name; it is shown where it is not zero."""
    layout = StructType("s", 4, (Member("port", 0, U16), Member("pad2", 16, U16)))

    data, problems = encoded(layout, {"port": 1}, ValueRules())

    assert (data.hex(), problems) == ("01000000", [])
    assert codec_of(layout, ValueRules(), []).decode(b"\1\0\2\0") == {"port": 1, "pad2": 2}


def test_a_type_with_endless_parts_is_shown_as_bytes() -> None:
    """Types come from outside: their size in memory says nothing of how much there is to write."""
    layout: Layout = U8
    for _ in range(30):
        layout = StructType("s", 1, (Member("a", 0, layout), Member("b", 0, layout)))

    assert codec_of(layout, ValueRules(), []).decode(b"\7") == "07"
