# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""libbpf's process-wide state: the program handler that captures, and what libbpf prints.

The handler runs right before libbpf loads a program: relocation is done and maps have their
descriptors.  Registering replaces libbpf's own handler of a section name, so flags and attach type
are set by the caller.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cache
from threading import Lock
from typing import Any, Final

from services.node_executor.adapters.kernel_errors import KernelFaultError
from services.node_executor.adapters.libbpf_cdef import libraries
from services.node_executor.linking.body import Function, Line
from shared.bytecode.instructions import CALL, KFUNC_CALL, decode

_SECTIONS: Final = ("xdp+", "xdp.frags+", "tc+", "tcx+", "classifier+", "action+", None)
"""None: every section name that libbpf does not know, as the older `xdp_firewall`."""
_MESSAGE_BYTES: Final = 1024
_KEPT_MESSAGES: Final = 20
_WARNING: Final = 0
_XDP, _BPF_XDP = 6, 37


@dataclass(frozen=True, slots=True)
class Captured:
    """One program as libbpf was about to load it."""

    code: bytes
    functions: tuple[Function, ...]
    function_records: bytes
    """`functions` as bpf(2) takes them."""
    lines: tuple[Line, ...]
    types_fd: int
    """Descriptor of the object's BTF, valid while the object is open; 0: none."""
    module_types_fds: tuple[int, ...] = ()
    """Descriptors of kernel modules' BTF, valid like that; a call's offset is an index here."""


class Capture:
    """What the handler saw since the last `begin`; hold `lock` from there to the last look."""

    def __init__(self) -> None:
        self.lock: Final = Lock()
        self.programs: Final[dict[str, Captured]] = {}
        self.messages: Final[list[str]] = []
        self._libraries: Final = libraries()
        ffi, bpf, _ = self._libraries
        self._handler: Final = ffi.callback("prepare_load", self._prepare)
        self._printer: Final = ffi.callback("print", self._print)
        self._options: Final = ffi.new("struct libbpf_prog_handler_opts *")
        self._options.sz = ffi.sizeof("struct libbpf_prog_handler_opts")
        self._options.prog_prepare_load_fn = self._handler
        for section in _SECTIONS:
            name = section.encode() if section else ffi.NULL
            result = bpf.libbpf_register_prog_handler(name, _XDP, _BPF_XDP, self._options)
            if result < 0:
                raise KernelFaultError("registering the program handler with libbpf", -result)

    def begin(self, *, listens: bool) -> None:
        """Forget what was seen.

        Listening costs time: libbpf says a hundred things about an object that loads.
        """
        self.programs.clear()
        self.messages.clear()
        ffi, bpf, _ = self._libraries
        bpf.libbpf_set_print(self._printer if listens else ffi.NULL)

    @property
    def complaint(self) -> str:
        """What libbpf warned of while it was listened to, in one line."""
        return "; ".join(" ".join(message.split()) for message in self.messages[-3:])

    def _prepare(self, program: Any, options: Any, _cookie: int) -> int:
        ffi, bpf, _ = self._libraries
        length = bpf.bpf_program__insn_cnt(program) * 8
        code = bytes(ffi.buffer(bpf.bpf_program__insns(program), length))
        name = ffi.string(bpf.bpf_program__name(program)).decode()
        functions = tuple(
            Function(*struct.unpack_from("<II", record))
            for record in self._records(
                options.func_info, options.func_info_cnt, options.func_info_rec_size
            )
        )
        self.programs[name] = Captured(
            code=code,
            functions=functions,
            function_records=b"".join(struct.pack("<II", *function) for function in functions),
            lines=tuple(
                Line(*struct.unpack_from("<IIII", record))
                for record in self._records(
                    options.line_info, options.line_info_cnt, options.line_info_rec_size
                )
            ),
            types_fd=options.prog_btf_fd,
            module_types_fds=self._module_types(code, options.fd_array),
        )
        return 0

    def _module_types(self, code: bytes, descriptors: Any) -> tuple[int, ...]:
        """As many as the calls of kernel functions name: the array does not tell its length."""
        if descriptors == self._libraries.ffi.NULL:
            return ()
        used = [
            instruction.offset
            for instruction in decode(code)
            if instruction.opcode == CALL and instruction.source == KFUNC_CALL
        ]
        return tuple(descriptors[index] for index in range(max(used) + 1)) if any(used) else ()

    def _records(self, start: Any, count: int, size: int) -> list[bytes]:
        ffi = self._libraries.ffi
        if not count or start == ffi.NULL:
            return []
        data = bytes(ffi.buffer(start, count * size))
        return [data[position : position + size] for position in range(0, len(data), size)]

    def _print(self, level: int, template: Any, arguments: Any) -> int:
        if level != _WARNING:
            return 0
        ffi, _, c = self._libraries
        text = ffi.new("char[]", _MESSAGE_BYTES)
        c.vsnprintf(text, _MESSAGE_BYTES, template, arguments)
        self.messages.append(ffi.string(text).decode(errors="replace"))
        del self.messages[:-_KEPT_MESSAGES]
        return 0


@cache
def the_capture() -> Capture:
    """The one capture of this process.

    Raises:
        UnsupportedByKernelError: libbpf is not installed.
    """
    return Capture()
