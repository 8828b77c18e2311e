# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""An event stream in memory, and an emitter that says nothing."""

from __future__ import annotations

import asyncio

from services.auditor.records import StreamEnd, StreamMessage
from shared.contracts.events import PUBLIC, Audience, EventBody


class FakeStream:
    """Behaves as the real one was seen to: gives again what it is asked."""

    def __init__(self, held: list[StreamMessage]) -> None:
        self.held = held
        self.acknowledged: list[int] = []
        self._next = 0

    async def end(self) -> StreamEnd:
        """All of it."""
        return StreamEnd("fake", self.held[-1].sequence)

    async def seek(self, sequence: int) -> None:
        """Go on from there."""
        self._next = sequence

    async def fetch(self) -> list[StreamMessage] | None:
        """Up to 50 at once; waits for ever at the end."""
        found = [message for message in self.held if message.sequence >= self._next][:50]
        if not found:
            await asyncio.Event().wait()
        self._next = found[-1].sequence + 1
        return found

    async def acknowledge(self, sequence: int) -> None:
        """Note it."""
        self.acknowledged.append(sequence)


class Silent:
    """Says nothing."""

    async def emit(self, body: EventBody, *, event_id: str, audience: Audience = PUBLIC) -> None:
        """Not said."""
