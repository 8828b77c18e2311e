# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""How long a change of a chain takes: from object files in memory to the program on the hook.

Chains of rate-limit and port-count in turn, each instance with maps of its own, so long chains are
several kernel programs.  Phases of one change, medians over rounds:

parse   the object file is read; kept by the digest of its bytes, so mostly nothing
load    every program alone through libbpf: maps made, verified by itself
probe   whether it reads stack that it did not write; kept too
plan    planning and emission, nothing but Python
link    BTF joined and loaded, the linked programs verified and loaded
swap    the link runs the new program; XDP waits for a grace period, which is told apart

First: a process that has seen none of the objects; everything else: the next changes.  "Outside
the kernel" is the share of Python, libbpf's own work included, in the processor time of parse to
link and of giving everything up again.
"""

from __future__ import annotations

import os
import resource
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from time import perf_counter_ns
from typing import Final

from pyroute2 import IPRoute

from benchmarks.chain_variants import members
from benchmarks.report import Row, report
from services.node_executor.adapters import hooks
from services.node_executor.adapters.chain import link_chain
from services.node_executor.adapters.grace_periods import ExpeditedGracePeriods
from shared.identifiers import Hook

SIZES: Final = (1, 8, 64)
ROUNDS: Final = {1: 60, 8: 30, 64: 9}
SWAPS: Final = 41
SHARE_SIZE: Final = 8
SHARE_TARGET_PERCENT: Final = 30.0
MILLISECOND_NS: Final = 1_000_000
SWAP_TARGET_MS: Final = 1.0


def measure_links(size: int) -> list[Row]:
    """The phases up to the loaded program."""
    sources = members("package", "xdp", size)
    named = f"{size} program{'s' if size > 1 else ''}"
    with link_chain(sources, "xdp", name="first") as chain:
        listed = [Row(f"{named}, first, all phases", sum(chain.durations_ms.values()), "ms")]
        named += f" in {len(chain.segments)}" if len(chain.segments) > 1 else ""
    phases: dict[str, list[float]] = {}
    before = resource.getrusage(resource.RUSAGE_SELF)
    for _ in range(ROUNDS[size]):
        with link_chain(sources, "xdp", name="then") as chain:
            for phase, duration in chain.durations_ms.items():
                phases.setdefault(phase, []).append(duration)
    after = resource.getrusage(resource.RUSAGE_SELF)
    listed += [
        Row(f"{named}, {phase}", statistics.median(values), "ms")
        for phase, values in phases.items()
    ]
    totals = [sum(values) for values in zip(*phases.values(), strict=True)]
    outside, inside = after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime
    return [
        *listed,
        Row(f"{named}, all phases", statistics.median(totals), "ms"),
        Row(
            f"{named}, outside the kernel",
            100 * outside / (outside + inside),
            "%",
            target=SHARE_TARGET_PERCENT if size == SHARE_SIZE else None,
        ),
    ]


def measure_swaps(hook: Hook, size: int, *, is_expedited: bool) -> Row:
    """From the running program to another one of the same length, and back, and so on."""
    sources = members("package", hook, size)
    taken = []
    with (
        a_wire() as index,
        tempfile.TemporaryDirectory() as directory,
        link_chain(sources, hook, name="one") as one,
        link_chain(sources, hook, name="other") as other,
    ):
        short = ExpeditedGracePeriods(Path(directory) / "marker", is_allowed=is_expedited)
        with hooks.attach(one.program, index, hook, hook_point="benchmark").link as link:
            present, following = one, other
            for _ in range(SWAPS):
                started = perf_counter_ns()
                with short() if is_expedited else nullcontext():
                    hooks.replace_program(link, following.program, expected_id=present.info.id)
                taken.append((perf_counter_ns() - started) / MILLISECOND_NS)
                present, following = following, present
    way = {"xdp": "XDP swap"}.get(hook, "TCX swap")
    how = " with expedited grace periods" if is_expedited else ""
    is_promised = hook != "xdp" or is_expedited
    return Row(
        f"{size} programs, {way}{how}",
        statistics.median(taken),
        "ms",
        target=SWAP_TARGET_MS if is_promised else None,
    )


@contextmanager
def a_wire() -> Iterator[int]:
    """The index of one end of a veth pair that is gone afterwards."""
    name = f"l3b{os.getpid() % 1_000_000}"
    with IPRoute() as route:
        route.link("add", ifname=f"{name}a", kind="veth", peer=f"{name}b")
        index: int = route.link_lookup(ifname=f"{name}a")[0]
        try:
            for end in ("a", "b"):
                found = route.link_lookup(ifname=f"{name}{end}")[0]
                route.link("set", index=found, state="up")
            yield index
        finally:
            route.link("del", index=index)


def measure() -> Sequence[Row]:
    """Every row."""
    rows = [row for size in SIZES for row in measure_links(size)]
    rows += [
        measure_swaps("xdp", SHARE_SIZE, is_expedited=False),
        measure_swaps("xdp", SHARE_SIZE, is_expedited=True),
        measure_swaps("tc-ingress", SHARE_SIZE, is_expedited=False),
    ]
    return rows


def main() -> None:
    """Measure all and print."""
    report("link_latency", measure())


if __name__ == "__main__":
    main()
