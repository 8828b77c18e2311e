# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Sections of global variables: arrays with one value, which programs write at the same time."""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from typing import Final

from services.node_executor.adapters import kernel_info, map_access
from services.node_executor.adapters.kernel_errors import KernelFaultError
from services.node_executor.kernel_types import Handle

_MAPPABLE: Final = 1 << 10
"""BPF_F_MMAPABLE."""
_ONLY_KEY: Final = bytes(4)


def read(section: Handle) -> bytes:
    """All of its bytes."""
    return map_access.lookup(section, _ONLY_KEY) or b""


def write(section: Handle, changes: Sequence[tuple[int, bytes]]) -> None:
    """At each offset there are these bytes; others are left to the programs that write them.

    Raises:
        KernelFaultError: The kernel refuses it.
    """
    info = kernel_info.map_info(section.fd)
    if not changes:
        return
    if not info.flags & _MAPPABLE:  # before Linux 5.5: what programs write meanwhile is lost
        held = bytearray(read(section))
        for offset, data in changes:
            held[offset : offset + len(data)] = data
        map_access.update(section, _ONLY_KEY, bytes(held))
        return
    try:
        with mmap.mmap(section.fd, info.value_size_bytes) as memory:
            for offset, data in changes:
                memory[offset : offset + len(data)] = data
    except OSError as error:
        raise KernelFaultError(f"writing variables of {info.name}", error.errno or 0) from error
