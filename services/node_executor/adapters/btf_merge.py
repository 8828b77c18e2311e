# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The types of a linked program: the BTF of its bodies' objects joined into one.

A type id of an object becomes (first id of that object in the joined BTF) + id - 1; a string is
looked up in the object and added to the joined strings.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from typing import Any, Final

from services.node_executor.adapters.bpf_syscall import Descriptor
from services.node_executor.adapters.kernel_errors import KernelFaultError
from services.node_executor.adapters.libbpf import LoadedBody
from services.node_executor.adapters.libbpf_cdef import libraries
from services.node_executor.linking.linked_program import LinkedProgram

FUNCTION_RECORD_BYTES: Final = 8
LINE_RECORD_BYTES: Final = 16


class LinkedTypes:
    """Joined BTF in the kernel, and the records that refer to it."""

    def __init__(self, descriptor: Descriptor, functions: bytes, lines: bytes) -> None:
        self.descriptor: Final = descriptor
        self.functions: Final = functions
        """struct bpf_func_info, one behind the other."""
        self.lines: Final = lines
        """struct bpf_line_info, one behind the other."""


def merge_types(bodies: Sequence[LoadedBody], linked: LinkedProgram) -> LinkedTypes:
    """The joined types of `bodies`, loaded into the kernel.  Close the descriptor after use.

    Raises:
        KernelFaultError: the kernel does not take the joined BTF.
    """
    ffi, bpf, _ = libraries()
    joined = bpf.btf__new_empty()
    if joined == ffi.NULL:
        raise KernelFaultError("making empty BTF", ffi.errno)
    try:
        merge = _Merge(joined)
        starts = [merge.add(body) for body in bodies]
        functions = b"".join(
            struct.pack("<II", place.position, starts[place.body] + place.type_id - 1)
            for place in linked.functions
        )
        lines = b"".join(
            struct.pack(
                "<IIII",
                line.position,
                merge.string(bodies[line.body], line.file_name_offset),
                merge.string(bodies[line.body], line.text_offset),
                line.line_and_column,
            )
            for line in linked.lines
        )
        result = bpf.btf__load_into_kernel(joined)
        if result < 0:
            raise KernelFaultError("loading joined BTF", -result)
        return LinkedTypes(Descriptor(os.dup(bpf.btf__fd(joined))), functions, lines)
    finally:
        bpf.btf__free(joined)


class _Merge:
    """BTF that grows; an object that several bodies share is added once."""

    def __init__(self, joined: Any) -> None:
        self._joined: Final = joined
        self._starts: Final[dict[bytes, int]] = {}
        self._strings: Final[dict[tuple[bytes, int], int]] = {}

    def add(self, body: LoadedBody) -> int:
        """First type id of the body's object in the joined BTF."""
        if body.data not in self._starts:
            start = libraries().bpf.btf__add_btf(self._joined, body.types)
            if start < 0:
                raise KernelFaultError("joining BTF", -start)
            self._starts[body.data] = start
        return self._starts[body.data]

    def string(self, body: LoadedBody, offset: int) -> int:
        """Offset in the joined strings of a string of the body's object."""
        key = (body.data, offset)
        if key not in self._strings:
            bpf = libraries().bpf
            text = bpf.btf__str_by_offset(body.types, offset)
            added = bpf.btf__add_str(self._joined, text)
            if added < 0:
                raise KernelFaultError("joining BTF strings", -added)
            self._strings[key] = added
        return self._strings[key]
