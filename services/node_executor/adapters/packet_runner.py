# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Programs run over packets beside the hook, on maps that are copies of the live ones.

Nothing here writes to a map that was not made for a trial.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from services.node_executor.adapters import kernel_info, map_access, slot_counters
from services.node_executor.adapters.bpf_syscall import (
    MAP_LOOKUP_BATCH,
    MAP_UPDATE_BATCH,
    Descriptor,
    Memory,
    bpf_attempt,
)
from services.node_executor.adapters.inner_maps import copy_inner_maps
from services.node_executor.adapters.kernel_errors import KernelFaultError
from services.node_executor.adapters.network_namespaces import inside
from services.node_executor.adapters.programs import run_packet
from services.node_executor.generations import Point
from services.node_executor.kernel_types import MapInfo, PacketRun
from services.node_executor.packet_tests import MapView, Ran, WatchedMap
from shared.configuration.entries import map_layout
from shared.errors import Reason, RefusedError

MAX_COPIED_BYTES: Final = 64 * 1024 * 1024
"""Of one map's keys and values on all processors."""
MAX_WATCHED_BYTES: Final = 4 * 1024 * 1024
"""Changes in a larger map are not listed: it is read before and after every packet."""

_BATCH: Final = 4096
_BATCH_BYTES: Final = 1 << 20
_NOT_SUPPORTED: Final = (errno.EINVAL, errno.ENOTSUP, 524)
_COPIED: Final = frozenset(
    ("hash", "array", "percpu_hash", "percpu_array", "lru_hash", "lru_percpu_hash", "lpm_trie")
)
_DEVICES: Final = frozenset(("devmap", "devmap_hash", "cpumap"))
_MAPS_OF_MAPS: Final = frozenset(("array_of_maps", "hash_of_maps"))
_AS_LOADED: Final = frozenset(("prog_array",))
_OUTPUTS: Final = frozenset(("perf_event_array", "ringbuf", "user_ringbuf", "stack_trace"))
_DEVICE_WORD_BYTES: Final = 4
_XDP_CONTEXT: Final = struct.Struct("<6I")
"""struct xdp_md: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex."""
_TC_CONTEXT_BYTES: Final = 192
_TC_FIELDS: Final = {
    "mark": 8,
    "priority": 32,
    **{f"cb{number}": 48 + 4 * number for number in range(5)},
}
"""struct __sk_buff: the fields that a run takes and gives back."""
_INGRESS_INTERFACE, _INTERFACE = 36, 40


class MapTooLargeError(RefusedError):
    """A map has more content than a trial copies."""

    code = "too_large"


class _Contents(NamedTuple):
    """Everything in a map, as the kernel gives it."""

    keys: bytes
    values: bytes


