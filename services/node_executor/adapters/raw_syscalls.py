# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""System calls that the C library has no function for, except bpf(2)."""

from __future__ import annotations

import platform
from functools import cache
from typing import Any, Final

from cffi import FFI

from services.node_executor.adapters.kernel_errors import UnsupportedByKernelError

FSOPEN, FSCONFIG, FSMOUNT, LIST_SECURITY_MODULES = 430, 431, 432, 461
"""Since Linux 5.1 a new system call has the same number on every processor."""
_PERF_EVENT_OPEN: Final = {"x86_64": 298, "aarch64": 241, "riscv64": 241, "s390x": 331}


def syscall(number: int, *arguments: int | bytearray) -> tuple[int, int]:
    """Result and errno (0: success); memory is handed over by its address."""
    ffi, c = _library()
    kept = [ffi.from_buffer(one) if isinstance(one, bytearray) else one for one in arguments]
    given = [ffi.cast("long", one) if isinstance(one, int) else one for one in kept]
    result = int(c.syscall(number, *given))
    return (result, 0) if result >= 0 else (-1, int(ffi.errno))


def perf_event_open_number() -> int:
    """Of perf_event_open(2).

    Raises:
        UnsupportedByKernelError: Nobody wrote it down for this processor.
    """
    machine = platform.machine()
    if machine not in _PERF_EVENT_OPEN:
        raise UnsupportedByKernelError(f"probes on processors of type {machine} are not supported")
    return _PERF_EVENT_OPEN[machine]


@cache
def _library() -> tuple[Any, Any]:
    ffi = FFI()
    ffi.cdef("long syscall(long, ...);")
    return ffi, ffi.dlopen(None)
