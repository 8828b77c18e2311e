# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""For every chain of the test programs, every proceed_on and every packet: linked equals apart."""

from __future__ import annotations

import os

from hypothesis import given, settings
from hypothesis import strategies as st

from services.node_executor.adapters.chain import link_chain
from services.node_executor.adapters.programs import run_packet
from services.node_executor.kernel_types import ProgramSource
from shared.contracts.node import TC_VERDICTS, XDP_VERDICTS
from shared.identifiers import Hook
from tests.support.chain_reference import (
    TC_BODIES,
    XDP_BODIES,
    Outcome,
    a_context,
    a_source,
    loaded_apart,
    remembered,
    run_apart,
)

EXAMPLES = 200 * (20 if os.environ.get("L3AF_SOAK_SECONDS") else 1)
XDP_FUNCTIONS = (
    *("passes", "drops", "counts", "obeys", "rewrites", "grows", "marks_ahead", "reads_mark"),
    *("calls", "calls_back", "remembers", "tail_calls", "answers_wide", "leaves_scalars"),
    *("leaves_pointers", "nearly_fills_stack", "older_section"),
)
TC_FUNCTIONS = ("marks", "shoots_marked", "shoots", "leaves_open", "pipes")
# More stack than this and the frame of a subprogram do not fit together.
DEEP = ("nearly_fills_stack",)
SHALLOW = ("calls", "calls_back")


@st.composite
def chains(draw: st.DrawFn, hook: Hook) -> list[ProgramSource]:
    """One to six programs with any verdicts to proceed on; fitting into one stack."""
    functions = XDP_FUNCTIONS if hook == "xdp" else TC_FUNCTIONS
    chosen = draw(st.lists(st.sampled_from(functions), min_size=1, max_size=6))
    if any(function in SHALLOW for function in chosen):
        chosen = [function for function in chosen if function not in DEEP]
    verdicts = sorted(XDP_VERDICTS if hook == "xdp" else TC_VERDICTS)
    return [
        a_source(
            function,
            draw(st.lists(st.sampled_from(verdicts), min_size=1, unique=True)),
            name=f"p{position}",
            object_name=XDP_BODIES if hook == "xdp" else TC_BODIES,
        )
        for position, function in enumerate(chosen)
    ]


packets = st.lists(st.binary(min_size=32, max_size=80), min_size=1, max_size=4)


def check(sources: list[ProgramSource], hook: Hook, corpus: list[bytes]) -> None:
    """Both ways of running leave the same, packet after packet."""
    with link_chain(sources, hook, name="test") as chain, loaded_apart(sources, hook) as bodies:
        for packet in corpus:
            done = run_packet(chain.program, packet, context=a_context(hook, packet))
            linked = Outcome(
                done.verdict,
                done.data,
                done.context,
                {name: remembered(maps) for name, maps in chain.maps.items()},
            )
            apart = Outcome(
                *run_apart(bodies, hook, packet),
                {body.body.name: remembered(body.maps) for body in bodies},
            )
            assert linked == apart


@settings(max_examples=EXAMPLES)
@given(sources=chains("xdp"), corpus=packets)
def test_any_linked_xdp_chain_equals_its_programs_one_after_another(
    sources: list[ProgramSource], corpus: list[bytes]
) -> None:
    """Verdict, packet, metadata, context and all maps."""
    check(sources, "xdp", corpus)


@settings(max_examples=EXAMPLES // 2)
@given(sources=chains("tc-ingress"), corpus=packets)
def test_any_linked_tc_chain_equals_its_programs_one_after_another(
    sources: list[ProgramSource], corpus: list[bytes]
) -> None:
    """Verdict, packet, mark, context and all maps."""
    check(sources, "tc-ingress", corpus)
