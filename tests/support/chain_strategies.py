# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Random chains of corpus programs, and random ways of linking them."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

from services.node_executor.linking.plan import KernelFacts, LinkPolicy
from shared.contracts.node import DEFAULT_PROCEED_ON, verdicts_of
from shared.identifiers import Hook
from tests.support.chain_comparison import Member
from tests.support.chain_corpus import programs_for
from tests.support.chain_reference import EndRules

MAX_LENGTH = 12
HOOKS: tuple[Hook, ...] = ("tc-ingress", "tc-egress")


@dataclass(frozen=True)
class Case:
    """A chain and a way to link it."""

    hook: Hook
    members: tuple[Member, ...]
    facts: KernelFacts
    policy: LinkPolicy

    @property
    def rules(self) -> EndRules:
        """What becomes of the last verdict."""
        return EndRules(is_tcx=self.policy.way == "tcx", end_verdict=self.policy.end_verdict)

    def __repr__(self) -> str:
        lines = [f"  {position}: {member}" for position, member in enumerate(self.members)]
        policy = self.policy
        way = (
            f"{policy.way}, called {sorted(policy.called)}, separate {sorted(policy.separate)},"
            f" types {self.facts.has_types}, counters {policy.has_counters},"
            f" timed {policy.time_sample_period}, end {policy.end_verdict}"
        )
        return "\n".join((f"chain on {self.hook}: {way}", *lines))


@st.composite
def members(draw: st.DrawFn, hook: Hook) -> tuple[Member, ...]:
    """One to twelve programs; each goes on after its family's defaults, after all, or after any."""
    chosen = draw(st.lists(st.sampled_from(programs_for(hook)), min_size=1, max_size=MAX_LENGTH))
    return tuple(Member(program, draw(proceed_sets(hook))) for program in chosen)


def proceed_sets(hook: Hook) -> st.SearchStrategy[tuple[str, ...]]:
    """Verdicts to go on after, never none."""
    verdicts = tuple(verdicts_of(hook))
    some = st.lists(st.sampled_from(verdicts), min_size=1, unique=True).map(tuple)
    return st.one_of(st.just(DEFAULT_PROCEED_ON[hook]), st.just(verdicts), some)


@st.composite
def cases(draw: st.DrawFn, family: str) -> Case:
    """Any chain of a family linked in any way: every mode, segments anywhere, counted or not."""
    hook: Hook = "xdp" if family == "xdp" else draw(st.sampled_from(HOOKS))
    chain = draw(members(hook))
    positions = st.frozensets(st.integers(0, len(chain) - 1))
    has_counters = draw(st.booleans())
    return Case(
        hook=hook,
        members=chain,
        facts=KernelFacts(has_types=draw(st.sampled_from((True, True, True, False)))),
        policy=LinkPolicy(
            hook=hook,
            attachment="xdp" if hook == "xdp" else draw(st.sampled_from(("tcx", "cls_bpf"))),
            has_counters=has_counters,
            time_sample_period=draw(st.sampled_from((0, 1, 4))) if has_counters else 0,
            end_verdict=draw(st.sampled_from(("unspec", "ok"))),
            called=draw(st.one_of(st.just(frozenset()), positions)),
            separate=draw(st.one_of(st.just(frozenset()), positions)) - {0},
        ),
    )
