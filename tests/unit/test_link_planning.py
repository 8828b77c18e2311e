# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which chains may be one program, and what the plan says about each body."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.node_executor.linking.body import Body, Function, ProgramArray
from services.node_executor.linking.plan import (
    KernelFacts,
    LinkPlan,
    LinkPolicy,
    LinkRefusedError,
)
from services.node_executor.linking.planning import plan_link
from shared.bytecode.instructions import (
    CALL,
    EXIT,
    KFUNC_CALL,
    LOAD_IMMEDIATE_64,
    MAY_GOTO,
    SUBPROGRAM_ADDRESS,
    SUBPROGRAM_CALL,
    Instruction,
)
from shared.identifiers import Hook

PASS = (Instruction(0xB7, 0, immediate=2), Instruction(EXIT))
CALLS_SUBPROGRAM = (
    Instruction(CALL, source=SUBPROGRAM_CALL, immediate=1),
    Instruction(EXIT),
    *PASS,
)
TAIL_CALL = Instruction(CALL, immediate=12)


def a_body(
    name: str = "body",
    instructions: tuple[Instruction, ...] = PASS,
    proceed_on: tuple[str, ...] = ("pass",),
    **facts: object,
) -> Body:
    """A body that passes, with whatever a test cares for."""
    body = Body(
        name=name,
        instructions=instructions,
        stack_depths_bytes=(0,),
        licence="Dual BSD/GPL",
        proceed_on=proceed_on,
    )
    return replace(body, **facts)  # type: ignore[arg-type]


def plan(*bodies: Body, hook: Hook = "xdp") -> LinkPlan:
    """The plan of these bodies."""
    return plan_link(bodies, KernelFacts(), LinkPolicy(hook=hook))


def refusal(*bodies: Body, hook: Hook = "xdp") -> LinkRefusedError:
    """Why these bodies cannot be one program."""
    with pytest.raises(LinkRefusedError) as refused:
        plan(*bodies, hook=hook)
    return refused.value


def test_every_body_is_inlined_with_a_reason() -> None:
    """What `chain show` prints comes from the plan."""
    planned = plan(a_body("a"), a_body("b"))

    assert [body.mode for body in planned.bodies] == ["inline", "inline"]
    assert all(body.reason for body in planned.bodies)


def test_the_context_is_kept_below_the_deepest_body_that_another_follows() -> None:
    """The last body's stack may overwrite the slot, so it does not count."""
    bodies = [
        a_body("a", stack_depths_bytes=(13,)),
        a_body("b", stack_depths_bytes=(40,)),
        a_body("c", stack_depths_bytes=(300,)),
    ]

    assert plan(*bodies).segments[0].context_slot_bytes == 48
    assert plan(bodies[0]).segments[0].context_slot_bytes == 0


@pytest.mark.parametrize(("depth", "is_last", "allowed"), [(504, False, True), (505, False, False),
                                                           (512, True, True)])  # fmt: skip
def test_a_body_has_504_bytes_of_stack_and_the_last_has_512(
    depth: int, is_last: bool, allowed: bool
) -> None:
    """The slot for the context takes 8."""
    deep = a_body("deep", stack_depths_bytes=(depth,))
    chain = [a_body("other"), deep] if is_last else [deep, a_body("other")]

    if allowed:
        plan(*chain)
    else:
        assert "chain[0] deep" in refusal(*chain).message


def test_subprograms_have_to_fit_below_the_shared_frame() -> None:
    """A neighbour's deep frame is above the subprogram's, which is not so alone."""
    caller = a_body("caller", CALLS_SUBPROGRAM, stack_depths_bytes=(0, 256))
    deep = a_body("deep", stack_depths_bytes=(300,))

    error = refusal(deep, caller)

    assert [reason.path for reason in error.reasons] == ["chain[1] caller"]
    plan(caller)


@pytest.mark.parametrize(
    ("instruction", "kernel_functions", "words"),
    [
        (Instruction(0x30, immediate=20), (), "LD_ABS"),
        (Instruction(0x50, source=1), (), "LD_IND"),
        (Instruction(MAY_GOTO), (), "may_goto"),
        (Instruction(CALL, source=KFUNC_CALL), ("bpf_throw",), "bpf_throw"),
    ],
)
def test_what_would_leave_the_whole_chain_is_refused_anywhere_but_last(
    instruction: Instruction, kernel_functions: tuple[str, ...], words: str
) -> None:
    """In last place it does what it does alone."""
    leaving = a_body("leaving", (instruction, *PASS), kernel_functions=kernel_functions)

    assert words in refusal(leaving, a_body()).message
    plan(a_body(), leaving)


@pytest.mark.parametrize("is_last", [True, False])
def test_own_tail_calls_are_refused_unless_their_array_is_empty_and_ours(is_last: bool) -> None:
    """An empty array makes the call fall through, as programs for l3afd expect."""
    empty = a_body("t", (TAIL_CALL, *PASS), program_arrays=(ProgramArray("next", True),))
    full = replace(empty, program_arrays=(ProgramArray("next", False),))
    order = (lambda body: (a_body(), body)) if is_last else (lambda body: (body, a_body()))

    plan(*order(empty))
    assert refusal(*order(full)).reasons[0].got == "next"


