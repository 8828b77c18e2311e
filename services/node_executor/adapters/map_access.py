# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Entries of maps: read, write, remove, many at a time, and one number out of a map.

A per-CPU map holds one value for each possible processor under a key, each in a multiple of 8
bytes; they are joined here in the order of the processors.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterator
from typing import Final

from services.node_executor.adapters import kernel_info
from services.node_executor.adapters.bpf_syscall import (
    MAP_DELETE,
    MAP_LOOKUP,
    MAP_LOOKUP_BATCH,
    MAP_NEXT_KEY,
    MAP_UPDATE,
    Memory,
    bpf,
    bpf_attempt,
)
from services.node_executor.adapters.kernel_errors import KernelFaultError
from services.node_executor.adapters.libbpf_cdef import libraries
from services.node_executor.kernel_types import Handle, MapInfo
from shared.configuration.entries import split_processors
from shared.configuration.metric_selection import Selection
from shared.errors import RefusedError

_BATCH: Final = 1024
_NUMBER_BYTES: Final = (1, 2, 4, 8)
_NOT_SUPPORTED: Final = (errno.EINVAL, errno.ENOTSUP, 524)
"""524: ENOTSUPP, which the kernel leaks from inside."""


def lookup(handle: Handle, key: bytes) -> bytes | None:
    """The value under `key`; None if there is none."""
    return lookup_in(handle, kernel_info.map_info(handle.fd), key)


def lookup_in(handle: Handle, info: MapInfo, key: bytes) -> bytes | None:
    """The same for a map whose information was read already."""
    memory = Memory()
    value, read = memory.space(stored_bytes(info))
    request = struct.pack("<I4xQQQ", handle.fd, memory.of(key), value, 0)
    _, failure, _ = bpf_attempt(MAP_LOOKUP, request)
    if failure == errno.ENOENT:
        return None
    if failure:
        raise KernelFaultError("reading a map entry", failure)
    return read()


def update(handle: Handle, key: bytes, value: bytes) -> None:
    """`key` has `value`; in a per-CPU map on every processor."""
    info = kernel_info.map_info(handle.fd)
    stored = value
    if info.is_per_cpu and len(value) == info.value_size_bytes:
        stored = value.ljust(_slot_bytes(info), b"\0") * processors()
    memory = Memory()
    request = struct.pack("<I4xQQQ", handle.fd, memory.of(key), memory.of(stored), 0)
    bpf(MAP_UPDATE, request, action=f"writing to map {info.name}")


def delete(handle: Handle, key: bytes) -> None:
    """There is no entry under `key`; whether there was one does not matter."""
    memory = Memory()
    _, failure, _ = bpf_attempt(MAP_DELETE, struct.pack("<I4xQQQ", handle.fd, memory.of(key), 0, 0))
    if failure not in (0, errno.ENOENT):
        raise KernelFaultError("removing a map entry", failure)


def entries(handle: Handle) -> Iterator[tuple[bytes, bytes]]:
    """All keys and values.  An entry that changes meanwhile is given as it was or as it is."""
    info = kernel_info.map_info(handle.fd)
    batches = _Batches(handle, info)
    try:
        yield from batches.read()
    except KernelFaultError as error:
        if error.number not in _NOT_SUPPORTED:
            raise
        yield from one_by_one(handle)


def read_number(handle: Handle, key: bytes | None) -> int | None:
    """The unsigned number under `key`, summed over processors; None if there is no such entry.

    Without a key, the sum over all entries.

    Raises:
        RefusedError: the map's values are no whole numbers of 1, 2, 4 or 8 bytes.
    """
    info = kernel_info.map_info(handle.fd)
    if info.value_size_bytes not in _NUMBER_BYTES:
        raise RefusedError(f"the values of map {info.name} are not single numbers")
    if key is None:
        return sum(_number(info, value) for _, value in entries(handle))
    value = lookup_in(handle, info, key)
    return None if value is None else _number(info, value)


