# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What an executor takes of a processor while nothing changes on a hundred hook points.

Every 15 s it compares each hook point with the kernel, and every 10 s it says what its programs
counted; both are within the time that is measured.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

from benchmarks.executor_stage import HOOKS, chains_everywhere, executor_pid, one_node
from benchmarks.report import Row, report

INTERFACES: Final = 50
QUIET_SECONDS: Final = 20.0
"""After the last change, whose events and records are still on their way."""
MEASURED_SECONDS: Final = 60.0
"""Four times the period of reconciling, six times that of heartbeats."""
TARGET_PERCENT: Final = 1.0


def cpu_seconds(pid: int) -> float:
    """User and system time of the process so far (proc(5), fields 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def percent_while_idle(pid: int) -> float:
    """Of one processor."""
    time.sleep(QUIET_SECONDS)
    before, started = cpu_seconds(pid), time.monotonic()
    time.sleep(MEASURED_SECONDS)
    return 100 * (cpu_seconds(pid) - before) / (time.monotonic() - started)


def main() -> None:
    """Raise a system, measure, and leave nothing behind."""
    with one_node("l3afidle", interfaces=INTERFACES) as stage:
        pid = executor_pid(stage)
        without = percent_while_idle(pid)
        chains_everywhere(stage, interfaces=INTERFACES)
        loaded = percent_while_idle(pid)
    points = INTERFACES * len(HOOKS)
    rows = [
        Row("no hook point", without, "% of a processor", target=TARGET_PERCENT),
        Row(f"{points} hook points", loaded, "% of a processor", target=TARGET_PERCENT),
    ]
    report("reconcile_idle", rows)


if __name__ == "__main__":
    main()
