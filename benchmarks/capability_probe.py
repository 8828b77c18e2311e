# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What it costs a node to find out what its kernel can do, once in each boot, and to remember it.

`longest piece` is how long something else waits at most for the kernel thread meanwhile.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import msgspec

from benchmarks.report import Row, report
from services.node_executor.adapters.capabilities import KernelCapabilities, probe_pieces
from services.node_executor.adapters.kernel_thread import KernelThread
from shared.adapters.logs import configure_logs

RUNS: Final = 5
TARGET_SECONDS: Final = 1.5


def probe() -> tuple[float, float, int]:
    """Seconds for all, seconds for the longest piece, bytes of the answer."""
    started = before = time.perf_counter()
    longest, size_bytes = 0.0, 0
    for found in probe_pieces():
        now = time.perf_counter()
        longest, before = max(longest, now - before), now
        if found is not None:
            size_bytes = len(msgspec.json.encode(found))
    return before - started, longest, size_bytes


async def find_twice(folder: Path) -> tuple[float, float]:
    """Seconds for the first start in a boot and for the next one."""
    thread = KernelThread()
    seconds = []
    for _ in range(2):
        path = folder / "capabilities.json"
        started = time.perf_counter()
        await KernelCapabilities(path, boot_id="boot", thread=thread).find()
        seconds.append(time.perf_counter() - started)
    thread.close()
    return seconds[0], seconds[1]


def main() -> None:
    """Measure and print."""
    configure_logs(service="benchmark", level="warning")
    runs = [probe() for _ in range(RUNS)]
    with TemporaryDirectory() as folder:
        first, again = asyncio.run(find_twice(Path(folder)))
    report(
        "capability_probe",
        [
            Row("all questions", max(run[0] for run in runs), "s", TARGET_SECONDS),
            Row("all questions, median", statistics.median(run[0] for run in runs), "s"),
            Row("longest piece", max(run[1] for run in runs) * 1000, "ms"),
            Row("first start in a boot", first, "s", TARGET_SECONDS),
            Row("later start", again * 1000, "ms"),
            Row("answer in the record", runs[0][2] / 1024, "KiB"),
        ],
    )


if __name__ == "__main__":
    main()
