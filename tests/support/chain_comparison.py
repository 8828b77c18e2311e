# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A chain of corpus programs run both ways over the same packets: linked, and one after another."""

from __future__ import annotations

import os
import struct
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from services.node_executor.adapters import kernel_info
from services.node_executor.adapters.bpf_syscall import Descriptor, bpf
from services.node_executor.adapters.chain import LinkedChain, link_chain
from services.node_executor.adapters.map_access import lookup, update
from services.node_executor.adapters.programs import run_packet
from services.node_executor.kernel_types import LoadedMap, ProgramSource
from services.node_executor.linking.counters import OTHER, buckets_of, read_missed, read_slot
from services.node_executor.linking.plan import KernelFacts, LinkPlan, LinkPolicy
from shared.contracts.node import verdicts_of
from shared.identifiers import Hook
from tests.support.chain_corpus import TestProgram
from tests.support.chain_reference import (
    ALL_BITS,
    EndRules,
    Reference,
    a_context,
    comparable_context,
    loaded_apart,
    remembered,
)

MAP_CREATE = 0
PROGRAM_ARRAY = 3
OWN_SLOTS = 2


@dataclass(frozen=True)
class Member:
    """One place of a chain."""

    program: TestProgram
    proceed_on: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.program} -> {'|'.join(self.proceed_on)}"


@contextmanager
def on_one_processor() -> Iterator[None]:
    """This thread stays where it is, so that both ways write the same per-CPU values."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


@contextmanager
def prepared(
    members: Sequence[Member],
    hook: Hook,
    *,
    shares_maps: bool = False,
    has_frags: bool | None = None,
) -> Iterator[list[ProgramSource]]:
    """The members as sources, p0 first; arrays of own programs are made and filled.

    With `shares_maps`, programs of one object use the same maps, global data included.  With
    `has_frags`, own programs are loaded as programs that read packets in several buffers.
    """
    with ExitStack() as held:
        shared: dict[str, Mapping[str, LoadedMap]] = {}
        if shares_maps:
            for member in members:
                if member.program.object_name not in shared:
                    source = member.program.source(member.proceed_on)
                    (body,) = held.enter_context(loaded_apart([source], hook))
                    shared[member.program.object_name] = body.maps
        yield [
            member.program.source(
                member.proceed_on,
                name=f"p{position}",
                maps={
                    **shared.get(member.program.object_name, {}),
                    **_own_programs(member.program, hook, held, has_frags=has_frags),
                },
            )
            for position, member in enumerate(members)
        ]


def _own_programs(
    program: TestProgram, hook: Hook, held: ExitStack, *, has_frags: bool | None
) -> Mapping[str, LoadedMap]:
    if not program.own_programs:
        return {}
    request = struct.pack("<IIIII", PROGRAM_ARRAY, 4, 4, OWN_SLOTS, 0)
    array = held.enter_context(Descriptor(bpf(MAP_CREATE, request, action="making an array")))
    for slot, function in enumerate(program.own_programs):
        target = TestProgram(program.family, program.object_name, function)
        sources = [target.source(("pass",))]
        (body,) = held.enter_context(loaded_apart(sources, hook, has_frags=has_frags))
        update(array, struct.pack("<I", slot), struct.pack("<I", body.program.fd))
    info = kernel_info.map_info(array.fd)
    return {"own_programs": LoadedMap("own_programs", array, info, is_carried_over=True)}


@contextmanager
def one_after_another(
    members: Sequence[Member],
    hook: Hook,
    rules: EndRules,
    *,
    shares_maps: bool = False,
    has_frags: bool | None = None,
) -> Iterator[Reference]:
    """What the chain has to do, by running its programs apart."""
    with (
        prepared(members, hook, shares_maps=shares_maps, has_frags=has_frags) as sources,
        loaded_apart(sources, hook, has_frags=has_frags) as bodies,
    ):
        for body, member in zip(bodies, members, strict=True):
            member.program.fill(body.maps)
        yield Reference(bodies, hook, rules)


def fill(chain: LinkedChain, members: Sequence[Member]) -> None:
    """The maps of a linked chain hold what they hold at the start."""
    for position, member in enumerate(members):
        member.program.fill(chain.maps[f"p{position}"])


def assert_same(
    chain: LinkedChain, reference: Reference, hook: Hook, packets: Mapping[str, bytes]
) -> None:
    """After each packet verdict, bytes and context are the same, at the end all maps are.

    Raises:
        AssertionError: they are not; the packet is named.
    """
    for name, packet in packets.items():
        done = run_packet(chain.program, packet, context=a_context(hook, packet))
        linked = (done.verdict, done.data, comparable_context(hook, done.context))
        apart = reference.run(packet)
        assert linked == (apart.verdict, apart.data, comparable_context(hook, apart.context)), name
    for body in reference.bodies:
        linked_maps = remembered(chain.maps[body.body.name])
        assert linked_maps == remembered(body.maps), body.body.name
    assert_counted(chain, reference, hook)


def assert_counted(chain: LinkedChain, reference: Reference, hook: Hook) -> None:
    """Each slot counted the verdicts that its program gave; nothing if counters are off.

    Raises:
        AssertionError: it did not; the program is named.
    """
    if chain.counters is None:
        assert not chain.plan.has_counters
        return
    values = slot_values(chain.counters)
    names = {value & ALL_BITS: name for name, value in verdicts_of(hook).items()}
    for planned, given in zip(chain.plan.bodies, reference.verdicts, strict=True):
        wanted = Counter(dict.fromkeys(buckets_of(hook), 0))
        for verdict, times in given.items():
            wanted[names.get(verdict, OTHER)] += times
        counted = read_slot(values, hook, planned.slot)
        assert counted.verdicts == wanted, planned.body.name
        if chain.plan.policy.time_sample_period == 1:
            assert counted.measured_packets == counted.packets, planned.body.name
    assert read_missed(values) == 0


def slot_values(counters: LoadedMap) -> list[bytes]:
    """The value of the counter map, one for each processor."""
    joined = lookup(counters.handle, bytes(4))
    assert joined is not None
    size = counters.info.value_size_bytes
    return [joined[start : start + size] for start in range(0, len(joined), size)]


def plan_of_equal(
    members: Sequence[Member],
    hook: Hook,
    packets: Mapping[str, bytes],
    *,
    policy: LinkPolicy | None = None,
    facts: KernelFacts | None = None,
) -> LinkPlan:
    """The plan of a chain that, linked, does what its programs do one after another.

    Raises:
        AssertionError: it does something else.
    """
    wanted = policy or LinkPolicy(hook=hook)
    rules = EndRules(is_tcx=wanted.way == "tcx", end_verdict=wanted.end_verdict)
    with (
        on_one_processor(),
        prepared(members, hook) as sources,
        one_after_another(members, hook, rules) as reference,
        link_chain(sources, hook, name="compared", policy=wanted, facts=facts) as chain,
    ):
        fill(chain, members)
        assert_same(chain, reference, hook, packets)
        return chain.plan
