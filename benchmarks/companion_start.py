# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""How long a companion takes from the wish to running, and what its supervisor costs.

Each start has control groups, a user id, a mount table and a map of its own, and its two events are
on the disk.
"""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from benchmarks.report import Row, report
from services.node_executor.adapters.kernel_info import map_info
from shared.contracts.companions import AskEvents, CompanionSpec, Events
from tests.support.companion_supervisor import SupervisorProcess, a_spec, a_supervisor
from tests.support.hand_linked import a_kernel

STARTS: Final = 40
TOGETHER: Final = 32
TARGET_MILLISECONDS: Final = 50.0


def until_started(supervisor: SupervisorProcess, since: int, count: int) -> int:
    """The number of the last event, when so many have become ready since."""
    while count:
        reply = supervisor.ask(AskEvents(since=since, wait_seconds=10))
        assert isinstance(reply, Events)
        for event in reply.events:
            since = event.number
            count -= event.kind == "ready"
    return since


def one_by_one(supervisor: SupervisorProcess, spec: CompanionSpec) -> list[float]:
    """Milliseconds from the request to the event, of each."""
    measured, since = [], 0
    for number in range(STARTS):
        started = time.perf_counter()
        supervisor.apply(replace(spec, id=f"companion-{number}"))
        since = until_started(supervisor, since, 1)
        measured.append((time.perf_counter() - started) * 1000)
    return measured


def main() -> None:
    """Measure and print."""
    with a_supervisor() as supervisor, a_kernel() as kernel:
        supervisor.start()
        spec = a_spec(
            supervisor.folder, "exec sleep 1000", maps={"packets": map_info(kernel.map()).id}
        )
        singles = one_by_one(supervisor, spec)
        supervisor.apply()
        while supervisor.states().companions:
            time.sleep(0.01)
        since = supervisor.fetch()[-1].number
        started = time.perf_counter()
        supervisor.apply(*(replace(spec, id=f"together-{number}") for number in range(TOGETHER)))
        until_started(supervisor, since, TOGETHER)
        together = (time.perf_counter() - started) * 1000
        idle = processor_seconds(supervisor.pid)
        time.sleep(5)
        idle = (processor_seconds(supervisor.pid) - idle) / 5 * 100
        memory = resident_mebibytes(supervisor.pid)
        started = time.perf_counter()
        supervisor.apply()
        while supervisor.states().companions:
            time.sleep(0.005)
        stopping = (time.perf_counter() - started) * 1000
        supervisor.apply(a_spec(supervisor.folder, "exec yes 'too much'"))
        time.sleep(1)
        flood = processor_seconds(supervisor.pid)
        time.sleep(5)
        flood = (processor_seconds(supervisor.pid) - flood) / 5 * 100
    report(
        "companion_start",
        [
            Row("start, median", statistics.median(singles), "ms", TARGET_MILLISECONDS),
            Row("start, slowest", max(singles), "ms", TARGET_MILLISECONDS),
            Row(f"{TOGETHER} at once, each", together / TOGETHER, "ms", TARGET_MILLISECONDS),
            Row(f"{TOGETHER} ended at once", stopping, "ms"),
            Row("supervisor of them, resident", memory, "MiB"),
            Row("supervisor of them, at rest", idle, "% of a core", 0.5),
            Row("supervisor of one that floods its output", flood, "% of a core", 5.0),
        ],
    )


def processor_seconds(pid: int) -> float:
    """What the process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks = os.sysconf("SC_CLK_TCK")
    return (int(fields[11]) + int(fields[12])) / ticks


def resident_mebibytes(pid: int) -> float:
    """What the process holds."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


if __name__ == "__main__":
    main()
