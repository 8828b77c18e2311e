# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The instructions of linked programs, and what their BTF has to say."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.node_executor.linking.assembly import Assembler
from services.node_executor.linking.body import Body, Function, Line
from services.node_executor.linking.counters import read_slot, value_bytes
from services.node_executor.linking.emission import emit
from services.node_executor.linking.linked_program import LINKER, LinkedProgram
from services.node_executor.linking.plan import KernelFacts, LinkPolicy
from services.node_executor.linking.planning import plan_link
from shared.bytecode.instructions import (
    CALL,
    EXIT,
    JUMP,
    KFUNC_CALL,
    LOAD_64,
    LOAD_IMMEDIATE_64,
    STORE_64,
    STORE_IMMEDIATE_64,
    SUBPROGRAM_ADDRESS,
    SUBPROGRAM_CALL,
    Instruction,
)
from tests.support.bpf_simulator import Machine, structure_problems
from tests.support.link_bodies import a_policy

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
COUNTED = a_policy(has_counters=True)


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


def link(*bodies: Body, policy: LinkPolicy | None = None) -> LinkedProgram:
    """The one program of these bodies."""
    planned = plan_link(bodies, KernelFacts(), policy or a_policy())
    (program,) = emit(planned, counters_fd=11, program_array_fd=12)
    return program


def test_one_program_is_linked_as_it_is() -> None:
    """Nothing is kept, nothing is checked."""
    linked = link(a_body(SET, LEAVE))

    assert linked.instructions == (SET, LEAVE)
    assert linked.unchanged_body == 0


@pytest.mark.parametrize(
    "policy", [COUNTED, a_policy("tc-ingress"), a_policy(frags="on"), a_policy("tc-egress")]
)
def test_one_program_that_is_counted_translated_or_loaded_otherwise_is_another(
    policy: LinkPolicy,
) -> None:
    """The loader cannot take the original for it."""
    proceed = ("pass",) if policy.hook == "xdp" else ("ok",)

    assert link(replace(a_body(SET, LEAVE), proceed_on=proceed), policy=policy).unchanged_body is (
        None
    )


def test_the_layout_of_two_programs() -> None:
    """Context kept, exits jump to the check, each proceed value goes on, any other leaves."""
    assert link(a_body(LEAVE, SET, LEAVE, depth=8), a_body(SET, LEAVE)).instructions == (
        Instruction(STORE_64, 10, 1, -16),
        Instruction(JUMP, offset=2),
        SET,
        Instruction(JUMP, offset=0),
        Instruction(0x16, offset=1, immediate=2),
        Instruction(0x56, offset=3, immediate=3),
        Instruction(LOAD_64, 1, 10, -16),
        SET,
        LEAVE,
        LEAVE,
    )


def test_going_on_after_one_verdict_costs_one_comparison_that_is_not_taken() -> None:
    """And with counters a load, an increment at a constant offset, and nothing else."""
    body = replace(a_body(SET, LEAVE), proceed_on=("pass",))

    plain = link(body, body, body).instructions
    counted = link(body, body, body, policy=COUNTED).instructions

    check = plain.index(Instruction(JUMP, offset=0)) + 1
    assert [i.opcode for i in plain[check : check + 2]] == [0x56, LOAD_64]
    check = counted.index(Instruction(JUMP, offset=0)) + 1
    assert [i.opcode for i in counted[check : check + 6]] == [
        *(0x56, LOAD_64, LOAD_64, 0x07, STORE_64),
        LOAD_64,
    ]


def test_the_frame_is_set_to_zero_where_the_plan_says_so() -> None:
    """Every 8 bytes of it, and behind the load of the context, whose slot may lie in it."""
    code = link(a_body(SET, LEAVE), a_body(SET, LEAVE, depth=16, reads=True)).instructions

    assert code[-6:-3] == (
        Instruction(LOAD_64, 1, 10, -8),
        Instruction(STORE_IMMEDIATE_64, 10, 0, -8),
        Instruction(STORE_IMMEDIATE_64, 10, 0, -16),
    )


def test_functions_move_behind_the_main_function_and_stay_reachable() -> None:
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
    """The main function is the linker's; the bodies' follow in the order of their place."""
    linked = link(a_body(*CALLER), a_body(*CALLER))
    end = len(linked.instructions)

    placed = [(found.position, found.body, found.type_id) for found in linked.functions]
    assert placed == [(0, LINKER, 0), (end - 4, 0, 9), (end - 2, 1, 9)]
    assert linked.functions[0][3:] == ("l3af_chain", "global", True)


def test_a_called_body_becomes_a_global_function_that_takes_the_context() -> None:
    """Its type is made from its name: objects without BTF and `void *` arguments work too."""
    bare = replace(a_body(SET, LEAVE), name="rate-limit", function="xdp_main", functions=())
    linked = link(bare, a_body(SET, LEAVE), policy=a_policy(called=frozenset((0,))))

    (called,) = (found for found in linked.functions if found.body == 0)
    assert called[2:] == (0, "rate_limit_xdp_main", "global", True)
    assert linked.instructions[called.position :] == (SET, LEAVE)


def test_functions_of_a_body_without_types_get_names_of_their_own() -> None:
    """The kernel takes types for all functions or for none."""
    bare = replace(a_body(*CALLER), name="7-up", functions=(), lines=())
    linked = link(bare, a_body(SET, LEAVE))

    assert [(found.name, found.linkage, found.takes_context) for found in linked.functions[1:]] == [
        ("_7_up_at_4", "static", False)
    ]


