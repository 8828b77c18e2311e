# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Maps of maps: copies in which every inner map is a copy of its own."""

from __future__ import annotations

import struct
from collections.abc import Callable
from contextlib import ExitStack
from typing import Final

from services.node_executor.adapters import kernel_info, map_access
from services.node_executor.adapters.bpf_syscall import (
    BTF_BY_ID,
    MAP_CREATE,
    Descriptor,
    bpf,
    info_by_fd,
)

_MAP_INFO_BYTES: Final = 80
_TYPE_IDS_OFFSET: Final = 64
"""struct bpf_map_info: btf_id, btf_key_type_id, btf_value_type_id."""


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
    for key, value in map_access.entries(live):
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
