# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a trial says of a packet follows from what was there before and after."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.node_executor.packet_tests import (
    MapView,
    Ran,
    WatchedMap,
    changed_entries,
    changed_places,
    decided_by,
    describe,
    programs_that_ran,
    readable,
    verdict_name,
    within_reply,
)
from services.node_executor.slot_metrics import Counted
from shared.configuration.entries import MapLayout
from shared.contracts.inspection import MAX_SHOWN_CHANGES, PacketTried, ProgramRan
from shared.contracts.value_types import (
    ArrayType,
    IntegerType,
    Member,
    OpaqueType,
    StructType,
)
from tests.unit.test_slot_metrics import a_value

WORD = IntegerType(4, is_signed=False)
CHAIN = (
    Counted("guard", 2, ("pass",)),
    Counted("count", 0, ("pass",)),
    Counted("last", 1, ("pass",)),
)


def a_map(value: object = WORD, *, is_per_cpu: bool = False) -> WatchedMap:
    """A map of numbers."""
    assert isinstance(value, IntegerType | ArrayType | StructType | OpaqueType)
    return WatchedMap("guard", "limits", MapLayout(WORD, value, 8, "hash"), is_per_cpu)


def a_view(entries: dict[bytes, bytes], value_bytes: int = 4) -> MapView:
    """A map that holds these."""
    return MapView(b"".join(entries), b"".join(entries.values()), 4, value_bytes)


def four(number: int) -> bytes:
    """As the kernel has it."""
    return number.to_bytes(4, "little")


def test_programs_that_ran_are_those_that_counted() -> None:
    """In the order of the chain, not of their slots."""
    values = (bytes(a_value({})), bytes(a_value({(2, "pass"): 1, (0, "drop"): 1})))

    ran = programs_that_ran(values, hook="xdp", programs=CHAIN)

    assert [(one.deployment, one.verdict, one.went_on) for one in ran] == [
        ("guard", "pass", True),
        ("count", "drop", False),
    ]
    assert decided_by(ran, CHAIN) == "count"


def test_the_last_program_decides_what_reaches_it() -> None:
    """Also when its verdict is one after which a chain would go on."""
    ran = [ProgramRan(deployment=one.deployment, verdict="pass", went_on=True) for one in CHAIN]

    assert decided_by(ran, CHAIN) == "last"


def test_who_leaves_the_chain_for_good_decides() -> None:
    """A program that tail-calls another never comes back to be counted."""
    ran = [ProgramRan(deployment="guard", verdict="pass", went_on=True)]

    assert decided_by(ran, CHAIN) == "count"
    assert decided_by([], CHAIN) == "guard"
    assert decided_by([], ()) == ""


@pytest.mark.parametrize(
    ("verdict", "hook", "name"),
    [
        (2, "xdp", "pass"),
        (0xFFFFFFFF, "tc-ingress", "unspec"),
        (2, "tc-egress", "shot"),
        (77, "xdp", "77"),
        (0xFFFFFFFE, "tc-ingress", "-2"),
    ],
)
def test_verdicts_are_named(verdict: int, hook: str, name: str) -> None:
    """Those without a name are numbers, as the kernel would read them."""
    assert verdict_name(verdict, hook) == name  # type: ignore[arg-type]


def test_changes_of_equal_length_are_runs() -> None:
    """Offset, what was there, what is there."""
    before, after = b"abcdefgh", b"aXXdefgY"

    assert [(one.offset, one.before, one.after) for one in changed_places(before, after)] == [
        (1, b"bc".hex(), b"XX".hex()),
        (7, b"h".hex(), b"Y".hex()),
    ]
    assert changed_places(before, before) == []


def test_what_is_pushed_in_is_one_place() -> None:
    """As a VLAN tag behind two addresses."""
    before = bytes(range(12)) + b"\x08\x00" + b"payload"
    after = bytes(range(12)) + b"\x81\x00\x00\x07" + b"\x08\x00" + b"payload"

    (change,) = changed_places(before, after)

    assert (change.offset, change.before, change.after) == (12, "", "81000007")
    (back,) = changed_places(after, before)
    assert (back.offset, back.before, back.after) == (12, "81000007", "")


