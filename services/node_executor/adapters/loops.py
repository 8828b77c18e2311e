# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Loops that live and die together, so that a supervisor sees it when one of them is gone."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, Final

from shared.adapters.service_layer import DRAIN_SECONDS
from shared.errors import FaultError

AGAIN_SECONDS: Final = 2.0
"""After which a task that did not end is cancelled once more: waiting for something with a timeout
(asyncio.wait_for before Python 3.12) loses a cancellation that meets the end of the wait."""


class LoopEndedError(FaultError):
    """What should go on until the process is stopped came to its end."""


async def run_loops(
    answering: Coroutine[Any, Any, None],
    *loops: Coroutine[Any, Any, None],
    stop: asyncio.Event,
    drain_seconds: float = DRAIN_SECONDS,
    again_seconds: float = AGAIN_SECONDS,
) -> None:
    """All run until `stop` is set; then `answering` is ended, and the others after it.

    Whatever ends one of them before ends all, within seconds.

    Args:
        answering: Ends within `drain_seconds` once it is cancelled.
        loops: Never end by themselves.
        stop: Asks for the end.
        drain_seconds: How long `answering` may take.
        again_seconds: Between cancellations of what does not end.

    Raises:
        LoopEndedError: One of them returned before `stop` was set.
        Exception: What one of them raised; a group, if several did.
    """
    tasks = [asyncio.create_task(loop) for loop in (answering, *loops)]
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((stopping, *tasks), return_when=asyncio.FIRST_COMPLETED)
        has_ended_early = not stop.is_set() and any(task.done() for task in tasks)
        if not has_ended_early:
            await _end(tasks[:1], again_seconds=drain_seconds + again_seconds)
    finally:
        await _end((stopping, *tasks), again_seconds=again_seconds)
    errors = [error for task in tasks if not task.cancelled() and (error := task.exception())]
    if len(errors) > 1:
        raise BaseExceptionGroup("several loops failed", errors)
    if errors:
        raise errors[0]
    if has_ended_early:
        raise LoopEndedError("a loop ended that never should")


async def _end(tasks: Iterable[asyncio.Task[Any]], *, again_seconds: float) -> None:
    """All are done; cancelled as often as it takes."""
    pending = {task for task in tasks if not task.done()}
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=again_seconds)
