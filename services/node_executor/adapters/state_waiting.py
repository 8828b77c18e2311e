# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""One executor at a time has a node's state; the next one waits for it, and touches nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from services.node_executor.adapters.state_file import StateInUseError
from services.node_executor.adapters.state_store import StateStore
from shared.adapters.lifecycle import StoppedError

AGAIN_SECONDS: Final = 0.05
"""Between attempts, each of which waits `state_file.LOCK_SECONDS` itself."""

log = structlog.get_logger()


async def open_when_free(
    open_state: Callable[[], Awaitable[StateStore]], stop: asyncio.Event
) -> StateStore:
    """The state, as soon as no other executor has it, however long that takes.

    So the next release can be started while this one runs.  The kernel gives the state free when
    its holder ends, whatever ended it.

    Raises:
        StoppedError: `stop` was set meanwhile.
        StateStoreError: It cannot be opened for another reason.
    """
    is_said = False
    while not stop.is_set():
        try:
            return await open_state()
        except StateInUseError as fault:
            if not is_said:
                log.warning("waiting_for_state", why=fault.message)
                is_said = True
            await asyncio.sleep(AGAIN_SECONDS)
    raise StoppedError
