# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The array through which the segments of one generation follow each other.

The kernel empties a program array when its last reference from user space goes, a pin or a
descriptor; programs that use it do not count.  So it is pinned for as long as its generation runs.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

from services.node_executor.adapters.bpf_syscall import (
    MAP_CREATE,
    MAP_UPDATE,
    Descriptor,
    Memory,
    bpf,
)
from services.node_executor.kernel_types import Handle

PROGRAM_ARRAY_NAME: Final = "l3af_segments"
_PROGRAM_ARRAY: Final = 3


def make_program_array(segments: int) -> Descriptor:
    """An empty array with a place for each segment; the first segment's place stays empty."""
    request = struct.pack(
        "<IIIIIII16s",
        *(_PROGRAM_ARRAY, 4, 4, segments, 0, 0, 0),
        PROGRAM_ARRAY_NAME.encode(),
    )
    return Descriptor(bpf(MAP_CREATE, request, action="making a program array"))


def fill_program_array(array: Handle, segments: Sequence[Handle]) -> None:
    """Segment n is at index n; the first, which nothing jumps to, is not in the array.

    Raises:
        KernelFaultError: the kernel takes a segment for another kind of program (EINVAL).
    """
    for index, segment in enumerate(segments[1:], start=1):
        memory = Memory()
        key, value = struct.pack("<I", index), struct.pack("<I", segment.fd)
        request = struct.pack("<I4xQQQ", array.fd, memory.of(key), memory.of(value), 0)
        bpf(MAP_UPDATE, request, action=f"putting segment {index} into its program array")
