# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a node remembers of the audit log: the newest signed head that it was given.

It brings that to the auditor each minute and is given the newest one.  A log that was rolled back
or altered contradicts it, whatever else was put back with it: the store, the bus, the machine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import msgspec
import structlog

from services.node_executor.adapters.node_bus import NodeBus
from services.node_executor.adapters.state_store import StateStore
from services.node_executor.staging import Thread
from shared.adapters.callers import Caller
from shared.contracts.log_heads import COMPARE_HEAD, CompareHead, GetKnownHead, KnownHead
from shared.errors import FaultError, RefusedError

PERIOD_SECONDS: Final = 60.0
ANSWER_SECONDS: Final = 5.0
_SETTING: Final = "log_head"

log = structlog.get_logger()


class LogMemory:
    """Kept in the node's state; a smaller head never takes the place of a larger one."""

    def __init__(
        self, *, bus: NodeBus, thread: Thread, store: StateStore, now: Callable[[], str]
    ) -> None:
        """Nothing is asked yet."""
        self._bus: Final = bus
        self._thread: Final = thread
        self._store: Final = store
        self._now: Final = now
        self._problem = ""

    async def keeping(self) -> None:
        """Compared whenever the bus is there; never ends."""
        while True:
            await self._bus.arrival()
            try:
                await self.compare()
            except FaultError as fault:
                log.warning("log_head_not_compared", why=fault.message)
            await asyncio.sleep(PERIOD_SECONDS)

    async def compare(self) -> None:
        """What is known is brought to the auditor, and the newest head is known afterwards.

        Raises:
            FaultError: The auditor does not answer.
        """
        known = await self._known()
        request = CompareHead(checkpoint=known.checkpoint)
        try:
            newest = await self._bus.request(
                COMPARE_HEAD.at(node=self._bus.name), request, timeout_seconds=ANSWER_SECONDS
            )
        except RefusedError as refusal:
            self._problem = refusal.message
            log.warning("log_contradicted", why=refusal.message, known_size=known.tree_size)
            return
        self._problem = ""
        if newest.tree_size > known.tree_size or not known.checkpoint:
            kept = KnownHead(
                node=self._bus.name,
                checkpoint=newest.checkpoint,
                tree_size=newest.tree_size,
                given_at=self._now(),
            )
            text = msgspec.json.encode(kept).decode()
            await self._thread(self._store.keep_setting, _SETTING, text, ())

    async def show(self, _request: GetKnownHead, _caller: Caller) -> KnownHead:
        """The newest head that this node was ever given."""
        return msgspec.structs.replace(await self._known(), problem=self._problem)

    async def _known(self) -> KnownHead:
        """None yet, if what is kept is of another installation's log."""
        kept = await self._thread(self._store.setting, _SETTING)
        nothing = KnownHead(node=self._bus.name)
        if not kept:
            return nothing
        known = msgspec.json.decode(kept, type=KnownHead)
        is_ours = known.checkpoint.startswith(f"{self._bus.log_origin}\n")
        return known if is_ours else nothing
