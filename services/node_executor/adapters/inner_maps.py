# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Maps of maps: read and written flat (shared.configuration.entries), and copied.

An inner map is held by the outer one alone, so one that is not under a key when a write ends, in
whatever way, is gone.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import groupby
from typing import Final

from services.node_executor.actions import EntryChange
from services.node_executor.adapters import kernel_info, map_access, map_batches
from services.node_executor.adapters.bpf_syscall import (
    BTF_BY_ID,
    MAP_CREATE,
    Descriptor,
    bpf,
    info_by_fd,
)
from services.node_executor.adapters.kernel_errors import KernelFaultError
from services.node_executor.kernel_types import Handle
from services.node_executor.map_types import MapOfMaps
from shared.bytecode.map_declarations import MAP_TYPES
from shared.contracts.value_types import InnerMap

_NAME_BYTES: Final = 15
"""BPF_OBJ_NAME_LEN, without the zero at its end."""
_CREATE_BYTES: Final = 72
_MAP_INFO_BYTES: Final = 80
_TYPE_IDS_OFFSET: Final = 64
"""struct bpf_map_info: btf_id, btf_key_type_id, btf_value_type_id."""


def read(outer: Handle) -> Iterator[tuple[bytes, bytes]]:
    """Each key with nothing, and behind it every entry of its map, as the kernel stores values.

    Raises:
        KernelFaultError: The kernel failed.
    """
    for key, value in map_access.one_by_one(outer):
        (inner_id,) = struct.unpack_from("<I", value)
        try:
            inner = kernel_info.map_by_id(inner_id)
        except KernelFaultError as error:
            if error.number != errno.ENOENT:
                raise
            continue  # exchanged or removed since the key was read
        with inner:
            yield key, b""
            yield from ((key + inner_key, one) for inner_key, one in map_access.entries(inner))


def write(outer: Handle, changes: Sequence[EntryChange], of_maps: MapOfMaps) -> None:
    """Each entry is as `after` says; if that fails, some may be.

    A new map has all its entries before it is under its key.

    Raises:
        KernelFaultError: The kernel failed.
    """
    key_bytes = of_maps.key.size_bytes
    for key, some in groupby(changes, key=lambda one: one.key[:key_bytes]):
        _write_under(outer, key, list(some), of_maps)


def _write_under(outer: Handle, key: bytes, changes: list[EntryChange], of_maps: MapOfMaps) -> None:
    if any(one.key == key and one.after is None for one in changes):
        map_access.delete(outer, key)
        return
    own = [
        EntryChange(one.key[len(key) :], one.before, one.after) for one in changes if one.key != key
    ]
    value = map_access.lookup(outer, key)
    if value is not None:
        with kernel_info.map_by_id(struct.unpack_from("<I", value)[0]) as inner:
            write_changes(inner, own)
    elif any(one.after is not None for one in changes):
        with _made(of_maps.inner, kernel_info.map_info(outer.fd).name) as inner:
            write_changes(inner, own)
            map_access.update(outer, key, struct.pack("<I", inner.fd))


def write_changes(opened: Handle, changes: Sequence[EntryChange]) -> None:
    """Each entry of a map of values is as `after` says; if that fails, some may be."""
    info = kernel_info.map_info(opened.fd)
    blank = bytes(map_access.stored_bytes(info)) if info.is_array else None
    for is_removal, some in groupby(changes, key=lambda one: (one.after or blank) is None):
        if is_removal:
            map_batches.delete(opened, [one.key for one in some])
        else:
            map_batches.update(opened, [(one.key, one.after or blank or b"") for one in some])


def stored(flat: Mapping[bytes, bytes], of_maps: MapOfMaps) -> dict[bytes, bytes]:
    """Values of inner maps as the kernel stores them: once for each processor in per-CPU maps."""
    if "percpu" not in of_maps.inner.type:
        return dict(flat)
    key_bytes, value_bytes = of_maps.key.size_bytes, of_maps.inner.value.size_bytes
    return {
        key: value if len(key) == key_bytes else map_access.per_processor(value, value_bytes)
        for key, value in flat.items()
    }


def _made(inner: InnerMap, name: str) -> Descriptor:
    """A new and empty map."""
    request = struct.pack(
        "<IIIIIII16s",
        *(MAP_TYPES.index(inner.type), inner.key.size_bytes, inner.value.size_bytes),
        *(inner.max_entries, inner.flags, 0, 0, name.encode()[:_NAME_BYTES]),
    )
    action = f"making a map for {name}"
    return Descriptor(bpf(MAP_CREATE, request.ljust(_CREATE_BYTES, b"\0"), action=action))


def copy_inner_maps(
    live: Descriptor, fresh: Descriptor, *, copy: Callable[[Descriptor, Descriptor], None]
) -> None:
    """`fresh` holds copies of the maps that `live` holds, under the same keys.

    Args:
        live: Array or hash of maps; not written to.
        fresh: Of the same shape, holding nothing that matters.
        copy: Fills one map with another's entries.

    Raises:
        KernelFaultError: The kernel failed.
    """
    for key, value in map_access.one_by_one(live):
        (inner_id,) = struct.unpack_from("<I", value)
        if not inner_id:
            continue
        with kernel_info.map_by_id(inner_id) as inner, make_alike(inner) as made:
            copy(inner, made)
            map_access.update(fresh, key, struct.pack("<I", made.fd))


def make_alike(present: Descriptor) -> Descriptor:
    """A new and empty map of the same type, sizes, flags and BTF."""
    info = kernel_info.map_info(present.fd)
    raw = info_by_fd(present.fd, _MAP_INFO_BYTES, action="reading a map's information")
    btf_id, key_type, value_type = struct.unpack_from("<III", raw, _TYPE_IDS_OFFSET)
    with ExitStack() as held:
        btf_fd = 0
        if btf_id:
            request = struct.pack("<III", btf_id, 0, 0)
            btf = Descriptor(bpf(BTF_BY_ID, request, action=f"finding BTF {btf_id}"))
            btf_fd = held.enter_context(btf).fd
        request = struct.pack(
            "<IIIIIII16sIIII",
            *(info.type_number, info.key_size_bytes, info.value_size_bytes, info.max_entries),
            *(info.flags, 0, 0, info.name.encode()),
            *(0, btf_fd, key_type, value_type),
        )
        return Descriptor(bpf(MAP_CREATE, request, action=f"making a map like {info.name}"))
