# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A scheduler that dies at any of its writes, over a real bus."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

from services.scheduler.__main__ import scheduling
from shared.adapters.bus import Bus, connect
from shared.adapters.kv import KeyValue
from shared.contracts.base import Bucket
from shared.contracts.events import Event
from shared.contracts.scheduler import (
    APPLY_DEPLOYMENT,
    LIST_NODES,
    REMOVE_DEPLOYMENT,
    ApplyDeployment,
    ListNodes,
    RemoveDeployment,
)
from shared.errors import FaultError
from tests.integration.conftest import Buses
from tests.support.mortal_bus import ProcessDiedError
from tests.support.scheduler_neighbours import WAIT_SECONDS, until_settled


class Life:
    """Counts the writes of one process, and ends it."""

    def __init__(self, *, dies_at: int, lands: bool) -> None:
        self.dies_at = dies_at
        self.lands = lands
        self.writes = 0

    async def write(self, effect: Any) -> Any:
        """The effect; from write `dies_at` on nothing is written, or only that one if it lands."""
        self.writes += 1
        if self.dies_at and self.writes >= self.dies_at:
            is_last = self.writes == self.dies_at
            if self.lands and is_last:
                await effect
            effect.close()
            # One death ends the process; whoever else still writes is silently gone with it.
            raise ProcessDiedError if is_last else asyncio.CancelledError
        return await effect


class MortalKeyValue(KeyValue[Any]):
    """A bucket whose every write may be the last."""

    life: Life

    async def _publish(self, key: str, data: bytes, headers: Mapping[str, str]) -> int:
        sequence: int = await self.life.write(super()._publish(key, data, headers))
        return sequence


class MortalBus(Bus):
    """A whole bus for one life."""

    def __init__(self, bus: Bus, life: Life) -> None:
        super().__init__(bus.connection, bus._tasks)
        self.life = life

    def bucket(self, bucket: Bucket[Any]) -> KeyValue[Any]:
        """A bucket that counts."""
        values = MortalKeyValue(self.connection, bucket, spawn=self.spawn)
        values.life = self.life
        return values

    async def publish_event(self, event: Event) -> None:
        """Counts too."""
        await self.life.write(super().publish_event(event))


@asynccontextmanager
async def one_life(buses: Buses, life: Life) -> AsyncIterator[Bus]:
    """A scheduler until the block ends, or it dies."""
    async with connect(buses.server.credentials("service-scheduler")) as bus:
        mortal = MortalBus(bus, life)
        try:
            async with scheduling(mortal):
                yield mortal
        finally:
            mortal.cancel_spawned()


async def give(operator: Bus, command: ApplyDeployment | RemoveDeployment) -> None:
    """The command is answered."""
    endpoint: Any = APPLY_DEPLOYMENT if isinstance(command, ApplyDeployment) else REMOVE_DEPLOYMENT
    await operator.request(endpoint, command, timeout_seconds=WAIT_SECONDS)


async def until_known(operator: Bus) -> None:
    """The scheduler answers, and knows a node."""
    async with asyncio.timeout(WAIT_SECONDS):
        while not (await operator.request(LIST_NODES, ListNodes())).nodes:
            await asyncio.sleep(0.005)


async def dies(buses: Buses, operator: Bus, command: Any, life: Life) -> bool:
    """Whether the scheduler died before the command was over and settled."""
    try:
        async with one_life(buses, life) as scheduler:
            with suppress(FaultError):
                await give(operator, command)
            await until_settled(scheduler)
    except* ProcessDiedError:
        assert life.writes >= life.dies_at
    return life.writes >= life.dies_at
