# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a node executor holds in memory: idle, and with eight programs linked into one chain.

RSS counts shared pages in full, PSS its part of them (Documentation/filesystems/proc.rst,
smaps_rollup).  A package of C source for bcc is compiled by a process of its own, whose peak is
reported apart; what it leaves in the executor is part of the last rows.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from rich.console import Console

from benchmarks.report import Row, report
from demo.narration import Narrator
from demo.stage import ROOT, Stage, running_services
from lab.hosts import create_lab
from shared.adapters.bus import Bus, connect
from shared.contracts.node import GET_CHAINS, GetChains
from shared.contracts.scheduler import (
    APPLY_DEPLOYMENT,
    ApplyDeployment,
    DeploymentSpec,
    NodeSelector,
)

PROGRAMS: Final = 8
PREFIX: Final = "l3afmem"
PINS: Final = Path("/sys/fs/bpf/l3af-memory")
TARGET_MB: Final = 90.0
DEADLINE_SECONDS: Final = 30.0
_KINDS: Final = ("Rss", "Pss")


def executor_pid() -> int:
    """The process that was started with our pin directory."""
    wanted = f"NODE_EXECUTOR_BPFFS_DIR={PINS}".encode()
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal():
            continue
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
            environment = (folder / "environ").read_bytes().split(b"\0")
        except OSError:  # because processes come and go
            continue
        is_python = b"python" in words[0]
        if is_python and b"services.node_executor" in words and wanted in environment:
            return int(folder.name)
    raise SystemExit("executor_memory: no node executor runs")


def memory_mb(pid: int) -> dict[str, float]:
    """RSS and PSS in units of a million bytes."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    return {kind: int(fields[kind].split()[0]) * 1024 / 1e6 for kind in _KINDS}


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
                nodes=NodeSelector(names=("host-1",)),
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
            nodes=NodeSelector(names=("host-1",)),
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
    os.environ["NODE_EXECUTOR_BPFFS_DIR"] = str(PINS)
    with ExitStack() as cleanup:
        cleanup.callback(shutil.rmtree, PINS, ignore_errors=True)
        lab = cleanup.enter_context(create_lab(PREFIX, 1))
        folder = Path(cleanup.enter_context(TemporaryDirectory(prefix="l3af-bench-")))
        stage = Stage(folder=folder, lab=lab, narrator=Narrator(Console(quiet=True), steps=1))
        stage.must("init", str(stage.installation), "--listen", f"{lab.management_address}:4222")
        cleanup.enter_context(running_services(stage))
        for name in ("port-count", "rate-limit"):
            stage.must("package", "publish", str(ROOT / "packages" / name))
        stage.must("package", "publish", str(source_package(folder / "port-gate")))
        pid = executor_pid()
        idle = memory_mb(pid)
        asyncio.run(deploy_programs(stage))
        loaded = memory_mb(pid)
        asyncio.run(deploy_source(stage))
        compiled = memory_mb(pid)
        peak_mb = compiler_peak_mb(stage)
    cases = (
        ("idle", idle),
        (f"{PROGRAMS} programs", loaded),
        ("and one from C source for bcc", compiled),
    )
    rows = [
        Row(f"{case}: {kind.upper()}", found[kind], "MB", target=TARGET_MB)
        for case, found in cases
        for kind in _KINDS
    ]
    rows.append(Row("the compiler's process: peak RSS", peak_mb, "MB"))
    report("executor_memory", rows)


if __name__ == "__main__":
    main()
