# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What the running kernel lets the executor do: tried here, never concluded from a version."""

from __future__ import annotations

import errno
import struct
from pathlib import Path
from typing import Final

from services.node_executor.adapters.bpf_syscall import (
    PROGRAM_LOAD,
    PROGRAM_QUERY,
    Descriptor,
    Memory,
    bpf_attempt,
)
from services.node_executor.kernel_types import ATTACH_TYPES, PROGRAM_TYPES
from shared.identifiers import Hook

_RETURN_ZERO: Final = struct.pack("<BBHiBBHi", 0xB7, 0, 0, 0, 0x95, 0, 0, 0)
"""r0 = 0; exit."""
_NO_INTERFACE: Final = 0x7FFFFFFF


def probe_features() -> dict[str, bool]:
    """Features by name; True: it worked here with the rights that this process has."""
    return {
        "btf": Path("/sys/kernel/btf/vmlinux").exists(),
        "tcx": _loads("tc-ingress") and _knows_tcx(),
        "xdp": _loads("xdp"),
    }


def _loads(hook: Hook) -> bool:
    memory = Memory()
    request = struct.pack(
        "<IIQQIIQII16sII",
        *(PROGRAM_TYPES[hook], len(_RETURN_ZERO) // 8),
        *(memory.of(_RETURN_ZERO), memory.text("GPL")),
        *(0, 0, 0, 0, 0),
        *(b"l3af_probe", 0, ATTACH_TYPES[hook]),
    )
    fd, failure, _ = bpf_attempt(PROGRAM_LOAD, request)
    if not failure:
        Descriptor(fd).close()
    return not failure


def _knows_tcx() -> bool:
    """Kernels without TCX do not know the attach type; those with it miss the interface."""
    request = struct.pack("<IIIIQIIQQQQ", _NO_INTERFACE, ATTACH_TYPES["tc-ingress"], *[0] * 9)
    _, failure, _ = bpf_attempt(PROGRAM_QUERY, request)
    return failure == errno.ENODEV
