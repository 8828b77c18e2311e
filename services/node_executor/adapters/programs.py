# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Linked programs: loading one, and running one over a packet without a network."""

from __future__ import annotations

import errno
import re
import struct
from typing import Final

from services.node_executor.adapters.bpf_syscall import (
    PROGRAM_LOAD,
    PROGRAM_TEST_RUN,
    Descriptor,
    Memory,
    bpf_attempt,
    bpf_reply,
)
from services.node_executor.adapters.btf_merge import (
    FUNCTION_RECORD_BYTES,
    LINE_RECORD_BYTES,
    LinkedTypes,
)
from services.node_executor.adapters.kernel_errors import KernelFaultError, VerifierRejectedError
from services.node_executor.kernel_types import (
    ATTACH_TYPES,
    PROGRAM_TYPES,
    XDP_HAS_FRAGS,
    Handle,
    PacketRun,
)
from services.node_executor.linking.linked_program import LinkedProgram
from shared.bytecode.instructions import encode

_NAME_CHARACTERS: Final = 15
_TEXT_BYTES: Final = 1 << 20
_LONG_TEXT_BYTES: Final = 16 << 20
"""Kernels before 6.4 answer ENOSPC when the log does not fit, so this is tried next."""
_DATA_SPACE_BYTES: Final = 16 * 1024
_CONTEXT_SPACE_BYTES: Final = 256


def load_program(linked: LinkedProgram, types: LinkedTypes | None, *, name: str) -> Descriptor:
    """The linked program in the kernel, attached to nothing.

    Args:
        linked: What was emitted.
        types: Its joined BTF; None loads it without source lines and callbacks.
        name: What tools show; characters that the kernel refuses become `_`, 15 are kept.

    Raises:
        VerifierRejectedError: the verifier refuses the chain as a whole.
        KernelFaultError: the kernel lacks memory, or forbids loading at all.
    """
    loading = _Load(linked, types, name)
    fd, failure, _ = loading.attempt(log_level=0, log_bytes=0)
    if not failure:
        return Descriptor(fd)
    fd, failure, log = loading.attempt(log_level=1, log_bytes=_TEXT_BYTES)
    if failure == errno.ENOSPC:
        fd, failure, log = loading.attempt(log_level=1, log_bytes=_LONG_TEXT_BYTES)
    if not failure:
        return Descriptor(fd)
    if log.strip():
        raise VerifierRejectedError("the linked chain", name, log)
    raise KernelFaultError("loading the linked chain", failure)


def run_packet(program: Handle, data: bytes, *, context: bytes = b"", repeat: int = 1) -> PacketRun:
    """What the program does to one packet (BPF_PROG_TEST_RUN).

    Args:
        program: Of type XDP or TC.
        data: The packet from its Ethernet header, at least 14 bytes.
        context: struct xdp_md or __sk_buff to start from, and to be given back; empty: neither.
            Of xdp_md, `data_end` must be the packet's length: newer kernels cut the packet there.
        repeat: How often; every run after the first sees the packet as the one before left it.

    Raises:
        KernelFaultError: the kernel refuses the packet or the context.
    """
    memory = Memory()
    output, read_output = memory.space(_DATA_SPACE_BYTES)
    changed, read_changed = memory.space(_CONTEXT_SPACE_BYTES)
    request = struct.pack(
        "<IIIIQQIIIIQQIII4x",
        *(program.fd, 0, len(data), _DATA_SPACE_BYTES),
        *(memory.of(data), output, repeat, 0),
        *(len(context), _CONTEXT_SPACE_BYTES if context else 0, memory.of(context)),
        changed if context else 0,
        *(0, 0, 0),
    )
    _, reply = bpf_reply(PROGRAM_TEST_RUN, request, action="running a program over a packet")
    _, verdict, _, data_bytes, _, _, _, duration_ns, _, context_bytes = struct.unpack_from(
        "<IIIIQQIIII", reply
    )
    return PacketRun(
        verdict, read_output()[:data_bytes], read_changed()[:context_bytes], duration_ns
    )


class _Load:
    """One BPF_PROG_LOAD that can be tried with and without a log."""

    def __init__(self, linked: LinkedProgram, types: LinkedTypes | None, name: str) -> None:
        self._linked: Final = linked
        self._types: Final = types
        self._name: Final = re.sub(r"[^A-Za-z0-9_]", "_", name)[:_NAME_CHARACTERS].encode()
        self._code: Final = encode(linked.instructions)

    def attempt(self, *, log_level: int, log_bytes: int) -> tuple[int, int, str]:
        """Descriptor, errno (0: success) and the log."""
        memory = Memory()
        log, read_log = memory.space(log_bytes) if log_bytes else (0, bytes)
        linked, types = self._linked, self._types
        functions = types.functions if types else b""
        lines = types.lines if types else b""
        request = struct.pack(
            "<IIQQIIQII16sIIIIQIIQI4x",
            PROGRAM_TYPES[linked.hook],
            len(linked.instructions),
            *(memory.of(self._code), memory.text(linked.licence)),
            *(log_level, log_bytes, log, 0),
            XDP_HAS_FRAGS if linked.has_frags else 0,
            self._name,
            *(0, ATTACH_TYPES[linked.hook]),
            types.descriptor.fd if types else 0,
            FUNCTION_RECORD_BYTES if functions else 0,
            memory.of(functions),
            len(functions) // FUNCTION_RECORD_BYTES,
            LINE_RECORD_BYTES if lines else 0,
            memory.of(lines),
            len(lines) // LINE_RECORD_BYTES,
        )
        fd, failure, _ = bpf_attempt(PROGRAM_LOAD, request)
        return fd, failure, read_log().split(b"\0", 1)[0].decode(errors="replace")
