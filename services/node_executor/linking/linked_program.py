# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A kernel program made of a segment: instructions, and what its BTF has to say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from shared.bytecode.instructions import Instruction
from shared.identifiers import Hook

LINKER: Final = -1
"""Stands for a body's index where something is the linker's own."""


class PlacedFunction(NamedTuple):
    """A function of the linked program, and where its type comes from."""

    position: int
    body: int
    """Index in the chain of the body it belongs to; LINKER: none."""
    type_id: int = 0
    """In that body's BTF; 0: the type has to be made from what follows."""
    name: str = ""
    """A C identifier of at most 63 characters."""
    linkage: Literal["static", "global"] = "static"
    takes_context: bool = False
    """`int NAME(struct xdp_md *ctx)`, in TC `int NAME(struct __sk_buff *ctx)`; otherwise
    `int NAME(void)`."""


class PlacedLine(NamedTuple):
    """A source line of the linked program."""

    position: int
    body: int
    """Index in the chain of the body whose BTF holds the strings; LINKER: see `text`."""
    file_name_offset: int = 0
    text_offset: int = 0
    line_and_column: int = 0
    """Line number << 10 | column."""
    text: str = ""
    """Of the linker's own instructions: what they do.  Such a line has no file."""


@dataclass(frozen=True, slots=True)
class LinkedProgram:
    """One segment, ready to be loaded."""

    hook: Hook
    instructions: tuple[Instruction, ...]
    licence: str
    has_frags: bool
    functions: tuple[PlacedFunction, ...]
    """Ascending, every function of the program; empty: load it without BTF."""
    lines: tuple[PlacedLine, ...]
    """Ascending, one at the start of each function; empty: load it without BTF."""
    is_device_bound: bool = False
    module_types_fds: tuple[int, ...] = ()
    """`fd_array` of bpf(2): descriptors of kernel modules' BTF, the first unused."""
    unchanged_body: int | None = None
    """Index in the chain of the one body that this program is, instruction for instruction."""
