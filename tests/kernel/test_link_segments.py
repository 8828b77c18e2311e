# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Chains that cannot be one kernel program run as several, and no packet gets through half."""

from __future__ import annotations

import errno
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from services.node_executor.adapters import slot_counters
from services.node_executor.adapters.bpf_syscall import MAP_DELETE, Memory, bpf
from services.node_executor.adapters.chain import LinkedChain, link_chain
from services.node_executor.adapters.kernel_errors import KernelFaultError
from services.node_executor.adapters.kernel_facts import kernel_facts
from services.node_executor.adapters.kernel_info import map_by_id, program_by_id
from services.node_executor.adapters.map_access import read_number
from services.node_executor.adapters.program_array import fill_program_array, make_program_array
from services.node_executor.adapters.programs import run_packet
from services.node_executor.kernel_types import Handle, ProgramSource
from services.node_executor.linking.plan import LinkPolicy
from shared.contracts.node import TC_VERDICTS, XDP_VERDICTS
from shared.identifiers import Hook
from tests.support.chain_reference import a_classifier, a_source

PACKET = bytes(64)
PASS = XDP_VERDICTS["pass"]
DEADLINE_SECONDS = 30.0


def in_segments(
    sources: Sequence[ProgramSource], hook: Hook = "xdp", *, has_counters: bool = True
) -> LinkedChain:
    """Every program in a segment of its own."""
    policy = LinkPolicy(
        hook=hook,
        attachment="xdp" if hook == "xdp" else "cls_bpf",
        has_counters=has_counters,
        separate=frozenset(range(1, len(sources))),
    )
    return link_chain(sources, hook, name="chain_segmented", policy=policy)


def seen(chain: LinkedChain, name: str) -> int | None:
    """How often a program that counts ran."""
    return read_number(chain.maps[name]["seen"].handle, None)


def taken_out(array: Handle, index: int) -> None:
    """Nothing is at that place of a program array."""
    memory = Memory()
    request = struct.pack("<I4xQQQ", array.fd, memory.of(struct.pack("<I", index)), 0, 0)
    bpf(MAP_DELETE, request, action="removing a segment")


def descriptors() -> set[str]:
    """Open descriptors of this process."""
    return {path.name for path in Path("/proc/self/fd").iterdir()}


def exists(program_id: int) -> bool:
    """Whether the kernel has that program."""
    try:
        program_by_id(program_id).close()
    except KernelFaultError as error:
        return error.number != errno.ENOENT
    return True


