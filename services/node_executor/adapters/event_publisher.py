# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Brings journaled events onto the bus, as often as it takes.

Rules:
 * An event counts as published once the bus has it durably, and not before.
 * Events go out in order.  One that is too large for the bus is kept and tried again with
   whatever comes next; it does not hold up the others.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

import structlog

from services.node_executor.adapters.state_store import StateStore
from services.node_executor.staging import Thread
from shared.adapters.bus_errors import MessageTooLargeError
from shared.contracts.events import Event
from shared.errors import FaultError, RefusedError

FAULT_RETRY_SECONDS: Final = 1.0
REFUSED_RETRY_SECONDS: Final = 15.0
"""After the bus said no: somebody has to change its settings first."""

log = structlog.get_logger()


class EventBus(Protocol):
    """Where events go."""

    async def publish_event(self, event: Event) -> None:
        """The bus has it durably, once for each id."""


class EventPublisher:
    """Publishes the journal of one node."""

    def __init__(
        self,
        *,
        bus: EventBus,
        thread: Thread,
        store: StateStore,
        journaled: asyncio.Queue[Event],
        fault_retry_seconds: float = FAULT_RETRY_SECONDS,
        refused_retry_seconds: float = REFUSED_RETRY_SECONDS,
    ) -> None:
        """Nothing is published yet; `journaled` gets every event that the store journals."""
        self._bus = bus
        self._thread = thread
        self._store = store
        self._journaled = journaled
        self._fault_retry_seconds = fault_retry_seconds
        self._refused_retry_seconds = refused_retry_seconds
        self._too_large: list[Event] = []

    async def recover(self) -> None:
        """What a former run did not publish comes first.  Called before anything is journaled."""
        for event in await self._thread(self._store.unpublished):
            self._journaled.put_nowait(event)

    async def publishing(self) -> None:
        """Every journaled event is on the bus, or it is tried again; never ends by itself."""
        while True:
            events = await self._due()
            published = [event.id for event in events if await self._publish(event)]
            await self._thread(self._store.mark_published, published)

    async def _due(self) -> list[Event]:
        """Events that were kept, and new ones; waits until there is something to do."""
        events, self._too_large = self._too_large, []
        try:
            async with asyncio.timeout(self._refused_retry_seconds if events else None):
                events.append(await self._journaled.get())
        except TimeoutError:
            return events
        while not self._journaled.empty():
            events.append(self._journaled.get_nowait())
        return events

    async def _publish(self, event: Event) -> bool:
        """Whether the bus has the event; otherwise it is kept."""
        named = {"id": event.id, "type": event.type}
        while True:
            try:
                await self._bus.publish_event(event)
            except MessageTooLargeError as error:
                log.error("event_too_large", **named, why=error.message)  # noqa: TRY400
                self._too_large.append(event)
                return False
            except RefusedError as error:
                log.error("publishing_refused", **named, why=error.message)  # noqa: TRY400
                await asyncio.sleep(self._refused_retry_seconds)
            except FaultError as fault:
                log.warning("publishing_failed", **named, why=fault.message)
                await asyncio.sleep(self._fault_retry_seconds)
            else:
                return True
