# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Brings journaled events onto the bus, as often as it takes.

Rules:
 * An event counts as published once the bus has it durably, and not before.
 * Before the first event for an audience goes out, by a journal that was made anew or had none for
   it, its sequences are numbered: the bus says where this node stopped.
 * Events go out in order.  One that is too large for the bus is kept and tried again with
   whatever comes next; it does not hold up the others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

import structlog

from services.node_executor.adapters.state_file import JournalUnwritableError, StateStoreError
from services.node_executor.adapters.state_store import StateStore
from services.node_executor.staging import Thread
from shared.adapters.bus_errors import MessageTooLargeError
from shared.contracts.events import Audience, Event
from shared.errors import FaultError, RefusedError

FAULT_RETRY_SECONDS: Final = 1.0
REFUSED_RETRY_SECONDS: Final = 15.0
"""After the bus said no: somebody has to change its settings first."""

log = structlog.get_logger()


class EventBus(Protocol):
    """Where events go."""

    async def publish_event(self, event: Event) -> None:
        """The bus has it durably, once for each id."""

    async def last_sequence(self, audience: Audience) -> int:
        """The highest sequence of this node's events that the bus has; 0: it has none."""


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
        self._numbered: set[Audience] = set()
        self._on_published: Callable[[], object] = lambda: None

    def when_published(self, call: Callable[[], object]) -> None:
        """From now on `call` is made after each time that the bus took events."""
        self._on_published = call

    async def recover(self) -> None:
        """What a former run did not publish comes first.  Called before anything is journaled."""
        for event in await self._thread(self._store.unpublished):
            self._journaled.put_nowait(event)

    async def publishing(self) -> None:
        """Every journaled event is on the bus, or it is tried again; never ends by itself."""
        for event in await self._number():
            self._journaled.put_nowait(event)
        while True:
            events = await self._due()
            if not {event.audience for event in events} <= self._numbered:
                events = await self._number() or events
                self._numbered |= {event.audience for event in events}
            published = [event.id for event in events if await self._publish(event)]
            await self._mark(published)
            self._on_published()

    async def _number(self) -> list[Event]:
        """The sequences of what will be published are the node's own, without a gap.

        All that is to be published, if some had to be numbered.
        """
        events: list[Event] = []
        for audience in sorted(await self._thread(self._store.unnumbered)):
            numbered = await self._try_to_number(audience)
            while numbered is None:
                await asyncio.sleep(self._fault_retry_seconds)
                numbered = await self._try_to_number(audience)
            known = {event.id for event in numbered}
            waiting = self._waiting()  # those that are known have the numbers of before
            events = [*numbered, *(event for event in waiting if event.id not in known)]
        return events

    def _waiting(self) -> list[Event]:
        """What was journaled and not taken up yet; nothing is left there."""
        waiting = []
        while not self._journaled.empty():
            waiting.append(self._journaled.get_nowait())
        return waiting

    async def _try_to_number(self, audience: Audience) -> list[Event] | None:
        try:
            last = await self._bus.last_sequence(audience)
            return await self._thread(self._store.number, audience, last)
        except StateStoreError:
            raise
        except (RefusedError, FaultError) as error:
            log.warning("numbering_failed", why=error.message)
            return None

    async def _mark(self, published: list[str]) -> None:
        """It is on the disk that the bus has these; until then they may go out again."""
        while True:
            try:
                await self._thread(self._store.mark_published, published)
            except JournalUnwritableError as fault:
                log.warning("marking_failed", why=fault.message)
                await asyncio.sleep(self._fault_retry_seconds)
            else:
                return

    async def _due(self) -> list[Event]:
        """Events that were kept, and new ones; waits until there is something to do."""
        events, self._too_large = self._too_large, []
        try:
            async with asyncio.timeout(self._refused_retry_seconds if events else None):
                events.append(await self._journaled.get())
        except TimeoutError:
            return events
        return [*events, *self._waiting()]

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
