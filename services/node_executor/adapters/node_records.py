# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The node's two records on the bus: what it is, and what it runs.

A record that the bus does not take is logged and tried again; the data path does not depend on it,
and no hook point waits for it: a server that is silent is known for one only after many seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, Protocol

import msgspec
import structlog

from services.node_executor.adapters.state_file import StateStoreError
from services.node_executor.adapters.state_store import StateStore
from services.node_executor.events import mode_body, registration_body, sight_event_id
from services.node_executor.registration import is_outdated, registration_event_id
from services.node_executor.staging import Thread
from shared.adapters.kv import KeyValue
from shared.contracts.base import Bucket
from shared.contracts.node import NODES, OBSERVED, NodeRecord, ObservedNode, OfflineMode
from shared.errors import FaultError, RefusedError

CHECK_SECONDS: Final = 15.0
"""How often the inventory is compared with its record; also the pause after the bus said no."""
FAULT_RETRY_SECONDS: Final = 1.0
LAST_REPORT_RETRY_SECONDS: Final = 5.0
"""After a report that failed; the first time FAULT_RETRY_SECONDS, doubled each time."""
BETWEEN_SECONDS: Final = 0.5
"""Between one look at the inventory and the next, however often interfaces come and go."""
_OFFLINE_MODE: Final = "offline_mode"
"""Setting: the mode of the last start."""

log = structlog.get_logger()


class Buckets(Protocol):
    """Where records lie."""

    @property
    def is_there(self) -> bool:
        """Whether there is a server right now, as far as is known."""

    def bucket(self, bucket: Bucket[Any]) -> KeyValue[Any]:
        """A key-value bucket."""


class Inventory(Protocol):
    """Reads what the node is."""

    async def prepare(self) -> None:
        """What takes long to find out, and stays as it is, is known."""

    def read(self) -> NodeRecord:
        """The node as it is now."""


class NodeRecords:
    """Written by this node alone."""

    def __init__(
        self,
        *,
        node: str,
        bus: Buckets,
        thread: Thread,
        store: StateStore,
        inventory: Inventory,
        offline_mode: OfflineMode = "available",
        now: Callable[[], str],
    ) -> None:
        """Nothing is written yet."""
        self._node = node
        self._bus = bus
        self._thread = thread
        self._store = store
        self._inventory = inventory
        self._offline_mode = offline_mode
        self._now = now
        self._look_again = asyncio.Event()
        self._observed: ObservedNode | None = None
        self._reported: ObservedNode | None = None
        self._has_news = asyncio.Event()
        self._was_tried = asyncio.Event()

    async def note_mode(self) -> None:
        """The journal says it, if the offline mode is another than at the last start.

        The first mode of a node is in its registration alone.

        Raises:
            JournalUnwritableError: It cannot be said now.
        """
        before, after = await self._thread(self._store.setting, _OFFLINE_MODE), self._offline_mode
        if before == after:
            return
        body = mode_body(node=self._node, before=before, after=after)
        event_id = sight_event_id(
            self._node, before, f"{body.action}.{after}", occasion=self._now()
        )
        entries = [(event_id, body)] if before else []
        await self._thread(self._store.keep_setting, _OFFLINE_MODE, after, entries)
        log.info("offline_mode", mode=after, before=before)

    def observe(self, observed: ObservedNode) -> None:
        """This is what the node runs now; it is reported if it differs from what the bus has."""
        if self._observed is None or _without_time(self._observed) != observed:
            self._observed = msgspec.structs.replace(observed, at=self._now())
            self._has_news.set()

    def report_again(self) -> None:
        """The bus may not have what was reported."""
        self._reported = None
        self._has_news.set()

    async def reporting(self) -> None:
        """The bus has what the node runs, or it is tried again; never ends by itself."""
        pause_seconds = FAULT_RETRY_SECONDS
        while True:
            self._has_news.clear()
            if await self.report():
                pause_seconds = FAULT_RETRY_SECONDS
                await self._has_news.wait()
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_seconds):
                    await self._has_news.wait()
            pause_seconds = min(2 * pause_seconds, LAST_REPORT_RETRY_SECONDS)

    async def report(self) -> bool:
        """Whether there is nothing that the bus could be told now."""
        observed = self._observed
        if observed is None or observed == self._reported or not self._bus.is_there:
            return True
        try:
            await self._bus.bucket(OBSERVED).put(self._node, observed)
        except RefusedError as error:
            log.error("report_refused", code=error.refusal_code, why=error.message)  # noqa: TRY400
            return False
        except FaultError as fault:
            log.warning("report_failed", why=fault.message)
            return False
        self._reported = observed
        return observed == self._observed

    async def registering(self) -> None:
        """The bus has the node's inventory as it is; never ends by itself."""
        await self._inventory.prepare()
        while True:
            self._look_again.clear()
            pause_seconds = await self.register()
            self._was_tried.set()
            await asyncio.sleep(BETWEEN_SECONDS)
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_seconds):
                    await self._look_again.wait()

    async def first_registration(self) -> None:
        """The bus has the node's inventory, or did not take it at the first attempt."""
        await self._was_tried.wait()

    def look_again(self) -> None:
        """The inventory may have changed."""
        self._look_again.set()

    async def register(self) -> float:
        """The inventory's record is as the node is, or it is logged why not.

        Returns:
            Seconds until it should be looked at again.

        Raises:
            StateStoreError: Without a journal nothing may be said.
        """
        try:
            await self._register()
        except StateStoreError:
            raise
        except RefusedError as error:
            log.error(  # noqa: TRY400 because a refusal needs no trace
                "registration_refused", code=error.refusal_code, why=error.message
            )
        except FaultError as fault:
            log.warning("registration_failed", why=fault.message)
            return FAULT_RETRY_SECONDS
        return CHECK_SECONDS

    async def _register(self) -> None:
        bucket = self._bus.bucket(NODES)
        stored = await bucket.get(self._node)
        current = await self._thread(self._inventory.read)
        if not is_outdated(stored.value if stored else None, current):
            return
        replaced = stored.revision if stored else 0
        event_id = registration_event_id(current, replaced_revision=replaced)
        await self._thread(self._store.journal, [(event_id, registration_body(current))])
        await bucket.put(self._node, current)
        log.info("registered", node=self._node)


def _without_time(observed: ObservedNode) -> ObservedNode:
    return msgspec.structs.replace(observed, at="")
