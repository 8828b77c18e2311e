# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a node executor holds in memory: idle, with eight programs in one chain, with fifty chains.

RSS counts shared pages in full, PSS its part of them (Documentation/filesystems/proc.rst,
smaps_rollup).  A package of C source for bcc is compiled by a process of its own, whose peak is
reported apart; what it leaves in the executor is part of the last rows.
"""

from __future__ import annotations

import asyncio
import re
import shutil
from pathlib import Path
from typing import Final

from benchmarks.executor_stage import (
    HOOKS,
    chains_everywhere,
    executor_pid,
    memory_rows,
    one_node,
)
from benchmarks.report import Row, report
from demo.stage import ROOT, Stage
from shared.adapters.bus import Bus, connect
from shared.contracts.deployments import DeploymentSpec
from shared.contracts.node import GET_CHAINS, GetChains
from shared.contracts.scheduler import APPLY_DEPLOYMENT, ApplyDeployment
from shared.contracts.selectors import NodeShare

PROGRAMS: Final = 8
CHAINS: Final = 52
"""On both hooks of an even number of interfaces."""
PREFIX: Final = "l3afmem"
TARGET_MB: Final = 90.0
DEADLINE_SECONDS: Final = 30.0


async def deploy_programs(stage: Stage) -> None:
    """A chain of PROGRAMS programs runs on host-1."""
    credentials = stage.installation / "credentials" / "principals" / "admin"
    async with connect(credentials) as bus:
        for number in range(PROGRAMS):
            spec = DeploymentSpec(
                name=f"memory-{number}",
                package=("port-count", "rate-limit")[number % 2],
                hook="xdp",
                interfaces=("data0",),
                nodes=NodeShare(names=("host-1",)),
                order=10 * number,
            )
            await bus.request(APPLY_DEPLOYMENT, ApplyDeployment(spec=spec), timeout_seconds=30)
        async with asyncio.timeout(DEADLINE_SECONDS):
            while await running_programs(bus) < PROGRAMS:
                await asyncio.sleep(0.05)


async def running_programs(bus: Bus) -> int:
    """How many bodies the node's one chain has now."""
    shown = await bus.request(GET_CHAINS.at(node="host-1"), GetChains())
    return sum(len(one.chain.programs) for one in shown.chains)


async def deploy_source(stage: Stage) -> None:
    """One more program runs on host-1, which the node compiles before."""
    credentials = stage.installation / "credentials" / "principals" / "admin"
    async with connect(credentials) as bus:
        spec = DeploymentSpec(
            name="memory-source",
            package="port-gate",
            hook="xdp",
            interfaces=("data0",),
            nodes=NodeShare(names=("host-1",)),
            order=10 * PROGRAMS,
        )
        await bus.request(APPLY_DEPLOYMENT, ApplyDeployment(spec=spec), timeout_seconds=60)
        async with asyncio.timeout(DEADLINE_SECONDS):
            while await running_programs(bus) <= PROGRAMS:
                await asyncio.sleep(0.05)


def compiler_peak_mb(stage: Stage) -> float:
    """What the compiler's process held at most, as the executor logged it."""
    logs = "".join(path.read_text() for path in stage.installation.rglob("*.log"))
    found = re.search(r'"peak_bytes": ?(\d+)', logs)
    if found is None:
        raise SystemExit("executor_memory: nothing was compiled")
    return int(found[1]) / 1e6


def source_package(folder: Path) -> Path:
    """The folder of a package of C source for bcc."""
    shutil.copytree(ROOT / "tests" / "bcc", folder)
    shutil.copytree(ROOT / "packages" / "port-count" / "LICENSES", folder / "LICENSES")
    return folder


def main() -> None:
    """Raise a lab and a whole system, measure, and leave nothing behind."""
    with one_node(PREFIX) as stage:
        package = source_package(stage.folder / "port-gate")
        stage.must("package", "publish", str(package))
        pid = executor_pid(stage)
        rows = memory_rows("idle", pid, target_mb=TARGET_MB)
        asyncio.run(deploy_programs(stage))
        rows += memory_rows(f"{PROGRAMS} programs", pid, target_mb=TARGET_MB)
        asyncio.run(deploy_source(stage))
        rows += memory_rows("and one from C source for bcc", pid, target_mb=TARGET_MB)
        peak_mb = compiler_peak_mb(stage)
    with one_node(PREFIX, interfaces=CHAINS // len(HOOKS)) as stage:
        chains_everywhere(stage, interfaces=CHAINS // len(HOOKS))
        rows += memory_rows(f"{CHAINS} chains", executor_pid(stage), target_mb=TARGET_MB)
    rows.append(Row("the compiler's process: peak RSS", peak_mb, "MB"))
    report("executor_memory", rows)


if __name__ == "__main__":
    main()
