# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which mode each body of a chain gets, and why."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.node_executor.linking.body import Body, ProgramArray
from services.node_executor.linking.plan import KernelFacts
from services.node_executor.linking.planning import plan_link
from shared.bytecode.instructions import CALL, KFUNC_CALL, MAY_GOTO, Instruction
from shared.identifiers import Hook
from tests.support.link_bodies import (
    CALLS_SUBPROGRAM,
    LEAVE,
    PASS,
    a_body,
    a_policy,
    modes,
    plan,
    refusal,
    rules,
)

TAIL_CALL = Instruction(CALL, immediate=12)
LOAD_DIRECTLY = Instruction(0x30, immediate=20)
LOAD_INDIRECTLY = Instruction(0x50, source=1)
LOOP = Instruction(MAY_GOTO)
THROW = Instruction(CALL, source=KFUNC_CALL)
WITHOUT_TYPES = KernelFacts(has_types=False)
ON_CLS_BPF = a_policy("tc-ingress", attachment="cls_bpf")


def tail_calling(*, is_empty: bool = False) -> Body:
    """A body with an array of programs of its own."""
    return a_body("t", (TAIL_CALL, *PASS), program_arrays=(ProgramArray("next", is_empty),))


def nested(depth: int) -> tuple[Instruction, ...]:
    """A main function and others, each calling the next, `depth` in all."""
    calls = [Instruction(CALL, source=1, immediate=1), LEAVE] * (depth - 1)
    return (*calls, *PASS)


def branches(count: int) -> tuple[Instruction, ...]:
    """A body that the verifier leaves with so many branches in mind."""
    return (*[Instruction(0x1D, 2, 3, 0)] * count, *PASS)


def test_every_body_stands_inline_unless_a_rule_speaks_against_it() -> None:
    """What `chain show` prints comes from the plan."""
    planned = plan(a_body("a"), a_body("b"))

    assert modes(planned) == ["inline", "inline"]
    assert all(body.reason for body in planned.bodies)
    assert [segment.layout for segment in planned.segments] == ["shared-frame"]


def test_the_context_is_kept_below_the_deepest_body_that_another_follows() -> None:
    """The last body's stack may cover the slot, so it does not count."""
    bodies = [
        a_body("a", stack_depths_bytes=(13,)),
        a_body("b", stack_depths_bytes=(40,)),
        a_body("c", stack_depths_bytes=(300,)),
    ]

    assert plan(*bodies).segments[0].context_slot_bytes == 48
    assert plan(bodies[0]).segments[0].context_slot_bytes == 0


@pytest.mark.parametrize(
    ("depth", "is_last", "mode"),
    [(504, False, "inline"), (505, False, "call-global"), (512, True, "inline")],
)
def test_inline_a_body_has_504_bytes_of_stack_and_512_in_last_place(
    depth: int, is_last: bool, mode: str
) -> None:
    """The slot for the context takes 8; a function of its own has all 512."""
    deep = a_body("deep", stack_depths_bytes=(depth,))
    chain = [a_body("other"), deep] if is_last else [deep, a_body("other")]

    assert modes(plan(*chain))[1 if is_last else 0] == mode


@pytest.mark.parametrize("depth", [496, 504, 512])
def test_counters_take_a_word_and_the_last_body_may_cover_it(depth: int) -> None:
    """Then they are looked up again behind it."""
    deep = a_body("deep", stack_depths_bytes=(depth,))
    counted = a_policy(has_counters=True)

    assert modes(plan(deep, a_body(), policy=counted))[0] == (
        "inline" if depth == 496 else "call-global"
    )
    last = plan(a_body(), deep, policy=counted)
    assert modes(last) == ["inline", "inline"]
    assert bool(last.segments[0].frame.late_key_bytes) == (depth > 504)


def test_a_timed_body_cannot_cover_what_the_chain_keeps() -> None:
    """Its time has to be kept while it runs, in last place too."""
    deep = a_body("deep", stack_depths_bytes=(504,))
    timed = a_policy(has_counters=True, time_sample_period=64)

    assert modes(plan(a_body(), deep, policy=timed)) == ["call-global", "call-global"]


