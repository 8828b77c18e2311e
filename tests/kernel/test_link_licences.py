# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""GPL-compatible programs and others are never one kernel program, and the kernel sees to it too.

The corpus has programs with the licence string "Proprietary", with "Dual BSD/GPL", and one with
"GPL" that calls a function which the kernel keeps for GPL-compatible programs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.node_executor.adapters.chain import link_chain
from services.node_executor.adapters.kernel_errors import VerifierRejectedError
from services.node_executor.adapters.kernel_facts import kernel_facts
from services.node_executor.adapters.segments import SegmentLoader
from services.node_executor.linking.plan import LinkPlan, LinkPolicy
from services.node_executor.linking.planning import plan_link
from shared.bytecode.licences import is_gpl_compatible
from shared.contracts.node import DEFAULT_PROCEED_ON
from shared.identifiers import Hook
from tests.support.chain_comparison import Member, plan_of_equal, prepared
from tests.support.chain_corpus import program, programs_for
from tests.support.chain_corpus_packets import packets_for
from tests.support.chain_reference import loaded_apart

HOOKS: tuple[Hook, ...] = ("xdp", "tc-ingress")
OPEN = ("counts_by_byte", "rewrites_bytes", "locks")
CLOSED = ("closed_counts_packets", "closed_obeys")
RESTRICTED = "asks_for_routes"


def a_chain(hook: Hook, *functions: str) -> list[Member]:
    """The programs, each with the verdicts that programs of the hook usually proceed on."""
    return [Member(program(hook, function), DEFAULT_PROCEED_ON[hook]) for function in functions]


def assert_apart(plan: LinkPlan) -> None:
    """No program has bodies of both kinds, and each says of itself what its bodies say."""
    for segment in plan.segments:
        kinds = {is_gpl_compatible(planned.body.licence) for planned in segment.bodies}
        assert kinds == {is_gpl_compatible(segment.licence)}


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize(
    ("functions", "segments"),
    [
        ((OPEN[0], CLOSED[0]), 2),
        ((CLOSED[0], RESTRICTED, CLOSED[1]), 3),
        ((*OPEN, RESTRICTED, *CLOSED), 2),
        ((OPEN[0], CLOSED[0], OPEN[1], CLOSED[1], RESTRICTED), 5),
        (CLOSED, 1),
        ((*OPEN, RESTRICTED), 1),
    ],
)
def test_both_kinds_run_one_after_another_in_programs_of_their_own(
    hook: Hook, functions: Sequence[str], segments: int
) -> None:
    """As few segments as the order of the chain allows, equal to running them apart."""
    plan = plan_of_equal(a_chain(hook, *functions), hook, packets_for(hook))

    assert len(plan.segments) == segments
    assert_apart(plan)
    if segments > 1:
        assert "licence" in {constraint.rule for constraint in plan.constraints}


@pytest.mark.parametrize("hook", HOOKS)
def test_the_kernel_knows_of_each_program_which_kind_it_is(hook: Hook) -> None:
    """What it would need to refuse a GPL-only function in a program of the other kind."""
    members = a_chain(hook, OPEN[0], CLOSED[0], RESTRICTED)

    with prepared(members, hook) as sources, link_chain(sources, hook, name="kinds") as chain:
        assert [info.gpl_compatible for info in chain.segment_infos] == [True, False, True]


@pytest.mark.parametrize("hook", HOOKS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_order_of_programs_brings_both_kinds_into_one_program(
    hook: Hook, data: st.DataObject
) -> None:
    """Planned only: any programs of the corpus in any order, called or cut anywhere."""
    chosen = data.draw(st.lists(st.sampled_from(programs_for(hook)), min_size=2, max_size=8))
    positions = st.frozensets(st.integers(1, len(chosen) - 1))
    policy = LinkPolicy(hook=hook, called=data.draw(positions), separate=data.draw(positions))
    members = [Member(one, DEFAULT_PROCEED_ON[hook]) for one in chosen]

    with prepared(members, hook) as sources, loaded_apart(sources, hook) as bodies:
        plan = plan_link([body.body for body in bodies], kernel_facts(), policy)

    assert_apart(plan)
    changes = sum(one.is_closed != other.is_closed for one, other in pairwise(chosen))
    assert len(plan.segments) >= changes + 1


@pytest.mark.parametrize("claimed", ["Proprietary", "GPL AND Proprietary"])
@pytest.mark.parametrize("hook", HOOKS)
def test_a_plan_that_joined_them_would_be_refused_by_the_kernel(hook: Hook, claimed: str) -> None:
    """Were the plan wrong and the licence said as it is, no GPL-only function would be called."""
    members = a_chain(hook, CLOSED[0], RESTRICTED)
    with prepared(members, hook) as sources, loaded_apart(sources, hook) as bodies:
        mistaken = [replace(body.body, licence="GPL") for body in bodies]
        plan = plan_link(mistaken, kernel_facts(), LinkPolicy(hook=hook, has_counters=False))
        (segment,) = plan.segments
        wrong = replace(plan, segments=(replace(segment, licence=claimed),))

        loader = SegmentLoader(bodies, "wrong", counters=None, interface_index=0)
        emitted = loader.emit(wrong)

        with pytest.raises(VerifierRejectedError, match="GPL-restricted"):
            loader.load(emitted)


def test_a_licence_is_what_the_kernel_makes_of_the_string() -> None:
    """SPDX names are not in its list: they count as not compatible, and are never called GPL."""
    assert is_gpl_compatible("Dual BSD/GPL")
    assert not is_gpl_compatible("GPL-2.0-only")
