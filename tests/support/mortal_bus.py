# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A bus whose process dies at its n-th write, over a real one.

It stands for SIGKILL at a known instruction: what was written before is there, nothing after it
is.  `lands` says whether the write at which it dies still reaches the server.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Generic, TypeVar

import msgspec

from shared.adapters.bus import Bus
from shared.adapters.kv import Entry, KeyValue
from shared.contracts.base import Bucket
from shared.contracts.events import Event

RecordT = TypeVar("RecordT", bound=msgspec.Struct)
T = TypeVar("T")


class ProcessDiedError(Exception):
    """No code of the process runs after this."""


class MortalBus:
    """Implements OutboxBus; dies at write number `dies_at`, counted from 1 (0: never).

    With another `error` it is not the process that dies: that one write fails with it.
    """

    def __init__(
        self,
        bus: Bus,
        *,
        dies_at: int = 0,
        lands: bool = False,
        error: type[Exception] = ProcessDiedError,
    ) -> None:
        self.bus = bus
        self._error = error
        self.writes = 0
        self._dies_at = dies_at
        self._lands = lands

    @property
    def key(self) -> str:
        """Of the real bus."""
        return self.bus.key

    @property
    def role(self) -> str:
        """Of the real bus."""
        return self.bus.role

    @property
    def max_payload_bytes(self) -> int:
        """Of the real bus."""
        return self.bus.max_payload_bytes

    def bucket(self, bucket: Bucket[RecordT]) -> MortalRecords[RecordT]:
        """A bucket whose writes count."""
        return MortalRecords(self, self.bus.bucket(bucket))

    async def publish_event(self, event: Event) -> None:
        """Counts as a write."""
        await self.write(self.bus.publish_event(event))

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """As the real bus."""
        self.bus.spawn(work)

    async def write(self, effect: Coroutine[Any, Any, T]) -> T:
        """The effect, unless the process dies at it."""
        self.writes += 1
        if self.writes == self._dies_at:
            if self._lands:
                await effect
            effect.close()
            raise self._error("at a write")
        return await effect


class MortalRecords(Generic[RecordT]):
    """Implements Records over a real bucket."""

    def __init__(self, bus: MortalBus, real: KeyValue[RecordT]) -> None:
        self._bus = bus
        self._real = real

    async def get(self, key: str) -> Entry[RecordT] | None:
        """As the real one."""
        return await self._real.get(key)

    async def entries(self, prefix: str = "") -> list[Entry[RecordT]]:
        """As the real one."""
        return await self._real.entries(prefix)

    async def create(self, key: str, value: RecordT, *, ttl_seconds: int | None = None) -> int:
        """Counts as a write."""
        return await self._bus.write(self._real.create(key, value, ttl_seconds=ttl_seconds))

    async def update(self, key: str, value: RecordT, *, revision: int) -> int:
        """Counts as a write."""
        return await self._bus.write(self._real.update(key, value, revision=revision))

    async def update_in_bucket(self, key: str, value: RecordT, *, sequence: int) -> int:
        """Counts as a write."""
        return await self._bus.write(self._real.update_in_bucket(key, value, sequence=sequence))

    async def put(self, key: str, value: RecordT, *, ttl_seconds: int | None = None) -> int:
        """Counts as a write."""
        return await self._bus.write(self._real.put(key, value, ttl_seconds=ttl_seconds))

    async def delete(self, key: str) -> None:
        """Counts as a write."""
        await self._bus.write(self._real.delete(key))