def test_a_tail_call_in_a_subprogram_needs_a_shallow_frame_above() -> None:
    """The kernel refuses one below frames of 256 bytes."""
    code = (*CALLS_SUBPROGRAM[:2], TAIL_CALL, *PASS)
    caller = a_body("t", code, stack_depths_bytes=(0, 0), program_arrays=(ProgramArray("n", True),))

    plan(a_body(stack_depths_bytes=(240,)), caller)
    assert "tail-calls" in refusal(a_body(stack_depths_bytes=(248,)), caller).message


def test_an_empty_proceed_on_is_refused_and_allowed_of_the_last() -> None:
    """No program behind it could ever run, and the verifier calls that unreachable code."""
    assert "must name a verdict" in refusal(a_body(proceed_on=()), a_body()).message
    plan(a_body(), a_body(proceed_on=()))


def test_a_verdict_of_another_hook_is_refused_with_those_that_exist() -> None:
    """`ok` is a TC verdict."""
    error = refusal(a_body(proceed_on=("ok", "pass")), a_body())

    assert error.reasons[0].got == ["ok"]
    assert "pass" in error.reasons[0].allowed


@pytest.mark.parametrize(("hook", "verdict"), [("xdp", "drop"), ("tc-egress", "stolen")])
def test_going_on_after_a_final_verdict_is_warned_of(hook: Hook, verdict: str) -> None:
    """A later program's verdict would bring the packet back."""
    assert verdict in plan(a_body(proceed_on=(verdict,)), a_body("b", proceed_on=(verdict,)),
                           hook=hook).warnings[0]  # fmt: skip
    assert plan(a_body(proceed_on=(verdict,)), hook=hook).warnings == ()


def test_verdicts_become_signed_values_each_once() -> None:
    """TC's `unspec` is -1."""
    body = a_body(proceed_on=("unspec", "ok", "unspec"))

    assert plan(body, body, hook="tc-ingress").bodies[0].proceed_values == (-1, 0)


def test_at_most_64_distinct_maps() -> None:
    """The same map in two bodies counts once."""
    bodies = [a_body(f"b{n}", map_ids={fd: 100 * n + fd for fd in range(33)}) for n in range(2)]
    same = [replace(body, map_ids={fd: fd for fd in range(64)}) for body in bodies]

    assert (refusal(*bodies).reasons[0].got, refusal(*bodies).reasons[0].allowed) == (66, 64)
    plan(*same)


def test_at_most_256_functions() -> None:
    """The shared main function counts as one."""
    two = a_body("two", CALLS_SUBPROGRAM, stack_depths_bytes=(0, 0))

    plan(*[two] * 255)
    assert refusal(*[two] * 256).reasons[0].got == 257


def test_all_programs_of_an_xdp_hook_agree_on_frags() -> None:
    """The one that cannot read several buffers is named."""
    error = refusal(a_body("old"), a_body("new", has_frags=True))

    assert [reason.path for reason in error.reasons] == ["chain[0] old"]
    assert plan(a_body(has_frags=True)).has_frags


def test_gpl_only_calls_beside_a_closed_program_are_refused() -> None:
    """One licence string holds for the whole; saying GPL for a closed program would be false."""
    closed = a_body("closed", licence="Proprietary")
    prints = a_body("prints", (Instruction(CALL, immediate=6), *PASS))

    error = refusal(closed, prints)

    assert error.reasons[0].path == "chain[1] prints"
    assert error.reasons[0].got == [6]
    assert "closed" in error.reasons[0].rule
    plan(closed, a_body())
    plan(prints, a_body())


@pytest.mark.parametrize(
    ("licences", "linked"),
    [
        (("Dual BSD/GPL", "Dual BSD/GPL"), "Dual BSD/GPL"),
        (("Dual BSD/GPL", "GPL"), "GPL"),
        (("Proprietary", "GPL"), "Proprietary"),
        (("Proprietary", "Apache-2.0", "GPL"), "Proprietary AND Apache-2.0"),
    ],
)
def test_the_linked_licence_is_what_holds_for_all(licences: tuple[str, ...], linked: str) -> None:
    """Never GPL-compatible when one of the programs is not."""
    bodies = [a_body(f"b{n}", licence=licence) for n, licence in enumerate(licences)]

    assert plan(*bodies).segments[0].licence == linked


def test_callbacks_need_types_of_every_body() -> None:
    """The kernel takes types for all functions or for none."""
    code = (
        Instruction(LOAD_IMMEDIATE_64, source=SUBPROGRAM_ADDRESS, immediate=2),
        Instruction(0),
        Instruction(EXIT),
        *PASS,
    )
    types = (Function(0, 1), Function(3, 2))
    calls_back = a_body("calls-back", code, stack_depths_bytes=(0, 0), functions=types)

    assert "callbacks need merged BTF" in refusal(calls_back, a_body("plain")).message
    assert plan(calls_back, a_body(functions=(Function(0, 1),))).has_types


def test_only_a_body_that_may_read_unwritten_stack_gets_zeroes_and_never_the_first() -> None:
    """The first body finds the stack as it would alone."""
    reads = a_body("reads", stack_depths_bytes=(20,), reads_uninitialised_stack=True)

    planned = plan(reads, a_body(stack_depths_bytes=(20,)), reads)

    assert [body.zeroed_stack_bytes for body in planned.bodies] == [0, 0, 24]


def test_all_broken_rules_are_listed_at_once() -> None:
    """One attempt shows everything there is to mend."""
    error = refusal(
        a_body("a", (Instruction(MAY_GOTO), *PASS), proceed_on=()),
        a_body("b", stack_depths_bytes=(600,), has_frags=True),
    )

    assert len(error.reasons) == 4
    assert error.refusal_code == "link_refused"