class PacketRunner:
    """Works on programs and maps by their ids; holds nothing between calls."""

    def copy_map(self, live_id: int, fresh_id: int, *, name: str) -> str:
        """The fresh map holds what the live one holds; or why it does not, in one sentence.

        Raises:
            MapTooLargeError: It holds too much.
            KernelFaultError: The kernel failed.
        """
        with kernel_info.map_by_id(live_id) as live, kernel_info.map_by_id(fresh_id) as fresh:
            info, other = kernel_info.map_info(live.fd), kernel_info.map_info(fresh.fd)
            kind = info.type_name
            if _shape(info) != _shape(other):
                return f"{name} starts empty: the live map has another type or size"
            if kind in _MAPS_OF_MAPS:
                copy_inner_maps(live, fresh, copy=_copy_entries)
            elif kind in _DEVICES:
                _copy_devices(live, fresh)
            elif kind in _COPIED:
                _refuse_too_large(live, info, name)
                _copy_entries(live, fresh)
            elif kind not in _AS_LOADED | _OUTPUTS:
                return f"{name} starts empty: maps of type {kind} cannot be read from outside"
        return ""

    def watched(self, map_id: int, *, deployment: str, name: str) -> WatchedMap | str:
        """How changes of the map are read; or why they are not, in one sentence, or nothing."""
        with kernel_info.map_by_id(map_id) as opened:
            info = kernel_info.map_info(opened.fd)
            kind = info.type_name
            if kind in _COPIED and _held_bytes(opened, info, MAX_WATCHED_BYTES) is not None:
                layout = map_layout(*kernel_info.map_declaration(opened.fd))
                return WatchedMap(deployment, name, layout, info.is_per_cpu)
        if kind in _AS_LOADED | _DEVICES:  # programs cannot write to them
            return ""
        if kind in _COPIED:
            return f"changes in {deployment}.{name} are not listed: it holds too much"
        within = " in the maps" if kind in _MAPS_OF_MAPS else ""
        return f"changes{within} in {deployment}.{name} ({kind}) are not listed"

    def contents(self, map_id: int) -> MapView:
        """Everything in the map."""
        with kernel_info.map_by_id(map_id) as opened:
            info = kernel_info.map_info(opened.fd)
            found = _read(opened, info)
        sizes = (info.key_size_bytes, map_access.stored_bytes(info))
        return MapView(found.keys, found.values, *sizes)

    def clear_counters(self, map_id: int) -> None:
        """Every counter of the trial's own map is zero, on every processor."""
        with kernel_info.map_by_id(map_id) as opened:
            size = kernel_info.map_info(opened.fd).value_size_bytes
            map_access.update(opened, struct.pack("<I", 0), bytes(size))

    def read_counters(self, map_id: int) -> tuple[bytes, ...]:
        """The counter map's value on each processor."""
        with kernel_info.map_by_id(map_id) as opened:
            return tuple(slot_counters.values(opened))

    def run(self, program_id: int, packet: bytes, point: Point) -> Ran:
        """What the program does to the packet, as if it had come through the point's interface.

        Raises:
            KernelFaultError: The kernel does not run it over this packet.
        """
        with inside(point.netns), kernel_info.program_by_id(program_id) as program:
            index = _interface_index(point.interface)
            if point.hook == "xdp":
                return _run_xdp(program, packet, index)
            return _run_tc(program, packet, index, is_ingress=point.hook == "tc-ingress")


def _run_xdp(program: Descriptor, packet: bytes, index: int) -> Ran:
    try:
        done = run_packet(program, packet, context=_xdp_context(packet, index))
    except KernelFaultError as error:
        # The interface has no receive queue that knows XDP; without one the packet comes from lo.
        if not index or error.number not in (errno.EINVAL, errno.ENODEV):
            raise
        done = run_packet(program, packet, context=_xdp_context(packet, 0))
    data, _, metadata, *_ = _XDP_CONTEXT.unpack_from(done.context)
    length = data - metadata
    return Ran(done.verdict, done.data[length:], {"metadata_bytes": length})


def _xdp_context(packet: bytes, index: int) -> bytes:
    return _XDP_CONTEXT.pack(0, len(packet), 0, index, 0, 0)


def _run_tc(program: Descriptor, packet: bytes, index: int, *, is_ingress: bool) -> Ran:
    context = bytearray(_TC_CONTEXT_BYTES)
    struct.pack_into("<I", context, _INTERFACE, index)
    if is_ingress:
        struct.pack_into("<I", context, _INGRESS_INTERFACE, index)
    done: PacketRun = run_packet(program, packet, context=bytes(context))
    fields = {
        name: struct.unpack_from("<I", done.context, offset)[0]
        for name, offset in _TC_FIELDS.items()
    }
    return Ran(done.verdict, done.data, fields)


def _interface_index(name: str) -> int:
    try:
        return socket.if_nametoindex(name)
    except OSError:
        return 0


def _shape(info: MapInfo) -> tuple[int, ...]:
    sizes = (info.key_size_bytes, info.value_size_bytes, info.max_entries, info.flags)
    return (info.type_number, *sizes)