@given(before=st.binary(max_size=64), after=st.binary(max_size=64))
def test_changes_lead_from_the_packet_before_to_the_packet_after(
    before: bytes, after: bytes
) -> None:
    """Nothing of a packet changes unsaid."""
    result = bytearray(before)
    for change in reversed(changed_places(before, after)):
        old, new = bytes.fromhex(change.before), bytes.fromhex(change.after)
        assert result[change.offset : change.offset + len(old)] == old
        result[change.offset : change.offset + len(old)] = new

    assert bytes(result) == after


def test_map_entries_come_change_and_go() -> None:
    """By key; what is the same is not said."""
    before = a_view({four(1): four(10), four(2): four(20), four(3): four(30)})
    after = a_view({four(2): four(21), four(1): four(10), four(4): four(40)})

    changes = list(changed_entries(a_map(), before, after))

    assert [(one.key, one.before, one.after) for one in changes] == [
        ("2", 20, 21),
        ("3", 30, None),
        ("4", None, 40),
    ]
    assert list(changed_entries(a_map(), before, before)) == []


def test_per_cpu_entries_change_on_the_processor_that_ran() -> None:
    """The other processors of a new entry hold nothing worth saying."""
    watched = a_map(is_per_cpu=True)
    before = a_view({four(1): four(5).ljust(8, b"\0") + four(6).ljust(8, b"\0")}, 16)
    after = a_view(
        {
            four(1): four(5).ljust(8, b"\0") + four(7).ljust(8, b"\0"),
            four(2): bytes(8) + four(1).ljust(8, b"\0"),
        },
        16,
    )

    changes = list(changed_entries(watched, before, after))

    assert [(one.key, one.cpu, one.before, one.after) for one in changes] == [
        ("1", 1, 6, 7),
        ("2", 1, None, 1),
    ]


def test_structs_are_read_by_member() -> None:
    """Arrays as lists; what has no text form as hexadecimal digits."""
    pair = StructType(
        "pair",
        12,
        (Member("tokens", 0, WORD), Member("ports", 32, ArrayType(IntegerType(2, False), 2))),
    )
    data = four(7) + b"\x50\x00\xbb\x01" + b"\xff" * 4

    assert readable(data, pair) == {"tokens": 7, "ports": [80, 443]}
    assert readable(data, OpaqueType("union", 12)) == data.hex()
    assert readable(data * 2, ArrayType(pair, 2))[1]["tokens"] == 7
    assert len(str(readable(b"\1" * 5000, OpaqueType("union", 5000)))) < 600


def test_one_packet_is_described_whole_and_its_lists_are_cut() -> None:
    """Counts are of everything."""
    packet = bytes(200)
    changed = bytes(255 if at % 2 else 0 for at in range(200))
    left = Ran(2, changed, {"mark": 7, "priority": 0})
    entries = {four(number): four(number) for number in range(100)}

    said = describe(
        packet,
        left,
        (bytes(a_value({(2, "pass"): 1})),),
        hook="xdp",
        programs=CHAIN[:1],
        maps=[(a_map(), a_view({}), a_view(entries))],
    )

    assert (said.verdict, said.value, said.decided_by) == ("pass", 2, "guard")
    assert (said.changed_places, len(said.changes)) == (100, MAX_SHOWN_CHANGES)
    assert (said.changed_entries, len(said.map_changes)) == (100, MAX_SHOWN_CHANGES)
    assert said.context == {"mark": 7}


def test_lists_end_where_a_reply_would_become_too_large() -> None:
    """The packets before keep theirs."""
    packets = [PacketTried()] * 3

    assert within_reply(packets, [10, 10, 10]) == 3
    assert within_reply(packets, [10, 500_000, 10]) == 1
