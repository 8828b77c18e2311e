# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What an outbox uses of the bus and of its buckets."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Protocol, TypeVar

import msgspec

from shared.adapters.kv import Entry
from shared.contracts.base import Bucket
from shared.contracts.events import Event

RecordT = TypeVar("RecordT", bound=msgspec.Struct)


class Records(Protocol[RecordT]):
    """The part of a bucket that the outbox uses."""

    async def get(self, key: str) -> Entry[RecordT] | None:
        """The key's newest value."""

    async def entries(self, prefix: str = "") -> list[Entry[RecordT]]:
        """All keys under a prefix."""

    async def create(self, key: str, value: RecordT, *, ttl_seconds: int | None = None) -> int:
        """A key that was not there."""

    async def update(self, key: str, value: RecordT, *, revision: int) -> int:
        """Compare-and-set on the key."""

    async def update_in_bucket(self, key: str, value: RecordT, *, sequence: int) -> int:
        """Compare-and-set on the whole bucket."""

    async def put(self, key: str, value: RecordT, *, ttl_seconds: int | None = None) -> int:
        """Whatever was there."""

    async def delete(self, key: str) -> None:
        """The key is gone."""


class OutboxBus(Protocol):
    """The part of the bus that the outbox uses."""

    @property
    def key(self) -> str:
        """Of this service."""

    @property
    def role(self) -> str:
        """Of this service."""

    @property
    def max_payload_bytes(self) -> int:
        """What the server takes."""

    def bucket(self, bucket: Bucket[RecordT]) -> Records[RecordT]:
        """A bucket."""

    async def publish_event(self, event: Event) -> None:
        """Stored once."""

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs beside."""
