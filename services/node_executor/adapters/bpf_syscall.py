# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""bpf(2): one call with packed attributes, and file descriptors that are closed.

Layouts: union bpf_attr in include/uapi/linux/bpf.h.
"""

from __future__ import annotations

import errno
import os
import platform
import struct
from collections.abc import Callable
from functools import cache
from typing import Any, Final

from services.node_executor.adapters.kernel_errors import KernelFaultError, UnsupportedByKernelError
from services.node_executor.adapters.libbpf_cdef import libraries
from shared.closing import ClosedAfterUse

MAP_CREATE, MAP_LOOKUP, MAP_UPDATE, MAP_DELETE, MAP_NEXT_KEY = range(5)
PROGRAM_LOAD, PIN, GET_PINNED = 5, 6, 7
PROGRAM_TEST_RUN = 10
PROGRAM_NEXT_ID, MAP_NEXT_ID, PROGRAM_BY_ID, MAP_BY_ID, INFO_BY_FD, PROGRAM_QUERY = range(11, 17)
BTF_BY_ID, MAP_FREEZE = 19, 22
MAP_LOOKUP_BATCH, MAP_UPDATE_BATCH, MAP_DELETE_BATCH = 24, 26, 27
LINK_CREATE, LINK_UPDATE, LINK_BY_ID, LINK_NEXT_ID = 28, 29, 30, 31
LINK_DETACH = 34

_NUMBERS: Final = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "s390x": 351, "ppc64le": 361}
_RETRIES: Final = 5


class Descriptor(ClosedAfterUse):
    """A file descriptor that this process owns."""

    def __init__(self, fd: int, release: Callable[[int], None] = os.close) -> None:
        self._fd = fd
        self._release: Final = release

    @property
    def fd(self) -> int:
        """The number; a closed descriptor has none."""
        if self._fd < 0:
            raise AssertionError("the descriptor was closed")
        return self._fd

    def close(self) -> None:
        """Give the hold up; a second call does nothing."""
        if self._fd >= 0:
            number, self._fd = self._fd, -1
            self._release(number)


def bpf(command: int, attributes: bytes, *, action: str) -> int:
    """The result of one system call: 0, or a new descriptor.

    Raises:
        KernelFaultError: it failed; `action` says what was tried, `number` holds errno.
    """
    result, _ = bpf_reply(command, attributes, action=action)
    return result


def bpf_reply(command: int, attributes: bytes, *, action: str) -> tuple[int, bytes]:
    """What one call of bpf(2) returns, and the attributes as the kernel left them."""
    result, failure, reply = bpf_attempt(command, attributes)
    if failure:
        raise KernelFaultError(action, failure)
    return result, reply


def bpf_attempt(command: int, attributes: bytes) -> tuple[int, int, bytes]:
    """Result, errno (0: success) and the attributes as the kernel left them."""
    ffi, _, c = libraries()
    prepared = bytearray(attributes)
    buffer = ffi.from_buffer(prepared)
    failure = 0
    for _ in range(_RETRIES):
        result = c.syscall(_number(), command, buffer, len(attributes))
        if result >= 0:
            return result, 0, bytes(prepared)
        failure = ffi.errno
        # The verifier gives up with EAGAIN when a signal comes.
        if failure != errno.EAGAIN:
            break
    return -1, failure, bytes(prepared)


class Memory:
    """Buffers whose addresses are handed to the kernel; they live as long as this object."""

    def __init__(self) -> None:
        self._ffi: Final = libraries().ffi
        self._kept: Final[list[Any]] = []

    def of(self, data: bytes) -> int:
        """Address of a copy of `data`; 0 for nothing."""
        if not data:
            return 0
        buffer = self._ffi.from_buffer(data)
        self._kept.append(buffer)
        return int(self._ffi.cast("uintptr_t", buffer))

    def text(self, text: str) -> int:
        """Address of a zero-terminated string."""
        return self.of(text.encode() + b"\0")

    def space(self, length: int) -> tuple[int, Callable[[], bytes]]:
        """Address of zeroed space, and what it holds when asked."""
        buffer = self._ffi.new("char[]", max(length, 1))
        self._kept.append(buffer)
        address = int(self._ffi.cast("uintptr_t", buffer))
        return address, lambda: bytes(self._ffi.buffer(buffer, length))


def info_by_fd(fd: int, length: int, *, action: str, given: bytes = b"") -> bytes:
    """The first `length` bytes of the kernel's information about an object; `given` is sent."""
    prepared = bytearray(given.ljust(length, b"\0"))
    ffi = libraries().ffi
    buffer = ffi.from_buffer(prepared)
    address = int(ffi.cast("uintptr_t", buffer))
    bpf(INFO_BY_FD, struct.pack("<IIQ", fd, length, address), action=action)
    return bytes(prepared)


def ids(command: int) -> list[int]:
    """Every id of programs, maps or links that exists now (`command`: one of the _NEXT_ID)."""
    found: list[int] = []
    last = 0
    while True:
        _, failure, reply = bpf_attempt(command, struct.pack("<III", last, 0, 0))
        if failure == errno.ENOENT:
            return found
        if failure:
            raise KernelFaultError("listing kernel objects", failure)
        last = struct.unpack_from("<II", reply)[1]
        found.append(last)


@cache
def _number() -> int:
    machine = platform.machine()
    if machine not in _NUMBERS:
        raise UnsupportedByKernelError(f"processors of type {machine} are not supported")
    return _NUMBERS[machine]
