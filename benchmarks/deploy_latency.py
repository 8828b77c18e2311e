# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""From the `deploy` request to "attached and read back": one node, one program, warm cache.

Real processes, a real nats-server that syncs every write, the real kernel.  The end is the time in
the node's `chain.attach` event, which it makes after reading the kernel back.  The executor asks
for expedited grace periods while it attaches; without them both kinds take 8 to 16 ms more.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import statistics
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
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
from shared.contracts.deployments import DeploymentSpec
from shared.contracts.events import PUBLIC, Event
from shared.contracts.scheduler import (
    APPLY_DEPLOYMENT,
    REMOVE_DEPLOYMENT,
    ApplyDeployment,
    RemoveDeployment,
)
from shared.contracts.selectors import NodeShare
from shared.identifiers import Hook

ROUNDS: Final = 60
WARM_UP: Final = 5
PREFIX: Final = "l3afbench"
PINS: Final = Path("/sys/fs/bpf/l3af-bench")
READ_BACK: Final = "attached and read back"
PHASES: Final = ("reply", "node about to change the kernel", READ_BACK, "seen by a subscriber")
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


@dataclass(frozen=True, slots=True)
class Case:
    """What is deployed where."""

    name: str
    package: str
    program: str
    hook: Hook
    has_target: bool = False


CASES: Final = (
    Case("XDP", "port-count", "port-count", "xdp", has_target=True),
    Case("TC", "port-count", "port-count-tc", "tc-ingress", has_target=True),
    Case("XDP with kernel BTF", "needs-btf", "needs-btf", "xdp"),
)


class Steps:
    """When each step of a command happened: by its event's own time, and seen from here."""

    def __init__(self) -> None:
        self._steps: dict[tuple[str, str], asyncio.Future[tuple[float, float]]] = {}

    async def on_event(self, _subject: str, data: bytes) -> None:
        """Note the step."""
        event = msgspec.json.decode(data, type=Event)
        future = self.of(event.data.correlation, event.data.action)
        if not future.done():
            future.set_result((datetime.fromisoformat(event.time).timestamp(), now_seconds()))

    def of(self, command_id: str, action: str) -> asyncio.Future[tuple[float, float]]:
        """The step's two moments, now or later."""
        key = (command_id, action)
        if key not in self._steps:
            self._steps[key] = asyncio.get_running_loop().create_future()
        return self._steps[key]


def now_seconds() -> float:
    """By the clock that events carry: the same machine's."""
    return datetime.now(UTC).timestamp()


async def measure(bus: Bus, steps: Steps, case: Case) -> dict[str, list[float]]:
    """Milliseconds from the request to each phase's end, for every round."""
    spec = DeploymentSpec(
        name="bench",
        package=case.package,
        program=case.program,
        hook=case.hook,
        interfaces=("data0",),
        nodes=NodeShare(names=("host-1",)),
    )
    found: dict[str, list[float]] = {phase: [] for phase in PHASES}
    for number in range(ROUNDS + WARM_UP):
        command_id = f"bench-{case.hook}-{case.package}-{number:06d}"
        started = now_seconds()
        await bus.request(
            APPLY_DEPLOYMENT, ApplyDeployment(command_id=command_id, spec=spec), timeout_seconds=30
        )
        replied = now_seconds()
        async with asyncio.timeout(30):
            requested, _ = await steps.of(command_id, "chain.request")
            attached, seen = await steps.of(command_id, "chain.attach")
        if number >= WARM_UP:
            for phase, moment in zip(PHASES, (replied, requested, attached, seen), strict=True):
                found[phase].append((moment - started) * 1e3)
        removal = f"{command_id}-off"
        await bus.request(
            REMOVE_DEPLOYMENT,
            RemoveDeployment(command_id=removal, name=spec.name),
            timeout_seconds=30,
        )
        async with asyncio.timeout(30):
            await steps.of(removal, "deployment.complete")
    return found


def rows_of(found: dict[str, list[float]], case: Case) -> list[Row]:
    """Medians of the phases, and the 99th percentile of the whole."""
    rows = [
        Row(
            f"{case.name}: request to {phase}, p50",
            statistics.median(values),
            "ms",
            target=P50_TARGET_MS if case.has_target and phase == READ_BACK else None,
        )
        for phase, values in found.items()
    ]
    p99 = statistics.quantiles(found[READ_BACK], n=100, method="inclusive")[98]
    target = P99_TARGET_MS if case.has_target else None
    return [*rows, Row(f"{case.name}: request to {READ_BACK}, p99", p99, "ms", target=target)]


async def run(stage: Stage) -> list[Row]:
    """All cases, one after another."""
    credentials = stage.installation / "credentials" / "principals" / "admin"
    rows: list[Row] = []
    async with connect(credentials) as bus:
        steps = Steps()
        await bus.subscribe(f"{EVENTS}.{PUBLIC}.>", steps.on_event)
        for case in CASES:
            rows += rows_of(await measure(bus, steps, case), case)
    return rows


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
