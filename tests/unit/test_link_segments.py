# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Where one kernel program ends and the next begins."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.node_executor.linking.body import Body, ProgramArray
from services.node_executor.linking.feedback import Difficulty, policy_after
from services.node_executor.linking.plan import KernelFacts, LinkPlan, LinkPolicy
from services.node_executor.linking.planning import plan_link
from shared.bytecode.instructions import CALL, KFUNC_CALL, Instruction
from tests.support.link_bodies import (
    CALLS_SUBPROGRAM,
    PASS,
    a_body,
    a_policy,
    modes,
    plan,
    refusal,
    rules,
)

CLOSED = a_body("closed", licence="Proprietary")
OPEN = a_body("open", licence="GPL")


def sizes(planned: LinkPlan) -> list[int]:
    """How many bodies each segment has."""
    return [len(segment.bodies) for segment in planned.segments]


def with_maps(first: int, count: int) -> Body:
    """A body that uses maps with these ids."""
    return a_body(f"m{first}", map_ids={number: number for number in range(first, first + count)})


def test_gpl_compatible_bodies_and_others_are_never_one_program() -> None:
    """Whether or not they call anything restricted; each segment says what holds for it."""
    planned = plan(OPEN, CLOSED, replace(CLOSED, licence="Apache-2.0"), OPEN, OPEN)

    assert sizes(planned) == [1, 2, 2]
    assert [segment.licence for segment in planned.segments] == [
        "GPL",
        "Proprietary AND Apache-2.0",
        "GPL",
    ]
    assert "'Proprietary'" in planned.segments[1].why_begun
    assert planned.segments[0].why_begun == "the chain begins here"


@pytest.mark.parametrize(
    ("licences", "linked"),
    [
        (("Dual BSD/GPL", "Dual BSD/GPL"), "Dual BSD/GPL"),
        (("Dual BSD/GPL", "GPL"), "GPL"),
        (("Proprietary", "Apache-2.0"), "Proprietary AND Apache-2.0"),
    ],
)
def test_the_linked_licence_is_what_holds_for_all(licences: tuple[str, ...], linked: str) -> None:
    """GPL-compatible exactly if every body is."""
    bodies = [a_body(f"b{n}", licence=licence) for n, licence in enumerate(licences)]

    assert plan(*bodies).segments[0].licence == linked


def test_at_most_64_distinct_maps_in_a_segment() -> None:
    """The same map in two bodies counts once."""
    assert sizes(plan(with_maps(0, 32), with_maps(32, 32))) == [2]
    assert sizes(plan(with_maps(0, 32), with_maps(32, 33))) == [1, 1]
    assert sizes(plan(*[with_maps(0, 64)] * 3)) == [3]


def test_the_linker_s_own_maps_count_too() -> None:
    """The counters in every segment, the array of the next ones in all but the last."""
    counted = a_policy(has_counters=True)

    assert sizes(plan(with_maps(0, 32), with_maps(32, 32), policy=counted)) == [1, 1]
    assert refusal(with_maps(0, 64), policy=counted).reasons[0].got == 65
    assert sizes(plan(with_maps(0, 62), with_maps(99, 63), policy=counted)) == [1, 1]
    assert refusal(with_maps(0, 63), with_maps(99, 63), policy=counted).reasons[0].got == 65


def test_chains_beyond_64_maps_take_the_fewest_segments() -> None:
    """Each takes as many bodies as fit."""
    chain = [with_maps(4 * n, 4) for n in range(40)]

    assert sizes(plan(*chain, policy=a_policy(has_counters=True))) == [15, 15, 10]


def test_at_most_256_functions_in_a_segment() -> None:
    """The main function counts as one, and so do those that the linker adds."""
    two = a_body("two", CALLS_SUBPROGRAM, stack_depths_bytes=(0, 0))

    assert sizes(plan(*[two] * 255)) == [255]
    assert sizes(plan(*[two] * 256)) == [255, 1]
    looping = replace(two, instructions=(Instruction(0xE5), *CALLS_SUBPROGRAM))
    planned = plan(*[looping] * 200, a_body())
    assert sizes(planned) == [127, 74]
    assert "subprograms" in rules(planned)


def test_at_most_a_million_verified_instructions_in_a_segment() -> None:
    """What each body took alone is what it takes linked, at least."""
    heavy = a_body("heavy", verified_instructions=400_000)

    planned = plan(*[heavy] * 5)

    assert sizes(planned) == [2, 2, 1]
    assert "instructions" in rules(planned)