def eventually(condition: Callable[[], bool]) -> None:
    """The kernel gives objects up in a work queue of its own."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.mark.parametrize("has_counters", [True, False])
def test_segments_run_one_after_another(has_counters: bool) -> None:
    """Every program of every segment sees the packet, and a later verdict ends the chain."""
    sources = [
        a_source("counts", name="a"),
        a_source("rewrites"),
        a_source("counts", name="b"),
        a_source("drops"),
        a_source("counts", name="c"),
    ]

    with in_segments(sources, has_counters=has_counters) as chain:
        done = run_packet(chain.program, PACKET)

        assert len(chain.segments) == len(chain.plan.segments) == 5
        assert done.verdict == XDP_VERDICTS["drop"]
        assert done.data[14] == 1
        assert [seen(chain, name) for name in "abc"] == [1, 1, 0]


def test_tc_segments_run_one_after_another() -> None:
    """The mark that one segment leaves is what the next one reads."""
    sources = [a_classifier("marks"), a_classifier("marks", name="again"),
               a_classifier("shoots_marked")]  # fmt: skip

    with in_segments(sources, "tc-ingress") as chain:
        assert run_packet(chain.program, PACKET).verdict == TC_VERDICTS["shot"]


def test_a_packet_that_finds_a_segment_missing_is_dropped_and_counted() -> None:
    """No packet gets through half a chain."""
    with in_segments([a_source("counts", name=name) for name in "ab"]) as chain:
        assert chain.program_array is not None
        assert chain.counters is not None
        taken_out(chain.program_array, 1)

        assert run_packet(chain.program, PACKET).verdict == XDP_VERDICTS["aborted"]
        assert slot_counters.read(chain.counters.handle, "xdp").missed == 1
        assert (seen(chain, "a"), seen(chain, "b")) == (1, 0)


def test_licences_that_do_not_agree_are_never_in_one_kernel_program() -> None:
    """The head says GPL and calls what is kept for that; the next segment says what it is."""
    sources = [
        a_source("looks_up_routes", object_name="restricted"),
        a_source("keeps_to_itself", object_name="closed"),
        a_source("passes"),
    ]

    with link_chain(sources, "xdp", name="test") as chain:
        assert [info.gpl_compatible for info in chain.segment_infos] == [True, False, True]
        assert [segment.licence for segment in chain.plan.segments] == [
            "GPL",
            "Proprietary",
            "Dual BSD/GPL",
        ]
        assert run_packet(chain.program, PACKET).verdict == PASS


def test_a_chain_with_more_maps_than_a_program_may_have_falls_into_segments() -> None:
    """70 maps are two segments, and every program runs."""
    sources = [a_source("counts", name=f"p{number}") for number in range(70)]

    with link_chain(sources, "xdp", name="test") as chain:
        assert len(chain.segments) == 2
        assert run_packet(chain.program, PACKET).verdict == PASS
        assert all(seen(chain, source.name) == 1 for source in sources)
        assert all(len(info.map_ids) <= 64 for info in chain.segment_infos)


def test_more_programs_than_tail_calls_are_allowed_stay_below_the_limit() -> None:
    """33 tail calls are the kernel's limit for a packet: 34 segments run, all of them."""
    sources = [a_source("counts", name=f"p{number}") for number in range(34)]

    with in_segments(sources) as chain:
        assert len(chain.segments) == 34
        assert run_packet(chain.program, PACKET).verdict == PASS
        assert seen(chain, "p33") == 1


def test_the_kernel_empties_an_array_that_nobody_holds() -> None:
    """So it has to be pinned: a program that uses it keeps the array, and not what is in it."""
    with in_segments([a_source("counts", name=name) for name in "ab"]) as chain:
        assert [info.name for info in chain.segment_infos] == ["chain_segmented", "chain_segment_1"]
        with program_by_id(chain.info.id) as head:
            with map_by_id(chain.program_array_id):
                chain.close()
                assert run_packet(head, PACKET).verdict == PASS
            eventually(lambda: run_packet(head, PACKET).verdict == XDP_VERDICTS["aborted"])


def test_closing_gives_every_segment_and_the_array_up() -> None:
    """Nothing is left in this process, so nothing is left in the kernel."""
    before = descriptors()
    chain = in_segments([a_source("counts", name=name) for name in "abc"])
    ids = [info.id for info in chain.segment_infos]
    chain.close()
    chain.close()

    assert descriptors() <= before
    eventually(lambda: not any(exists(program_id) for program_id in ids))


def test_a_refused_chain_leaves_no_segment_behind() -> None:
    """What was loaded before the refusal is given up too."""
    kernel_facts()
    sources = [a_source("branches", name=f"p{number}") for number in range(6)]
    with link_chain(sources[:1], "xdp", name="warm"):
        pass
    before = descriptors()
    facts = replace(kernel_facts(), max_jumps=1_000_000, has_types=False)
    with link_chain(sources, "xdp", name="cut", facts=facts):
        pass

    assert descriptors() <= before


def test_the_kernel_takes_no_segment_with_another_attach_type() -> None:
    """So all segments of a hook are loaded with that hook's type."""
    with (
        link_chain([a_classifier("marks")], "tc-ingress", name="in") as ingress,
        link_chain([a_classifier("marks")], "tc-egress", name="out") as egress,
        make_program_array(2) as array,
    ):
        fill_program_array(array, (ingress.program, ingress.program))
        with pytest.raises(KernelFaultError) as refused:
            fill_program_array(array, (egress.program, egress.program))

    assert refused.value.number == errno.EINVAL