def selected(handle: Handle, selection: Selection) -> dict[str, int]:
    """The numbers that a metric means, by the text form of their keys.

    Raises:
        RefusedError: There are too many.
    """
    if selection.one_key is None:
        return selection.numbers(entries(handle))
    if selection.codec.layout.type_name == "lpm_trie":
        # Looking a prefix up would find the longest one that holds it.
        return selection.numbers(one for one in entries(handle) if one[0] == selection.one_key)
    stored = lookup(handle, selection.one_key)
    return {} if stored is None else selection.numbers([(selection.one_key, stored)])


def _number(info: MapInfo, stored: bytes) -> int:
    values = split_processors(stored, info.value_size_bytes)
    return sum(int.from_bytes(one, "little") for one in values)


def stored(info: MapInfo, value: bytes) -> bytes:
    """A value as the kernel stores it: once for each processor in a per-CPU map.

    One that has a value for each processor already is as it is.
    Documentation/bpf/map_hash.rst: per-CPU values are padded to 8 bytes each.
    """
    return per_processor(value, info.value_size_bytes) if info.is_per_cpu else value


def per_processor(value: bytes, size_bytes: int) -> bytes:
    """The same of a per-CPU map with values of that size."""
    if len(value) > size_bytes:
        return value
    return value.ljust(-(-size_bytes // 8) * 8, b"\0") * processors()


def _slot_bytes(info: MapInfo) -> int:
    size = info.value_size_bytes
    return -(-size // 8) * 8 if info.is_per_cpu else size


def stored_bytes(info: MapInfo) -> int:
    """Length of a value as system calls give and take it: of all processors in a per-CPU map."""
    return _slot_bytes(info) * (processors() if info.is_per_cpu else 1)


def processors() -> int:
    """How many there may be."""
    count = libraries().bpf.libbpf_num_possible_cpus()
    if count < 0:
        raise KernelFaultError("counting processors", -count)
    return int(count)


def one_by_one(handle: Handle) -> Iterator[tuple[bytes, bytes]]:
    """The same without batches, which not every kernel has for every kind of map."""
    info = kernel_info.map_info(handle.fd)
    key: bytes | None = None
    while True:
        memory = Memory()
        following, read = memory.space(info.key_size_bytes)
        request = struct.pack("<I4xQQQ", handle.fd, memory.of(key or b""), following, 0)
        _, failure, _ = bpf_attempt(MAP_NEXT_KEY, request)
        if failure == errno.ENOENT:
            return
        if failure:
            raise KernelFaultError(f"reading the keys of map {info.name}", failure)
        key = read()
        value = lookup_in(handle, info, key)
        if value is not None:
            yield key, value


class _Batches:
    """BPF_MAP_LOOKUP_BATCH until the end of the map."""

    def __init__(self, handle: Handle, info: MapInfo) -> None:
        self._handle: Final = handle
        self._info: Final = info
        self._value_bytes: Final = stored_bytes(info)

    def read(self) -> Iterator[tuple[bytes, bytes]]:
        """All entries."""
        count = _BATCH
        position = b""
        while True:
            found, position, failure = self._batch(position, count)
            if failure == errno.ENOSPC:
                # One hash bucket alone does not fit.
                count *= 2
                continue
            yield from found
            if failure == errno.ENOENT:
                return

    def _batch(self, position: bytes, count: int) -> tuple[list[tuple[bytes, bytes]], bytes, int]:
        key_bytes, value_bytes = self._info.key_size_bytes, self._value_bytes
        memory = Memory()
        following, read_following = memory.space(max(key_bytes, 4))
        keys, read_keys = memory.space(key_bytes * count)
        values, read_values = memory.space(value_bytes * count)
        request = struct.pack(
            "<QQQQIIQQ",
            *(memory.of(position), following, keys, values),
            *(count, self._handle.fd, 0, 0),
        )
        _, failure, reply = bpf_attempt(MAP_LOOKUP_BATCH, request)
        if failure == errno.ENOSPC:
            return [], position, failure
        if failure not in (0, errno.ENOENT):
            raise KernelFaultError(f"reading map {self._info.name}", failure)
        length = struct.unpack_from("<I", reply, 32)[0]
        all_keys, all_values = read_keys(), read_values()
        found = [
            (
                all_keys[number * key_bytes : (number + 1) * key_bytes],
                all_values[number * value_bytes : (number + 1) * value_bytes],
            )
            for number in range(length)
        ]
        return found, read_following(), failure