def test_a_neighbour_s_deep_frame_is_taken_out_of_the_way_of_functions_below() -> None:
    """480 bytes and a function of 256 do not fit into one frame, but as calls they do."""
    deep = a_body("deep", stack_depths_bytes=(480,))
    caller = a_body("caller", CALLS_SUBPROGRAM, stack_depths_bytes=(0, 256))

    planned = plan(deep, caller)

    assert modes(planned)[0] == "call-global"
    assert "frame-sum" in rules(planned)
    assert "chain[1] caller" in planned.bodies[0].reason
    assert len(planned.segments) == 1


def test_a_body_that_needs_the_whole_stack_makes_the_main_function_do_without() -> None:
    """Inline neighbours then share a function that wraps them."""
    deep = a_body("deep", stack_depths_bytes=(512,))
    chain = [a_body(f"b{n}", stack_depths_bytes=(8,)) for n in range(3)]

    planned = plan(*chain, deep, *chain)
    called = plan(*chain, replace(deep, instructions=(LOOP, *PASS)), *chain)

    assert planned.segments[0].layout == called.segments[0].layout == "calls-only"
    # Last in its function, it may cover what is kept for those before it.
    assert [run.count for run in planned.segments[0].runs] == [4, 3]
    assert [run.count for run in called.segments[0].runs] == [3, 1, 3]
    assert modes(called) == ["inline"] * 3 + ["call-global"] + ["inline"] * 3


@pytest.mark.parametrize("instruction", [LOAD_DIRECTLY, LOAD_INDIRECTLY])
def test_direct_packet_loads_are_called_because_they_can_leave_the_chain(
    instruction: Instruction,
) -> None:
    """In last place leaving is what they do alone, unless something follows for the chain."""
    loading = a_body("loading", (instruction, *PASS), ("ok",))
    other = a_body(proceed_on=("ok",))

    assert modes(plan(loading, other, policy=ON_CLS_BPF)) == ["call-global", "inline"]
    assert modes(plan(other, loading, policy=ON_CLS_BPF)) == ["inline", "inline"]
    counted = replace(ON_CLS_BPF, has_counters=True)
    assert modes(plan(other, loading, policy=counted)) == ["inline", "call-global"]
    translated = a_policy("tc-ingress")
    assert modes(plan(other, loading, policy=translated)) == ["inline", "call-global"]


def test_may_goto_is_called_because_its_budget_belongs_to_a_function() -> None:
    """In last place nobody is behind it to go without."""
    looping = a_body("looping", (LOOP, *PASS))

    assert modes(plan(looping, a_body())) == ["call-global", "inline"]
    assert modes(plan(looping, looping)) == ["call-global", "inline"]


def test_own_tail_calls_are_called_unless_their_array_is_empty_and_ours() -> None:
    """An empty array makes the call fall through, as programs for tail-call chains expect."""
    assert modes(plan(tail_calling(), a_body())) == ["call-global", "inline"]
    assert modes(plan(a_body(), tail_calling())) == ["inline", "inline"]
    assert modes(plan(tail_calling(is_empty=True), a_body())) == ["inline", "inline"]
    assert "empty-program-arrays" in rules(plan(tail_calling(is_empty=True), a_body()))


def test_a_tail_call_into_an_array_nobody_knows_counts_as_leaving() -> None:
    """As one that comes out of another map."""
    assert modes(plan(a_body("t", (TAIL_CALL, *PASS)), a_body())) == ["call-global", "inline"]


def test_a_tail_call_in_a_function_needs_frames_below_256_bytes_above_it() -> None:
    """The kernel counts frames in steps of 16, so 240 is the most."""
    code = (*CALLS_SUBPROGRAM[:2], TAIL_CALL, *PASS)
    caller = a_body("t", code, stack_depths_bytes=(0, 0), program_arrays=(ProgramArray("n", True),))

    assert modes(plan(a_body(stack_depths_bytes=(232,)), caller)) == ["inline", "inline"]
    planned = plan(a_body(stack_depths_bytes=(240,)), caller)
    assert modes(planned)[0] == "call-global"
    assert "tail-call-frame" in rules(planned)


def test_throwing_is_refused_anywhere_but_last() -> None:
    """It unwinds the whole chain, out of a function of its own too."""
    throwing = a_body("throwing", (THROW, *PASS), kernel_functions=("bpf_throw",))

    assert "bpf_throw" in refusal(throwing, a_body()).message
    assert refusal(throwing, a_body()).constraints[0].rule == "throw"
    assert modes(plan(a_body(), throwing)) == ["inline", "inline"]


