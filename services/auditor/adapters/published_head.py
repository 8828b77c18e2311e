# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The newest head on the bus, where neither a restored disk nor a second auditor can undo it."""

from __future__ import annotations

from typing import Final

from shared.adapters.bus import Bus
from shared.adapters.kv import KeyValue, RevisionConflictError
from shared.contracts.log_heads import CHECKPOINTS, NEWEST_HEAD, PublishedCheckpoint
from shared.errors import FaultError


class PublishedHead:
    """One key of one bucket, written by compare-and-set."""

    def __init__(self, bus: Bus) -> None:
        self._bucket: Final[KeyValue[PublishedCheckpoint]] = bus.bucket(CHECKPOINTS)
        self._revision = 0

    async def read(self) -> str | None:
        """The note that was written last; None if none ever was."""
        entry = await self._bucket.get(NEWEST_HEAD)
        self._revision = entry.revision if entry is not None else 0
        return entry.value.checkpoint if entry is not None else None

    async def replace(self, note: str, *, size: int) -> None:
        """The note takes the place of the one that was read last.

        Raises:
            FaultError: Somebody else wrote meanwhile: read it first.
        """
        record = PublishedCheckpoint(checkpoint=note, tree_size=size)
        try:
            if self._revision:
                await self._bucket.update(NEWEST_HEAD, record, revision=self._revision)
            else:
                await self._bucket.create(NEWEST_HEAD, record)
        except RevisionConflictError as error:
            raise FaultError("another auditor published a head of this log") from error
