# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The instructions of a linked chain."""

from __future__ import annotations

from services.node_executor.linking.body import Body, Function, Line
from services.node_executor.linking.emission import emit
from services.node_executor.linking.linked_program import LinkedProgram
from services.node_executor.linking.plan import KernelFacts, LinkPolicy
from services.node_executor.linking.planning import plan_link
from shared.bytecode.instructions import (
    CALL,
    EXIT,
    JUMP,
    JUMP_IF_EQUAL_32,
    LOAD_64,
    LOAD_IMMEDIATE_64,
    STORE_64,
    STORE_IMMEDIATE_64,
    SUBPROGRAM_ADDRESS,
    SUBPROGRAM_CALL,
    Instruction,
)
from shared.identifiers import Hook

SET = Instruction(0xB7, 0, immediate=2)
LEAVE = Instruction(EXIT)
CALLER = (
    Instruction(CALL, source=SUBPROGRAM_CALL, immediate=3),
    Instruction(LOAD_IMMEDIATE_64, 2, SUBPROGRAM_ADDRESS, immediate=2),
    Instruction(0),
    LEAVE,
    SET,
    LEAVE,
)


def a_body(*instructions: Instruction, depth: int = 0, reads: bool = False) -> Body:
    """A body that goes on after PASS and TX."""
    return Body(
        name="b",
        instructions=instructions,
        stack_depths_bytes=(depth,),
        licence="GPL",
        proceed_on=("pass", "tx"),
        reads_uninitialised_stack=reads,
        functions=(Function(0, 7), Function(4, 9)) if len(instructions) == 6 else (Function(0, 5),),
        lines=(Line(0, 1, 2, 3 << 10), Line(1, 1, 4, 4 << 10)),
    )


def link(*bodies: Body, hook: Hook = "xdp") -> LinkedProgram:
    """The bodies planned and emitted."""
    (program,) = emit(plan_link(bodies, KernelFacts(), LinkPolicy(hook=hook, has_counters=False)))
    return program


def test_one_program_is_linked_as_it_is() -> None:
    """No prologue, no check."""
    assert link(a_body(SET, LEAVE)).instructions == (SET, LEAVE)


def test_the_layout_of_two_programs() -> None:
    """Context kept, exits jump to the check, each proceed value goes on, any other leaves."""
    assert link(a_body(LEAVE, SET, LEAVE, depth=8), a_body(SET, LEAVE)).instructions == (
        Instruction(STORE_64, 10, 1, -16),
        Instruction(JUMP, offset=2),
        SET,
        Instruction(JUMP, offset=0),
        Instruction(JUMP_IF_EQUAL_32, offset=2, immediate=2),
        Instruction(JUMP_IF_EQUAL_32, offset=1, immediate=3),
        LEAVE,
        Instruction(LOAD_64, 1, 10, -16),
        SET,
        LEAVE,
    )


def test_the_frame_is_set_to_zero_where_the_plan_says_so() -> None:
    """Every 8 bytes of it, and behind the load of the context, whose slot may lie in it."""
    code = link(a_body(SET, LEAVE), a_body(SET, LEAVE, depth=16, reads=True)).instructions

    assert code[-5:-2] == (
        Instruction(LOAD_64, 1, 10, -8),
        Instruction(STORE_IMMEDIATE_64, 10, 0, -8),
        Instruction(STORE_IMMEDIATE_64, 10, 0, -16),
    )


def test_subprograms_move_behind_all_main_functions_and_stay_reachable() -> None:
    """Calls and callback references still point to the same code."""
    linked = link(a_body(*CALLER), a_body(SET, LEAVE), a_body(*CALLER))
    code = linked.instructions

    targets = [
        position + instruction.immediate + 1
        for position, instruction in enumerate(code)
        if instruction.refers_to_subprogram
    ]

    assert targets == [len(code) - 4] * 2 + [len(code) - 2] * 2
    assert code[-4:] == (SET, LEAVE, SET, LEAVE)


def test_every_function_keeps_the_type_of_its_own_body() -> None:
    """The main function is the first body's; subprograms follow in the order of their place."""
    linked = link(a_body(*CALLER), a_body(*CALLER))
    end = len(linked.instructions)

    placed = [(found.position, found.body, found.type_id) for found in linked.functions]
    assert placed == [(0, 0, 7), (end - 4, 0, 9), (end - 2, 1, 9)]


def test_source_lines_move_with_their_code_and_cover_the_first_instruction() -> None:
    """The kernel wants them ascending and the first at 0, which is the linker's own."""
    linked = link(a_body(SET, LEAVE), a_body(SET, LEAVE))
    positions = [line.position for line in linked.lines]

    assert positions == sorted(set(positions))
    assert positions[0] == 0
    assert [line.body for line in linked.lines] == [0, 0, 0, 1, 1]


def test_no_jump_of_a_long_chain_leaves_sixteen_bits() -> None:
    """Each check has an exit of its own, so the end of the chain is never a jump's target."""
    body = a_body(*[SET] * 900, LEAVE)
    code = link(*[body] * 60).instructions

    assert len(code) > 32_767
    for position, instruction in enumerate(code):
        if instruction.opcode in (JUMP, JUMP_IF_EQUAL_32):
            assert 0 <= position + 1 + instruction.offset < len(code)
            assert -32_768 <= instruction.offset <= 32_767