def test_a_main_function_too_long_to_jump_over_is_called() -> None:
    """An exit becomes a jump of at most 32,767 instructions."""
    long = a_body("long", (*[PASS[0]] * 32_000, *PASS))

    assert modes(plan(long, a_body())) == ["call-global", "inline"]
    assert modes(plan(a_body(), long)) == ["inline", "inline"]


def test_branches_that_are_too_many_together_are_called_the_largest_first() -> None:
    """The verifier keeps 8,192 in mind of what it verifies along one way."""
    chain = [a_body(f"b{n}", branches(2000 + n)) for n in range(5)]

    planned = plan(*chain)

    assert modes(planned) == ["inline"] * 4 + ["call-global"]
    assert "joint-jumps" in rules(planned)


def test_without_types_branches_that_are_too_many_begin_a_segment() -> None:
    """What is called is verified along the chain all the same."""
    chain = [a_body(f"b{n}", branches(3000)) for n in range(4)]

    assert [len(s.bodies) for s in plan(*chain, facts=WITHOUT_TYPES).segments] == [2, 2]


def test_a_body_as_deep_as_the_kernel_allows_stays_inline() -> None:
    """Called, it would be one function deeper."""
    deepest = a_body("deepest", nested(8), stack_depths_bytes=(0,) * 8)

    assert modes(plan(deepest, a_body())) == ["inline", "inline"]
    looping = a_body("looping", (LOOP, *nested(8)), stack_depths_bytes=(0,) * 8)
    error = refusal(looping, a_body())
    assert [found.rule for found in error.constraints] == ["call-depth"]
    assert (error.reasons[0].got, error.reasons[0].allowed) == (9, 8)


def test_deepest_bodies_and_those_that_need_all_stack_are_separate_segments() -> None:
    """One cannot be called, beside the other nothing can stand inline."""
    deepest = a_body("deepest", nested(8), stack_depths_bytes=(0,) * 8)
    full = a_body("full", stack_depths_bytes=(512,))

    assert [len(s.bodies) for s in plan(deepest, full, a_body()).segments] == [1, 2]


def test_without_types_called_bodies_are_static() -> None:
    """A global function needs BTF; a static one is verified along the chain."""
    looping = a_body("looping", (LOOP, *PASS))

    assert modes(plan(looping, a_body(), facts=WITHOUT_TYPES)) == ["call-static", "inline"]


@pytest.mark.parametrize("instruction", [LOAD_DIRECTLY, TAIL_CALL])
def test_without_types_no_function_can_leave_early(instruction: Instruction) -> None:
    """The kernel wants to know from BTF what such a function returns."""
    leaving = a_body("leaving", (instruction, *PASS), ("ok",))
    other = a_body(proceed_on=("ok",))

    error = refusal(leaving, other, policy=ON_CLS_BPF, facts=WITHOUT_TYPES)

    assert [found.rule for found in error.constraints] == ["types"]
    counted = replace(ON_CLS_BPF, has_counters=True)
    last = plan(other, leaving, policy=counted, facts=WITHOUT_TYPES)
    assert modes(last) == ["inline", "inline"]
    assert any("neither counted" in warning for warning in last.warnings)


def test_without_types_callbacks_are_refused() -> None:
    """The kernel takes a function's address only if BTF names all functions."""
    code = (Instruction(0x18, source=4, immediate=2), Instruction(0), LEAVE, *PASS)
    calling_back = a_body("calls-back", code, stack_depths_bytes=(0, 0))

    assert "callbacks need BTF" in refusal(calling_back, facts=WITHOUT_TYPES).message
    assert modes(plan(calling_back, a_body())) == ["inline", "inline"]


def test_kernels_without_tail_calls_beside_calls_refuse_called_tail_callers() -> None:
    """And segments whose bodies have functions."""
    facts = KernelFacts(has_tail_calls_beside_calls=False)

    assert refusal(tail_calling(), a_body(), facts=facts).constraints[0].rule == (
        "tail-calls-beside-calls"
    )
    caller = a_body("caller", CALLS_SUBPROGRAM, stack_depths_bytes=(0, 0))
    closed = a_body("closed", licence="Proprietary")
    assert refusal(caller, closed, facts=facts).constraints[0].rule == "tail-calls-beside-calls"
    assert len(plan(closed, caller, facts=facts).segments) == 2


