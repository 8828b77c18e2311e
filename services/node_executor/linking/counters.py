# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What the value of a hook point's counter map holds.

The map `l3af_slots` is a per-CPU array of one entry.  Its value is a header, then one slot after
the other, all words of 64 bits:

    missed          packets that found the next segment missing
    (reserved)
    slot 0          one word for each verdict and one for all other values,
                    nanoseconds measured, packets measured, packets seen by the sampling
    slot 1 ...

A program instance keeps its slot for life at its hook point.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from shared.contracts.node import verdicts_of
from shared.identifiers import Hook

COUNTERS_MAP_NAME: Final = "l3af_slots"
WORD_BYTES: Final = 8
HEADER_BYTES: Final = 2 * WORD_BYTES
MISSED_OFFSET: Final = 0
CAPACITY_STEP: Final = 16
"""A counter map has room for a multiple of this many slots."""
OTHER: Final = "other"
"""Bucket of the values that are no verdict."""
_TIME_WORDS: Final = 3
_MAX_VALUE_BYTES: Final = 32 * 1024
"""Of a per-CPU map (mm/percpu.c, PCPU_MIN_UNIT_SIZE); also what an instruction's offset reaches."""


@dataclass(frozen=True, slots=True)
class SlotCounters:
    """What one program instance did, on all processors."""

    verdicts: Mapping[str, int]
    """Packets by verdict name, and `other`."""
    measured_ns: int
    measured_packets: int
    """How many packets `measured_ns` is the sum of."""

    @property
    def packets(self) -> int:
        """Packets that the program saw and gave a verdict on."""
        return sum(self.verdicts.values())


def buckets_of(hook: Hook) -> tuple[str, ...]:
    """Names of a slot's verdict counters, in their order."""
    return (*verdicts_of(hook), OTHER)


def slot_bytes(hook: Hook) -> int:
    """Size of one slot."""
    return (len(buckets_of(hook)) + _TIME_WORDS) * WORD_BYTES


def slot_offset(hook: Hook, slot: int) -> int:
    """Where a slot begins in the value."""
    return HEADER_BYTES + slot * slot_bytes(hook)


def bucket_offset(hook: Hook, slot: int, verdict: int) -> int:
    """Where a slot counts a verdict, given as signed 32 bit."""
    values = tuple(verdicts_of(hook).values())
    bucket = values.index(verdict) if verdict in values else len(values)
    return slot_offset(hook, slot) + bucket * WORD_BYTES


def time_offset(hook: Hook, slot: int) -> int:
    """Where a slot's time words begin: nanoseconds, packets measured, packets seen."""
    return slot_offset(hook, slot) + len(buckets_of(hook)) * WORD_BYTES


def max_slots(hook: Hook) -> int:
    """How many slots one map can have."""
    room = (_MAX_VALUE_BYTES - HEADER_BYTES) // slot_bytes(hook)
    return room // CAPACITY_STEP * CAPACITY_STEP


def capacity_for(slots: int) -> int:
    """Room that a map for so many slots has: the next step."""
    return max(1, -(-slots // CAPACITY_STEP)) * CAPACITY_STEP


def value_bytes(hook: Hook, capacity: int) -> int:
    """Size of the map's value with room for `capacity` slots."""
    return HEADER_BYTES + capacity * slot_bytes(hook)


def capacity_of(hook: Hook, size_bytes: int) -> int:
    """How many slots a value of that size has room for."""
    return (size_bytes - HEADER_BYTES) // slot_bytes(hook)


def read_missed(values: Sequence[bytes]) -> int:
    """Packets that found the next segment missing; `values` holds one value a processor."""
    return sum(_word(value, MISSED_OFFSET) for value in values)


def read_slot(values: Sequence[bytes], hook: Hook, slot: int) -> SlotCounters:
    """The counters of a slot; `values` holds one value a processor."""
    start, time = slot_offset(hook, slot), time_offset(hook, slot)
    return SlotCounters(
        verdicts={
            name: sum(_word(value, start + index * WORD_BYTES) for value in values)
            for index, name in enumerate(buckets_of(hook))
        },
        measured_ns=sum(_word(value, time) for value in values),
        measured_packets=sum(_word(value, time + WORD_BYTES) for value in values),
    )


def _word(value: bytes, offset: int) -> int:
    number: int = struct.unpack_from("<Q", value, offset)[0]
    return number
