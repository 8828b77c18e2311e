# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Packets of each program are counted under its slot, for as long as it is in the chain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from services.node_executor.adapters import slot_counters
from services.node_executor.adapters.chain import LinkedChain, link_chain
from services.node_executor.adapters.programs import run_packet
from services.node_executor.kernel_types import Handle, ProgramSource
from services.node_executor.linking.plan import LinkMode, LinkPolicy
from shared.errors import RefusedError
from tests.support.chain_reference import a_classifier, a_source

DROPPED, PASSED = bytes(14) + b"\1" + bytes(49), bytes(14) + b"\2" + bytes(49)


def counted(handle: Handle | None, slot: int) -> dict[str, int]:
    """Packets of an XDP program by verdict; zeros are left out."""
    assert handle is not None
    verdicts = slot_counters.read(handle, "xdp", [slot]).slots[slot].verdicts
    return {name: count for name, count in verdicts.items() if count}


def a_chain(
    sources: Sequence[ProgramSource], slots: Mapping[str, int], earlier: LinkedChain | None = None
) -> LinkedChain:
    """A generation that counts on where the earlier one was."""
    counters = earlier.counters.handle if earlier and earlier.counters else None
    return link_chain(sources, "xdp", name="counted", slots=slots, counters=counters)


def handle_of(chain: LinkedChain) -> Handle:
    """Of its counter map."""
    assert chain.counters is not None
    return chain.counters.handle


@pytest.mark.parametrize("mode", ["inline", "call-global"])
def test_verdicts_are_counted_under_each_program_s_slot(mode: LinkMode) -> None:
    """Slots are not positions, and a program that no packet reached counted nothing."""
    sources = [a_source("obeys"), a_source("passes")]
    called = frozenset((0, 1)) if mode == "call-global" else frozenset[int]()
    policy = LinkPolicy(hook="xdp", called=called)
    slots = {"obeys": 5, "passes": 2}

    with link_chain(sources, "xdp", name="counted", slots=slots, policy=policy) as chain:
        for packet in (DROPPED, PASSED, PASSED):
            run_packet(chain.program, packet)

        assert counted(handle_of(chain), 5) == {"drop": 1, "pass": 2}
        assert counted(handle_of(chain), 2) == {"pass": 2}
        assert counted(handle_of(chain), 0) == {}
        assert [planned.slot for planned in chain.plan.bodies] == [5, 2]


def test_a_value_that_is_no_verdict_is_counted_as_other() -> None:
    """The packet went on, so the next program counted it too."""
    with link_chain([a_source("answers_wide")], "xdp", name="counted") as chain:
        run_packet(chain.program, PASSED)

        assert counted(handle_of(chain), 0) == {"pass": 1}

    with link_chain([a_classifier("marks")], "tc-ingress", name="counted") as chain:
        run_packet(chain.program, PASSED)
        table = slot_counters.read(handle_of(chain), "tc-ingress", [0])

        assert table.slots[0].verdicts["ok"] == table.slots[0].packets == 1


def test_another_order_counts_on_under_the_same_slots() -> None:
    """The next generation uses the same map; nothing is mixed up."""
    first, second = a_source("obeys"), a_source("passes")
    slots = {"obeys": 0, "passes": 1}
    with a_chain([first, second], slots) as one:
        run_packet(one.program, DROPPED)
        with a_chain([second, first], slots, one) as two:
            run_packet(two.program, DROPPED)

            assert two.counters is not None
            assert two.counters.is_carried_over
            assert counted(two.counters.handle, 0) == {"drop": 2}
            assert counted(two.counters.handle, 1) == {"pass": 1}


def test_a_map_that_must_grow_takes_its_counts_along() -> None:
    """Up to the swap: what the present generation counts meanwhile is copied once more."""
    first, second = a_source("obeys"), a_source("passes")
    with a_chain([first], {"obeys": 3}) as one:
        run_packet(one.program, DROPPED)
        with a_chain([first, second], {"obeys": 3, "passes": 16}, one) as two:
            assert two.counters is not None
            assert not two.counters.is_carried_over
            assert counted(two.counters.handle, 3) == {"drop": 1}
            run_packet(one.program, DROPPED)
            slot_counters.copy(handle_of(one), handle_of(two), "xdp")

            assert counted(two.counters.handle, 3) == {"drop": 2}
            run_packet(two.program, PASSED)
            assert counted(two.counters.handle, 3) == {"drop": 2, "pass": 1}
            assert counted(two.counters.handle, 16) == {"pass": 1}
            assert counted(one.counters.handle if one.counters else None, 3) == {"drop": 2}


def test_a_slot_that_is_given_to_another_program_begins_at_zero() -> None:
    """In a map of its own, because a map in use is never written by anybody but its programs."""
    first, second = a_source("obeys"), a_source("passes")
    with a_chain([first, second], {"obeys": 0, "passes": 1}) as one:
        run_packet(one.program, PASSED)
        with link_chain(
            [first, a_source("counts")],
            "xdp",
            name="counted",
            slots={"obeys": 0, "counts": 1},
            new_slots=[1],
            counters=handle_of(one),
        ) as two:
            assert counted(handle_of(two), 0) == {"pass": 1}
            assert counted(handle_of(two), 1) == {}
            assert counted(handle_of(one), 1) == {"pass": 1}


def test_the_table_can_be_read_for_each_processor() -> None:
    """The sum over processors is the table."""
    with link_chain([a_source("passes")], "xdp", name="counted") as chain:
        for _ in range(3):
            run_packet(chain.program, PASSED)
        tables = slot_counters.read_per_cpu(handle_of(chain), "xdp", [0])

        assert sum(table.slots[0].packets for table in tables) == 3
        assert len(tables) == len(slot_counters.values(handle_of(chain)))


@pytest.mark.parametrize("mode", ["inline", "call-global"])
def test_time_is_taken_of_every_so_manieth_packet(mode: LinkMode) -> None:
    """Of 64 packets every eighth is measured in each program."""
    sources = [a_source("counts", name="a"), a_source("obeys", name="b")]
    called = frozenset((0, 1)) if mode == "call-global" else frozenset[int]()
    policy = LinkPolicy(hook="xdp", time_sample_period=8, called=called)

    with link_chain(sources, "xdp", name="timed", policy=policy) as chain:
        run_packet(chain.program, PASSED, repeat=64)
        table = slot_counters.read(handle_of(chain), "xdp", [0, 1])

        assert [slot.measured_packets for slot in table.slots.values()] == [8, 8]
        assert all(0 < slot.measured_ns < 8_000_000_000 for slot in table.slots.values())


def test_more_slots_than_a_map_can_have_are_refused() -> None:
    """A per-CPU value has at most 32 KiB."""
    with pytest.raises(RefusedError, match="at most"):
        link_chain([a_source("passes")], "xdp", name="counted", slots={"passes": 4096})


def test_a_map_of_another_layout_is_not_counted_in() -> None:
    """A foreign map under the name is left alone, and counting begins anew."""
    with link_chain([a_source("counts")], "xdp", name="one") as one:
        foreign = one.maps["counts"]["seen"].handle
        with link_chain([a_source("passes")], "xdp", name="two", counters=foreign) as two:
            run_packet(two.program, PASSED)

            assert counted(handle_of(two), 0) == {"pass": 1}
