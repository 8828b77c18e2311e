# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What the linker must know about this kernel: tried once by each process, never assumed."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Final

from services.node_executor.adapters.btf_merge import JoinedTypes
from services.node_executor.adapters.kernel_errors import KernelFaultError
from services.node_executor.adapters.program_array import make_program_array
from services.node_executor.adapters.programs import try_loading
from services.node_executor.adapters.restricted_helpers import restricted_helpers
from services.node_executor.adapters.stack_probe import has_perfmon
from services.node_executor.linking.linked_program import LINKER, LinkedProgram, PlacedFunction
from services.node_executor.linking.plan import KernelFacts
from shared.bytecode.instructions import (
    CALL,
    EXIT,
    LOAD_IMMEDIATE_64,
    MAP_DESCRIPTOR,
    SUBPROGRAM_CALL,
    TAIL_CALL_HELPER,
    Instruction,
)

_SET: Final = 0xB7
"""BPF_ALU64 | BPF_MOV | BPF_K."""
_RETURN_ZERO: Final = (Instruction(_SET), Instruction(EXIT))
_MAIN: Final = PlacedFunction(0, LINKER, name="probe", linkage="global", takes_context=True)


def kernel_facts() -> KernelFacts:
    """The facts, found out when first asked for; with the helpers that are restricted by now."""
    return _facts(restricted_helpers())


@cache
def _facts(gpl_only_helpers: frozenset[int]) -> KernelFacts:
    return replace(_probed_once(), gpl_only_helpers=gpl_only_helpers)


@cache
def _probed_once() -> KernelFacts:
    return probe_facts()


def probe_facts() -> KernelFacts:
    """The facts, found out now with the rights of this thread."""
    has_types = _takes_global_functions()
    return KernelFacts(
        gpl_only_helpers=restricted_helpers(),
        has_types=has_types,
        has_perfmon=has_perfmon(),
        has_tail_calls_beside_calls=has_types and _takes_tail_calls_beside_calls(),
    )


def _takes_global_functions() -> bool:
    """A function that the kernel verifies by itself, called with the context."""
    called = PlacedFunction(2, LINKER, name="called", linkage="global", takes_context=True)
    call = Instruction(CALL, source=SUBPROGRAM_CALL, immediate=0 + 1)
    return _loads((call, Instruction(EXIT), *_RETURN_ZERO), (_MAIN, called))


def _takes_tail_calls_beside_calls() -> bool:
    """A function that tail-calls, called from one that does not (Linux 5.10 on x86-64)."""
    with make_program_array(1) as array:
        called = PlacedFunction(2, LINKER, name="called", linkage="static", takes_context=True)
        tail_call = (
            Instruction(LOAD_IMMEDIATE_64, 2, MAP_DESCRIPTOR, immediate=array.fd),
            Instruction(0),
            Instruction(_SET, 3),
            Instruction(CALL, immediate=TAIL_CALL_HELPER),
        )
        call = Instruction(CALL, source=SUBPROGRAM_CALL, immediate=0 + 1)
        return _loads((call, Instruction(EXIT), *tail_call, *_RETURN_ZERO), (_MAIN, called))


def _loads(instructions: Sequence[Instruction], functions: Sequence[PlacedFunction]) -> bool:
    program = LinkedProgram(
        hook="xdp",
        instructions=tuple(instructions),
        licence="GPL",
        has_frags=False,
        functions=tuple(functions),
        lines=(),
    )
    try:
        types = JoinedTypes(program, ())
    except KernelFaultError:
        return False
    with types.descriptor:
        attempt = try_loading(program, types, name="l3af_probe")
    if attempt.program is not None:
        attempt.program.close()
    return attempt.program is not None


def own_platform() -> str:
    """This node's platform and architecture, as packages name them."""
    return f"linux-{platform.machine()}"
