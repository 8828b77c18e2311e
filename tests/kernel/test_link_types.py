# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The types of a linked chain: tools and refusals show functions and sources of the packages."""

from __future__ import annotations

import json
import re
import subprocess
from contextlib import ExitStack
from dataclasses import replace

import pytest

from services.node_executor.adapters.chain import LinkedChain, Linking, link_chain
from services.node_executor.adapters.kernel_errors import VerifierRejectedError
from services.node_executor.adapters.kernel_facts import kernel_facts
from services.node_executor.adapters.libbpf import load_body
from services.node_executor.adapters.loaded_body import LoadedBody
from services.node_executor.adapters.programs import run_packet
from services.node_executor.adapters.segments import (
    Emitted,
    LoadedSegments,
    SegmentLoader,
    TypesRefusedError,
)
from services.node_executor.adapters.source_lines import place_of
from services.node_executor.kernel_types import ProgramSource
from services.node_executor.linking.plan import KernelFacts, LinkMode, LinkPolicy, LinkRefusedError
from services.node_executor.linking.planning import plan_link
from shared.contracts.node import TC_VERDICTS, XDP_VERDICTS
from tests.support.bpf_objects import SOURCES, compile_source
from tests.support.chain_reference import a_source
from tests.support.kinds import FLAGS, MODES, PACKET, a_kind, kinds_object, results

PASS, DROP = XDP_VERDICTS["pass"], XDP_VERDICTS["drop"]
LEFTOVERS = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
SEC("xdp") int adds_leftovers(struct xdp_md *ctx)
{
	long sum = 1;
	asm volatile("r2 = *(u64 *)(r10 - 8); %[sum] *= r2" : [sum] "+r"(sum) :: "r2");
	return sum ? XDP_PASS : XDP_DROP;
}
char _license[] SEC("license") = "GPL";
"""
"""Legal alone for whoever may read stack that it did not write; behind a pointer it is not."""
AFTER_POINTERS = (
    a_source("leaves_pointers"),
    ProgramSource("adds", "x.o", compile_source(LEFTOVERS), "adds_leftovers", ("pass",)),
    a_source("passes"),
)


def untyped(function: str, name: str = "", **variables: bytes) -> ProgramSource:
    """A program of an object without BTF."""
    return ProgramSource(
        name=name or function,
        object_path="untyped.bpf.o",
        data=kinds_object("untyped", FLAGS[1:]),
        function=function,
        proceed_on=("pass",) if function != "shoots_later" else ("ok",),
        globals=variables,
    )


def dumped(chain: LinkedChain, *options: str) -> str:
    """What bpftool shows of the head's instructions."""
    command = ("bpftool", "prog", "dump", "xlated", "id", str(chain.info.id), *options)
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("mode", MODES)
def test_programs_without_types_stand_beside_programs_with_callbacks(mode: LinkMode) -> None:
    """Types for them are made, as many as the verifier wants; their variables are set too."""
    sources = [
        untyped("passes"),
        a_kind("loops"),
        untyped("drops_later", limit=(3).to_bytes(4, "little")),
        a_kind("calls_functions"),
    ]
    policy = LinkPolicy(
        hook="xdp", called=frozenset((0, 2)) if mode == "call-global" else frozenset()
    )
    with link_chain(sources, "xdp", name="untyped", policy=policy) as chain:
        verdicts = [run_packet(chain.program, PACKET).verdict for _ in range(3)]

        assert verdicts == [PASS, DROP, DROP]
        assert results(chain.maps["loops"]) == {2: 360}
        assert results(chain.maps["calls-functions"]) == {5: 36_064}


def test_tc_programs_without_types_are_called_with_their_own_context() -> None:
    """The synthesised function takes struct __sk_buff."""
    sources = [untyped("shoots_later", "a"), untyped("shoots_later", "b")]
    policy = LinkPolicy(hook="tc-egress", called=frozenset((0, 1)))

    with link_chain(sources, "tc-egress", name="untyped", policy=policy) as chain:
        verdicts = [run_packet(chain.program, PACKET).verdict for _ in range(3)]

    wanted = [TC_VERDICTS[name] & 0xFFFFFFFF for name in ("unspec", "unspec", "shot")]
    assert verdicts == wanted


def test_types_that_the_kernel_does_not_take_are_made_anew() -> None:
    """A name that is no identifier makes BTF invalid; libbpf does without it, and so do we."""
    source = a_kind("calls_functions")
    spoiled = replace(source, data=source.data.replace(b"\0xdp_md\0", b"\0xdp-md\0"))

    with link_chain([spoiled, a_kind("loops")], "xdp", name="spoiled") as chain:
        assert run_packet(chain.program, PACKET).verdict == PASS
        assert results(chain.maps["calls-functions"]) == {5: 36_064}
        assert results(chain.maps["loops"]) == {2: 120}


