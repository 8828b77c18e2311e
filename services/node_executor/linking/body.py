# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""One program as the linker sees it: relocated instructions, and facts that decide how it links."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from services.node_executor.linking.code_facts import (
    CallUse,
    CodeFacts,
    pending_branches,
    read_calls,
    read_code,
)
from shared.bytecode.instructions import Instruction
from shared.bytecode.licences import is_gpl_compatible
from shared.errors import RefusedError


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
    writes_packets: bool = False
    """TC: writes into packets directly, so the kernel makes them writable before the program."""
    reads_uninitialised_stack: bool = False
    """Whether it may read stack that it did not write; not known counts as yes."""
    verified_instructions: int = 0
    """How many instructions the verifier walked when it was alone; 0: not known."""
    function: str = ""
    """Name of its main function."""
    functions: tuple[Function, ...] = ()
    lines: tuple[Line, ...] = ()

    @cached_property
    def code(self) -> CodeFacts:
        """What the linker rewrites, and has rules for."""
        return read_code(self.instructions)

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """Positions where its functions start, ascending; the first is 0.

        Raises:
            RefusedError: a call or reference points outside the body.
        """
        starts = {0}
        for position in self.code.references:
            target = position + self.instructions[position].immediate + 1
            if not 0 <= target < len(self.instructions):
                raise RefusedError(f"{self.name}: instruction {position} calls outside the program")
            starts.add(target)
        return tuple(sorted(starts))

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
    def calls(self) -> CallUse:
        """How deep its functions call one another, and with how much stack."""
        return read_calls(self.instructions, self.starts, self.code, self.stack_depths_bytes)

    @cached_property
    def pending_branches(self) -> int:
        """Branches that the verifier keeps in mind behind it, at least."""
        return pending_branches(self.instructions, self.main_length)

    @cached_property
    def called_kernel_functions(self) -> frozenset[tuple[int, int]]:
        """Type id, and descriptor of the module's BTF; 0: the kernel's own, or not known."""
        calls = [self.instructions[position] for position in self.code.kernel_calls]
        known = dict(enumerate(self.module_types_fds))
        return frozenset(
            (call.immediate, known.get(call.offset, 0) if call.offset else 0) for call in calls
        )

    @property
    def has_callbacks(self) -> bool:
        """Whether it hands the address of one of its functions to the kernel."""
        return bool(self.code.callbacks)

    @property
    def is_gpl_compatible(self) -> bool:
        """Whether the kernel lets it call GPL-only functions."""
        return is_gpl_compatible(self.licence)

    @property
    def throws(self) -> bool:
        """Whether it may leave everything that called it (bpf_throw)."""
        return "bpf_throw" in self.kernel_functions

    @cached_property
    def tail_calls_programs(self) -> bool:
        """Whether a tail call of its own can succeed."""
        return bool(self.code.tail_calls) and not (
            self.program_arrays and all(array.is_empty for array in self.program_arrays)
        )

    @cached_property
    def has_types(self) -> bool:
        """Whether BTF names a type for every one of its functions; for some only is no use."""
        return tuple(function.position for function in self.functions) == self.starts
