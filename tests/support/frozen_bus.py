# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A leader on a bus that stands still at one of its writes and goes on when a test says so."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from services.scheduler.__main__ import scheduling
from services.scheduler.leadership.adapters.lease_records import LeaseRecords
from services.scheduler.leadership.execution import Lead
from shared.adapters.bus import Bus, connect
from shared.adapters.fencing import FencedWrites
from shared.adapters.kv import KeyValue
from shared.contracts.base import Bucket
from shared.contracts.events import Event
from shared.contracts.leadership import Lease
from shared.contracts.storage import FENCED_BUCKETS

ResultT = TypeVar("ResultT")


class Frost:
    """Counts the writes of one process, and holds it up before one of them."""

    def __init__(self) -> None:
        self._freezes_at = 0
        self._writes = 0
        self.frozen = asyncio.Event()
        self.thawed = asyncio.Event()
        self.under_way = 0

    def freeze_at(self, number: int) -> None:
        """Its `number`th write from now on, and whatever comes after it, waits for the thaw."""
        self._freezes_at, self._writes = number, 0

    async def write(self, effect: Awaitable[ResultT]) -> ResultT:
        """The effect, now or after the thaw."""
        self._writes += 1
        if self._freezes_at and self._writes >= self._freezes_at:
            self.frozen.set()
            self.under_way += 1
            try:
                await self.thawed.wait()
                return await effect
            finally:
                self.under_way -= 1
        return await effect


class _FrozenKeyValue(KeyValue[Any]):
    frost: Frost

    async def _publish(self, key: str, data: bytes, headers: Mapping[str, str]) -> int:
        return await self.frost.write(super()._publish(key, data, headers))


class FrozenBus(Bus):
    """A whole bus whose writes stand still together."""

    def __init__(self, bus: Bus, writes: FencedWrites, frost: Frost) -> None:
        super().__init__(bus.connection, bus._tasks)
        self.fence_writes(writes)
        self._fenced = writes
        self._frost = frost

    def bucket(self, bucket: Bucket[Any]) -> KeyValue[Any]:
        """One that waits."""
        values = _FrozenKeyValue(
            self.connection, bucket, spawn=self.spawn, writes=lambda: self._fenced
        )
        values.frost = self._frost
        return values

    async def publish_event(self, event: Event) -> None:
        """Waits too."""
        await self._frost.write(super().publish_event(event))


@asynccontextmanager
async def a_leader(
    credentials: Path, token: int, frost: Frost
) -> AsyncIterator[tuple[Lead, FencedWrites]]:
    """A scheduler that leads by that token, whatever lease there is, and answers until `lost`."""
    instance = f"instance-{token}"
    async with connect(credentials) as bus:
        writes = FencedWrites(
            bus.connection, FENCED_BUCKETS, token=token, instance=instance, emitter="scheduler"
        )
        await writes.open()
        frozen = FrozenBus(bus, writes, frost)
        lease = Lease(token=token, instance=instance)
        lead = Lead(LeaseRecords(bus), lease, why="lapsed", before=None)
        lead._confirmed = math.inf
        try:
            async with scheduling(frozen, lead=lead):
                yield lead, writes
        finally:
            frost.thawed.set()
            frozen.cancel_spawned()
