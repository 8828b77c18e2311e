# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Many simulated nodes in one process, each as if it were alone."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec
import structlog

from services.node_executor.simulation.adapters.archives import Shelf
from services.node_executor.simulation.adapters.host import SimulatedHost
from services.node_executor.simulation.adapters.line import Line
from services.node_executor.simulation.adapters.node import SimulatedNode
from services.node_executor.simulation.config import FleetProgress
from services.node_executor.simulation.troubles import Absence, Troubles
from shared.adapters.exception_groups import plain_task_group
from shared.errors import FaultError

JOINING_AT_ONCE: Final = 32
"""A server that signs in thousands at once answers none of them in time."""
AGAIN_SECONDS: Final = 1.0

log = structlog.get_logger()


class SimulatedFleet:
    """The nodes of one process."""

    def __init__(
        self,
        nodes: Mapping[str, int],
        *,
        credentials_dir: Path,
        troubles: Troubles,
        period_seconds: float,
        told: Callable[[FleetProgress], None],
    ) -> None:
        """Nothing is connected.

        Args:
            nodes: Names, and each one's number in the whole fleet.
            credentials_dir: Has a folder for each of them.
            troubles: What goes wrong.
            period_seconds: Of each node's rounds.
            told: Hears how many are registered, away and back.
        """
        self._numbers: Final = nodes
        self._credentials_dir: Final = credentials_dir
        self._troubles: Final = troubles
        self._period_seconds: Final = period_seconds
        self._told: Final = told
        self._shelf: Final = Shelf()
        self._gate: Final = asyncio.Semaphore(JOINING_AT_ONCE)
        self._lines: Final = {name: Line() for name in nodes}
        self._ends: Final[dict[str, asyncio.Event]] = {}
        self._absences: Final = {
            name: absence for name in nodes if (absence := troubles.absence(name)) is not None
        }
        self._leaving: Final = asyncio.Event()
        self._registered: Final[set[str]] = set()
        self._away: Final[set[str]] = set()
        self._returned: Final[set[str]] = set()

    def send_away(self) -> None:
        """The nodes that go away go now, once."""
        self._leaving.set()

    async def run(self, stop: asyncio.Event) -> None:
        """All of them serve until `stop` is set; one that fails is started again."""
        async with plain_task_group() as tasks:
            for name in self._numbers:
                tasks.create_task(self._keep(name, stop))
            leaving = [
                tasks.create_task(self._go_away(name, absence))
                for name, absence in self._absences.items()
            ]
            await stop.wait()
            for task in leaving:
                task.cancel()
            for ends in self._ends.values():
                ends.set()

    async def _keep(self, name: str, stop: asyncio.Event) -> None:
        while not stop.is_set():
            host = SimulatedHost(
                name,
                self._numbers[name],
                troubles=self._troubles,
                shelf=self._shelf,
                line=self._lines[name],
            )
            try:
                while not stop.is_set():
                    await self._run(host)
            except FaultError as fault:
                log.warning("node_failed", node=name, why=fault.message)
                await asyncio.sleep(AGAIN_SECONDS)
            finally:
                host.close()

    async def _go_away(self, name: str, absence: Absence) -> None:
        await self._leaving.wait()
        line = self._lines[name]
        line.cut()
        if absence.restarts:
            self._ends[name].set()
        self._away.add(name)
        self._tell()
        await asyncio.sleep(absence.seconds)
        line.mend()
        await line.connection()
        self._returned.add(name)
        self._tell()

    async def _run(self, host: SimulatedHost) -> None:
        name, ends = host.name, asyncio.Event()
        self._ends[name] = ends
        if name in self._registered:
            await self._node(host).run(ends)
            return
        async with self._gate:
            if ends.is_set():
                return
            node = self._node(host)
            running = asyncio.create_task(node.run(ends))
            registered = asyncio.create_task(node.registered())
            try:
                await asyncio.wait((running, registered), return_when=asyncio.FIRST_COMPLETED)
            finally:
                registered.cancel()
            self._registered.add(name)
            if len(self._registered) == len(self._numbers):
                gc.collect()
                gc.freeze()  # a collection would look at what all nodes have, for the sake of one
            self._tell()
        await running

    def _node(self, host: SimulatedHost) -> SimulatedNode:
        return SimulatedNode(
            self._credentials_dir / host.name,
            host,
            troubles=self._troubles,
            period_seconds=self._period_seconds,
        )

    def _tell(self) -> None:
        restarting = {name for name, absence in self._absences.items() if absence.restarts}
        self._told(
            FleetProgress(
                nodes=len(self._numbers),
                registered=len(self._registered),
                vanishing=len(self._absences),
                away=len(self._away),
                restarted=len(self._away & restarting),
                returned=len(self._returned),
            )
        )


def write_progress(path: Path, progress: FleetProgress) -> None:
    """The file says it, from one moment to the next.

    Raises:
        FaultError: It cannot be written.
    """
    written = path.with_name(f"{path.name}.new")
    try:
        written.write_bytes(msgspec.json.encode(progress))
        written.replace(path)
    except OSError as error:
        raise FaultError(f"{path} cannot be written: {error.strerror}") from error
