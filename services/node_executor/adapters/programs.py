# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Linked programs: loading one, and running one over a packet without a network."""

from __future__ import annotations

import errno
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
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
    JoinedTypes,
)
from services.node_executor.adapters.kernel_errors import KernelFaultError, VerifierRejectedError
from services.node_executor.adapters.loaded_body import LoadedBody
from services.node_executor.adapters.source_lines import place_of
from services.node_executor.adapters.verifier_log import read_verifier_log
from services.node_executor.kernel_types import (
    ATTACH_TYPES,
    PROGRAM_TYPES,
    XDP_DEVICE_BOUND,
    XDP_HAS_FRAGS,
    Handle,
    PacketRun,
)
from services.node_executor.linking.linked_program import LINKER, LinkedProgram
from shared.bytecode.instructions import encode

_NAME_CHARACTERS: Final = 15
_STATISTICS_LEVEL: Final = 4
_TEXT_LEVEL: Final = 1
_STATISTICS_BYTES: Final = 64 * 1024
_TEXT_BYTES: Final = 1 << 20
_LONG_TEXT_BYTES: Final = 16 << 20
"""Kernels before 6.4 answer ENOSPC when the log does not fit, so this is tried next."""
_DATA_SPACE_BYTES: Final = 16 * 1024
_CONTEXT_SPACE_BYTES: Final = 256


@dataclass(frozen=True, slots=True)
class LoadAttempt:
    """What became of a program that was to be loaded."""

    program: Descriptor | None
    failure: int
    """errno; 0: it is loaded."""
    log: str
    """The verifier's last words and its statistics, without the instructions it walked."""


def load_program(
    linked: LinkedProgram, types: JoinedTypes | None, *, name: str, interface_index: int = 0
) -> Descriptor:
    """The linked program in the kernel, attached to nothing.

    Raises:
        VerifierRejectedError: the verifier refuses the program.
        KernelFaultError: the kernel lacks memory, or forbids loading at all.
    """
    attempt = try_loading(linked, types, name=name, interface_index=interface_index)
    if attempt.program is not None:
        return attempt.program
    raise explain(linked, types, attempt, name=name, interface_index=interface_index)


def try_loading(
    linked: LinkedProgram, types: JoinedTypes | None, *, name: str, interface_index: int = 0
) -> LoadAttempt:
    """One attempt to load the linked program.

    Args:
        linked: What was emitted.
        types: Its joined BTF; None loads it without source lines and callbacks.
        name: What tools show; characters that the kernel refuses become `_`, 15 are kept.
        interface_index: The device of a program that is bound to one.
    """
    loading = _Load(linked, types, name, interface_index)
    # Statistics alone: the text of level 1 may not fit, and then a good program is refused.
    fd, failure, log = loading.attempt(log_level=_STATISTICS_LEVEL, log_bytes=_STATISTICS_BYTES)
    return LoadAttempt(None if failure else Descriptor(fd), failure, log)


def explain(
    linked: LinkedProgram,
    types: JoinedTypes | None,
    attempt: LoadAttempt,
    *,
    name: str,
    interface_index: int = 0,
    bodies: Sequence[LoadedBody] = (),
) -> VerifierRejectedError | KernelFaultError:
    """Why the attempt failed, in the verifier's words, and of which body it speaks.

    `bodies` are those of the whole chain, as the linked program counts them.
    """
    if not attempt.log.strip():
        return KernelFaultError("loading the linked chain", attempt.failure)
    log = attempt.log
    loading = _Load(linked, types, name, interface_index)
    failure = errno.ENOSPC
    for log_bytes in (_TEXT_BYTES, _LONG_TEXT_BYTES):
        if failure == errno.ENOSPC:
            # Kernels before 6.4 answer ENOSPC when the log does not fit.
            _, failure, log = loading.attempt(log_level=_TEXT_LEVEL, log_bytes=log_bytes)
    position = read_verifier_log(log).position
    body = _body_at(linked, position)
    if body is None or body >= len(bodies):
        return VerifierRejectedError("the linked chain", name, log)
    deployment = bodies[body].body.name
    lines = [line for line in linked.lines if line.position <= position and line.body == body]
    return VerifierRejectedError(
        deployment,
        f"the linked chain {name}",
        log,
        path=f"chain[{body}] {deployment}",
        place=place_of(lines[-1], bodies[body].types) if lines else "",
        body=body,
    )


def _body_at(linked: LinkedProgram, position: int) -> int | None:
    """Index in the chain of the body that an instruction belongs to; None: the linker's own."""
    if position < 0:
        return None
    functions = [(place.position, 0, place.body) for place in linked.functions]
    lines = [(place.position, 1, place.body) for place in linked.lines]
    known = [place for place in (*functions, *lines) if place[0] <= position]
    body = max(known)[2] if known else LINKER
    return None if body == LINKER else body


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

    def __init__(
        self, linked: LinkedProgram, types: JoinedTypes | None, name: str, interface_index: int
    ) -> None:
        self._linked: Final = linked
        self._types: Final = types
        self._interface_index: Final = interface_index if linked.is_device_bound else 0
        self._name: Final = re.sub(r"[^A-Za-z0-9_]", "_", name)[:_NAME_CHARACTERS].encode()
        self._code: Final = encode(linked.instructions)

    def attempt(self, *, log_level: int, log_bytes: int) -> tuple[int, int, str]:
        """Descriptor, errno (0: success) and the log."""
        memory = Memory()
        log, read_log = memory.space(log_bytes) if log_bytes else (0, bytes)
        linked, types = self._linked, self._types
        functions = types.functions if types else b""
        lines = types.lines if types else b""
        modules = struct.pack(f"<{len(linked.module_types_fds)}i", *linked.module_types_fds)
        request = struct.pack(
            "<IIQQIIQII16sIIIIQIIQIIIIQ",
            PROGRAM_TYPES[linked.hook],
            len(linked.instructions),
            *(memory.of(self._code), memory.text(linked.licence)),
            *(log_level, log_bytes, log, 0),
            (XDP_HAS_FRAGS if linked.has_frags else 0)
            | (XDP_DEVICE_BOUND if linked.is_device_bound else 0),
            self._name,
            *(self._interface_index, ATTACH_TYPES[linked.hook]),
            types.descriptor.fd if types else 0,
            FUNCTION_RECORD_BYTES if functions else 0,
            memory.of(functions),
            len(functions) // FUNCTION_RECORD_BYTES,
            LINE_RECORD_BYTES if lines else 0,
            memory.of(lines),
            len(lines) // LINE_RECORD_BYTES,
            *(0, 0, 0, memory.of(modules)),
        )
        fd, failure, _ = bpf_attempt(PROGRAM_LOAD, request)
        return fd, failure, read_log().split(b"\0", 1)[0].decode(errors="replace")
