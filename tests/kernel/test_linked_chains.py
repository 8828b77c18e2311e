# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A linked chain does what its programs do one after another; the kernel is the judge of both."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest

from services.node_executor.adapters.chain import link_chain
from services.node_executor.adapters.kernel_errors import VerifierRejectedError
from services.node_executor.adapters.kernel_facts import kernel_facts
from services.node_executor.adapters.map_access import read_number
from services.node_executor.adapters.programs import run_packet
from services.node_executor.kernel_types import ProgramSource
from services.node_executor.linking.plan import LinkPolicy, LinkRefusedError
from shared.contracts.node import TC_VERDICTS, XDP_VERDICTS
from shared.errors import RefusedError
from shared.identifiers import Hook
from tests.support.chain_reference import (
    Outcome,
    a_classifier,
    a_context,
    a_source,
    loaded_apart,
    remembered,
    run_apart,
)

PACKETS = tuple(bytes(14) + bytes([first, second]) + bytes(range(48)) for first, second in
                ((0, 0), (1, 9), (2, 0), (3, 255), (255, 1)))  # fmt: skip
ALL = ("aborted", "drop", "pass", "tx", "redirect")

CHAINS: dict[str, list[ProgramSource]] = {
    "one program": [a_source("obeys")],
    "nothing but passing": [a_source("passes", name=f"pass-{n}") for n in range(4)],
    "a drop in the middle": [a_source("counts"), a_source("drops"), a_source("counts", name="c")],
    "verdicts from the packet": [
        a_source("obeys", ("pass", "tx")),
        a_source("rewrites"),
        a_source("obeys", ALL, name="again"),
        a_source("counts"),
    ],
    "packets that change their size": [a_source("grows"), a_source("rewrites"), a_source("obeys")],
    "metadata in front of the packet": [a_source("marks_ahead"), a_source("reads_mark", ALL),
                                        a_source("counts")],
    "subprograms, callbacks and global data": [
        a_source("calls", ("pass", "tx")),
        a_source("calls_back"),
        a_source("remembers", ("pass", "tx")),
        a_source("calls", ("pass", "tx"), name="calls-again"),
        a_source("counts"),
    ],
    "an empty array of next programs": [a_source("tail_calls"), a_source("counts")],
    "a verdict wider than 32 bits": [a_source("answers_wide"), a_source("counts")],
    "a full stack at the end": [a_source("nearly_fills_stack"), a_source("fills_stack")],
    "a full stack at the beginning": [a_source("fills_stack"), a_source("counts")],
    "an older section name": [a_source("older_section"), a_source("passes")],
}  # fmt: skip

TC_CHAINS: dict[str, list[ProgramSource]] = {
    "a mark that the next one reads": [
        a_classifier("marks"),
        a_classifier("shoots_marked", name="first"),
        a_classifier("marks", name="m2"),
        a_classifier("shoots_marked"),
        a_classifier("leaves_open"),
    ],
    "several verdicts go on": [
        a_classifier("leaves_open", ("ok", "pipe", "unspec")),
        a_classifier("pipes", ("ok", "pipe", "unspec")),
        a_classifier("marks", ("ok", "pipe", "unspec")),
        a_classifier("leaves_open", name="last"),
    ],
    "one verdict ends it": [
        a_classifier("leaves_open", ("ok",)),
        a_classifier("shoots"),
    ],
    "direct packet loads in last place": [a_classifier("marks"), a_classifier("loads_directly")],
    "direct packet loads of a short packet": [
        a_classifier("loads_directly"),
        a_classifier("shoots"),
    ],
}


def linked(sources: Sequence[ProgramSource], hook: Hook) -> list[Outcome]:
    """What the linked chain makes of every packet; verdicts are given as cls_bpf takes them."""
    policy = LinkPolicy(hook=hook, attachment="xdp" if hook == "xdp" else "cls_bpf")
    with link_chain(sources, hook, name="test", policy=policy) as chain:
        outcomes = []
        for packet in PACKETS:
            done = run_packet(chain.program, packet, context=a_context(hook, packet))
            maps = {name: remembered(maps) for name, maps in chain.maps.items()}
            outcomes.append(Outcome(done.verdict, done.data, done.context, maps))
        return outcomes


def apart(sources: Sequence[ProgramSource], hook: Hook) -> list[Outcome]:
    """What the programs make of every packet, one after another."""
    with loaded_apart(sources, hook) as bodies:
        outcomes = []
        for packet in PACKETS:
            verdict, data, context = run_apart(bodies, hook, packet)
            maps = {body.body.name: remembered(body.maps) for body in bodies}
            outcomes.append(Outcome(verdict, data, context, maps))
        return outcomes