def _held_bytes(opened: Descriptor, info: MapInfo, most_bytes: int) -> int | None:
    """Keys and values of all entries; None: more than `most_bytes`."""
    entry_bytes = info.key_size_bytes + map_access.stored_bytes(info)
    if info.max_entries * entry_bytes <= most_bytes:
        return info.max_entries * entry_bytes
    held = 0
    try:
        for count, _, _ in _batches(opened, info):
            held += count * entry_bytes
            if held > most_bytes:
                return None
    except KernelFaultError as error:
        if error.number not in _NOT_SUPPORTED:
            raise
        return None
    return held


def _refuse_too_large(live: Descriptor, info: MapInfo, name: str) -> None:
    if _held_bytes(live, info, MAX_COPIED_BYTES) is None:
        rule = "holds more than a trial copies"
        reason = Reason(path=name, rule=rule, got=info.max_entries, allowed=MAX_COPIED_BYTES)
        raise MapTooLargeError(f"{name} {rule}", [reason])


def _copy_entries(live: Descriptor, fresh: Descriptor) -> None:
    info = kernel_info.map_info(live.fd)
    try:
        for count, keys, values in _batches(live, info):
            memory = Memory()
            request = struct.pack(
                "<QQQQIIQQ",
                *(0, 0, memory.of(keys), memory.of(values)),
                *(count, fresh.fd, 0, 0),
            )
            _, failure, _ = bpf_attempt(MAP_UPDATE_BATCH, request)
            if failure:
                raise KernelFaultError(f"copying map {info.name}", failure)
    except KernelFaultError as error:
        if error.number not in _NOT_SUPPORTED:
            raise
        for key, value in map_access.entries(live):
            map_access.update(fresh, key, value)


def _copy_devices(live: Descriptor, fresh: Descriptor) -> None:
    """Interfaces and processors; programs that run behind a redirect are left out."""
    for key, value in map_access.entries(live):
        known = value[:_DEVICE_WORD_BYTES].ljust(len(value), b"\0")
        if any(known):
            map_access.update(fresh, key, known)


def _read(opened: Descriptor, info: MapInfo) -> _Contents:
    try:
        parts = list(_batches(opened, info))
    except KernelFaultError as error:
        if error.number not in _NOT_SUPPORTED:
            raise
        entries = list(map_access.entries(opened))
        return _Contents(b"".join(key for key, _ in entries), b"".join(one for _, one in entries))
    keys = b"".join(part for _, part, _ in parts)
    return _Contents(keys, b"".join(part for _, _, part in parts))


def _batches(opened: Descriptor, info: MapInfo) -> Iterator[tuple[int, bytes, bytes]]:
    """Count, keys and values of some entries at a time, not taken apart."""
    value_bytes = map_access.stored_bytes(info)
    entry_bytes = info.key_size_bytes + value_bytes
    size = max(64, min(_BATCH, info.max_entries, _BATCH_BYTES // entry_bytes))
    position = b""
    while True:
        memory = Memory()
        following, read_following = memory.space(max(info.key_size_bytes, 4))
        keys, read_keys = memory.space(info.key_size_bytes * size)
        values, read_values = memory.space(value_bytes * size)
        request = struct.pack(
            "<QQQQIIQQ",
            *(memory.of(position), following, keys, values),
            *(size, opened.fd, 0, 0),
        )
        _, failure, reply = bpf_attempt(MAP_LOOKUP_BATCH, request)
        if failure == errno.ENOSPC:
            size *= 2  # one hash bucket alone does not fit
            continue
        if failure not in (0, errno.ENOENT):
            raise KernelFaultError(f"reading map {info.name}", failure)
        count = struct.unpack_from("<I", reply, 32)[0]
        if count:
            yield (
                count,
                read_keys()[: count * info.key_size_bytes],
                read_values()[: count * value_bytes],
            )
        if failure == errno.ENOENT:
            return
        position = read_following()
