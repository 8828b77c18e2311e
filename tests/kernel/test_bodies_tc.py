# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Every kind of TC program stands in a chain, and does what it does alone."""

from __future__ import annotations

import pytest

from services.node_executor.adapters.chain import link_chain
from services.node_executor.adapters.programs import run_packet
from services.node_executor.linking.plan import LinkMode, LinkPolicy, LinkRefusedError
from shared.contracts.node import TC_VERDICTS
from shared.identifiers import Hook
from tests.support.kinds import MODES, PACKET, a_chain_around, a_kind, results, runs_after

FOUND: dict[str, dict[int, int]] = {
    "loads_near": {2: 9},
    "writes_packet": {3: 10},
    "jumps": {4: 1},
    "loops": {5: 10},
    "takes_anything": {6: 64},
    "older_classifier": {7: 1},
    "named_classifier": {8: 1},
    "named_ingress": {9: 1},
    "newer_egress": {10: 1},
    "as_action": {11: 1},
    "unknown_name": {12: 1},
    "adjusts": {13: 74},
}
"""What each program finds in one packet of 64 bytes."""
CALLED = ("loads_near", "jumps")
"""Leaving early would leave the whole chain, so they are never inline."""
OK = ("ok",)


@pytest.mark.parametrize("hook", ["tc-ingress", "tc-egress"])
@pytest.mark.parametrize("function", FOUND)
def test_every_kind_of_program_does_in_a_chain_what_it_does_alone(
    function: str, hook: Hook
) -> None:
    """It finds what it finds alone, and the next program runs."""
    source = a_kind(function, OK, object_name="tc_kinds")
    for mode in MODES[1:] if function in CALLED else MODES:
        with a_chain_around(source, mode, hook=hook) as chain:
            done = run_packet(chain.program, PACKET)

            assert done.verdict == TC_VERDICTS["unspec"] & 0xFFFFFFFF
            assert results(chain.maps[source.name]) == FOUND[function]
            assert runs_after(chain) == 1
            if function == "writes_packet":
                assert done.data[14] == 10
            if function == "adjusts":
                assert len(done.data) == 74


def test_a_load_behind_a_short_packet_s_end_leaves_that_program_alone() -> None:
    """It answers ok by the kernel's rule, so the chain goes on; a longer packet is shot."""
    source = a_kind("loads_far", OK, object_name="tc_kinds")
    with a_chain_around(source, hook="tc-ingress") as chain:
        assert chain.plan.bodies[1].mode == "call-global"
        run_packet(chain.program, PACKET)
        assert runs_after(chain) == 1

        assert run_packet(chain.program, PACKET + bytes(200)).verdict == TC_VERDICTS["shot"]
        assert runs_after(chain) == 1


@pytest.mark.parametrize("mode", MODES)
def test_what_a_chain_returns_that_ran_to_its_end_is_a_choice(mode: LinkMode) -> None:
    """On TCX unspec lets later owners of the hook run, ok does not; cls_bpf takes it as it is."""
    sources = [a_kind("goes_on", OK, name=name, object_name="tc_kinds") for name in "ab"]
    called = frozenset((0, 1)) if mode == "call-global" else frozenset[int]()
    wanted = {
        LinkPolicy(hook="tc-ingress", called=called): "unspec",
        LinkPolicy(hook="tc-ingress", called=called, end_verdict="ok"): "ok",
        LinkPolicy(hook="tc-ingress", called=called, attachment="cls_bpf"): "ok",
    }
    for policy, verdict in wanted.items():
        with link_chain(sources, "tc-ingress", name="end", policy=policy) as chain:
            found = run_packet(chain.program, PACKET).verdict

        assert found == TC_VERDICTS[verdict] & 0xFFFFFFFF


def test_a_program_for_xdp_is_refused_by_its_section() -> None:
    """Before anything is loaded."""
    with (
        pytest.raises(LinkRefusedError, match="not for tc-ingress"),
        a_chain_around(a_kind("is_for_xdp", OK, object_name="tc_kinds"), hook="tc-ingress"),
    ):
        pass


@pytest.mark.parametrize("function", ["writes_packet", "jumps", "adjusts"])
def test_a_program_that_writes_into_packets_is_told_apart(function: str) -> None:
    """The kernel makes every packet of the chain writable because of it, and the plan says so."""
    source = a_kind(function, OK, object_name="tc_kinds")
    with a_chain_around(source, hook="tc-ingress") as chain:
        effects = [c.effect for c in chain.plan.constraints if c.rule == "direct-writes"]

    expected = ["every packet of segment 0 is made writable"] if function == "writes_packet" else []
    assert effects == expected
