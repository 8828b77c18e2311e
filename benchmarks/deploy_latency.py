# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""From the `deploy` request to "attached and read back": one node, one program, warm cache.

Real processes, a real nats-server that syncs every write, the real kernel.  The end of a deploy is
the node's `chain.attach` event, which it publishes after reading the kernel back.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import statistics
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Final

import msgspec
from rich.console import Console

from benchmarks.report import Row, report
from demo.narration import Narrator
from demo.small_package import write_package
from demo.stage import ROOT, Stage, running_services
from lab.hosts import create_lab
from shared.adapters.bus import Bus, connect
from shared.contracts.base import EVENTS
from shared.contracts.events import PUBLIC, Event
from shared.contracts.scheduler import (
    APPLY_DEPLOYMENT,
    REMOVE_DEPLOYMENT,
    ApplyDeployment,
    DeploymentSpec,
    NodeSelector,
    RemoveDeployment,
)

ROUNDS: Final = 60
WARM_UP: Final = 5
PREFIX: Final = "l3afbench"
PINS: Final = Path("/sys/fs/bpf/l3af-bench")
P50_TARGET_MS: Final = 25.0
P99_TARGET_MS: Final = 100.0
KERNEL_BTF_SOURCE: Final = """\
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
struct task_struct { int pid; } __attribute__((preserve_access_index));
SEC("xdp") int needs_btf(struct xdp_md *ctx)
{
	return bpf_core_field_exists(struct task_struct, pid) ? XDP_PASS : XDP_ABORTED;
}
char LICENSE[] SEC("license") = "Dual BSD/GPL";
"""


class Steps:
    """When which event of which command arrived, by this process' clock."""

    def __init__(self) -> None:
        self._arrived: dict[tuple[str, str], asyncio.Future[float]] = {}

    async def on_event(self, _subject: str, data: bytes) -> None:
        """Note the arrival."""
        body = msgspec.json.decode(data, type=Event).data
        future = self.of(body.correlation, body.action)
        if not future.done():
            future.set_result(perf_counter())

    def of(self, command_id: str, action: str) -> asyncio.Future[float]:
        """The moment that step was seen, now or later."""
        key = (command_id, action)
        if key not in self._arrived:
            self._arrived[key] = asyncio.get_running_loop().create_future()
        return self._arrived[key]


async def measure(bus: Bus, steps: Steps, *, package: str) -> dict[str, list[float]]:
    """Milliseconds to the reply, to the node's first step and to the end, for every round."""
    spec = DeploymentSpec(
        name=f"bench-{package}",
        package=package,
        program=package,
        hook="xdp",
        interfaces=("data0",),
        nodes=NodeSelector(names=("host-1",)),
    )
    found: dict[str, list[float]] = {"reply": [], "requested": [], "attached": []}
    for number in range(ROUNDS + WARM_UP):
        command_id = f"bench-{package}-{number:06d}"
        started = perf_counter()
        await bus.request(
            APPLY_DEPLOYMENT, ApplyDeployment(command_id=command_id, spec=spec), timeout_seconds=30
        )
        replied = perf_counter()
        async with asyncio.timeout(30):
            requested = await steps.of(command_id, "chain.request")
            attached = await steps.of(command_id, "chain.attach")
        if number >= WARM_UP:
            for phase, moment in (
                ("reply", replied),
                ("requested", requested),
                ("attached", attached),
            ):
                found[phase].append((moment - started) * 1e3)
        removal = f"{command_id}-off"
        await bus.request(
            REMOVE_DEPLOYMENT,
            RemoveDeployment(command_id=removal, name=spec.name),
            timeout_seconds=30,
        )
        async with asyncio.timeout(30):
            await steps.of(removal, "chain.detach")
    return found


def rows_of(found: dict[str, list[float]], *, kind: str) -> list[Row]:
    """Medians of the phases, and the 99th percentile of the whole."""
    rows = [
        Row(f"{kind}: request to {phase}, p50", statistics.median(values), "ms")
        for phase, values in found.items()
        if phase != "attached"
    ]
    whole = found["attached"]
    p99 = statistics.quantiles(whole, n=100, method="inclusive")[98]
    plain = kind == "plain"
    return [
        *rows,
        Row(
            f"{kind}: request to attached and read back, p50",
            statistics.median(whole),
            "ms",
            target=P50_TARGET_MS if plain else None,
        ),
        Row(
            f"{kind}: request to attached and read back, p99",
            p99,
            "ms",
            target=P99_TARGET_MS if plain else None,
        ),
    ]


async def run(stage: Stage) -> list[Row]:
    """Both kinds of program."""
    credentials = stage.installation / "credentials" / "principals" / "admin"
    async with connect(credentials) as bus:
        steps = Steps()
        await bus.subscribe(f"{EVENTS}.{PUBLIC}.node.>", steps.on_event)
        plain = await measure(bus, steps, package="port-count")
        kernel_btf = await measure(bus, steps, package="needs-btf")
    return [*rows_of(plain, kind="plain"), *rows_of(kernel_btf, kind="kernel BTF")]


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
        stage.must("package", "publish", str(ROOT / "packages" / "port-count"))
        stage.must(
            "package",
            "publish",
            str(write_package(folder, name="needs-btf", source=KERNEL_BTF_SOURCE)),
        )
        rows = asyncio.run(run(stage))
    report("deploy_latency", rows)


if __name__ == "__main__":
    main()