def test_a_kernel_without_types_links_what_needs_none() -> None:
    """Facts say that BTF does not load: calls are static, and callbacks are refused by rule."""
    facts = replace(kernel_facts(), has_types=False)
    policy = LinkPolicy(hook="xdp", called=frozenset((1,)))
    sources = [a_kind("goes_on"), a_kind("calls_functions"), a_kind("fills_tables")]

    with link_chain(sources, "xdp", name="plain", facts=facts, policy=policy) as chain:
        assert chain.plan.bodies[1].mode == "call-static"
        assert run_packet(chain.program, PACKET).verdict == PASS
        assert results(chain.maps["calls-functions"]) == {5: 36_064}
        assert results(chain.maps["fills-tables"]) == {7: 771_111}
        assert "calls_functions" not in dumped(chain, "linum")

    with pytest.raises(LinkRefusedError, match="callbacks need BTF"):
        link_chain([a_kind("goes_on"), a_kind("loops")], "xdp", name="plain", facts=facts)


class _RefusesTypes(SegmentLoader):
    """A loader on a kernel that takes the BTF of each object, and not of all together."""

    def load(self, emitted: Emitted) -> LoadedSegments:
        if emitted.programs[0].functions:
            raise TypesRefusedError
        return super().load(emitted)


def test_joined_types_that_are_refused_are_done_without() -> None:
    """As on kernels for which libbpf leaves parts out of an object's BTF."""
    with ExitStack() as resources:
        bodies = [
            resources.enter_context(load_body(a_kind(function), "xdp", is_first=True))
            for function in ("goes_on", "calls_functions")
        ]
        loader = _RefusesTypes(bodies, "untyped", counters=None, interface_index=0)
        policy = LinkPolicy(hook="xdp", has_counters=False)
        plan, loaded = Linking(bodies, kernel_facts(), loader).link(policy, None)
        resources.callback(loaded.close)

        assert plan.constraints[-1].rule == "joined-types"
        assert run_packet(loaded.segments[0], PACKET).verdict == PASS
        assert results(bodies[1].maps) == {5: 36_064}


@pytest.mark.parametrize("mode", MODES)
def test_tools_show_the_sources_of_every_package(mode: LinkMode) -> None:
    """`bpftool prog dump xlated linum` names file, line and text; functions have their names."""
    sources = [a_kind("fills_tables"), a_source("calls"), a_kind("loops")]
    policy = LinkPolicy(
        hook="xdp", called=frozenset(range(3)) if mode == "call-global" else frozenset()
    )
    with link_chain(sources, "xdp", name="shown", policy=policy) as chain:
        shown = dumped(chain, "linum")

    kinds = line_of("kinds", "bpf_map_push_elem(&waiting, &route, BPF_ANY);")
    bodies = line_of("bodies", "int verdict = bump(data[14]);")
    assert re.search(rf"bpf_map_push_elem.*program\.bpf\.c line_num:{kinds} ", shown)
    assert re.search(rf"int verdict = bump.*program\.bpf\.c line_num:{bodies} ", shown)
    assert "l3af_chain(struct xdp_md" in shown
    assert re.search(r"weigh\(struct xdp_md", shown)
    assert re.search(r"multiply\(", shown)


def line_of(name: str, text: str) -> int:
    """Number of the line that holds the text in a test program."""
    lines = (SOURCES / f"{name}.bpf.c").read_text().splitlines()
    return next(number for number, line in enumerate(lines, start=1) if text in line)


def test_functions_have_the_names_that_profilers_show() -> None:
    """The kernel lists the functions of a linked program by name (bpf_prog_info.func_info)."""
    policy = LinkPolicy(hook="xdp", called=frozenset((0, 1)))
    sources = [untyped("passes", "first-of-all"), a_kind("loops", name="7th")]
    with link_chain(sources, "xdp", name="named", policy=policy) as chain:
        shown = dumped(chain, "linum")
        command = ("bpftool", "-j", "prog", "show", "id", str(chain.info.id))
        facts = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)

    assert facts["btf_id"]
    assert re.search(r"int \w*first_of_all\w*\(struct xdp_md", shown)
    assert re.search(r"int \w*7th\w*\(struct xdp_md", shown)


def loaded(source: ProgramSource, resources: ExitStack) -> LoadedBody:
    """Alone, and trusted not to read what others left on the stack."""
    return resources.enter_context(load_body(source, "xdp", is_first=True))


