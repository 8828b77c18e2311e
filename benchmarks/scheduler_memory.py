# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What memory a scheduler takes with a hundred, a thousand and ten thousand nodes.

A real process that read the records of all nodes from the bus: inventory with what the kernel can
do, desired record and observed record, with one deployment on every node and with five.
"""

from __future__ import annotations

import sys
import time
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from benchmarks.many_nodes import many_nodes
from benchmarks.report import Row, report

SIZES: Final = (100, 1_000, 10_000)
DEPLOYMENTS: Final = (1, 5)
TARGET_MIB: Final = 400.0
SETTLED_SECONDS: Final = 3.0
"""After it answers: its first comparison of everything is over by then."""
_KIB: Final = 1024


def main() -> None:
    """Start one for each size, and look."""
    sizes = SIZES[:2] if "--short" in sys.argv[1:] else SIZES
    rows = [row for count in DEPLOYMENTS for row in measured(sizes, count)]
    report("scheduler_memory", rows)


def measured(sizes: tuple[int, ...], deployments: int) -> list[Row]:
    """Memory by number of nodes, and what one more node takes between neighbouring sizes."""
    found = [(nodes, resident_mib(nodes, deployments)) for nodes in sizes]
    what = f"{deployments} deployment{'s' if deployments > 1 else ''}"
    rows = [
        Row(f"{nodes} nodes, {what}", mib, "MiB", TARGET_MIB if nodes == SIZES[-1] else None)
        for nodes, mib in found
    ]
    for (fewer, less), (more, greater) in pairwise(found):
        each = (greater - less) * _KIB / (more - fewer)
        rows.append(Row(f"  for each node from {fewer} to {more}, {what}", each, "KiB"))
    return rows


def resident_mib(nodes: int, deployments: int) -> float:
    """Of a scheduler that is at rest (VmRSS in proc(5))."""
    with (
        TemporaryDirectory(prefix="l3af-bench-") as folder,
        many_nodes(Path(folder), nodes, deployments=deployments) as made,
    ):
        time.sleep(SETTLED_SECONDS)
        status = Path(f"/proc/{made.scheduler}/status").read_text()
    (line,) = (one for one in status.splitlines() if one.startswith("VmRSS"))
    return int(line.split()[1]) / _KIB


if __name__ == "__main__":
    main()
