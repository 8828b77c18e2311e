# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What the linker is told about the kernel was tried, and decides how chains are linked."""

from __future__ import annotations

from dataclasses import replace

from services.node_executor.adapters.chain import link_chain
from services.node_executor.adapters.kernel_facts import kernel_facts, probe_facts
from services.node_executor.adapters.programs import run_packet
from services.node_executor.adapters.stack_probe import without_perfmon
from services.node_executor.kernel_types import ProgramSource
from shared.contracts.node import XDP_VERDICTS
from tests.support.bpf_objects import compile_source
from tests.support.kinds import PACKET

SPILLS = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
SEC("xdp") __attribute__((naked)) int keeps_pointer(void)
{
	asm volatile("*(u64 *)(r10 - 8) = r1; r0 = 2; exit;" ::: "r0");
}
SEC("xdp") __attribute__((naked)) int keeps_number(void)
{
	asm volatile("r0 = 2; *(u32 *)(r10 - 4) = r0; exit;" ::: "r0");
}
char _license[] SEC("license") = "GPL";
"""
"""Alone both are safe; one behind the other they write half of a pointer."""


def test_this_kernel_is_probed_once() -> None:
    """Global functions, tail calls beside calls and trusted stacks work here, so they are used."""
    facts = probe_facts()

    assert facts.has_types
    assert facts.has_perfmon
    assert facts.has_tail_calls_beside_calls
    assert kernel_facts() is kernel_facts()
    assert kernel_facts() == facts


def test_without_the_capability_the_facts_say_so_and_stacks_are_set_to_zero() -> None:
    """Then a program may not write half of a pointer that its neighbour left."""
    sources = [
        ProgramSource(function, "x.o", compile_source(SPILLS), function, ("pass",))
        for function in ("keeps_pointer", "keeps_number")
    ]
    with without_perfmon():
        facts = probe_facts()
        assert not facts.has_perfmon
        with link_chain(sources, "xdp", name="careful", facts=facts) as chain:
            assert chain.plan.bodies[1].zeroed_stack_bytes == 8
            assert run_packet(chain.program, PACKET).verdict == XDP_VERDICTS["pass"]

        # If the facts were wrong, the verifier would refuse, and the program would be called.
        wrong = replace(facts, has_perfmon=True)
        with link_chain(sources, "xdp", name="careless", facts=wrong) as chain:
            assert chain.plan.bodies[1].mode == "call-global"
            assert "corrupt spilled pointer on stack" in chain.plan.constraints[-1].text
            assert run_packet(chain.program, PACKET).verdict == XDP_VERDICTS["pass"]
