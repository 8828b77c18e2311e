# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What the running kernel says to one call under a licence string, by loading a program of it."""

from __future__ import annotations

import struct
from typing import Literal

from services.node_executor.adapters.bpf_syscall import (
    PROGRAM_LOAD,
    Descriptor,
    Memory,
    bpf_attempt,
)
from services.node_executor.adapters.libbpf_cdef import libraries
from services.node_executor.adapters.program_probe import PROGRAM_TYPES, ProgramType
from shared.licensing.kernel import ProgramKind

Answer = Literal["open", "closed", "absent"]

LOG_BYTES = 4096
CALL, KERNEL_FUNCTION = 0x85, 2
ABSENT = (b"invalid func ", b"unknown func ", b"cannot use helper", b"not allowed in probe")
KINDS: tuple[tuple[ProgramKind, ProgramType], ...] = (
    *((ProgramKind(one.name), one) for one in PROGRAM_TYPES if one.takes_calls),
    (ProgramKind("kprobe", "kprobe_multi"), ProgramType(2, "kprobe", attach_type=42)),
    (ProgramKind("kprobe", "kprobe_session"), ProgramType(2, "kprobe", attach_type=56)),
    (ProgramKind("kprobe", "uprobe_multi"), ProgramType(2, "kprobe", attach_type=48)),
    (ProgramKind("kprobe", "uprobe_session"), ProgramType(2, "kprobe", attach_type=57)),
)
"""Numbers of attach types: include/uapi/linux/bpf.h, enum bpf_attach_type."""


class LicenceProbe:
    """Loads programs of one call, which are let go at once."""

    def __init__(self) -> None:
        self._memory = Memory()
        self._strings: dict[str, int] = {}
        self._log = libraries().ffi.new("char[]", LOG_BYTES)
        self._log_address = int(libraries().ffi.cast("uintptr_t", self._log))

    def says(self, loaded_as: ProgramType, licence: str, *, helper: int) -> Answer:
        """What becomes of a call of the helper."""
        said = self._load(loaded_as, licence, struct.pack("<BBHi", CALL, 0, 0, helper))[1]
        if any(word in said for word in ABSENT):
            return "absent"
        return "closed" if b"GPL-restricted" in said else "open"

    def closes_functions(self, loaded_as: ProgramType, licence: str, *, function: int) -> bool:
        """Whether a call of a kernel function is refused for the licence.

        `function` is the BTF id of any.
        """
        call = struct.pack("<BBHi", CALL, KERNEL_FUNCTION << 4, 0, function)
        said = self._load(loaded_as, licence, call)[1]
        return b"cannot call kernel function from non-GPL compatible program" in said

    def closes_type(self, loaded_as: ProgramType, licence: str) -> bool:
        """Whether the type itself is refused for the licence."""
        said = self._load(loaded_as, licence, b"")[1]
        return b"must have a GPL compatible license" in said

    def takes(self, loaded_as: ProgramType) -> bool:
        """Whether this kernel takes such programs from this process."""
        return self._load(loaded_as, "GPL", b"")[0] == 0

    def _load(self, loaded_as: ProgramType, licence: str, call: bytes) -> tuple[int, bytes]:
        code = call + struct.pack("<BBHiBBHi", 0xB7, 0, 0, 0, 0x95, 0, 0, 0)
        if licence not in self._strings:
            self._strings[licence] = self._memory.text(licence)
        buffer = libraries().ffi.from_buffer(code)
        self._log[0] = b"\0"
        request = struct.pack(
            "<IIQQIIQII16sII32xII4x",
            *(loaded_as.number, len(code) // 8),
            *(int(libraries().ffi.cast("uintptr_t", buffer)), self._strings[licence]),
            *(1, LOG_BYTES, self._log_address),
            *(0, loaded_as.flags, b"l3af_probe", 0, loaded_as.attach_type),
            *(0, loaded_as.function_id),
        )
        fd, failure, _ = bpf_attempt(PROGRAM_LOAD, request)
        if not failure:
            Descriptor(fd).close()
        return failure, libraries().ffi.string(self._log)
