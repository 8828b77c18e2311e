# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What is read of the kernel to find drift, and the one repair that is no other change's step."""

from __future__ import annotations

import errno
import struct
from collections.abc import Mapping
from typing import Any, Final

from services.node_executor.adapters import kernel_info, map_access
from services.node_executor.adapters.bpf_syscall import MAP_UPDATE, Memory, bpf
from services.node_executor.adapters.chain import LinkedChain
from services.node_executor.adapters.hook_owners import pinned_paths, processes
from services.node_executor.adapters.kernel_errors import KernelFaultError
from services.node_executor.kernel_types import MapInfo
from services.node_executor.map_carry_over import MapShape
from services.node_executor.map_writers import MapWrites, written_maps
from shared.bytecode.map_declarations import MAP_TYPES
from shared.contracts.value_types import InnerMap

MAX_COMPARED_BYTES: Final = 1024 * 1024
"""Of all entries of one map; those of a larger one are not compared."""
_COMPARED_TYPES: Final = frozenset((1, 2, 5, 6, 11))
"""Hashes and arrays, per processor too, and LPM tries.  The kernel itself drops entries of LRU
maps and device maps."""
_MAPS_OF_MAPS: Final = (12, 13)
"""Programs write to none of these themselves, but maybe to the maps in them."""
_READ_ONLY_FOR_PROGRAMS: Final = 1 << 7
"""BPF_F_RDONLY_PROG."""


def is_loaded(program_id: int) -> bool:
    """Whether the kernel has the program."""
    try:
        kernel_info.program_by_id(program_id).close()
    except KernelFaultError as error:
        if error.number != errno.ENOENT:
            raise
        return False
    return True


def segments(map_id: int, count: int) -> dict[int, int]:
    """Places 1 to `count` of a program array that hold a program, and which; none if it is gone."""
    try:
        opened = kernel_info.map_by_id(map_id)
    except KernelFaultError as error:
        if error.number != errno.ENOENT:
            raise
        return {}
    with opened:
        found = {
            place: map_access.lookup(opened, struct.pack("<I", place))
            for place in range(1, count + 1)
        }
    return {place: struct.unpack("<I", value)[0] for place, value in found.items() if value}


def put_segment(map_id: int, place: int, program_id: int) -> None:
    """The place in the array holds the program."""
    with (
        kernel_info.map_by_id(map_id) as array,
        kernel_info.program_by_id(program_id) as program,
    ):
        memory = Memory()
        key, value = struct.pack("<I", place), struct.pack("<I", program.fd)
        request = struct.pack("<I4xQQQ", array.fd, memory.of(key), memory.of(value), 0)
        bpf(MAP_UPDATE, request, action=f"putting segment {place} into its program array")


def holders(program_id: int, link_id: int = 0) -> dict[str, Any]:
    """What can be found out about a program, for people."""
    occupant = kernel_info.occupant(program_id, link_id)
    return {
        "program_name": occupant.program_name,
        "program_tag": occupant.program_tag,
        "pins": pinned_paths(occupant),
        "processes": processes(occupant),
    }


def watched_maps(
    linked: LinkedChain,
    configurable: Mapping[str, frozenset[str]],
    shapes: Mapping[str, Mapping[str, MapShape]],
) -> frozenset[int]:
    """Ids of the maps whose entries nobody but the executor should write.

    Args:
        linked: The chain.
        configurable: Deployment to the maps that may be configured; others are not looked at.
        shapes: Deployment to its maps as they are declared.
    """
    found: set[int] = set()
    for planned in linked.plan.bodies:
        body = planned.body
        names = configurable.get(body.name, frozenset())
        maps = linked.maps.get(body.name, {})
        loaded = {name: one for name, one in maps.items() if name in names}
        if not loaded:
            continue
        descriptors = {map_id: fd for fd, map_id in body.map_ids.items()}
        writes = MapWrites(frozenset(), any_map=True)
        if not body.tail_calls_programs:
            writes = written_maps(body.instructions)
        holders = [one.info.id for one in maps.values() if one.info.type_number in _MAPS_OF_MAPS]
        if any(descriptors.get(one) in writes.maps for one in holders):
            writes = MapWrites(frozenset(), any_map=True)
        for name, one in loaded.items():
            shape = shapes.get(body.name, {}).get(name)
            inner = shape.of_maps.inner if shape and shape.of_maps else None
            if _is_watched(one.info, inner, writes, descriptors):
                found.add(one.info.id)
    return frozenset(found)


def _is_watched(
    info: MapInfo, inner: InnerMap | None, writes: MapWrites, descriptors: Mapping[int, int]
) -> bool:
    compared = _COMPARED_TYPES
    size_bytes = info.max_entries * (info.key_size_bytes + map_access.stored_bytes(info))
    if inner is not None:
        compared |= {*_MAPS_OF_MAPS}
        is_lossy = MAP_TYPES.index(inner.type) not in _COMPARED_TYPES
        slots = map_access.processors() if "percpu" in inner.type else 1
        entry_bytes = inner.key.size_bytes + slots * max(inner.value.size_bytes, 8)
        size_bytes += info.max_entries * inner.max_entries * entry_bytes
        if is_lossy:
            return False
    if info.type_number not in compared or size_bytes > MAX_COMPARED_BYTES:
        return False
    if info.flags & _READ_ONLY_FOR_PROGRAMS and inner is None:
        return True
    descriptor = descriptors.get(info.id)
    return not (writes.any_map if descriptor is None else writes.may_reach(descriptor))
