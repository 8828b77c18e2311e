# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""How much of one processor a scheduler takes for ten thousand nodes that only say they are there.

A real process that read the records of all nodes from the bus; each node's heartbeat comes every
ten seconds, spread evenly.  The comparison of everything, each half minute, is part of it.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from benchmarks.many_nodes import ManyNodes, connect_as, many_nodes
from benchmarks.report import Row, report
from shared.adapters.bus import Bus
from shared.contracts.node import HEARTBEAT, HEARTBEAT_SECONDS, Heartbeat

NODES: Final = 10_000
SHORT_NODES: Final = 1_000
WARM_UP_SECONDS: Final = 15.0
SECONDS: Final = 60.0
TARGET_PERCENT: Final = 40.0
SLICE_SECONDS: Final = 0.05
_TICKS: Final = os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Measure and print."""
    nodes = SHORT_NODES if "--short" in sys.argv[1:] else NODES
    with (
        TemporaryDirectory(prefix="l3af-bench-") as folder,
        many_nodes(Path(folder), nodes, deployments=1) as made,
    ):
        percent, beats = asyncio.run(measured(made))
    each_second = beats / SECONDS
    report(
        "scheduler_heartbeats",
        [
            Row("heartbeats a second", each_second, ""),
            Row(f"{nodes} nodes: of one processor", percent, "%", TARGET_PERCENT),
        ],
    )


async def measured(made: ManyNodes) -> tuple[float, int]:
    """Share of one processor, and the heartbeats that were said meanwhile."""
    async with connect_as(made.everything) as bus:
        beating = asyncio.create_task(_beat(bus, made))
        await asyncio.sleep(WARM_UP_SECONDS)
        before = _cpu_seconds(made.scheduler)
        await asyncio.sleep(SECONDS)
        spent = _cpu_seconds(made.scheduler) - before
        beating.cancel()
    return 100 * spent / SECONDS, round(SECONDS * len(made.names) / HEARTBEAT_SECONDS)


async def _beat(bus: Bus, made: ManyNodes) -> None:
    """Every node's heartbeat in turn, for ever."""
    loop = asyncio.get_running_loop()
    began, said = loop.time(), 0
    while True:
        due = int((loop.time() - began) * len(made.names) / HEARTBEAT_SECONDS)
        for number in range(said, due):
            name = made.names[number % len(made.names)]
            beat = Heartbeat(
                node=name, at="", desired_generation=1, chains_attached=1, chains_failed=0
            )
            await bus.publish(HEARTBEAT.at(node=name), beat)
        said = due
        await asyncio.sleep(SLICE_SECONDS)


def _cpu_seconds(pid: int) -> float:
    """As proc(5) has it."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


if __name__ == "__main__":
    main()
