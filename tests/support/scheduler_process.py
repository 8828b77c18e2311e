# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Schedulers as the processes they are: started, stopped, frozen and killed by a test."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from shared.adapters.bus import Bus
from shared.contracts.leadership import GET_LEADER, GetLeader, Leader
from shared.errors import FaultError

ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 30.0


class SchedulerProcess:
    """`python -m services.scheduler` with a state directory of its own."""

    def __init__(self, credentials: Path, state_dir: Path) -> None:
        self._log = state_dir.parent / f"{state_dir.name}.log"
        environment = {
            "SCHEDULER_CREDENTIALS_DIR": str(credentials),
            "SCHEDULER_STATE_DIR": str(state_dir),
        }
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "services.scheduler"],
                cwd=ROOT,
                env=os.environ | environment,
                stderr=log,
            )

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    @property
    def status(self) -> int | None:
        """How it ended; None while it runs."""
        return self._process.poll()

    def kill(self) -> None:
        """Gone without a word."""
        self._process.kill()
        self._process.wait()

    def freeze(self) -> None:
        """It executes nothing more and keeps its connections."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on as if nothing had happened."""
        self._process.send_signal(signal.SIGCONT)

    async def stop(self) -> int:
        """Asked to end; the exit status."""
        self._process.terminate()
        async with asyncio.timeout(PATIENCE_SECONDS):
            while (status := self._process.poll()) is None:
                await asyncio.sleep(0.01)
        return status

    def said(self, event: str) -> int:
        """How often its log has a line of that kind."""
        lines = self._log.read_text().splitlines()
        told = [msgspec.json.decode(line) for line in lines if line.startswith("{")]
        return sum(line.get("event") == event for line in told)

    async def until_said(self, event: str, times: int = 1) -> None:
        """Its log has the line so often."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while self.said(event) < times:
                assert self.status is None, self.log()
                await asyncio.sleep(0.02)

    def log(self) -> str:
        """All that it wrote."""
        return self._log.read_text()


class Schedulers:
    """Those of one test."""

    def __init__(self, credentials: Path, folder: Path) -> None:
        self._credentials = credentials
        self._folder = folder
        self.all: list[SchedulerProcess] = []

    def start(self, name: str, *, credentials: Path | None = None) -> SchedulerProcess:
        """One more; of the same name with the same state directory."""
        process = SchedulerProcess(credentials or self._credentials, self._folder / name)
        self.all.append(process)
        return process


@contextmanager
def scheduler_processes(credentials: Path, folder: Path) -> Iterator[Schedulers]:
    """Starts schedulers; none is left after the block."""
    schedulers = Schedulers(credentials, folder)
    try:
        yield schedulers
    finally:
        for process in schedulers.all:
            process.kill()


async def the_leader(asker: Bus, *, other_than: int = 0, standbys: int = 0) -> Leader:
    """Who answers, once it is not the process `other_than` and so many others wait."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            try:
                leader = await asker.request(GET_LEADER, GetLeader(), timeout_seconds=0.5)
            except FaultError:
                await asyncio.sleep(0.02)
                continue
            if leader.pid != other_than and len(leader.standbys) >= standbys:
                return leader
            await asyncio.sleep(0.02)
