# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A node with chains that have companions, and a supervisor that starts nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from services.node_executor.adapters.companion_desk import CompanionDesk
from services.node_executor.adapters.companion_files import CompanionFiles
from services.node_executor.adapters.companion_keeper import CompanionKeeper
from services.node_executor.companion_set import CompanionNode
from services.node_executor.disclosure import Readers
from services.node_executor.event_audiences import Entry
from services.node_executor.generations import ChainMemory
from shared.canonical import sha256_hex
from shared.contracts.node import ObservedChain, ObservedNode
from shared.contracts.node_companions import (
    ObservedCompanion,
)
from shared.errors import FaultError
from tests.support.companions import (
    BOOT,
    EXECUTABLE,
    HERE,
    FakeSupervisor,
    a_companion_memory,
    a_companion_program,
    companion_archive,
)
from tests.unit.test_archives import FakeJournal, at_once

ID = "eth0/xdp/edge/exporter"
DIGEST = sha256_hex(EXECUTABLE)
DEADLINE_SECONDS = 30.0


class Disk(FakeJournal):
    """Takes nothing while it is full."""

    def __init__(self) -> None:
        super().__init__()
        self.is_full = False

    def journal(self, entries: Iterable[Entry]) -> None:
        """Kept by the first id, if there is room."""
        if self.is_full:
            raise FaultError("nothing can be journaled")
        super().journal(one for one in entries if one[0] not in self.said)


class FakePoints:
    """Hook points, as the test says."""

    def __init__(self, *memories: ChainMemory) -> None:
        self.those = list(memories)

    def memories(self) -> list[ChainMemory]:
        """What is confirmed."""
        return self.those


class FakeArchives:
    """One archive, unless it is lost."""

    def __init__(self) -> None:
        self.is_lost = False
        self.taken = 0

    async def take(self, sha256: str) -> bytes:
        """The archive."""
        await asyncio.sleep(0)
        self.taken += 1
        archive = companion_archive()
        if self.is_lost or sha256_hex(archive) != sha256:
            raise FaultError(f"archive {sha256} is not here yet")
        return archive


class World:
    """A node with a supervisor."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.supervisor = FakeSupervisor()
        self.points = FakePoints(a_companion_memory(a_companion_program()))
        self.archives = FakeArchives()
        self.journal = Disk()
        self.reported: list[ObservedNode] = []
        self.registered = 0
        self.restart()

    def restart(self) -> None:
        """Another executor on the same node."""
        self.keeper = CompanionKeeper(
            node=CompanionNode("n1", HERE, self.folder / "companions"),
            boot_id=BOOT,
            supervisor=self.supervisor,
            listener=self.supervisor,
            archives=self.archives,
            files=CompanionFiles(self.folder / "companions"),
            points=self.points,
            journal=self.journal,
            thread=at_once,
            disk=at_once,
        )
        self.keeper.tell(report=self.reported.append, register=self._register)
        self.readers = Readers(lambda point: ChainMemory(**point._asdict()))
        self.desk = CompanionDesk(
            node="n1",
            keeper=self.keeper,
            supervisor=self.supervisor,
            readers=self.readers,
            journal=self.journal,
            thread=at_once,
            new_id=iter(map(str, range(100))).__next__,
        )

    def _register(self) -> None:
        self.registered += 1

    async def settled(self) -> None:
        """A round was made."""
        await self.keeper.follow()
        chains = tuple(
            ObservedChain(interface=one.interface, hook="xdp", state="attached")
            for one in self.points.those
        )
        self.keeper.observe(ObservedNode(node="n1", desired_generation=1, chains=chains, at=""))

    def observed(self) -> list[ObservedCompanion]:
        """Of the newest report."""
        return [one for chain in self.reported[-1].chains for one in chain.companions]

    def actions(self) -> list[str]:
        """What is in the journal."""
        return [body.action for body in self.journal.said.values()]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """While its loops run."""
        tasks = [asyncio.create_task(loop) for loop in self.keeper.loops()]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def until(is_so: Callable[[], Any]) -> None:
    """It is so, within a deadline."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not is_so():
            await asyncio.sleep(0.005)
