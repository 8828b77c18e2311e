# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What the running kernel lets the executor do: tried here, never concluded from a version."""

from __future__ import annotations

import errno
import platform
import struct
from contextlib import suppress
from functools import cache
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
        "cls_bpf": _loads("tc-ingress") and _has_cls_bpf(),
        "tcx": _loads("tc-ingress") and knows_tcx(),
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


def _has_cls_bpf() -> bool:
    """Classifier and qdisc are in the kernel, or modules that it loads by itself."""
    names = Path(f"/lib/modules/{platform.release()}/modules.dep")
    with suppress(OSError):
        modules = names.read_bytes()
        if b"/cls_bpf.ko" in modules and b"/sch_ingress.ko" in modules:
            return True
    with suppress(OSError):
        symbols = Path("/proc/kallsyms").read_bytes()
        return b" cls_bpf_classify" in symbols and b" clsact_init" in symbols
    return False


@cache
def knows_tcx() -> bool:
    """Kernels without TCX do not know the attach type; those with it miss the interface."""
    request = struct.pack("<IIIIQIIQQQQ", _NO_INTERFACE, ATTACH_TYPES["tc-ingress"], *[0] * 9)
    _, failure, _ = bpf_attempt(PROGRAM_QUERY, request)
    return failure == errno.ENODEV