def test_at_most_256_kernel_functions_in_a_segment() -> None:
    """The same function of the same module counts once."""

    def calling(first: int, module: int = 0) -> Body:
        calls = [
            Instruction(CALL, source=KFUNC_CALL, offset=module, immediate=first + n)
            for n in range(200)
        ]
        return a_body(f"k{first}", (*calls, *PASS), module_types_fds=(0, 7) if module else ())

    assert sizes(plan(calling(0), calling(0))) == [2]
    assert sizes(plan(calling(0), calling(200))) == [1, 1]
    assert sizes(plan(calling(0), calling(0, module=1))) == [1, 1]


def test_functions_of_modules_that_are_not_loaded_are_refused() -> None:
    """A call's index has to name a descriptor."""
    call = Instruction(CALL, source=KFUNC_CALL, offset=1, immediate=9)

    assert refusal(a_body("m", (call, *PASS))).constraints[0].rule == "module-functions"


def test_bodies_bound_to_a_device_are_in_the_first_segment_or_refused() -> None:
    """The kernel takes no such program into an array."""
    bound = a_body("bound", is_device_bound=True)

    assert plan(bound, a_body()).segments[0].is_device_bound
    assert [s.is_device_bound for s in plan(bound, CLOSED).segments] == [True, False]
    error = refusal(CLOSED, bound)
    assert [found.rule for found in error.constraints] == ["device-bound"]


def test_all_programs_of_an_xdp_hook_agree_on_frags_or_the_options_decide() -> None:
    """An array takes programs of one kind only, so segments do not help."""
    old, new = a_body("old"), a_body("new", has_frags=True)

    assert [found.path for found in refusal(old, new).reasons] == ["chain[0] old"]
    assert plan(new).has_frags
    assert not plan(old, new, policy=a_policy(frags="off")).has_frags
    forced = plan(old, new, policy=a_policy(frags="on"))
    assert forced.has_frags
    assert "chain[0] old" in forced.warnings[0]


def test_a_packet_makes_at_most_33_tail_calls() -> None:
    """From segment to segment, and the bodies' own."""
    alternating = [OPEN, CLOSED] * 17

    assert len(plan(*alternating).segments) == 34
    error = refusal(*alternating, OPEN)
    assert (error.reasons[0].got, error.reasons[0].allowed) == (34, 33)
    own = a_body(
        "t",
        (Instruction(CALL, immediate=12), *PASS),
        program_arrays=(ProgramArray("own", is_empty=False),),
        licence="GPL",
    )
    assert refusal(own, *alternating[1:]).reasons[0].got == 34


def test_a_body_that_fits_nowhere_is_named_with_the_limit() -> None:
    """And so is each other one."""
    error = refusal(with_maps(0, 65), a_body(), with_maps(100, 66))

    assert [(found.rule, found.path) for found in error.constraints] == [
        ("maps", "chain[0] m0"),
        ("maps", "chain[2] m100"),
    ]


@pytest.mark.parametrize("difficulty", ["too-many-jumps", "too-large"])
def test_what_the_verifier_finds_too_hard_is_called_then_halved(difficulty: Difficulty) -> None:
    """Until a segment is one body, and nothing is left to try."""
    bodies = [a_body(f"b{n}") for n in range(4)]
    policy: LinkPolicy | None = a_policy()
    seen = []
    while policy is not None:
        planned = plan_link(bodies, KernelFacts(), policy)
        seen.append((sizes(planned), set(modes(planned))))
        policy = policy_after(planned, 0, difficulty)

    assert seen == [
        ([4], {"inline"}),
        ([4], {"call-global"}),
        ([2, 2], {"call-global"}),
        ([1, 1, 2], {"call-global"}),
    ]


def test_calls_do_not_help_without_types_nor_against_too_much_stack() -> None:
    """Static functions are verified along the chain."""
    bodies = [a_body(f"b{n}") for n in range(4)]
    static = plan(*bodies, facts=KernelFacts(has_types=False))

    for planned, difficulty in ((static, "too-large"), (plan(*bodies), "too-much-stack")):
        following = policy_after(planned, 0, difficulty)  # type: ignore[arg-type]
        assert following is not None
        assert (following.called, following.separate) == (frozenset(), frozenset((2,)))


def test_a_body_that_cannot_be_called_stays_inline_and_its_segment_is_halved() -> None:
    """Its own functions already call one another as deep as the kernel allows."""
    calls = [Instruction(CALL, source=1, immediate=1), Instruction(0x95)] * 7
    deepest = a_body("deepest", (*calls, *PASS), stack_depths_bytes=(0,) * 8)
    called = plan(deepest, a_body(), policy=a_policy(called=frozenset((0, 1))))

    following = policy_after(called, 0, "too-large")

    assert modes(called) == ["inline", "call-global"]
    assert following is not None
    assert following.separate == frozenset((1,))


def test_a_plan_knows_the_segment_of_each_body() -> None:
    """By its position in the chain."""
    planned = plan(OPEN, CLOSED, CLOSED)

    assert [planned.segment_of(position) for position in range(3)] == [0, 1, 1]
