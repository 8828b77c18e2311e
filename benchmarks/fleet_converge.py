# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A thousand nodes with simulated kernels: from "accepted" until every node has confirmed.

Everything runs on this machine: nats-server that syncs every write, catalog, scheduler, auditor,
and node executors in two processes, each node with its own connection, key and permissions.  It is
over when the scheduler has read from each node's record that it runs the deployment.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from benchmarks.report import Row, report

NODES: Final = 1000
SHORT_NODES: Final = 100
PROCESSES: Final = 2
TARGET_SECONDS: Final = 5.0
COMMAND: Final = Path(sys.executable).parent / "l3af"


def main() -> None:
    """Simulate, deploy, and print what the command measured."""
    nodes = SHORT_NODES if "--short" in sys.argv[1:] else NODES
    words = ("--nodes", str(nodes), "--processes", str(PROCESSES), "--json")
    ended = subprocess.run(
        [COMMAND, "sim", "fleet", *words], check=False, capture_output=True, text=True
    )
    if ended.returncode != 0:
        raise SystemExit(ended.stderr)
    report("fleet_converge", rows_of(json.loads(ended.stdout), nodes))


def rows_of(done: dict[str, Any], nodes: int) -> list[Row]:
    """Of one run."""
    deployed = done["deployed"]
    what = f"{nodes} nodes"
    rows = [
        Row(
            f"{what} registered, from the start of their processes", done["registered_seconds"], "s"
        ),
        Row(f"{what}: staged and accepted", deployed["accepted_seconds"], "s"),
        Row(
            f"{what}: accepted to all confirmed",
            deployed["converged_seconds"],
            "s",
            TARGET_SECONDS,
        ),
    ]
    rows += [
        Row(f"  processor time of {name}", spent, "s")
        for name, spent in deployed["cpu_seconds"].items()
    ]
    rows += [
        Row(f"  resident memory of {name}", use["resident_mib"], "MiB")
        for name, use in done["used"].items()
    ]
    return rows


if __name__ == "__main__":
    main()
