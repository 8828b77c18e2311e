# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Lease and standbys of the scheduler, as they are kept on the bus."""

from __future__ import annotations

from typing import Final

import msgspec

from shared.adapters.bus import Bus
from shared.adapters.direct_get import get_last
from shared.adapters.kv import Entry, KeyValue
from shared.contracts.leadership import LEASES, STANDBYS, Fence, Lease, Standby, fence_subject
from shared.contracts.storage import FENCED_BUCKETS, kv_stream

SERVICE: Final = "scheduler"
STANDBY_SECONDS: Final = 10
"""How long a standby that says nothing more is still listed."""


class LeaseRecords:
    """One process's view of them, over a connection of its own."""

    def __init__(self, bus: Bus) -> None:
        self._connection: Final = bus.connection
        self._leases: Final[KeyValue[Lease]] = bus.bucket(LEASES)
        self._standbys: Final[KeyValue[Standby]] = bus.bucket(STANDBYS)

    async def read(self) -> Entry[Lease] | None:
        """The lease; None if there is none."""
        return await self._leases.get(SERVICE)

    async def write(self, lease: Lease, *, revision: int) -> int:
        """The lease is stored; its revision.

        Args:
            lease: To be stored.
            revision: What it was read or written at; 0 if there was none.

        Raises:
            RevisionConflictError: It is not as it was; nothing was written.
        """
        if revision:
            return await self._leases.update(SERVICE, lease, revision=revision)
        return await self._leases.create(SERVICE, lease)

    async def largest_fence(self) -> int:
        """The largest token that a fence was written by; 0 if none was."""
        tokens = [0]
        for bucket in FENCED_BUCKETS:
            stored = await get_last(
                self._connection, kv_stream(bucket.name), fence_subject(bucket.name)
            )
            if stored is not None:
                tokens.append(msgspec.json.decode(stored.data, type=Fence).token)
        return max(tokens)

    async def stand_by(self, standby: Standby) -> None:
        """The process is listed for STANDBY_SECONDS."""
        key = f"{SERVICE}.{standby.instance}"
        await self._standbys.put(key, standby, ttl_seconds=STANDBY_SECONDS)

    async def leave_standbys(self, instance: str) -> None:
        """The process is not listed any more."""
        await self._standbys.delete(f"{SERVICE}.{instance}")

    async def standbys(self) -> tuple[Standby, ...]:
        """Those that would lead, by instance."""
        return tuple(entry.value for entry in await self._standbys.entries(f"{SERVICE}."))
