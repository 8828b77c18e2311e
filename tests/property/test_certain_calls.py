# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Calls that are said to be certain are reached whatever is decided when a program is loaded."""

from __future__ import annotations

from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from shared.bytecode.certain_calls import MAX_PASSES, FunctionCode, certain_calls
from shared.bytecode.instructions import (
    CALL,
    EXIT,
    FRAME_POINTER,
    JUMP,
    LOAD_64,
    LOAD_IMMEDIATE_64,
    Instruction,
)

EQUAL = 0x15
STORE_64, STORE_NUMBER_64 = 0x7B, 0x7A
RUNTIME, DECIDED = 6, 7
PRELUDE = (
    Instruction(LOAD_64, RUNTIME, 1),
    Instruction(LOAD_IMMEDIATE_64, DECIDED, 2),
    Instruction(0),
    Instruction(LOAD_64, DECIDED, DECIDED),
)
"""r6 comes from the context, r7 from a constant that is set before loading."""
HELPERS = st.integers(1, 6).map(lambda helper: Instruction(CALL, immediate=helper))
JUMPS = st.tuples(st.sampled_from((JUMP, EQUAL)), st.sampled_from((RUNTIME, DECIDED)))


@st.composite
def codes(draw: st.DrawFn) -> tuple[Instruction, ...]:
    """A function of calls and jumps, forward and back, that ends with an exit."""
    count = draw(st.integers(1, 10))
    body: list[Instruction] = []
    for position in range(count):
        if draw(st.booleans()):
            body.append(draw(HELPERS))
        else:
            opcode, register = draw(JUMPS)
            target = draw(st.integers(0, count))
            body.append(Instruction(opcode, register, offset=target - position - 1))
    return (*PRELUDE, *body, Instruction(EXIT))


def _reached(code: tuple[Instruction, ...], decisions: dict[int, bool]) -> set[int]:
    """The helpers that are called when these branches go this way, and all others both."""
    found: set[int] = set()
    seen: set[int] = set()
    waiting = [len(PRELUDE)]
    while waiting:
        position = waiting.pop()
        if position in seen:
            continue
        seen.add(position)
        instruction = code[position]
        target = position + 1 + instruction.offset
        if instruction.opcode == CALL:
            found.add(instruction.immediate)
        if instruction.opcode == JUMP:
            waiting.append(target)
        elif instruction.opcode == EQUAL:
            is_taken = decisions.get(position)
            waiting += [target] if is_taken is not False else []
            waiting += [position + 1] if is_taken is not True else []
        elif instruction.opcode != EXIT:
            waiting.append(position + 1)
    return found


def _certain(code: tuple[Instruction, ...]) -> set[int]:
    calls = certain_calls([FunctionCode(code, frozen=frozenset({1}))])
    return {int(helper) for _, helper in calls}


@settings(max_examples=400, deadline=None)
@given(codes())
def test_a_certain_call_is_reached_whichever_way_the_branches_are_decided(
    code: tuple[Instruction, ...],
) -> None:
    """Every decision of every branch is tried."""
    branches = [
        position
        for position, one in enumerate(code)
        if one.opcode == EQUAL and one.destination == DECIDED
    ]
    outcomes = [
        _reached(code, dict(zip(branches, ways, strict=True)))
        for ways in product((False, True), repeat=len(branches))
    ]

    assert _certain(code) <= set.intersection(*outcomes)


@settings(max_examples=200, deadline=None)
@given(codes())
def test_without_such_branches_every_call_that_is_reached_is_certain(
    code: tuple[Instruction, ...],
) -> None:
    """Nothing is lost that a packet can lead to."""
    plain = tuple(one._replace(destination=RUNTIME) if one.opcode == EQUAL else one for one in code)

    assert _certain(plain) == _reached(plain, {})


def test_a_stack_that_settles_slot_by_slot_makes_nothing_certain() -> None:
    """Each pass over it finds one more slot; it is given up early, and then in doubt."""
    count = 4 * MAX_PASSES
    steps = [
        one
        for slot in range(count, 0, -1)
        for one in (
            Instruction(LOAD_64, 2, FRAME_POINTER, offset=-8 * slot),
            Instruction(STORE_64, FRAME_POINTER, 2, offset=-8 * (slot + 1)),
        )
    ]
    code = (
        *steps,
        Instruction(STORE_NUMBER_64, FRAME_POINTER, offset=-8),
        Instruction(LOAD_64, 2, FRAME_POINTER, offset=-8 * (count + 1)),
        Instruction(EQUAL, 2, offset=1),
        Instruction(CALL, immediate=5),
        Instruction(EXIT),
    )

    assert certain_calls([FunctionCode(code)]) == frozenset()
