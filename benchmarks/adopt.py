# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""How long an executor takes from the start of its process until its chains are confirmed.

Confirmed: every hook point was read from the kernel, is known to the journal, and runs what is
desired.  The executor is killed and started again by its supervisor, which is not in the time.
After a reboot the same chains are linked from archives that are on the disk; there is no promise.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any, Final

from benchmarks.executor_stage import HOOKS, chains_everywhere, executor_pid, one_node
from benchmarks.report import Row, report
from demo.stage import Stage

INTERFACES: Final = 26
CHAINS: Final = INTERFACES * len(HOOKS)
RUNS: Final = 3
TARGET_MS: Final = 1000.0
DEADLINE_SECONDS: Final = 60.0
PREFIX: Final = "l3afadopt"


def started_at(pid: int) -> float:
    """When the process was made, in seconds since 1970 (proc(5), field 22)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    since_boot = int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return (
        time.clock_gettime(time.CLOCK_REALTIME)
        - time.clock_gettime(time.CLOCK_BOOTTIME)
        + since_boot
    )


def said(stage: Stage, after: float) -> dict[str, float]:
    """The first moment at which the executor logged each of its words, in seconds since 1970."""
    moments: dict[str, float] = {}
    for line in (stage.installation / "logs" / "node_executor-host-1.log").read_text().splitlines():
        try:
            entry: dict[str, Any] = json.loads(line)
        except ValueError:  # because a line may be half written
            continue
        moment = datetime.fromisoformat(entry["timestamp"]).timestamp()
        is_settled = entry["event"] != "settled" or entry["hook_points"] == CHAINS
        if moment >= after and is_settled:
            moments.setdefault(entry["event"], moment)
    return moments


def restarted(stage: Stage, prepare: Callable[[], None]) -> dict[str, float]:
    """The executor is killed, `prepare` is called, and it is back: milliseconds to each word."""
    before = executor_pid(stage)
    killed_at = time.clock_gettime(time.CLOCK_REALTIME)
    os.kill(before, signal.SIGKILL)
    prepare()
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        time.sleep(0.05)
        moments = said(stage, killed_at)
        if "settled" in moments and "serving" in moments:
            start = started_at(executor_pid(stage))
            return {word: 1000 * (moment - start) for word, moment in moments.items()}
    raise SystemExit("adopt: the executor did not confirm its chains")


def remove_pins() -> None:
    """As a reboot does: nothing is pinned, and nothing is attached."""
    base = Path(f"/sys/fs/bpf/{PREFIX}")
    for path in sorted(base.rglob("*"), reverse=True):
        if path.is_symlink() or not path.is_dir():
            path.unlink()
    for path in sorted(base.rglob("*"), reverse=True):
        path.rmdir()


def main() -> None:
    """Raise a system, kill its executor, measure, and leave nothing behind."""
    os.environ["NODE_EXECUTOR_LOG_LEVEL"] = "debug"
    with one_node(PREFIX, interfaces=INTERFACES) as stage:
        chains_everywhere(stage, interfaces=INTERFACES)
        adopting = [restarted(stage, lambda: None) for _ in range(RUNS)]
        rebooting = restarted(stage, remove_pins)
    rows = [
        Row(
            f"{CHAINS} chains: {case}",
            median(run[word] for run in adopting),
            "ms",
            target,
        )
        for case, word, target in (
            ("adopted", "adopted", None),
            ("confirmed", "settled", TARGET_MS),
            ("requests are answered", "serving", None),
        )
    ]
    rows.append(Row(f"{CHAINS} chains: linked anew after a reboot", rebooting["settled"], "ms"))
    report("adopt", rows)


if __name__ == "__main__":
    main()