def test_a_refusal_of_the_linked_chain_names_program_file_and_line() -> None:
    """The verifier stumbles in the second program's source, and says where."""
    with ExitStack() as resources:
        bodies = [loaded(source, resources) for source in AFTER_POINTERS]
        loader = SegmentLoader(bodies, "refused", counters=None, interface_index=0)
        policy = LinkPolicy(hook="xdp", has_counters=False)
        plan = plan_link([found.body for found in bodies], kernel_facts(), policy)
        with pytest.raises(VerifierRejectedError) as refused:
            loader.load(loader.emit(plan))

    rejection = refused.value
    (reason,) = rejection.reasons
    line = next(n for n, text in enumerate(LEFTOVERS.splitlines(), start=1) if "asm" in text)
    assert reason.path == "chain[1] adds"
    assert str(reason.got).startswith(f"program.bpf.c:{line}: asm volatile(")
    assert "adds: the kernel's verifier refuses 'the linked chain refused'" in rejection.message
    assert f"program.bpf.c:{line}" in rejection.message


def test_places_are_known_without_the_verifier_s_help() -> None:
    """Kernels before 6.9 do not name file and line; ours and the kernel's are the same here."""
    with ExitStack() as resources:
        bodies = [loaded(source, resources) for source in AFTER_POINTERS]
        loader = SegmentLoader(bodies, "refused", counters=None, interface_index=0)
        policy = LinkPolicy(hook="xdp", has_counters=False)
        plan = plan_link([found.body for found in bodies], kernel_facts(), policy)
        with pytest.raises(VerifierRejectedError) as refused:
            loader.load(loader.emit(plan))
        (program,) = loader.emit(plan).programs
        finding = refused.value.finding
        (*_, line) = (one for one in program.lines if one.position <= finding.position)

        assert line.body == 1
        assert place_of(line, bodies[1].types) == finding.place

    silent = VerifierRejectedError("adds", "f", "1: (95) exit\nR0 !read_ok\n", place="a.c:7")
    assert silent.finding.place == "a.c:7"


def test_a_program_that_the_verifier_refuses_among_others_is_called_instead() -> None:
    """By itself it verified, and as a function it is verified by itself again."""
    with ExitStack() as resources:
        bodies = [loaded(source, resources) for source in AFTER_POINTERS]
        loader = SegmentLoader(bodies, "refused", counters=None, interface_index=0)
        policy = LinkPolicy(hook="xdp", has_counters=False)
        plan, segments = Linking(bodies, kernel_facts(), loader).link(policy, None)
        resources.callback(segments.close)

        assert plan.bodies[1].mode == "call-global"
        attempt = plan.constraints[-1]
        assert "the verifier refuses program 1 in the chain: " in attempt.text
        assert attempt.effect == "calls the programs [1]"


def test_a_refusal_by_rule_after_one_by_the_verifier_holds_both() -> None:
    """What needs another segment, and may have none, is refused in both words."""
    facts = replace(kernel_facts(), max_jumps=1_000_000, has_types=False, max_tail_calls=0)
    sources = [a_source("branches", name=f"p{number}") for number in range(5)]
    with pytest.raises(LinkRefusedError) as refused:
        link_chain(sources, "xdp", name="refused", facts=facts)

    assert "at most so many tail calls" in refused.value.message
    assert "before that the verifier refuses programs 0 to 4 in the chain" in refused.value.message
    assert [found.rule for found in refused.value.constraints] == ["tail-calls", "verifier"]


@pytest.mark.parametrize(
    "facts",
    [KernelFacts(has_types=False), KernelFacts(max_call_frames=0)],
    ids=["without types", "without calls"],
)
def test_what_cannot_be_called_is_refused_in_the_verifier_s_words(facts: KernelFacts) -> None:
    """There is no other way to link it then; without types nobody knows which program it is."""
    with ExitStack() as resources:
        bodies = [loaded(source, resources) for source in AFTER_POINTERS]
        loader = SegmentLoader(bodies, "refused", counters=None, interface_index=0)
        policy = LinkPolicy(hook="xdp", has_counters=False)
        with pytest.raises(VerifierRejectedError, match="prohibited"):
            Linking(bodies, facts, loader).link(policy, None)


def test_a_program_whose_own_array_holds_a_bad_program_is_refused_by_that_one_s_name() -> None:
    """What its program arrays hold is loaded with it, and the log is of the one that fails."""
    source = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
int bad(struct xdp_md *ctx);
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, 4);
	__array(values, int(struct xdp_md *));
} programs SEC(".maps") = {.values = {[0] = &bad}};
SEC("xdp") int bad(struct xdp_md *ctx)
{
	return *(char *)(long)ctx->data;
}
SEC("xdp") int good(struct xdp_md *ctx)
{
	bpf_tail_call(ctx, &programs, 0);
	return XDP_PASS;
}
char _license[] SEC("license") = "GPL";
"""
    good = ProgramSource("jumper", "x.o", compile_source(source), "good", ("pass",))
    with pytest.raises(VerifierRejectedError) as refused:
        link_chain([good], "xdp", name="refused")

    assert "jumper: the kernel's verifier refuses 'bad'" in refused.value.message
    assert "ctx->data" in refused.value.message
