# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Chains at the limits of one kernel program: the next mode takes them, or a rule refuses them.

Each chain that is linked also does what its programs do one after another.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest

from services.node_executor.adapters.chain import link_chain
from services.node_executor.linking.plan import KernelFacts, LinkPlan, LinkPolicy, LinkRefusedError
from tests.support.chain_comparison import Member, plan_of_equal, prepared
from tests.support.chain_corpus import TestProgram, program
from tests.support.chain_corpus_packets import PACKETS
from tests.support.chain_reference import loaded_apart

PASS = ("pass",)
SOME_PACKETS = dict(list(PACKETS.items())[::6])
LINKING_MS = 1_000


def near_limit(function: str) -> Member:
    """A program of xdp_limits."""
    return Member(TestProgram("xdp", "xdp_limits", function), PASS)


def ordinary(function: str) -> Member:
    """A program of the corpus."""
    return Member(program("xdp", function), ("pass", "tx"))


def plan_of(members: Sequence[Member], policy: LinkPolicy | None = None) -> LinkPlan:
    """How the chain was linked, which does what it has to."""
    return plan_of_equal(members, "xdp", SOME_PACKETS, policy=policy)


def modes(plan: LinkPlan) -> list[str]:
    """Of every body."""
    return [planned.mode for planned in plan.bodies]


def rules(plan: LinkPlan) -> set[str]:
    """That shaped the plan."""
    return {constraint.rule for constraint in plan.constraints}


def test_sixty_four_programs_that_share_maps_are_one_program_within_a_second() -> None:
    """From object files to the linked program, each original verified alone before."""
    member = program("xdp", "counts_per_processor")
    fastest = float("inf")
    with loaded_apart([member.source(PASS)], "xdp") as (body,):
        sources = [member.source(PASS, name=f"p{n}", maps=body.maps) for n in range(64)]
        for _ in range(3):
            with link_chain(sources, "xdp", name="sixty_four") as chain:
                assert len(chain.segments) == 1
                assert set(modes(chain.plan)) == {"inline"}
                fastest = min(fastest, sum(chain.durations_ms.values()))

    assert fastest < LINKING_MS


def test_more_than_thirty_three_programs_are_no_matter() -> None:
    """The kernel's limit is one of tail calls, and an inline chain has none."""
    plan = plan_of([ordinary("rewrites_bytes") for _ in range(50)])

    assert len(plan.segments) == 1


def test_more_than_thirty_four_segments_are_refused_by_rule() -> None:
    """One packet can make 33 tail calls."""
    members = [ordinary("passes") for _ in range(35)]
    fitting = LinkPolicy(hook="xdp", separate=frozenset(range(1, 34)))
    assert len(plan_of(members[:34], fitting).segments) == 34

    policy = LinkPolicy(hook="xdp", separate=frozenset(range(1, 35)))
    with prepared(members, "xdp") as sources, pytest.raises(LinkRefusedError) as refused:
        link_chain(sources, "xdp", name="long", policy=policy)

    assert {found.rule for found in refused.value.constraints} == {"tail-calls"}
    assert (refused.value.reasons[0].got, refused.value.reasons[0].allowed) == (34, 33)


@pytest.mark.parametrize("has_counters", [True, False])
def test_a_chain_over_sixty_four_maps_falls_into_segments(has_counters: bool) -> None:
    """The counters are a map too, and so is the array of the segments."""
    members = [ordinary("counts_by_byte") for _ in range(70)]

    plan = plan_of(members, LinkPolicy(hook="xdp", has_counters=has_counters))

    assert len(plan.segments) == 2
    assert len(plan.segments[0].bodies) == (62 if has_counters else 63)
    assert "maps" in rules(plan)


def test_too_many_branches_for_one_program_become_functions_of_their_own() -> None:
    """The kernel verifies each by itself; eight thousand pending branches are the limit."""
    plan = plan_of([*[near_limit("branches") for _ in range(8)], ordinary("counts_by_byte")])

    assert len(plan.segments) == 1
    assert plan.segments[0].layout == "calls-only"
    assert len(plan.segments[0].runs) > 1


def test_too_many_branches_without_btf_become_segments() -> None:
    """Static functions are verified along the chain, so calling them would not help."""
    members = [near_limit("branches") for _ in range(8)]
    facts = KernelFacts(has_types=False)

    plan = plan_of_equal(members, "xdp", SOME_PACKETS, facts=facts)

    assert len(plan.segments) > 1


def test_too_many_verified_instructions_become_segments() -> None:
    """The million is a sum, over functions too."""
    plan = plan_of([near_limit("walks_far") for _ in range(5)])

    assert len(plan.segments) == 3
    assert [len(segment.bodies) for segment in plan.segments] == [2, 2, 1]


def test_stack_left_in_many_states_does_not_make_verification_explode() -> None:
    """Sixteen slots with a pointer or a number, then a program that reads what it never wrote."""
    plan = plan_of([*[near_limit(f"leaves_{n}") for n in range(16)], near_limit("reads_unwritten")])

    assert len(plan.segments) == 1
    assert plan.bodies[-1].mode == "call-global" or plan.bodies[-1].zeroed_stack_bytes >= 128


def test_programs_that_fill_their_stack_are_called_from_a_function_without_any() -> None:
    """512 bytes leave no room for anybody above them; in last place they may stand inline."""
    plan = plan_of([ordinary("fills_stack"), ordinary("counts_by_byte"), ordinary("fills_stack")])

    assert len(plan.segments) == 1
    assert plan.segments[0].layout == "calls-only"
    assert modes(plan)[0] == "call-global"


def test_frames_that_do_not_fit_together_are_kept_apart() -> None:
    """480 bytes of one main function, 256 below the other's."""
    plan = plan_of([near_limit("uses_480_bytes"), near_limit("calls_with_stack")])

    assert len(plan.segments) == 1
    assert "frame-sum" in rules(plan)


def test_a_tail_call_inside_a_function_keeps_the_frame_above_it_small() -> None:
    """Below 256 bytes, counted as the kernel counts."""
    plan = plan_of([near_limit("tail_calls_below"), near_limit("uses_480_bytes")])

    assert "tail-call-frame" in rules(plan)


def test_a_program_of_thirty_thousand_instructions_stands_between_others() -> None:
    """No jump of the chain is longer than one program."""
    long = near_limit("is_long")

    plan = plan_of([ordinary("obeys"), long, ordinary("rewrites_bytes"), long, ordinary("obeys")])

    assert modes(plan) == ["inline"] * 5


def test_a_program_that_no_jump_reaches_over_is_called() -> None:
    """Its exits stay exits; in last place too, because its verdict is counted."""
    long = near_limit("is_too_long_to_jump_over")

    plan = plan_of([ordinary("obeys"), long, ordinary("rewrites_bytes")])

    assert modes(plan) == ["inline", "call-global", "inline"]
    assert "main-length" in rules(plan)


def test_a_program_of_eight_frames_stands_inline() -> None:
    """As a function of the chain it would be the ninth."""
    deep = near_limit("calls_deep")

    assert modes(plan_of([deep, ordinary("obeys"), deep])) == ["inline"] * 3
    kept = plan_of([deep, ordinary("fills_stack"), deep])
    assert Counter(modes(kept))["inline"] >= 2


def test_more_functions_than_one_program_may_have_become_segments() -> None:
    """256, the main function and those of the linker included."""
    plan = plan_of([near_limit("calls_deep") for _ in range(40)])

    assert len(plan.segments) == 2
    assert "subprograms" in rules(plan)
