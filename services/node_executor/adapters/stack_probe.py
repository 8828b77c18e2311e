# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Whether a program may read stack that it did not write: the verifier is asked.

With CAP_PERFMON such reads are allowed (Linux 6.3), without it they are refused.  So the program
is loaded once more by a thread that gave CAP_PERFMON and CAP_SYS_ADMIN up for the moment
(capabilities(7): they belong to the thread).  Refused for whatever reason counts as "may read".
"""

from __future__ import annotations

import os
import struct
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from services.node_executor.adapters.bpf_syscall import PROGRAM_LOAD, Memory, bpf_attempt
from services.node_executor.adapters.capture import Captured
from services.node_executor.adapters.kernel_errors import KernelFaultError
from services.node_executor.adapters.libbpf_cdef import libraries

_VERSION_3: Final = 0x20080522
_PERFMON, _SYS_ADMIN = 38, 21


_REMEMBERED: Final = 512
_answers: Final[dict[Hashable, bool]] = {}
"""What was asked before: chains are linked again and again of the same programs."""


@dataclass(frozen=True, slots=True)
class StackProbe:
    """How a program is loaded to ask."""

    program_type: int
    attach_type: int
    flags: int
    interface_index: int
    licence: str

    def may_read_uninitialised_stack(self, captured: Captured, identity: Hashable) -> bool:
        """Whether the verifier cannot exclude it.

        Args:
            captured: The program.
            identity: All that its code depends on beside this kernel; of the same, the verifier is
                asked once.

        Raises:
            KernelFaultError: this thread's capabilities cannot be read or given back.
        """
        key = (self, identity)
        if key not in _answers:
            if len(_answers) >= _REMEMBERED:
                _answers.clear()
            _answers[key] = self._ask(captured)
        return _answers[key]

    def _ask(self, captured: Captured) -> bool:
        memory = Memory()
        has_types = captured.types_fd > 0 and bool(captured.functions)
        attributes = struct.pack(
            "<IIQQIIQII16sIIIIQI4x",
            self.program_type,
            len(captured.code) // 8,
            memory.of(captured.code),
            memory.text(self.licence),
            *(0, 0, 0, 0),
            self.flags,
            b"l3af_probe",
            self.interface_index,
            self.attach_type,
            captured.types_fd if has_types else 0,
            8 if has_types else 0,
            memory.of(captured.function_records) if has_types else 0,
            len(captured.functions) if has_types else 0,
        )
        with without_perfmon():
            fd, failure, _ = bpf_attempt(PROGRAM_LOAD, attributes)
        if not failure:
            os.close(fd)
        return bool(failure)


def has_perfmon() -> bool:
    """Whether this thread may load programs whose stack the verifier trusts (CAP_PERFMON)."""
    ffi, _, c = libraries()
    header = ffi.new("struct capability_header *", {"version": _VERSION_3, "pid": 0})
    data = ffi.new("struct capability_data[2]")
    if c.capget(header, data):
        raise KernelFaultError("reading this thread's capabilities", ffi.errno)
    return bool(data[0].effective >> _SYS_ADMIN & 1 or data[1].effective >> (_PERFMON - 32) & 1)


@contextmanager
def without_perfmon() -> Iterator[None]:
    """This thread has given CAP_PERFMON and CAP_SYS_ADMIN up for the moment."""
    ffi, _, c = libraries()
    header = ffi.new("struct capability_header *", {"version": _VERSION_3, "pid": 0})
    data = ffi.new("struct capability_data[2]")
    if c.capget(header, data):
        raise KernelFaultError("reading this thread's capabilities", ffi.errno)
    kept = (data[0].effective, data[1].effective)
    data[0].effective &= ~(1 << _SYS_ADMIN)
    data[1].effective &= ~(1 << (_PERFMON - 32))
    _set(header, data)
    try:
        yield
    finally:
        data[0].effective, data[1].effective = kept
        _set(header, data)


def _set(header: Any, data: Any) -> None:
    ffi, _, c = libraries()
    if c.capset(header, data):
        raise KernelFaultError("setting this thread's capabilities", ffi.errno)
