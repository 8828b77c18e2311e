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
from services.node_executor.simulation.adapters.node import SimulatedNode
from services.node_executor.simulation.config import FleetProgress
from services.node_executor.simulation.troubles import Troubles
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
            told: Hears how many are registered.
        """
        self._numbers: Final = nodes
        self._credentials_dir: Final = credentials_dir
        self._troubles: Final = troubles
        self._period_seconds: Final = period_seconds
        self._told: Final = told
        self._shelf: Final = Shelf()
        self._gate: Final = asyncio.Semaphore(JOINING_AT_ONCE)
        self._registered: Final[set[str]] = set()

    async def run(self, stop: asyncio.Event) -> None:
        """All of them serve until `stop` is set; one that fails is started again."""
        async with plain_task_group() as tasks:
            for name in self._numbers:
                tasks.create_task(self._keep(name, stop))

    async def _keep(self, name: str, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                await self._run(name, stop)
            except FaultError as fault:
                log.warning("node_failed", node=name, why=fault.message)
                await asyncio.sleep(AGAIN_SECONDS)

    async def _run(self, name: str, stop: asyncio.Event) -> None:
        async with self._gate:
            if stop.is_set():
                return
            node = SimulatedNode(
                self._credentials_dir / name,
                self._numbers[name],
                troubles=self._troubles,
                shelf=self._shelf,
                period_seconds=self._period_seconds,
            )
            running = asyncio.create_task(node.run(stop))
            registered = asyncio.create_task(node.registered())
            try:
                await asyncio.wait((running, registered), return_when=asyncio.FIRST_COMPLETED)
            finally:
                registered.cancel()
            self._registered.add(name)
            if len(self._registered) == len(self._numbers):
                gc.collect()
                gc.freeze()  # a collection would look at what all nodes have, for the sake of one
            self._told(FleetProgress(nodes=len(self._numbers), registered=len(self._registered)))
        await running


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
