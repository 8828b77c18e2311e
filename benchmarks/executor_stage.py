# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A whole system with one node, for benchmarks of its executor, and chains on many hook points."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from pyroute2 import NetNS
from rich.console import Console

from benchmarks.report import Row
from demo.narration import Narrator
from demo.stage import ROOT, Stage, running_services
from lab.hosts import create_lab
from shared.adapters.bus import Bus, connect
from shared.contracts.deployments import DeploymentSpec
from shared.contracts.node import GET_CHAINS, GetChains
from shared.contracts.scheduler import APPLY_DEPLOYMENT, ApplyDeployment
from shared.contracts.selectors import NodeShare
from shared.identifiers import Hook

DEADLINE_SECONDS: Final = 60.0
HOOKS: Final[tuple[tuple[Hook, str], ...]] = (
    ("xdp", "port-count"),
    ("tc-ingress", "port-count-tc"),
)
"""Each hook of an interface gets this program."""
_STEM: Final = "many"
_KINDS: Final = ("Rss", "Pss")


@contextmanager
def one_node(prefix: str, *, interfaces: int = 0) -> Iterator[Stage]:
    """A system with host-1, whose namespace has so many interfaces more; all gone afterwards."""
    pins = Path(f"/sys/fs/bpf/{prefix}")
    os.environ["NODE_EXECUTOR_BPFFS_DIR"] = str(pins)
    with ExitStack() as cleanup:
        cleanup.callback(shutil.rmtree, pins, ignore_errors=True)
        lab = cleanup.enter_context(create_lab(prefix, 1))
        with NetNS(lab.hosts[0].namespace) as route:
            for number in range(0, interfaces, 2):
                ends = f"{_STEM}{number}", f"{_STEM}{number + 1}"
                route.link("add", ifname=ends[0], kind="veth", peer=ends[1])
                for name in ends:
                    route.link("set", index=route.link_lookup(ifname=name)[0], state="up")
        folder = Path(cleanup.enter_context(TemporaryDirectory(prefix="l3af-bench-")))
        stage = Stage(folder=folder, lab=lab, narrator=Narrator(Console(quiet=True), steps=1))
        stage.must("init", str(stage.installation), "--listen", f"{lab.management_address}:4222")
        cleanup.enter_context(running_services(stage))
        for name in ("port-count", "rate-limit"):
            stage.must("package", "publish", str(ROOT / "packages" / name))
        yield stage


def executor_pid(stage: Stage) -> int:
    """The process of host-1's executor."""
    return int((stage.installation / "run" / "node_executor-host-1.pid").read_text())


def memory_rows(case: str, pid: int, *, target_mb: float) -> list[Row]:
    """RSS and PSS of a process in units of a million bytes."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    return [
        Row(f"{case}: {kind.upper()}", int(fields[kind].split()[0]) * 1024 / 1e6, "MB", target_mb)
        for kind in _KINDS
    ]


def chains_everywhere(stage: Stage, *, interfaces: int) -> None:
    """Each hook of each of these interfaces runs a chain of its own."""
    asyncio.run(_deploy_everywhere(stage, interfaces * len(HOOKS)))


async def _deploy_everywhere(stage: Stage, chains: int) -> None:
    async with connect(stage.installation / "credentials" / "principals" / "admin") as bus:
        for hook, program in HOOKS:
            spec = DeploymentSpec(
                name=program,
                package="port-count",
                program=program,
                hook=hook,
                interfaces=(f"{_STEM}*",),
                nodes=NodeShare(names=("host-1",)),
            )
            request = ApplyDeployment(spec=spec)
            await bus.request(APPLY_DEPLOYMENT, request, timeout_seconds=DEADLINE_SECONDS)
        async with asyncio.timeout(DEADLINE_SECONDS):
            while await _attached(bus) < chains:
                await asyncio.sleep(0.5)


async def _attached(bus: Bus) -> int:
    shown = await bus.request(GET_CHAINS.at(node="host-1"), GetChains(), timeout_seconds=30)
    return sum(one.chain.state == "attached" for one in shown.chains)
