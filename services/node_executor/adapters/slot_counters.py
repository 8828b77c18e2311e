# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The counter map of a hook point: made, kept across generations, read as one table.

User space can write a per-CPU value only as a whole, so a map that a program counts in is never
written: what must change goes into a new map, which the next generation counts in.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from services.node_executor.adapters import kernel_info, map_access
from services.node_executor.adapters.bpf_syscall import MAP_CREATE, Descriptor, bpf
from services.node_executor.kernel_types import Handle, LoadedMap, MapInfo
from services.node_executor.linking.counters import (
    COUNTERS_MAP_NAME,
    HEADER_BYTES,
    SlotCounters,
    capacity_for,
    capacity_of,
    max_slots,
    read_missed,
    read_slot,
    slot_bytes,
    slot_offset,
    value_bytes,
)
from shared.errors import Reason, RefusedError
from shared.identifiers import Hook

_PER_CPU_ARRAY: Final = 6
_KEY: Final = bytes(4)


@dataclass(frozen=True, slots=True)
class CounterTable:
    """What the programs of a hook point did."""

    slots: Mapping[int, SlotCounters]
    missed: int
    """Packets that found the next segment of their chain missing."""


def prepare(
    hook: Hook,
    slots: Collection[int],
    *,
    present: Handle | None,
    new_slots: Collection[int] = (),
) -> LoadedMap:
    """A map with room for `slots` in which each of `new_slots` begins at zero; close its handle.

    It is the present map where that fits, otherwise a new one with the counts of the present one.

    Args:
        hook: Whose verdicts are counted.
        slots: The numbers that the chain uses.
        present: The map that the present generation counts in; None: there is none.
        new_slots: Numbers whose program instance is new in the chain.

    Raises:
        RefusedError: no map has room for so many slots.
        KernelFaultError: the kernel cannot make the map.
    """
    needed = capacity_for(max(slots, default=0) + 1)
    if needed > max_slots(hook):
        raise RefusedError(
            f"one hook point counts at most {max_slots(hook)} programs",
            [Reason(path="chain", rule="has too many counter slots", got=max(slots) + 1)],
        )
    info = kernel_info.map_info(present.fd) if present is not None else None
    if present is None or info is None or not _is_counter_map(info, hook):
        return _make(hook, needed)
    capacity = capacity_of(hook, info.value_size_bytes)
    if capacity >= needed and not _is_used(present, hook, new_slots):
        held = kernel_info.map_by_id(info.id)
        return LoadedMap(COUNTERS_MAP_NAME, held, info, is_carried_over=True)
    made = _make(hook, max(needed, capacity))
    copy(present, made.handle, hook, except_slots=new_slots)
    return made


def copy(
    present: Handle, target: Handle, hook: Hook, *, except_slots: Collection[int] = ()
) -> None:
    """`target`, which nothing counts in yet, has the counts of `present`.

    What is counted in `present` after that is not in `target`: call it again right before a swap.
    """
    if not _is_counter_map(kernel_info.map_info(present.fd), hook):
        return
    size_bytes = kernel_info.map_info(target.fd).value_size_bytes
    copied = []
    for value in values(present):
        changed = bytearray(value)
        for slot in except_slots:
            start = slot_offset(hook, slot)
            if start < len(changed):
                changed[start : start + slot_bytes(hook)] = bytes(slot_bytes(hook))
        # Going back may lead to a map with less room: what it lacks was not in that chain.
        copied.append(bytes(changed[:size_bytes]).ljust(size_bytes, b"\0"))
    map_access.update(target, _KEY, b"".join(copied))


def read(handle: Handle, hook: Hook, slots: Collection[int] | None = None) -> CounterTable:
    """The counters of `slots`, or of all, summed over processors.

    Words are read one after another while packets pass, so sums may differ by what is under way.
    """
    return _table(values(handle), hook, slots)


def read_per_cpu(
    handle: Handle, hook: Hook, slots: Collection[int] | None = None
) -> tuple[CounterTable, ...]:
    """The same for each possible processor, in the order of their numbers."""
    return tuple(_table([value], hook, slots) for value in values(handle))


def values(handle: Handle) -> list[bytes]:
    """The map's value, one for each possible processor."""
    info = kernel_info.map_info(handle.fd)
    stored = map_access.lookup_in(handle, info, _KEY) or b""
    size = info.value_size_bytes
    return [stored[start : start + size] for start in range(0, len(stored), size)]


def _table(found: list[bytes], hook: Hook, slots: Collection[int] | None) -> CounterTable:
    capacity = capacity_of(hook, len(found[0]))
    wanted = range(capacity) if slots is None else [slot for slot in slots if slot < capacity]
    return CounterTable(
        slots={slot: read_slot(found, hook, slot) for slot in wanted},
        missed=read_missed(found),
    )


def _is_used(handle: Handle, hook: Hook, slots: Collection[int]) -> bool:
    """Whether something was ever counted in one of the slots."""
    size = slot_bytes(hook)
    starts = [slot_offset(hook, slot) for slot in slots]
    return bool(starts) and any(
        any(value[start : start + size]) for value in values(handle) for start in starts
    )


def _is_counter_map(info: MapInfo, hook: Hook) -> bool:
    """Whether it was made here for this hook; a map of an older layout starts anew."""
    body_bytes = info.value_size_bytes - HEADER_BYTES
    return (
        info.type_number == _PER_CPU_ARRAY
        and info.max_entries == 1
        and body_bytes > 0
        and body_bytes % slot_bytes(hook) == 0
    )


def _make(hook: Hook, capacity: int) -> LoadedMap:
    request = struct.pack(
        "<IIIIIII16s",
        *(_PER_CPU_ARRAY, len(_KEY), value_bytes(hook, capacity), 1, 0, 0, 0),
        COUNTERS_MAP_NAME.encode(),
    )
    made = Descriptor(bpf(MAP_CREATE, request, action="making a counter map"))
    info = kernel_info.map_info(made.fd)
    return LoadedMap(COUNTERS_MAP_NAME, made, info, is_carried_over=False)
