# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Hears of a service's own state changes as soon as they are stored.

The outbox has writes to do after the state change of a command: events, heads, the answer.  Others
need not wait for those: a stored change is accepted, and what follows from it can be told.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import msgspec

from shared.adapters.kv import Entry
from shared.adapters.outbox_bus import OutboxBus, Records
from shared.contracts.base import Bucket
from shared.contracts.events import Event

RecordT = TypeVar("RecordT", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True)
class StoredChange:
    """One write of a command, acknowledged."""

    bucket: str
    key: str
    data: bytes
    """The record in JSON."""
    revision: int


class WatchedBus:
    """The bus as the outbox uses it; `stored` is told of each change in the buckets named."""

    def __init__(
        self,
        bus: OutboxBus,
        buckets: Collection[Bucket[Any]],
        *,
        stored: Callable[[StoredChange], None],
    ) -> None:
        self._bus: Final = bus
        self._watched: Final = frozenset(bucket.name for bucket in buckets)
        self._stored: Final = stored

    @property
    def key(self) -> str:
        """Of this service."""
        return self._bus.key

    @property
    def role(self) -> str:
        """Of this service."""
        return self._bus.role

    @property
    def max_payload_bytes(self) -> int:
        """What the server takes."""
        return self._bus.max_payload_bytes

    def bucket(self, bucket: Bucket[RecordT]) -> Records[RecordT]:
        """A bucket, watched if it is named."""
        plain = self._bus.bucket(bucket)
        if bucket.name not in self._watched:
            return plain
        return _WatchedBucket(plain, name=bucket.name, stored=self._stored)

    async def publish_event(self, event: Event) -> None:
        """Stored once."""
        await self._bus.publish_event(event)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs beside."""
        self._bus.spawn(work)


class _WatchedBucket(Records[RecordT]):
    """A bucket whose compare-and-sets are heard of."""

    def __init__(
        self, plain: Records[RecordT], *, name: str, stored: Callable[[StoredChange], None]
    ) -> None:
        self._plain: Final = plain
        self._name: Final = name
        self._stored: Final = stored

    async def get(self, key: str) -> Entry[RecordT] | None:
        return await self._plain.get(key)

    async def entries(self, prefix: str = "") -> list[Entry[RecordT]]:
        return await self._plain.entries(prefix)

    async def create(self, key: str, value: RecordT, *, ttl_seconds: int | None = None) -> int:
        return await self._plain.create(key, value, ttl_seconds=ttl_seconds)

    async def update(self, key: str, value: RecordT, *, revision: int) -> int:
        return self._told(key, value, await self._plain.update(key, value, revision=revision))

    async def update_in_bucket(self, key: str, value: RecordT, *, sequence: int) -> int:
        written = await self._plain.update_in_bucket(key, value, sequence=sequence)
        return self._told(key, value, written)

    async def put(self, key: str, value: RecordT, *, ttl_seconds: int | None = None) -> int:
        return await self._plain.put(key, value, ttl_seconds=ttl_seconds)

    async def delete(self, key: str) -> None:
        await self._plain.delete(key)

    def _told(self, key: str, value: RecordT, revision: int) -> int:
        data = msgspec.json.encode(value)
        self._stored(StoredChange(self._name, key, data, revision))
        return revision
