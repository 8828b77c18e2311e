# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What the value of a counter map holds."""

from __future__ import annotations

import struct

import pytest

from services.node_executor.linking import counters
from shared.contracts.node import verdicts_of
from shared.identifiers import NETWORK_HOOKS, Hook


@pytest.mark.parametrize("hook", NETWORK_HOOKS)
def test_what_is_written_at_a_bucket_is_read_under_its_name(hook: Hook) -> None:
    """Summed over the processors, slot by slot; whatever is no verdict is `other`."""
    values = [bytearray(counters.value_bytes(hook, 16)) for _ in range(2)]
    for number, (name, verdict) in enumerate({**verdicts_of(hook), "other": 77}.items()):
        for value in values:
            struct.pack_into("<Q", value, counters.bucket_offset(hook, 3, verdict), number)
        assert name in counters.buckets_of(hook)

    read = counters.read_slot([bytes(value) for value in values], hook, 3)

    expected = {name: 2 * number for number, name in enumerate(counters.buckets_of(hook))}
    assert read.verdicts == expected
    assert read.packets == sum(expected.values())
    assert counters.read_slot([bytes(value) for value in values], hook, 2).packets == 0


@pytest.mark.parametrize("hook", NETWORK_HOOKS)
def test_slots_do_not_overlap_and_fit_into_a_per_cpu_value(hook: Hook) -> None:
    """An instruction's 16-bit offset reaches every word."""
    room = counters.max_slots(hook)
    size = counters.value_bytes(hook, room)

    assert room >= 256
    assert size <= 32 * 1024
    assert counters.capacity_of(hook, size) == room
    assert counters.time_offset(hook, room - 1) + 3 * 8 == size
    assert counters.slot_offset(hook, 1) == counters.time_offset(hook, 0) + 3 * 8
    assert counters.slot_offset(hook, 0) > counters.MISSED_OFFSET


@pytest.mark.parametrize(("slots", "room"), [(0, 16), (1, 16), (16, 16), (17, 32), (64, 64)])
def test_a_map_has_room_for_a_multiple_of_16_slots(slots: int, room: int) -> None:
    """So that not every new program makes a new map."""
    assert counters.capacity_for(slots) == room


def test_time_and_missed_packets_are_read_apart_from_verdicts() -> None:
    """The header's first word belongs to no slot."""
    value = bytearray(counters.value_bytes("xdp", 16))
    struct.pack_into("<Q", value, counters.MISSED_OFFSET, 5)
    struct.pack_into("<QQ", value, counters.time_offset("xdp", 1), 900, 3)

    read = counters.read_slot([bytes(value)], "xdp", 1)

    assert (read.measured_ns, read.measured_packets, read.packets) == (900, 3, 0)
    assert counters.read_missed([bytes(value)] * 2) == 10
