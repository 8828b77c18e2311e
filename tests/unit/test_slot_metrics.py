# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Counters belong to a program instance, and say what became of its packets."""

from __future__ import annotations

import struct

from services.node_executor.linking import counters
from services.node_executor.slot_metrics import Counted, chain_counters, counter_metrics
from shared.contracts.inspection import ChainCounters
from shared.contracts.node import verdicts_of
from shared.identifiers import Hook

GUARD = Counted("guard", 3, ("pass",))
LAST = Counted("last", 0, ("pass", "tx"))


def a_value(
    counts: dict[tuple[int, str], int], *, hook: Hook = "xdp", missed: int = 0, slots: int = 16
) -> bytearray:
    """One processor's value of the counter map: (slot, verdict) to packets."""
    value = bytearray(counters.value_bytes(hook, slots))
    struct.pack_into("<Q", value, counters.MISSED_OFFSET, missed)
    for (slot, verdict), packets in counts.items():
        number = verdicts_of(hook).get(verdict, 4711)
        struct.pack_into("<Q", value, counters.bucket_offset(hook, slot, number), packets)
    return value


def test_counts_are_summed_over_processors_and_split_by_verdict() -> None:
    """Packets in are all verdicts together; those that never were are not shown."""
    values = [
        bytes(a_value({(3, "pass"): 5, (3, "drop"): 2}, missed=1)),
        bytes(a_value({(3, "pass"): 10, (0, "tx"): 4, (0, "other"): 1})),
    ]

    read = chain_counters(values, "xdp", [GUARD, LAST])

    guard, last = read.slots
    assert (guard.deployment, guard.slot, guard.packets_in, guard.went_on) == ("guard", 3, 17, 15)
    assert guard.verdicts == {"drop": 2, "pass": 15}
    assert (last.packets_in, last.went_on) == (5, 4)
    assert last.verdicts == {"tx": 4, "other": 1}
    assert read.missed == 1
    assert read.cpus == ()


def test_each_processor_can_be_asked_for() -> None:
    """One that saw no packet is left out."""
    values = [
        bytes(a_value({})),
        bytes(a_value({(3, "pass"): 1}, missed=2)),
    ]

    read = chain_counters(values, "xdp", [GUARD], per_cpu=True)

    (cpu,) = read.cpus
    assert (cpu.cpu, cpu.missed, cpu.slots[0].packets_in) == (1, 2, 1)


def test_time_is_shown_with_the_packets_it_was_taken_of() -> None:
    """So that a mean can be had from any two readings."""
    value = a_value({(0, "ok"): 640}, hook="tc-ingress")
    struct.pack_into("<QQ", value, counters.time_offset("tc-ingress", 0), 12_000, 10)

    read = chain_counters([bytes(value)], "tc-ingress", [Counted("one", 0, ("ok",))])

    assert (read.slots[0].sampled_ns, read.slots[0].samples) == (12_000, 10)


def test_a_slot_behind_the_end_of_the_map_is_no_packet() -> None:
    """As long as a chain with a larger map is not there yet."""
    value = bytes(a_value({}, slots=16))

    read = chain_counters([value], "xdp", [Counted("new", 16, ("pass",))])

    assert read.slots[0].packets_in == 0


def test_metrics_have_names_that_no_deployment_can_give() -> None:
    """Stable: interface, hook, deployment, and a name with a dot in it."""
    value = a_value({(3, "pass"): 5, (3, "drop"): 2}, missed=7)
    struct.pack_into("<QQ", value, counters.time_offset("xdp", 3), 90, 3)
    read = chain_counters([bytes(value)], "xdp", [GUARD])

    assert counter_metrics("eth0", "xdp", read) == {
        "eth0/xdp/l3af.missed": 7,
        "eth0/xdp/guard/l3af.packets_in": 7,
        "eth0/xdp/guard/l3af.went_on": 5,
        "eth0/xdp/guard/l3af.verdict.drop": 2,
        "eth0/xdp/guard/l3af.verdict.pass": 5,
        "eth0/xdp/guard/l3af.sampled_ns": 90,
        "eth0/xdp/guard/l3af.samples": 3,
    }
    assert counter_metrics("eth0", "xdp", ChainCounters(problem="off")) == {}
