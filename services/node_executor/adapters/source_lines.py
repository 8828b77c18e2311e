# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which line of which file an instruction is from.

The verifier of Linux 6.9 says it in its log; before that only the text of the line is there.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Any, Final

from services.node_executor.adapters.libbpf_cdef import libraries
from services.node_executor.linking.body import Line
from services.node_executor.linking.linked_program import PlacedLine

_LINE_SHIFT: Final = 10
"""struct bpf_line_info: line number << 10 | column."""


def place_of(line: Line | PlacedLine, types: Any) -> str:
    """`file.c:12`, as newer kernels write it; `types` is the BTF of the line's object."""
    ffi, bpf, _ = libraries()
    name = bpf.btf__str_by_offset(types, line.file_name_offset)
    if name == ffi.NULL:
        return ""
    file_name = PurePosixPath(ffi.string(name).decode(errors="replace")).name
    return f"{file_name}:{line.line_and_column >> _LINE_SHIFT}"


def place_at(lines: Iterable[Line], position: int, types: Any) -> str:
    """The place of an instruction; empty if no line, all ascending, begins before it."""
    before = [line for line in lines if line.position <= position]
    return place_of(before[-1], types) if before else ""
