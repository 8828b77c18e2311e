# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A linked chain does what its bodies do one after another, for random chains, modes and limits.

A small simulator stands for the kernel, so that thousands of chains take seconds; the kernel's own
judgement of linked chains is asked elsewhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from services.node_executor.linking.body import Body
from services.node_executor.linking.counters import (
    capacity_for,
    read_missed,
    read_slot,
    value_bytes,
)
from services.node_executor.linking.emission import emit
from services.node_executor.linking.linked_program import LINKER, LinkedProgram
from services.node_executor.linking.plan import KernelFacts, LinkPlan, LinkPolicy, LinkRefusedError
from services.node_executor.linking.planning import plan_link
from shared.contracts.node import TC_VERDICTS, XDP_VERDICTS, verdicts_of
from shared.identifiers import NETWORK_HOOKS, Hook
from tests.support.bpf_simulator import (
    CONTEXT_BYTES,
    Machine,
    stack_problems,
    structure_problems,
)
from tests.support.link_bodies import OWN_ARRAY, OWN_PROGRAM, bodies

COUNTERS, SEGMENTS = 3, 4
EXAMPLES = 150


@dataclass(frozen=True)
class Case:
    """A chain and how it is to be linked."""

    hook: Hook
    bodies: tuple[Body, ...]
    facts: KernelFacts
    policy: LinkPolicy
    slots: dict[str, int]

    def planned(self) -> LinkPlan | None:
        """The plan; None if the rules refuse the chain."""
        try:
            return plan_link(self.bodies, self.facts, self.policy, slots=self.slots)
        except LinkRefusedError:
            return None


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Random chains of one to six bodies, on kernels and with options of every kind."""
    hook = draw(st.sampled_from(NETWORK_HOOKS))
    length = draw(st.integers(1, 6))
    licences = draw(st.sampled_from([("GPL",), ("GPL",), ("GPL", "Dual MIT/GPL", "Proprietary")]))
    # The last body may cover what the chain keeps; that is rare unless it is looked for.
    deep_end = draw(st.booleans())
    chain = tuple(
        draw(bodies(hook, number, licences, is_deep=deep_end and number == length - 1))
        for number in range(length)
    )
    none = st.just(frozenset[int]())
    positions = st.one_of(none, none, st.frozensets(st.integers(0, length - 1)))
    has_counters = draw(st.booleans())
    return Case(
        hook=hook,
        bodies=chain,
        facts=KernelFacts(
            has_types=draw(st.sampled_from([True, True, True, False])),
            has_perfmon=draw(st.booleans()),
            max_maps=draw(st.sampled_from([64, 64, 3])),
            max_subprograms=draw(st.sampled_from([256, 256, 9])),
        ),
        policy=LinkPolicy(
            hook=hook,
            attachment=None if hook == "xdp" else draw(st.sampled_from(["tcx", "cls_bpf"])),
            has_counters=has_counters,
            time_sample_period=draw(st.sampled_from([0, 1, 4])) if has_counters else 0,
            end_verdict=draw(st.sampled_from(["unspec", "ok"])),
            called=draw(positions),
            separate=draw(positions),
        ),
        slots=dict(
            zip(
                (body.name for body in chain), draw(st.permutations(range(length + 3))),
                strict=False,
            )
        ),
    )  # fmt: skip


def one_after_another(
    case: Case, packet: bytes, packet_bytes: int
) -> tuple[int, bytes, Counter[tuple[str, str]]]:
    """Verdict, packet, and how often each body gave each verdict."""
    names = {value & 0xFFFFFFFF: name for name, value in verdicts_of(case.hook).items()}
    context = bytearray(packet)
    seen: Counter[tuple[str, str]] = Counter()
    verdict, went_on = 0, False
    for body in case.bodies:
        machine = Machine(context, arrays={OWN_ARRAY: {0: OWN_PROGRAM}}, packet_bytes=packet_bytes)
        verdict = machine.run(body.instructions)
        seen[body.name, names.get(verdict, "other")] += 1
        went_on = names.get(verdict) in body.proceed_on
        if not went_on:
            break
    return at_the_end(case, verdict, went_on=went_on), bytes(context), seen


def at_the_end(case: Case, verdict: int, *, went_on: bool) -> int:
    """What the hook gets to see."""
    if case.policy.way != "tcx":
        return verdict
    tc = {name: value & 0xFFFFFFFF for name, value in TC_VERDICTS.items()}
    if went_on and verdict in (tc["ok"], tc["pipe"], tc["unspec"]):
        return tc[case.policy.end_verdict]
    if verdict in (tc["stolen"], tc["queued"], tc["trap"]):
        return tc["shot"]
    return tc["ok"] if verdict in (tc["repeat"], tc["reclassify"]) else verdict


def leaves_early(planned: LinkPlan) -> bool:
    """Whether the last body can leave uncounted: warned of, where the kernel knows no BTF."""
    return any("neither counted" in warning for warning in planned.warnings)


def a_machine(
    case: Case, programs: Sequence[LinkedProgram], packet: bytes, packet_bytes: int
) -> Machine:
    """A machine with room for all slots and the segments in their array."""
    room = capacity_for(max(case.slots.values()) + 1)
    return Machine(
        bytearray(packet),
        counters=bytearray(value_bytes(case.hook, room)),
        arrays={
            OWN_ARRAY: {0: OWN_PROGRAM},
            SEGMENTS: {n: program.instructions for n, program in enumerate(programs) if n},
        },
        packet_bytes=packet_bytes,
    )


@settings(max_examples=EXAMPLES, deadline=None)
@given(
    cases(),
    st.binary(min_size=CONTEXT_BYTES, max_size=CONTEXT_BYTES),
    st.integers(0, CONTEXT_BYTES),
)
def test_a_linked_chain_does_what_its_bodies_do_one_after_another(
    case: Case, packet: bytes, packet_bytes: int
) -> None:
    """Verdict, packet and every counter agree, for each mode, layout and division."""
    planned = case.planned()
    if planned is None or leaves_early(planned):
        return
    programs = emit(planned, counters_fd=COUNTERS, program_array_fd=SEGMENTS)
    machine = a_machine(case, programs, packet, packet_bytes)

    verdict = machine.run(programs[0].instructions)

    expected, left, seen = one_after_another(case, packet, packet_bytes)
    assert verdict == expected
    assert bytes(machine.context) == left
    counted: Counter[tuple[str, str]] = Counter()
    timed = 0
    for body in case.bodies:
        slot = read_slot([bytes(machine.counters)], case.hook, case.slots[body.name])
        counted.update({(body.name, name): n for name, n in slot.verdicts.items() if n})
        timed += slot.measured_packets
    assert counted == (seen if planned.has_counters else Counter())
    assert read_missed([bytes(machine.counters)]) == 0
    if case.policy.time_sample_period == 1:
        assert timed == seen.total()


@settings(max_examples=EXAMPLES, deadline=None)
@given(cases())
def test_linked_programs_are_what_the_kernel_accepts_at_first_sight(case: Case) -> None:
    """Jumps stay in their function and calls reach functions; frames and maps fit."""
    planned = case.planned()
    if planned is None:
        return

    for segment, program in zip(
        planned.segments,
        emit(planned, counters_fd=COUNTERS, program_array_fd=SEGMENTS),
        strict=True,
    ):
        assert structure_problems(program.instructions) == []
        assert stack_problems(program.instructions) == []
        maps = {i.immediate for i in program.instructions if i.refers_to_map}
        assert len(maps) <= case.facts.max_maps
        if case.facts.has_types:
            starts = {function.position for function in program.functions}
            lines = [line.position for line in program.lines]
            assert len(starts) == len(program.functions) <= case.facts.max_subprograms
            assert starts <= set(lines)
            assert all(before < after for before, after in pairwise(lines))
            assert {
                function.linkage
                for function in program.functions
                if function.takes_context and function.body != LINKER
            } <= {"global"}
        else:
            assert not program.functions
            assert not program.lines
        licences = {planned_body.body.is_gpl_compatible for planned_body in segment.bodies}
        assert len(licences) == 1  # fmt: skip


@settings(max_examples=EXAMPLES, deadline=None)
@given(cases())
def test_a_plan_keeps_every_body_in_its_order_and_is_the_same_each_time(case: Case) -> None:
    """Segments divide the chain; they do not change it."""
    planned = case.planned()
    if planned is None:
        return

    assert [body.body for body in planned.bodies] == list(case.bodies)
    assert [body.slot for body in planned.bodies] == [case.slots[b.name] for b in case.bodies]
    assert case.planned() == planned
    assert emit(planned) == emit(planned)
    for segment in planned.segments:
        if segment.layout == "calls-only":
            assert sum(run.count for run in segment.runs) == len(segment.bodies)


@settings(max_examples=EXAMPLES // 2, deadline=None)
@given(cases(), st.binary(min_size=CONTEXT_BYTES, max_size=CONTEXT_BYTES))
def test_a_packet_that_misses_a_segment_is_closed_off_and_counted(
    case: Case, packet: bytes
) -> None:
    """No packet passes half a chain: aborted in XDP, shot in TC."""
    planned = case.planned()
    if planned is None or len(planned.segments) == 1:
        return
    programs = emit(planned, counters_fd=COUNTERS, program_array_fd=SEGMENTS)
    head = sum(1 for _ in planned.segments[0].bodies)
    goes_on = one_after_another(replace(case, bodies=case.bodies[:head]), packet, CONTEXT_BYTES)[2]
    machine = a_machine(case, programs[:1], packet, CONTEXT_BYTES)

    verdict = machine.run(programs[0].instructions)

    last = case.bodies[head - 1]
    if any(goes_on[last.name, name] for name in last.proceed_on):
        closed = XDP_VERDICTS["aborted"] if case.hook == "xdp" else TC_VERDICTS["shot"]
        assert verdict == closed
        assert read_missed([bytes(machine.counters)]) == planned.has_counters
