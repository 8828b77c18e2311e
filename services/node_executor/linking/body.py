# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""One program as the linker sees it: relocated instructions, and facts that decide how it links."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from shared.bytecode.instructions import CALL, Instruction, subprogram_starts


class Line(NamedTuple):
    """A source line and the instruction it begins at (struct bpf_line_info).

    The two offsets point into the strings of the body's own BTF.
    """

    position: int
    file_name_offset: int
    text_offset: int
    line_and_column: int
    """Line number << 10 | column."""


class Function(NamedTuple):
    """The BTF type of the function that starts at an instruction (struct bpf_func_info)."""

    position: int
    type_id: int
    """In the body's own BTF."""


@dataclass(frozen=True, slots=True)
class ProgramArray:
    """A map of programs that a body can tail-call into."""

    name: str
    is_empty: bool
    """Whether it holds no program, and only the executor can put one in."""


@dataclass(frozen=True)
class Body:
    """One program of a chain, captured after relocation and proved to verify by itself."""

    name: str
    """How refusals call it: the deployment."""
    instructions: tuple[Instruction, ...]
    """The main function first; map references hold file descriptors."""
    stack_depths_bytes: tuple[int, ...]
    """What the verifier says of each function in order of its start; the main function first."""
    licence: str
    proceed_on: tuple[str, ...]
    """Verdict names after which the chain goes on."""
    map_ids: Mapping[int, int] = field(default_factory=dict)
    """File descriptor, as the instructions hold it, to the kernel's id of the map."""
    program_arrays: tuple[ProgramArray, ...] = ()
    kernel_functions: tuple[str, ...] = ()
    """Names of kernel functions (kfuncs) called."""
    module_types_fds: tuple[int, ...] = ()
    """Descriptors of kernel modules' BTF; a call's offset is an index here, and 0 is unused."""
    has_frags: bool = False
    """XDP: can read packets in several buffers."""
    is_device_bound: bool = False
    """XDP: reads what one interface's driver offers, so it is loaded for that interface."""
    reads_uninitialised_stack: bool = False
    """Whether it may read stack that it did not write; not known counts as yes."""
    verified_instructions: int = 0
    """How many instructions the verifier walked when it was alone; 0: not known."""
    function: str = ""
    """Name of its main function."""
    functions: tuple[Function, ...] = ()
    lines: tuple[Line, ...] = ()

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """Positions where its functions start; the first is 0."""
        return subprogram_starts(self.instructions)

    @cached_property
    def main_length(self) -> int:
        """Instructions of the main function; its subprograms lie behind them."""
        starts = self.starts
        return starts[1] if len(starts) > 1 else len(self.instructions)

    @cached_property
    def main_stack_bytes(self) -> int:
        """Stack of the main function, rounded up to 8 bytes."""
        depth = self.stack_depths_bytes[0] if self.stack_depths_bytes else 0
        return -(-depth // 8) * 8

    @cached_property
    def has_callbacks(self) -> bool:
        """Whether it hands the address of one of its functions to the kernel."""
        return any(i.refers_to_subprogram and i.opcode != CALL for i in self.instructions)

    @cached_property
    def has_types(self) -> bool:
        """Whether BTF names a type for every one of its functions; for some only is no use."""
        return tuple(function.position for function in self.functions) == self.starts
