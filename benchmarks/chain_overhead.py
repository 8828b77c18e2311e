# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a program costs in a chain, by the way the chain is made.

Every value is a median over rounds in which all variants take turns, so that a busy moment of the
machine meets them all; `BPF_PROG_TEST_RUN` measures, its own time included.

bodies           the members' code written one after another by hand, with neither checks nor calls
inline           linked as the executor links it, counters off
inline, counted  the same with counters of every program, as it is unless told otherwise
call-global      every member a function that the kernel verifies by itself
segments         every member a kernel program, entered by a tail call of the chain's
tail calls       a root program, then every member with a tail call into a one-slot array at its end

A no-op is the least that a member can do, so it shows the price of being in a chain; counting is
an array lookup and an addition; packages are rate-limit and port-count in turn, over a TCP packet
that both let pass.  `--short` measures three lengths only.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Final, NamedTuple

from benchmarks.chain_variants import PACKET, Kind, Made, Variant, make, members
from benchmarks.report import Row, report
from services.node_executor.adapters.programs import run_packet
from shared.identifiers import Hook

SIZES: Final = (1, 2, 4, 8, 16, 32)
SHORT_SIZES: Final = (1, 16, 32)
ROUNDS: Final = 9
REPEATS: Final = 100_000
KINDS: Final[Mapping[Hook, tuple[Kind, ...]]] = {
    "xdp": ("no-op", "counting", "package"),
    "tc-ingress": ("no-op", "package"),
}
LINKED: Final[tuple[Variant, ...]] = ("inline", "inline, counted", "call-global", "segments")

NO_OP_TARGET_NS: Final = 0.5
TAIL_CALL_TARGET: Final = 5.0
TAIL_CALL_LENGTH: Final = 16
COUNTED_CHAIN_TARGET_NS: Final = 4.0
COUNTED_SLOT_TARGET_NS: Final = 0.5
SMALLEST_NS: Final = 0.5
"""Less than this cannot be told from nothing, so no ratio is made of it."""


class Case(NamedTuple):
    """One chain that is measured."""

    hook: Hook
    kind: Kind
    variant: Variant
    size: int


Found = dict[Case, float]


def variants(kind: Kind) -> tuple[Variant, ...]:
    """In which ways chains of that kind are made."""
    bare: tuple[Variant, ...] = () if kind == "package" else ("bodies",)
    return (*bare, *LINKED, "tail calls")


def measure(sizes: tuple[int, ...]) -> tuple[Found, dict[Case, int]]:
    """Nanoseconds for one packet through the whole chain, and how many programs it became."""
    with ExitStack() as held:
        made: dict[Case, Made] = {}
        for hook, kinds in KINDS.items():
            for kind in kinds:
                for size in sizes:
                    sources = members(kind, hook, size)
                    for variant in variants(kind):
                        case = Case(hook, kind, variant, size)
                        made[case] = make(variant, sources, hook, held)
        taken: dict[Case, list[int]] = {case: [] for case in made}
        for _ in range(ROUNDS):
            for case, one in made.items():
                done = run_packet(one.program, PACKET, repeat=REPEATS)
                taken[case].append(done.duration_ns)
        segments = {
            case: len(one.chain.segments) for case, one in made.items() if one.chain is not None
        }
    return {case: statistics.median(values) for case, values in taken.items()}, segments


def rows(found: Found, segments: Mapping[Case, int]) -> list[Row]:
    """Every chain, then what is promised."""
    listed = []
    for case, value in found.items():
        programs = f"{case.size} {case.kind}{'s' if case.size > 1 else ''}"
        kernel_programs = segments.get(case, 1)
        cut = "" if case.variant == "segments" or kernel_programs == 1 else f" ({kernel_programs})"
        listed.append(
            Row(f"{_short(case.hook)}, {programs}, {case.variant}{cut}", value, "ns/packet")
        )
    for hook in KINDS:
        listed += _promises(found, hook)
    for hook in KINDS:
        listed += _comparisons(found, hook)
    return listed


def _promises(found: Found, hook: Hook) -> list[Row]:
    last = max(case.size for case in found)
    name = _short(hook)

    def at(variant: Variant, size: int) -> float:
        return found[Case(hook, "no-op", variant, size)]

    def each(variant: Variant) -> float:
        return (at(variant, last) - at(variant, 1)) / (last - 1)

    alone = at("bodies", 1)
    inline = max(at("inline", TAIL_CALL_LENGTH) - alone, SMALLEST_NS)
    counted = max(at("inline, counted", TAIL_CALL_LENGTH) - alone, SMALLEST_NS)
    tail_calls = at("tail calls", TAIL_CALL_LENGTH) - alone
    return [
        Row(f"{name}, one more no-op inline", each("inline"), "ns", target=NO_OP_TARGET_NS),
        Row(
            f"{name}, counters, a chain",
            at("inline, counted", 1) - at("inline", 1),
            "ns",
            target=COUNTED_CHAIN_TARGET_NS,
        ),
        Row(
            f"{name}, counters, one more program",
            each("inline, counted") - each("inline"),
            "ns",
            target=COUNTED_SLOT_TARGET_NS,
        ),
        Row(
            f"{name}, tail calls over inline, overhead of {TAIL_CALL_LENGTH} no-ops",
            tail_calls / inline,
            "times",
            target=TAIL_CALL_TARGET,
            at_least=True,
        ),
        Row(f"{name}, tail calls over inline and counted, the same", tail_calls / counted, "times"),
    ]


def _comparisons(found: Found, hook: Hook) -> list[Row]:
    """What one more program costs in each variant."""
    last = max(case.size for case in found)
    listed = []
    for kind in KINDS[hook]:
        each = {
            variant: (found[Case(hook, kind, variant, last)] - found[Case(hook, kind, variant, 1)])
            / (last - 1)
            for variant in variants(kind)
        }
        listed += [
            Row(f"{_short(hook)}, one more {kind}, {variant}", value, "ns")
            for variant, value in each.items()
        ]
    return listed


def _short(hook: Hook) -> str:
    return "XDP" if hook == "xdp" else "TC"


def main() -> None:
    """Measure all and print."""
    found, segments = measure(SHORT_SIZES if "--short" in sys.argv[1:] else SIZES)
    report("chain_overhead", rows(found, segments))


if __name__ == "__main__":
    main()