def test_what_a_body_may_read_of_its_neighbours_is_set_to_zero() -> None:
    """The first one finds the stack as it would alone, and so does a called one."""
    reads = a_body("reads", stack_depths_bytes=(20,), reads_uninitialised_stack=True)
    full = a_body("full", stack_depths_bytes=(512,))

    planned = plan(reads, a_body(stack_depths_bytes=(20,)), reads)
    assert [body.zeroed_stack_bytes for body in planned.bodies] == [0, 0, 24]
    wrapped = plan(reads, reads, full, reads, reads)
    assert [body.zeroed_stack_bytes for body in wrapped.bodies] == [0, 24, 0, 0, 24]


def test_a_body_behind_a_called_one_may_find_the_kept_context() -> None:
    """In last place its stack covers the slot, so it is set to zero there too."""
    reads = a_body("reads", stack_depths_bytes=(20,), reads_uninitialised_stack=True)
    looping = a_body("looping", (LOOP, *PASS))

    assert plan(looping, reads).bodies[1].zeroed_stack_bytes == 24


def test_without_perfmon_every_body_finds_zeroes() -> None:
    """The kernel then refuses parts of a number where a pointer was."""
    chain = [a_body(f"b{n}", stack_depths_bytes=(16,)) for n in range(3)]

    planned = plan(*chain, facts=KernelFacts(has_perfmon=False))

    assert [body.zeroed_stack_bytes for body in planned.bodies] == [0, 16, 16]
    assert "spilled-pointers" in rules(planned)


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
    bodies = [a_body(name, proceed_on=(verdict,)) for name in "ab"]

    assert verdict in plan(*bodies, policy=a_policy(hook)).warnings[0]
    assert plan(bodies[0], policy=a_policy(hook)).warnings == ()


def test_verdicts_become_signed_values_each_once() -> None:
    """TC's `unspec` is -1."""
    body = a_body(proceed_on=("unspec", "ok", "unspec"))

    planned = plan(body, body, policy=a_policy("tc-ingress"))

    assert planned.bodies[0].proceed_values == (-1, 0)


def test_all_broken_rules_are_listed_at_once() -> None:
    """One attempt shows everything there is to mend, each with its path."""
    error = refusal(
        a_body("a", (THROW, *PASS), proceed_on=(), kernel_functions=("bpf_throw",)),
        a_body("b", stack_depths_bytes=(600,), has_frags=True),
        policy=a_policy(time_sample_period=3),
    )

    assert [(found.rule, found.path) for found in error.constraints] == [
        ("time-sampling", "link.time_sample_period"),
        ("time-sampling", "link.time_sample_period"),
        ("proceed-empty", "chain[0] a.proceed_on"),
        ("throw", "chain[0] a"),
        ("frags", "chain[0] a"),
        ("frame-sum", "chain[1] b"),
    ]
    assert len(error.reasons) == len(error.constraints)
    assert error.refusal_code == "link_refused"


@pytest.mark.parametrize("period", [-2, 3, 1 << 32])
def test_time_is_sampled_by_a_power_of_two_of_32_bits(period: int) -> None:
    """The decision is one AND with an immediate."""
    error = refusal(a_body(), policy=a_policy(has_counters=True, time_sample_period=period))

    assert [found.rule for found in error.constraints] == ["time-sampling"]
    plan(a_body(), policy=a_policy(has_counters=True, time_sample_period=1 << 31))


def test_a_slot_beyond_the_counter_map_is_refused() -> None:
    """A per-CPU value has 32 KiB."""
    slots = {"body": 500}
    policy = a_policy(has_counters=True)

    with pytest.raises(Exception, match="slots for counters"):
        plan_link([a_body()], KernelFacts(), policy, slots=slots)
    assert plan_link([a_body()], KernelFacts(), a_policy(), slots=slots).bodies[0].slot == 500


def test_every_decision_is_reported_with_its_rule() -> None:
    """What `chain explain` prints: rule, place, sentence, effect."""
    planned = plan(tail_calling(), a_body("b"))

    found = next(each for each in planned.constraints if each.rule == "own-tail-calls")
    assert (found.path, found.effect) == ("chain[0] t", "call-global")
    assert planned.bodies[0].reason == found.text
