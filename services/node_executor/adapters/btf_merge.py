# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The types of a linked program: the BTF of its bodies' objects joined into one.

A type id of an object becomes (first id of that object in the joined BTF) + id - 1; a string is
looked up in the object and added to the joined strings.  Functions that no object describes, the
chain's own and those of programs without BTF, get a type that is made here.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from typing import Any, Final

from services.node_executor.adapters.bpf_syscall import Descriptor
from services.node_executor.adapters.kernel_errors import KernelFaultError
from services.node_executor.adapters.libbpf_cdef import libraries
from services.node_executor.adapters.loaded_body import LoadedBody
from services.node_executor.linking.linked_program import (
    LINKER,
    LinkedProgram,
    PlacedFunction,
    PlacedLine,
)
from shared.identifiers import Hook

FUNCTION_RECORD_BYTES: Final = 8
LINE_RECORD_BYTES: Final = 16

_FUNCTION_RECORD: Final = struct.Struct("<II")
_LINE_RECORD: Final = struct.Struct("<IIII")
_SIGNED: Final = 1
"""include/uapi/linux/btf.h, BTF_INT_SIGNED."""
_LINKAGE: Final = {"static": 0, "global": 1}
_LINKER_FILE: Final = b"linked-chain"
"""Where tools find the linker's own instructions: in no file."""


class JoinedTypes:
    """Joined BTF in the kernel, and the records of one linked program that refer to it."""

    def __init__(self, linked: LinkedProgram, bodies: Sequence[LoadedBody]) -> None:
        """Close the descriptor after use.

        Args:
            linked: The program; its functions name the types that are needed.
            bodies: Of the whole chain, as the program counts them.

        Raises:
            KernelFaultError: the kernel does not take the joined BTF.
        """
        ffi, bpf, _ = libraries()
        joined = bpf.btf__new_empty()
        if joined == ffi.NULL:
            raise KernelFaultError("making empty BTF", ffi.errno)
        try:
            merge = _Merge(joined, bodies, linked.hook)
            self.functions: Final = b"".join(
                _FUNCTION_RECORD.pack(function.position, merge.function(function))
                for function in linked.functions
            )
            """struct bpf_func_info, one behind the other."""
            self.lines: Final = b"".join(
                _LINE_RECORD.pack(line.position, *merge.line(line), line.line_and_column)
                for line in linked.lines
            )
            """struct bpf_line_info, one behind the other."""
            result = bpf.btf__load_into_kernel(joined)
            if result < 0:
                raise KernelFaultError("loading joined BTF", -result)
            self.descriptor: Final = Descriptor(os.dup(bpf.btf__fd(joined)))
        finally:
            bpf.btf__free(joined)


class _Merge:
    """BTF that grows; an object that several bodies share is added once."""

    def __init__(self, joined: Any, bodies: Sequence[LoadedBody], hook: Hook) -> None:
        self._joined: Final = joined
        self._bodies: Final = bodies
        self._context_name: Final = b"xdp_md" if hook == "xdp" else b"__sk_buff"
        self._starts: Final[dict[bytes, int]] = {}
        self._strings: Final[dict[tuple[bytes, int], int]] = {}
        self._texts: Final[dict[bytes, int]] = {}
        self._prototypes: Final[dict[bool, int]] = {}

    def function(self, placed: PlacedFunction) -> int:
        """Type id in the joined BTF."""
        if placed.type_id:
            return self._start(self._bodies[placed.body]) + placed.type_id - 1
        prototype = self._prototype(takes_context=placed.takes_context)
        linkage = _LINKAGE[placed.linkage]
        add = libraries().bpf.btf__add_func
        return _added(add(self._joined, placed.name.encode(), linkage, prototype))

    def line(self, placed: PlacedLine) -> tuple[int, int]:
        """Offsets of the file's name and of the text in the joined strings."""
        if placed.body == LINKER:
            return self._text(_LINKER_FILE), self._text(placed.text.encode())
        body = self._bodies[placed.body]
        return (
            self._string(body, placed.file_name_offset),
            self._string(body, placed.text_offset),
        )

    def _start(self, body: LoadedBody) -> int:
        """First type id of the body's object in the joined BTF."""
        if body.data not in self._starts:
            add = libraries().bpf.btf__add_btf
            self._starts[body.data] = _added(add(self._joined, body.types))
        return self._starts[body.data]

    def _prototype(self, *, takes_context: bool) -> int:
        """`int (struct xdp_md *ctx)`, or `int (void)`.

        The kernel knows the context by the name of the structure and asks for none of its members.
        """
        if takes_context not in self._prototypes:
            bpf, joined = libraries().bpf, self._joined
            result = _added(bpf.btf__add_int(joined, b"int", 4, _SIGNED))
            context = 0
            if takes_context:
                structure = _added(bpf.btf__add_struct(joined, self._context_name, 0))
                context = _added(bpf.btf__add_ptr(joined, structure))
            # Parameters belong to the prototype that was added last.
            self._prototypes[takes_context] = _added(bpf.btf__add_func_proto(joined, result))
            if takes_context:
                _added(bpf.btf__add_func_param(joined, b"ctx", context))
        return self._prototypes[takes_context]

    def _string(self, body: LoadedBody, offset: int) -> int:
        """Offset in the joined strings of a string of the body's object."""
        key = (body.data, offset)
        if key not in self._strings:
            ffi, bpf, _ = libraries()
            text = bpf.btf__str_by_offset(body.types, offset)
            self._strings[key] = self._text(ffi.string(text) if text != ffi.NULL else b"")
        return self._strings[key]

    def _text(self, text: bytes) -> int:
        if text not in self._texts:
            self._texts[text] = _added(libraries().bpf.btf__add_str(self._joined, text))
        return self._texts[text]


def _added(result: int) -> int:
    if result < 0:
        raise KernelFaultError("joining BTF", -result)
    return result
