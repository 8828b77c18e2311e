# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What the linker has to know of a body's instructions: found in one pass over them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Final, NamedTuple

from shared.bytecode.instructions import (
    CALL,
    EXIT,
    HELPER_CALL,
    JUMP,
    KFUNC_CALL,
    LOAD_IMMEDIATE_64,
    MAY_GOTO,
    PACKET_LOADS,
    SUBPROGRAM_ADDRESS,
    SUBPROGRAM_CALL,
    TAIL_CALL_HELPER,
    Instruction,
)

LONG_JUMP: Final = 0x06
"""`gotol`: an unconditional jump whose 32-bit distance is the immediate."""
_JUMP_CLASSES: Final = (0x05, 0x06)
_FRAME_STEP_BYTES: Final = 16
_KINDS: Final[dict[tuple[int, int], tuple[str, ...]]] = {
    (CALL, HELPER_CALL): ("tail_calls",),
    (CALL, SUBPROGRAM_CALL): ("references",),
    (CALL, KFUNC_CALL): ("kernel_calls",),
    (LOAD_IMMEDIATE_64, SUBPROGRAM_ADDRESS): ("references", "callbacks"),
}
"""What an instruction with this opcode and source register is."""
_OPCODES: Final = frozenset((EXIT, CALL, LOAD_IMMEDIATE_64, MAY_GOTO, *PACKET_LOADS))


class CodeFacts(NamedTuple):
    """Positions of what the linker rewrites or has rules for, each tuple ascending."""

    exits: tuple[int, ...]
    references: tuple[int, ...]
    """Calls of and addresses of the body's own functions."""
    tail_calls: tuple[int, ...]
    kernel_calls: tuple[int, ...]
    """Calls of kernel functions (kfuncs)."""
    callbacks: tuple[int, ...]
    """Where the address of one of its functions is taken; each is one of `references`."""
    has_packet_loads: bool
    has_may_goto: bool


def read_code(instructions: Sequence[Instruction]) -> CodeFacts:
    """The facts of a body's instructions."""
    found: dict[str, list[int]] = {kind: [] for kind in CodeFacts._fields[:5]}
    has_packet_loads = has_may_goto = False
    of_interest = [at for at, instruction in enumerate(instructions) if instruction[0] in _OPCODES]
    for position in of_interest:
        opcode, _, source, _, immediate = instructions[position]
        if opcode == EXIT:
            found["exits"].append(position)
        elif opcode in (CALL, LOAD_IMMEDIATE_64):
            for kind in _KINDS.get((opcode, source), ()):
                if kind != "tail_calls" or immediate == TAIL_CALL_HELPER:
                    found[kind].append(position)
        elif opcode == MAY_GOTO:
            has_may_goto = True
        else:
            has_packet_loads = True
    return CodeFacts(
        exits=tuple(found["exits"]),
        references=tuple(found["references"]),
        tail_calls=tuple(found["tail_calls"]),
        kernel_calls=tuple(found["kernel_calls"]),
        callbacks=tuple(found["callbacks"]),
        has_packet_loads=has_packet_loads,
        has_may_goto=has_may_goto,
    )


class CallUse(NamedTuple):
    """What a body's functions need below its main function."""

    depth: int
    """Functions that call one another, the main one included."""
    below_bytes: int
    """Stack of the deepest chain of calls below the main function; 0 without any."""
    above_tail_call_bytes: int | None
    """Stack of the functions between the main one and one that tail-calls, the most there is;
    None: no function but the main one tail-calls."""


def rounded(depth_bytes: int) -> int:
    """As the kernel counts a function's frame under a JIT (round_up_stack_depth)."""
    return -(-depth_bytes // _FRAME_STEP_BYTES) * _FRAME_STEP_BYTES


def read_calls(
    instructions: Sequence[Instruction],
    starts: Sequence[int],
    facts: CodeFacts,
    depths_bytes: Sequence[int],
) -> CallUse:
    """How deep the body's functions call one another.

    Args:
        instructions: Of the body.
        starts: Where its functions start.
        facts: What `read_code` found.
        depths_bytes: Of each function; unknown ones count as using none.
    """
    if len(starts) == 1:
        return CallUse(1, 0, None)
    functions = len(starts)
    own = [rounded(depth) for depth in depths_bytes[:functions]]
    own += [0] * (functions - len(own))
    number = {start: index for index, start in enumerate(starts)}
    callees: list[set[int]] = [set() for _ in starts]
    for position in facts.references:
        callees[_holder(starts, position)].add(
            number[position + instructions[position].immediate + 1]
        )
    tail_callers = {_holder(starts, position) for position in facts.tail_calls}
    known: dict[int, tuple[int, int, int | None]] = {}

    def below(function: int, seen: frozenset[int]) -> tuple[int, int, int | None]:
        if function in known:
            return known[function]
        depth, deepest, above = 1, 0, None
        for callee in callees[function] - seen:
            inner_depth, inner_bytes, inner_above = below(callee, seen | {callee})
            depth = max(depth, 1 + inner_depth)
            deepest = max(deepest, own[callee] + inner_bytes)
            found = [] if inner_above is None else [own[callee] + inner_above]
            found += [0] if callee in tail_callers else []
            above = max([*found, *([] if above is None else [above])], default=None)
        known[function] = depth, deepest, above
        return known[function]

    return CallUse(*below(0, frozenset((0,))))


def _holder(starts: Sequence[int], position: int) -> int:
    """Index of the function that an instruction belongs to."""
    return bisect_right(starts, position) - 1


def pending_branches(instructions: Sequence[Instruction], main_length: int) -> int:
    """How many branches the verifier keeps in mind when it first reaches the body's end.

    It takes the way straight on at each branch and comes back for the other later
    (kernel/bpf/verifier.c, push_stack).  Loops count once, so this is a lower bound.
    """
    position = branches = 0
    seen = set()
    while 0 <= position < main_length and position not in seen:
        seen.add(position)
        opcode, _, _, offset, immediate = instructions[position]
        if opcode == EXIT:
            break
        if opcode == JUMP:
            position += offset
        elif opcode == LONG_JUMP:
            position += immediate
        elif opcode & 0x07 in _JUMP_CLASSES and opcode != CALL:
            branches += 1
        position += 1
    return branches
