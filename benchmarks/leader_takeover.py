# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""How long nobody leads: a scheduler is killed or stands still, until another one answers.

A real nats-server that syncs every write and two scheduler processes; nobody starts one again.
"""

from __future__ import annotations

import asyncio
import os
import signal
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Final

import uvloop

from benchmarks.report import Row, report
from benchmarks.services import running_bus
from installation.layout import Layout
from shared.adapters.bus import Bus, connect
from shared.contracts.leadership import GET_LEADER, GetLeader, Leader
from shared.errors import FaultError

ROUNDS: Final = 5
TARGET_SECONDS: Final = 5.0
NAMES: Final = ("one", "two")
ASK_SECONDS: Final = 0.5
PAUSE_SECONDS: Final = 0.01


class Schedulers:
    """Two processes with the installation's credentials, by process id."""

    def __init__(self, layout: Layout, folder: Path) -> None:
        self._layout = layout
        self._folder = folder
        self._running: dict[int, tuple[str, subprocess.Popen[bytes]]] = {}

    def start(self, name: str) -> None:
        """One more."""
        environment = {
            "SCHEDULER_CREDENTIALS_DIR": str(self._layout.credentials("service", "scheduler")),
            "SCHEDULER_STATE_DIR": str(self._folder / name),
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "services.scheduler"],
            env=os.environ | environment,
            stderr=subprocess.DEVNULL,
        )
        self._running[process.pid] = (name, process)

    def kill(self, pid: int) -> None:
        """Gone without a word."""
        process = self._running[pid][1]
        process.kill()
        process.wait()

    def freeze(self, pid: int) -> None:
        """It executes nothing more."""
        self._running[pid][1].send_signal(signal.SIGSTOP)

    def recover(self, pid: int) -> None:
        """A killed one is started again, a frozen one goes on."""
        name, process = self._running[pid]
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            return
        del self._running[pid]
        self.start(name)

    def end(self) -> None:
        """None is left."""
        for _, process in self._running.values():
            process.kill()
            process.wait()


def main() -> None:
    """Measure and report."""
    with (
        TemporaryDirectory(prefix="l3af-bench-") as scratch,
        running_bus(Path(scratch)) as layout,
    ):
        schedulers = Schedulers(layout, Path(scratch))
        try:
            killed, frozen = uvloop.run(measure(layout, schedulers))
        finally:
            schedulers.end()
    rows = []
    for what, seconds in (("killed", killed), ("frozen", frozen)):
        rows += [
            Row(f"leader {what} until another answers, p50", statistics.median(seconds), "s"),
            Row(f"leader {what} until another answers, longest", max(seconds), "s", TARGET_SECONDS),
        ]
    report("leader_takeover", rows)


async def measure(layout: Layout, schedulers: Schedulers) -> tuple[list[float], list[float]]:
    """Seconds of each kill, and of each freeze."""
    async with connect(layout.credentials("principal", "admin")) as bus:
        for name in NAMES:
            schedulers.start(name)
        return (
            [await _round(bus, schedulers, schedulers.kill) for _ in range(ROUNDS)],
            [await _round(bus, schedulers, schedulers.freeze) for _ in range(ROUNDS)],
        )


async def _round(bus: Bus, schedulers: Schedulers, strike: Callable[[int], None]) -> float:
    leader = await _until(bus, lambda found: bool(found.standbys))
    started = perf_counter()
    strike(leader.pid)
    await _until(bus, lambda found: found.pid != leader.pid)
    took_seconds = perf_counter() - started
    schedulers.recover(leader.pid)
    return took_seconds


async def _until(bus: Bus, is_so: Callable[[Leader], bool]) -> Leader:
    while True:
        try:
            found = await bus.request(GET_LEADER, GetLeader(), timeout_seconds=ASK_SECONDS)
        except FaultError:
            await asyncio.sleep(PAUSE_SECONDS)
            continue
        if is_so(found):
            return found
        await asyncio.sleep(PAUSE_SECONDS)


if __name__ == "__main__":
    main()
