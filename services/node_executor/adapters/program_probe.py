# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which types of program the kernel takes, and which helpers each may call.

Asked as `bpftool feature probe` does: a program of one call is loaded, and what the verifier says
about it tells whether the helper is there for that type.  The program claims no licence, so the
same answer tells whether the helper is for GPL-compatible programs alone (check_helper_call in
kernel/bpf/verifier.c: first the helper, then the licence, then its arguments).
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from services.node_executor.adapters.bpf_syscall import (
    PROGRAM_LOAD,
    Descriptor,
    Memory,
    bpf_attempt,
)
from services.node_executor.adapters.libbpf_cdef import libraries

MAX_HELPERS: Final = 512
"""The list of helpers is closed at 211; more than this is not asked for."""
NOT_ASKED: Final = frozenset({6, 36, 177})
"""trace_printk, probe_write_user, trace_vprintk: merely asking warns or turns tracing on."""
PIECE: Final = 64
"""Helpers asked for in one piece, about 2 ms."""
_ENOTSUPP: Final = 524
_SLEEPABLE: Final = 1 << 4
_LOG_BYTES: Final = 4096
_RETURN_ZERO: Final = struct.pack("<BBHiBBHi", 0xB7, 0, 0, 0, 0x95, 0, 0, 0)
_CALL_AND_EXIT: Final = struct.Struct("<BBHiBBHi")
_ABSENT: Final = (b"invalid func ", b"unknown func ", b"cannot use helper", b"not allowed in probe")
_RESTRICTED: Final = b"cannot call GPL-restricted function"


@dataclass(frozen=True, slots=True)
class ProgramType:
    """One type of program, and what its load needs beside instructions."""

    number: int
    """include/uapi/linux/bpf.h, enum bpf_prog_type."""
    name: str
    attach_type: int = 0
    flags: int = 0
    function_id: int = 0
    """A BTF id that is no function's, for types that are made for one function."""
    says: bytes = b""
    """What the verifier says about that id if the kernel has the type."""
    failure: int = 0
    """With which error the load ends if the kernel has the type."""

    @property
    def takes_calls(self) -> bool:
        """Whether it can be asked about helpers without a function to attach to."""
        return not self.says and not self.failure


PROGRAM_TYPES: Final = (
    ProgramType(1, "socket_filter"),
    ProgramType(2, "kprobe"),
    ProgramType(3, "sched_cls"),
    ProgramType(4, "sched_act"),
    ProgramType(5, "tracepoint"),
    ProgramType(6, "xdp"),
    ProgramType(7, "perf_event"),
    ProgramType(8, "cgroup_skb"),
    ProgramType(9, "cgroup_sock"),
    ProgramType(10, "lwt_in"),
    ProgramType(11, "lwt_out"),
    ProgramType(12, "lwt_xmit"),
    ProgramType(13, "sock_ops"),
    ProgramType(14, "sk_skb"),
    ProgramType(15, "cgroup_device"),
    ProgramType(16, "sk_msg"),
    ProgramType(17, "raw_tracepoint"),
    ProgramType(18, "cgroup_sock_addr", attach_type=10),
    ProgramType(19, "lwt_seg6local"),
    ProgramType(20, "lirc_mode2"),
    ProgramType(21, "sk_reuseport"),
    ProgramType(22, "flow_dissector"),
    ProgramType(23, "cgroup_sysctl"),
    ProgramType(24, "raw_tracepoint_writable"),
    ProgramType(25, "cgroup_sockopt", attach_type=21),
    ProgramType(26, "tracing", attach_type=24, function_id=1, says=b"is not a function"),
    ProgramType(27, "struct_ops", failure=_ENOTSUPP),
    ProgramType(28, "ext", function_id=1, says=b"Cannot replace kernel functions"),
    ProgramType(29, "lsm", attach_type=27, function_id=1, says=b"is not a function"),
    ProgramType(30, "sk_lookup", attach_type=36),
    ProgramType(31, "syscall", flags=_SLEEPABLE),
    ProgramType(32, "netfilter", attach_type=45),
)


@dataclass(slots=True)
class HelperFindings:
    """What one type of program may call."""

    callable: set[int] = field(default_factory=set)
    restricted: set[int] = field(default_factory=set)
    """Among them those for GPL-compatible programs alone."""
    is_known: bool = True


class ProgramProbe:
    """Loads small programs and lets them go again; nothing is ever attached."""

    def __init__(self) -> None:
        self._memory: Final = Memory()
        self._licence: Final = self._memory.text("GPL")
        self._no_licence: Final = self._memory.text("Proprietary")
        self._return_zero: Final = self._memory.of(_RETURN_ZERO)
        self._calls: Final = self._memory.of(
            b"".join(
                _CALL_AND_EXIT.pack(0x85, 0, 0, helper, 0x95, 0, 0, 0)
                for helper in range(MAX_HELPERS + 1)
            )
        )
        self._log: Final[Any] = libraries().ffi.new("char[]", _LOG_BYTES)
        self._log_address: Final = int(libraries().ffi.cast("uintptr_t", self._log))

    def is_there(self, kind: ProgramType) -> bool:
        """Whether the kernel takes programs of this type from this process."""
        failure, said = self._load(kind, self._return_zero, self._licence)
        if kind.says:
            return kind.says in said
        return failure in (0, kind.failure)

    def helper_count(self) -> int:
        """The greatest id of a helper that the kernel knows, for any type of program."""
        kind = PROGRAM_TYPES[0]
        low, high = 0, MAX_HELPERS
        while low < high:
            middle = (low + high + 1) // 2
            if b"invalid func " in self._call(kind, middle)[1]:
                high = middle - 1
            else:
                low = middle
        return low

    def helpers(self, kind: ProgramType, count: int) -> Iterator[HelperFindings]:
        """What is known after each piece; the last is all of it."""
        found = HelperFindings()
        for helper in range(1, count + 1):
            if helper not in NOT_ASKED:
                self._ask(kind, helper, found)
            if helper % PIECE == 0:
                yield found
        yield found

    def _ask(self, kind: ProgramType, helper: int, found: HelperFindings) -> None:
        failure, said = self._call(kind, helper)
        if failure == errno.EPERM and not said:
            found.is_known = False
        elif not any(word in said for word in _ABSENT):
            found.callable.add(helper)
            if _RESTRICTED in said:
                found.restricted.add(helper)

    def _call(self, kind: ProgramType, helper: int) -> tuple[int, bytes]:
        address = self._calls + helper * _CALL_AND_EXIT.size
        return self._load(kind, address, self._no_licence)

    def _load(self, kind: ProgramType, instructions: int, licence: int) -> tuple[int, bytes]:
        """Number of the error (0: it loaded) and what the verifier said."""
        self._log[0] = b"\0"
        request = struct.pack(
            "<IIQQIIQII16sII32xII4x",
            *(kind.number, 2, instructions, licence),
            *(1, _LOG_BYTES, self._log_address),
            *(0, kind.flags, b"l3af_probe", 0, kind.attach_type),
            *(0, kind.function_id),
        )
        fd, failure, _ = bpf_attempt(PROGRAM_LOAD, request)
        if not failure:
            Descriptor(fd).close()
        return failure, libraries().ffi.string(self._log)