@pytest.fixture(autouse=True)
def one_processor() -> Iterator[None]:
    """Maps with a value for each processor are compared, so all runs are on the same one."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    yield
    os.sched_setaffinity(0, allowed)


@pytest.mark.parametrize("name", CHAINS)
def test_a_linked_xdp_chain_does_what_its_programs_do_one_after_another(name: str) -> None:
    """Verdict, packet, context and every map are the same after each packet."""
    assert linked(CHAINS[name], "xdp") == apart(CHAINS[name], "xdp")


@pytest.mark.parametrize("hook", ["tc-ingress", "tc-egress"])
@pytest.mark.parametrize("name", TC_CHAINS)
def test_a_linked_tc_chain_does_what_its_programs_do_one_after_another(
    name: str, hook: Hook
) -> None:
    """Verdict, packet, mark and every map are the same after each packet."""
    assert linked(TC_CHAINS[name], hook) == apart(TC_CHAINS[name], hook)


@pytest.mark.parametrize("verdict", ["aborted", "drop", "pass", "tx"])
def test_the_chain_goes_on_after_each_named_verdict_and_after_no_other(verdict: str) -> None:
    """Value by value: the next program runs exactly for the verdict that proceed_on names."""
    sources = [a_source("obeys", (verdict,)), a_source("counts")]

    with link_chain(sources, "xdp", name="test") as chain:
        for value in range(4):
            run_packet(chain.program, bytes(14) + bytes([value]) + bytes(49))

        assert read_number(chain.maps["counts"]["seen"].handle, bytes(4)) == 1
        seen = run_packet(chain.program, bytes(14) + bytes([XDP_VERDICTS[verdict]]) + bytes(49))

    assert seen.verdict == XDP_VERDICTS["pass"]


@pytest.mark.parametrize(
    ("verdict", "function"),
    [("unspec", "leaves_open"), ("ok", "marks"), ("pipe", "pipes"), ("shot", "shoots")],
)
def test_a_tc_chain_goes_on_after_each_named_verdict(verdict: str, function: str) -> None:
    """Negative values are compared as the 32 bits they are."""
    others = tuple(name for name in TC_VERDICTS if name != verdict)

    for proceed_on, runs in (((verdict,), 1), (others, 0)):
        sources = [a_classifier(function, proceed_on, name="first"), a_classifier("leaves_open")]
        with link_chain(sources, "tc-ingress", name="test") as chain:
            run_packet(chain.program, bytes(64))

            assert read_number(chain.maps["leaves-open"]["seen"].handle, None) == runs


@pytest.mark.parametrize("neighbour", ["leaves_scalars", "leaves_pointers"])
def test_a_program_never_finds_what_its_neighbour_left_on_the_stack(neighbour: str) -> None:
    """The frame is set to zero before a program that reads stack it did not write."""
    with link_chain([a_source(neighbour), a_source("reads_leftovers")], "xdp", name="t") as chain:
        assert chain.plan.bodies[1].zeroed_stack_bytes == 16
        assert run_packet(chain.program, PACKETS[0]).verdict == XDP_VERDICTS["pass"]


def test_only_programs_that_may_read_unwritten_stack_pay_for_zeroes() -> None:
    """Whether one may is what the verifier says without CAP_PERFMON."""
    with link_chain([a_source("passes"), a_source("counts")], "xdp", name="t") as chain:
        assert chain.plan.bodies[1].zeroed_stack_bytes == 0


def test_sixty_four_programs_link_and_verification_grows_linearly() -> None:
    """Behind each check nothing but verdict, context and kept slot is live."""
    with link_chain([a_source("obeys", ALL, name=f"p{n}", maps=None) for n in range(8)],
                    "xdp", name="test") as short:  # fmt: skip
        carried = short.maps["p0"]
        sources = [a_source("obeys", ALL, name=f"p{n}", maps=carried) for n in range(64)]
        with link_chain(sources, "xdp", name="test") as long:
            eight = short.info.instructions_verified
            sixty_four = long.info.instructions_verified

    assert sixty_four <= 9 * eight


def test_the_linker_knows_how_many_instructions_the_verifier_walked() -> None:
    """The kernel keeps the same number beside the program (Linux 5.16)."""
    with link_chain([a_source("obeys"), a_source("calls")], "xdp", name="test") as chain:
        for planned, info in zip(chain.plan.bodies, chain.body_infos, strict=True):
            assert planned.body.verified_instructions == info.instructions_verified > 0


def test_a_program_that_the_verifier_refuses_is_named_with_its_source_line() -> None:
    """The refusal holds the verifier's last words and the line of C they are about."""
    with pytest.raises(VerifierRejectedError) as refused:
        link_chain([a_source("passes"), a_source("reads_too_far", object_name="rejected")],
                   "xdp", name="test")  # fmt: skip

    error = refused.value
    assert error.refusal_code == "verifier_rejected"
    assert "reads-too-far" in error.message
    assert "outside of the packet" in error.message
    assert "return data[60] ? XDP_PASS : XDP_DROP;" in error.message
    assert error.log_tail


