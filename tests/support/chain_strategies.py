# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Random chains of corpus programs, and random ways of linking them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from hypothesis import strategies as st

from services.node_executor.linking.plan import Attachment, KernelFacts, LinkPolicy
from shared.contracts.node import DEFAULT_PROCEED_ON, verdicts_of
from shared.identifiers import Hook
from tests.support.chain_comparison import Member
from tests.support.chain_corpus import programs_for
from tests.support.chain_corpus_packets import LARGE_PACKETS, packets_for
from tests.support.chain_reference import EndRules

MAX_LENGTH = 12
mostly = st.sampled_from((True, True, True, True, False))
"""Whether the kernel can do something; facts that it does not have are never used."""
HOOKS: tuple[Hook, ...] = ("tc-ingress", "tc-egress")


@dataclass(frozen=True)
class Case:
    """A chain and a way to link it."""

    hook: Hook
    members: tuple[Member, ...]
    facts: KernelFacts
    policy: LinkPolicy
    shares_maps: bool = False

    @property
    def has_frags(self) -> bool | None:
        """How the programs are loaded apart."""
        return {"auto": None, "on": True, "off": False}[self.policy.frags]

    @property
    def packets(self) -> Mapping[str, bytes]:
        """What is run through it."""
        return {**packets_for(self.hook), **(LARGE_PACKETS if self.has_frags else {})}

    @property
    def may_be_refused(self) -> frozenset[str]:
        """Rules that may refuse the chain: on a kernel that can do everything, none."""
        refusing = set()
        if not self.facts.has_types:
            refusing |= {"types", "own-tail-calls", "packet-loads"}
        if not self.facts.has_tail_calls_beside_calls:
            refusing |= {"own-tail-calls", "tail-calls-beside-calls"}
        return frozenset(refusing)

    @property
    def rules(self) -> EndRules:
        """What becomes of the last verdict."""
        return EndRules(is_tcx=self.policy.way == "tcx", end_verdict=self.policy.end_verdict)

    def __repr__(self) -> str:
        lines = [f"  {position}: {member}" for position, member in enumerate(self.members)]
        policy = self.policy
        way = (
            f"{policy.way}, called {sorted(policy.called)}, separate {sorted(policy.separate)},"
            f" frags {policy.frags}, shared maps {self.shares_maps},"
            f" counters {policy.has_counters}, types {self.facts.has_types},"
            f" perfmon {self.facts.has_perfmon},"
            f" tail calls beside calls {self.facts.has_tail_calls_beside_calls},"
            f" timed {policy.time_sample_period}, end {policy.end_verdict}"
        )
        return "\n".join((f"chain on {self.hook}: {way}", *lines))

    def _repr_pretty_(self, printer: Any, _is_cycle: bool) -> None:
        """What Hypothesis shows."""
        printer.text(repr(self))


@st.composite
def members(draw: st.DrawFn, hook: Hook) -> tuple[Member, ...]:
    """One to twelve programs; each goes on after its family's defaults, after all, or after any."""
    length = draw(st.integers(1, MAX_LENGTH))
    programs = st.sampled_from(programs_for(hook))
    chosen = [draw(programs) for _ in range(length)]
    return tuple(Member(program, draw(proceed_sets(hook))) for program in chosen)


@cache
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
    facts = KernelFacts(
        has_types=draw(mostly),
        has_perfmon=draw(mostly),
        has_tail_calls_beside_calls=draw(mostly),
    )
    # Without BTF a last program that leaves early cannot be a function: it ends the chain itself,
    # uncounted, and nothing can be made of its verdict.
    ends_by_itself = not facts.has_types and chain[-1].program.can_leave
    has_counters = not ends_by_itself and draw(st.booleans())
    attachments: tuple[Attachment, ...] = ("cls_bpf",) if ends_by_itself else ("tcx", "cls_bpf")
    return Case(
        hook=hook,
        members=chain,
        facts=facts,
        shares_maps=draw(st.booleans()),
        policy=LinkPolicy(
            hook=hook,
            frags="auto" if hook != "xdp" else draw(st.sampled_from(("auto", "on", "off"))),
            attachment="xdp" if hook == "xdp" else draw(st.sampled_from(attachments)),
            has_counters=has_counters,
            time_sample_period=draw(st.sampled_from((0, 1, 4))) if has_counters else 0,
            end_verdict=draw(st.sampled_from(("unspec", "ok"))),
            called=draw(st.one_of(st.just(frozenset()), positions)),
            separate=draw(st.one_of(st.just(frozenset()), positions)) - {0},
        ),
    )
