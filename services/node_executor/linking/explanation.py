# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Every rule that shaped a plan, where it applied and what it did: what an operator asks for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from services.node_executor.linking import verdict_rules
from services.node_executor.linking.body_rules import Candidate
from services.node_executor.linking.plan import Constraint, KernelFacts, LinkPolicy, Segment
from services.node_executor.linking.segmentation import Division


def explain(
    candidates: Sequence[Candidate],
    divisions: Sequence[Division],
    segments: Sequence[Segment],
    facts: KernelFacts,
    policy: LinkPolicy,
) -> Iterator[Constraint]:
    """The constraints of a plan: of the whole chain, of each segment, of each body."""
    yield from _of_chain(candidates, divisions, facts, policy)
    for index, (division, segment) in enumerate(zip(divisions, segments, strict=True)):
        chosen = candidates[division.first : division.first + division.count]
        yield from _of_segment(division, segment, chosen, index)
        for number, candidate in enumerate(chosen):
            yield from _of_body(division, segment, candidate, number, policy)
    for candidate in candidates[:-1]:
        yield from verdict_rules.proceed_warnings(candidate.body, candidate.path, hook=policy.hook)


def _of_chain(
    candidates: Sequence[Candidate],
    divisions: Sequence[Division],
    facts: KernelFacts,
    policy: LinkPolicy,
) -> Iterator[Constraint]:
    yield from verdict_rules.end_constraints(policy)
    if policy.hook == "xdp" and policy.frags != "auto":
        yield Constraint(
            "frags",
            "chain",
            "the options say whether the chain reads packets in several buffers, whatever its"
            " programs declare",
            f"frags {policy.frags}",
        )
        if policy.frags == "on":
            for candidate in candidates:
                if not candidate.body.has_frags:
                    yield Constraint(
                        "frags",
                        candidate.path,
                        "it does not declare that it reads packets in several buffers, and sees"
                        " only the first buffer of such packets",
                        "warning",
                    )
    if not facts.has_types:
        yield Constraint(
            "types",
            "chain",
            "this kernel does not load BTF, so programs cannot be verified one by one",
            "programs that are called are verified along the chain",
        )
    own = [candidate.path for candidate in candidates if candidate.body.tail_calls_programs]
    if own:
        yield Constraint(
            "tail-calls",
            ", ".join(own),
            f"a packet can make {facts.max_tail_calls} tail calls in all; the chain makes"
            f" {len(divisions) - 1}, the rest is left to programs of their own",
            f"{facts.max_tail_calls - len(divisions) + 1} left",
        )


def _of_segment(
    division: Division, segment: Segment, chosen: Sequence[Candidate], index: int
) -> Iterator[Constraint]:
    why = division.why_begun
    if why is not None:
        measured = f" ({why.got}, allowed {why.allowed})" if why.got is not None else ""
        yield Constraint(
            why.rule, chosen[0].path, f"{why.text}{measured}", f"begins segment {index}"
        )
    if segment.layout == "calls-only":
        wrapped = [run for run in segment.runs if run.count > 1]
        yield Constraint(
            "layout",
            f"segment {index}",
            "frames or branches of its programs do not fit into one function, and several functions"
            " under one without stack need the fewest calls"
            if wrapped
            else "all its programs are called",
            f"calls-only, {len(wrapped)} wrapping functions",
        )
    writers = [candidate.path for candidate in chosen if candidate.body.writes_packets]
    if writers and len(chosen) > 1:
        yield Constraint(
            "direct-writes",
            ", ".join(writers),
            "it writes into packets directly, so the kernel makes each packet writable before the"
            " first program of the segment, and drops a packet for which that fails",
            f"every packet of segment {index} is made writable",
        )
    if segment.is_device_bound:
        yield Constraint(
            "device-bound",
            f"segment {index}",
            "a program that reads what the interface's driver offers is loaded for that interface",
            "loaded for one interface; test runs are not possible",
        )
    licences = list(dict.fromkeys(candidate.body.licence for candidate in chosen))
    if len(licences) > 1:
        yield Constraint(
            "linked-licence",
            f"segment {index}",
            "the licence string of a linked program is what holds for all its programs",
            f"'{segment.licence}'",
        )


def _of_body(
    division: Division, segment: Segment, candidate: Candidate, number: int, policy: LinkPolicy
) -> Iterator[Constraint]:
    planned = segment.bodies[number]
    for rule, text in candidate.calls:
        yield Constraint(rule, candidate.path, text, planned.mode)
    why = division.arrangement.called.get(number)
    if why is not None and why not in candidate.calls:
        yield Constraint(why[0], candidate.path, why[1], planned.mode)
    if planned.zeroed_stack_bytes:
        reads = planned.body.reads_uninitialised_stack
        yield Constraint(
            "uninitialised-stack" if reads else "spilled-pointers",
            candidate.path,
            "it may read stack that it did not write, where a neighbour left something"
            if reads
            else "without CAP_PERFMON the kernel refuses parts of a number where a neighbour's"
            " pointer was",
            f"{planned.zeroed_stack_bytes} bytes of stack set to zero before it",
        )
    if planned.mode == "inline":
        for has_it, rule, text in (
            (planned.body.throws, "throw", "bpf_throw leaves the whole chain"),
            (
                planned.body.code.has_packet_loads,
                "packet-loads",
                "on a short packet its direct loads leave the whole chain",
            ),
            (
                planned.body.tail_calls_programs,
                "own-tail-calls",
                "a tail call of its own that succeeds leaves the whole chain",
            ),
        ):
            if has_it:
                text_here = f"{text}, which in last place is what happens when it is alone"
                yield Constraint(rule, candidate.path, text_here, "inline in last place")
                if policy.has_counters or policy.way == "tcx":
                    yield Constraint(
                        rule,
                        candidate.path,
                        "what it returns when it leaves early is neither counted nor translated",
                        "warning",
                    )
    if candidate.body.code.tail_calls and not candidate.body.tail_calls_programs:
        yield Constraint(
            "empty-program-arrays",
            candidate.path,
            "its tail calls go to arrays that are empty and that only the chain's owner fills, so"
            " they fall through",
            "does not count as leaving the chain",
        )