def test_without_types_there_is_nothing_for_btf_to_say() -> None:
    """The program is loaded without it."""
    planned = plan_link([a_body(*CALLER[:1], *CALLER[3:], SET, LEAVE)] * 2,
                        KernelFacts(has_types=False), a_policy())  # fmt: skip
    (linked,) = emit(planned)

    assert (linked.functions, linked.lines) == ((), ())


def test_an_inline_body_that_throws_gives_the_main_function_its_type() -> None:
    """A handler of its own is named there."""
    throwing = replace(
        a_body(Instruction(CALL, source=KFUNC_CALL, immediate=3), SET, LEAVE),
        kernel_functions=("bpf_throw",),
    )
    linked = link(a_body(SET, LEAVE), throwing)

    assert (linked.functions[0].body, linked.functions[0].type_id) == (1, 5)


def test_source_lines_move_with_their_code_and_the_linker_s_own_say_what_they_are() -> None:
    """The kernel wants them ascending, and one at each function's start."""
    linked = link(a_body(SET, LEAVE), a_body(SET, LEAVE))
    positions = [line.position for line in linked.lines]

    assert positions == sorted(set(positions))
    assert [(line.body, line.text) for line in linked.lines] == [
        (LINKER, "the chain begins"),
        (0, ""),
        (0, ""),
        (LINKER, "after b"),
        (LINKER, "before b"),
        (1, ""),
        (1, ""),
        (LINKER, "the chain ends"),
    ]


def test_a_body_without_lines_is_named_where_it_begins() -> None:
    """So that an error in it is not taken for one of its neighbour."""
    linked = link(a_body(SET, LEAVE), replace(a_body(SET, LEAVE), name="bare", lines=()))

    assert "bare" in [line.text for line in linked.lines if line.body == LINKER]


def test_functions_of_modules_share_one_list_of_descriptors() -> None:
    """Each body's own indexes become indexes of the program's list."""
    first, second = (Instruction(CALL, source=KFUNC_CALL, offset=n, immediate=9) for n in (1, 2))
    a = replace(a_body(first, SET, LEAVE), module_types_fds=(0, 50))
    b = replace(a_body(second, first, SET, LEAVE), module_types_fds=(0, 51, 50))

    linked = link(a, b)

    calls = [i.offset for i in linked.instructions if i.source == KFUNC_CALL and i.opcode == CALL]
    assert linked.module_types_fds == (0, 50, 51)
    assert calls == [1, 1, 2]


@pytest.mark.parametrize("verdict", [1, 2])
def test_each_body_counts_though_the_last_one_covers_the_kept_counters(verdict: int) -> None:
    """Ways out before it use the kept pointer, those behind it the one looked up again."""
    first = replace(a_body(SET._replace(immediate=verdict), LEAVE), proceed_on=("pass",))
    fill = Instruction(STORE_IMMEDIATE_64, 10, offset=-512, immediate=-1)
    last = replace(a_body(fill, SET._replace(immediate=3), LEAVE), stack_depths_bytes=(512,))
    counters = bytearray(value_bytes("xdp", 16))

    Machine(bytearray(64), counters=counters).run(link(first, last, policy=COUNTED).instructions)

    seen = [read_slot([bytes(counters)], "xdp", slot).verdicts for slot in (0, 1)]
    assert seen[0]["pass" if verdict == 2 else "drop"] == 1
    assert seen[1]["tx"] == (verdict == 2)


@pytest.mark.parametrize("options", [{}, {"has_counters": True}])
@pytest.mark.parametrize("hook", ["xdp", "tc-ingress"])
def test_no_jump_of_a_long_chain_leaves_sixteen_bits(hook: str, options: dict[str, bool]) -> None:
    """Ways out of the chain go from check to check where its end is too far."""
    verdict = 2 if hook == "xdp" else 0
    body = replace(
        a_body(*[SET] * 900, SET._replace(immediate=verdict), LEAVE),
        proceed_on=("pass",) if hook == "xdp" else ("ok",),
    )
    early = replace(body, proceed_on=("tx",) if hook == "xdp" else ("pipe",))
    policy = a_policy(hook, **options)  # type: ignore[arg-type]

    code = link(*[body] * 80, policy=policy).instructions
    left = link(early, *[body] * 80, policy=policy).instructions

    assert len(code) > 2 * 32_767
    for program, expected in ((code, verdict if hook == "xdp" else 0xFFFFFFFF), (left, verdict)):
        assert structure_problems(program) == []
        counters = bytearray(20_000)
        assert Machine(bytearray(64), counters=counters).run(program) == expected


def test_a_jump_with_nothing_on_the_way_is_a_bug_and_not_a_wrong_program() -> None:
    """The plan calls bodies that are so long."""
    code = Assembler()
    code.jump("end")
    code.extend([SET] * 40_000)
    code.place("end")
    code.exit()

    with pytest.raises(AssertionError, match="nothing on the way"):
        code.finish()


def test_a_far_jump_goes_over_the_farthest_island_in_reach() -> None:
    """Other jumps to the same place serve."""
    code = Assembler()
    for _ in range(4):
        code.jump("end")
        code.extend([SET] * 12_000)
    code.place("end")
    code.exit()

    program = code.finish()

    assert program[0].offset == 24_001
    assert program[24_002].offset == 24_001