def test_a_chain_that_only_fails_together_is_linked_in_another_way() -> None:
    """Together they have too many pending branches, so some are called and verified apart."""
    sources = [a_source("branches", name=f"p{n}") for n in range(5)]

    with link_chain(sources, "xdp", name="test") as chain:
        assert "call-global" in {planned.mode for planned in chain.plan.bodies}
        assert run_packet(chain.program, PACKETS[0]).verdict == XDP_VERDICTS["pass"]


def test_what_the_verifier_refused_before_is_said() -> None:
    """Facts that promise too much lead to an attempt that fails, and to a second one."""
    sources = [a_source("branches", name=f"p{n}") for n in range(5)]
    facts = replace(kernel_facts(), max_jumps=1_000_000)

    with link_chain(sources, "xdp", name="test", facts=facts) as chain:
        (attempt,) = [one for one in chain.plan.constraints if one.rule == "verifier"]
        assert "The sequence of 8193 jumps is too complex" in attempt.text
        assert attempt.effect == "calls the programs [0, 1, 2, 3, 4]"
        assert run_packet(chain.program, PACKETS[0]).verdict == XDP_VERDICTS["pass"]


def test_without_types_a_chain_that_is_too_hard_is_cut() -> None:
    """A function that is verified along the chain is no easier, so segments become shorter."""
    sources = [a_source("branches", name=f"p{n}") for n in range(5)]
    facts = replace(kernel_facts(), max_jumps=1_000_000, has_types=False)

    with link_chain(sources, "xdp", name="test", facts=facts) as chain:
        assert len(chain.segments) > 1
        assert any("begins segments at" in one.effect for one in chain.plan.constraints)
        assert run_packet(chain.program, PACKETS[0]).verdict == XDP_VERDICTS["pass"]


@pytest.mark.parametrize(
    ("sources", "words"),
    [
        ([a_source("passes"), a_source("reads_frags")], "xdp.frags"),
        ([a_source("passes", ()), a_source("passes", name="b")], "must name a verdict"),
        ([a_source("passes", ("ok",)), a_source("passes", name="b")], "must be verdicts of xdp"),
        ([a_source("behind_devmap")], "not for xdp"),
    ],
)
def test_a_chain_that_the_rules_forbid_is_refused_by_rule(
    sources: list[ProgramSource], words: str
) -> None:
    """Nothing is linked; the reason is the rule, not the kernel's answer."""
    with pytest.raises(LinkRefusedError, match=words):
        link_chain(sources, "xdp", name="test")


def test_an_object_without_the_program_is_refused_by_name() -> None:
    """The function that the manifest names has to exist."""
    with pytest.raises(RefusedError, match="no program 'absent'"):
        link_chain([a_source("absent")], "xdp", name="test")


def test_maps_that_are_given_keep_their_entries_in_the_next_generation() -> None:
    """A program that stays in the chain counts on where it was; constants are made anew."""
    with link_chain([a_source("counts")], "xdp", name="one") as first:
        run_packet(first.program, bytes(64))
        before = first.maps["counts"]
        sources = [a_source("passes"), a_source("counts", maps=before)]

        with link_chain(sources, "xdp", name="two") as second:
            run_packet(second.program, bytes(64))
            after = second.maps["counts"]

            assert read_number(after["seen"].handle, bytes(4)) == 2
            assert after["seen"].info.id == before["seen"].info.id
            assert after["seen"].is_carried_over
            assert not after[".rodata"].is_carried_over
        assert read_number(before["seen"].handle, bytes(4)) == 2


def test_a_given_map_of_another_shape_is_not_used() -> None:
    """The program gets the map it declares, so that it can never misread old entries."""
    with link_chain([a_source("looks", object_name="layouts")], "xdp", name="one") as first:
        given = {"seen": first.maps["looks"]["limits"]}

        with link_chain([a_source("counts", maps=given)], "xdp", name="two") as second:
            assert not second.maps["counts"]["seen"].is_carried_over


def test_a_chain_of_one_that_counts_nothing_is_that_program_and_is_loaded_once() -> None:
    """Nothing is linked anew: the program that verified alone is the one that is attached."""
    policy = LinkPolicy(hook="xdp", has_counters=False)
    with link_chain([a_source("passes")], "xdp", name="chain", policy=policy) as chain:
        assert chain.info.id == chain.body_infos[0].id
