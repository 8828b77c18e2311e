# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""For every chain of the corpus and every way to link it: linked equals one after another.

Verdict, packet and context after each packet; then all maps, and what every slot counted.  A run
prints its seed; `L3AF_SEED` repeats it.
"""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, Phase, event, given, seed, settings

from services.node_executor.adapters.chain import LinkedChain, link_chain
from services.node_executor.kernel_types import ProgramSource
from services.node_executor.linking.plan import LinkRefusedError
from shared.contracts.node import verdicts_of
from shared.identifiers import Hook
from tests.support.chain_comparison import (
    Member,
    assert_same,
    fill,
    on_one_processor,
    one_after_another,
    prepared,
)
from tests.support.chain_corpus import programs_for
from tests.support.chain_corpus_packets import packets_for
from tests.support.chain_reference import EndRules
from tests.support.chain_strategies import Case, cases

IS_SOAK = "L3AF_SOAK_SECONDS" in os.environ
EXAMPLES = 2000 if IS_SOAK else 500
SEED = int(os.environ.get("L3AF_SEED") or secrets.randbits(32))

seeded: Callable[[Callable[..., None]], Callable[..., None]] = seed(SEED)
many = settings(
    max_examples=EXAMPLES,
    database=None,
    phases=(Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
)


def linked(case: Case, sources: list[ProgramSource]) -> LinkedChain | None:
    """The chain; None if it is refused by rules that may refuse it."""
    try:
        return link_chain(sources, case.hook, name="random", facts=case.facts, policy=case.policy)
    except LinkRefusedError as refused:
        rules = {constraint.rule for constraint in refused.constraints}
        if not rules or not rules <= case.may_be_refused:
            raise
        event(f"refused: {sorted(rules)}")
        return None


def check(case: Case) -> None:
    """The chain does linked what it does apart; it is refused only where the kernel lacks much."""
    with (
        on_one_processor(),
        prepared(
            case.members, case.hook, shares_maps=case.shares_maps, has_frags=case.has_frags
        ) as sources,
        one_after_another(
            case.members,
            case.hook,
            case.rules,
            shares_maps=case.shares_maps,
            has_frags=case.has_frags,
        ) as reference,
    ):
        chain = linked(case, sources)
        if chain is None:
            return
        with chain:
            event(f"segments: {len(chain.plan.segments)}")
            for segment in chain.plan.segments:
                event(f"layout: {segment.layout}")
            for planned in chain.plan.bodies:
                event(f"mode: {planned.mode}")
            fill(chain, case.members)
            assert_same(chain, reference, case.hook, case.packets)


@pytest.mark.soak
@seeded
@many
@given(case=cases("xdp"))
def test_any_xdp_chain_linked_in_any_way_equals_its_programs_one_after_another(case: Case) -> None:
    """One to twelve programs, any verdicts to proceed on, any modes and segments."""
    check(case)


@pytest.mark.soak
@seeded
@many
@given(case=cases("tc"))
def test_any_tc_chain_linked_in_any_way_equals_its_programs_one_after_another(case: Case) -> None:
    """Both directions, TCX and cls_bpf, with both verdicts at the end."""
    check(case)


@pytest.mark.parametrize("hook", ["xdp", "tc-ingress", "tc-egress"])
def test_every_verdict_is_given_by_some_program_for_some_packet(hook: Hook) -> None:
    """Otherwise the random chains would prove nothing about it."""
    seen: set[int] = set()
    for tried in programs_for(hook):
        with one_after_another([Member(tried, tuple(verdicts_of(hook)))], hook, EndRules()) as run:
            for packet in packets_for(hook).values():
                run.run(packet)
            seen |= set(run.verdicts[0])

    assert {value & 0xFFFFFFFF for value in verdicts_of(hook).values()} < seen
    assert len(programs_for(hook)) >= 15


@pytest.fixture(autouse=True, scope="module")
def seed_is_printed() -> None:
    """What repeats this run."""
    sys.stderr.write(f"\nL3AF_SEED={SEED} repeats the random chains\n")
