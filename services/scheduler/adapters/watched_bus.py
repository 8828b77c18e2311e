# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Hears of the scheduler's own state changes as soon as they are stored.

The outbox has writes to do after the state change of a command: events, heads, the answer.  The
nodes need not wait for those: a stored change is accepted, and what follows from it can be told.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import msgspec

from shared.adapters.kv import Entry
from shared.adapters.outbox import OutboxBus, Records
from shared.contracts.base import Bucket
from shared.contracts.deployments import DEPLOYMENTS
from shared.contracts.events import Event
from shared.contracts.scheduler import NODE_LABELS

RecordT = TypeVar("RecordT", bound=msgspec.Struct)

WATCHED: Final = frozenset({DEPLOYMENTS.name, NODE_LABELS.name})


@dataclass(frozen=True, slots=True)
class StoredChange:
    """One write of a command, acknowledged."""

    bucket: str
    key: str
    data: bytes
    """The record in JSON."""
    revision: int


class WatchedBus:
    """The bus as the outbox uses it; `stored` is told of each state change."""

    def __init__(self, bus: OutboxBus, *, stored: Callable[[StoredChange], None]) -> None:
        self._bus: Final = bus
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
        """A bucket, watched if its records are deployments or labels."""
        plain = self._bus.bucket(bucket)
        if bucket.name not in WATCHED:
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

    async def update_in_bucket(self, key: str, value: RecordT, *, sequence: int) -> int:
        revision = await self._plain.update_in_bucket(key, value, sequence=sequence)
        data = msgspec.json.encode(value)
        self._stored(StoredChange(self._name, key, data, revision))
        return revision

    async def put(self, key: str, value: RecordT, *, ttl_seconds: int | None = None) -> int:
        return await self._plain.put(key, value, ttl_seconds=ttl_seconds)

    async def delete(self, key: str) -> None:
        await self._plain.delete(key)
