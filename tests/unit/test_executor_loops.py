# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Loops that live and die together."""

from __future__ import annotations

import asyncio

import pytest

from services.node_executor.adapters.loops import LoopEndedError, run_loops
from shared.errors import FaultError

PATIENCE_SECONDS = 30.0
AGAIN_SECONDS = 0.02


async def goes_on() -> None:
    """Never ends by itself."""
    await asyncio.Event().wait()


async def fails() -> None:
    """At once."""
    raise FaultError("the loop failed")


async def ends() -> None:
    """At once."""


class LosesCancellations:
    """As a wait with a timeout does when both come together."""

    def __init__(self, times: int) -> None:
        """That many are lost."""
        self.left = times

    async def __call__(self) -> None:
        """Ends with the cancellation after those."""
        while True:
            try:
                await goes_on()
            except asyncio.CancelledError:
                if not self.left:
                    raise
                self.left -= 1


async def test_a_loop_that_raises_ends_all_even_those_that_lose_a_cancellation() -> None:
    """What it raised is raised, so that the process ends and is started again."""
    deaf = LosesCancellations(2)

    with pytest.raises(FaultError, match="the loop failed"):
        async with asyncio.timeout(PATIENCE_SECONDS):
            await run_loops(
                deaf(), goes_on(), fails(), stop=asyncio.Event(), again_seconds=AGAIN_SECONDS
            )

    assert deaf.left == 0


async def test_a_loop_that_ends_is_a_fault() -> None:
    """Without it the process would look alive."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        with pytest.raises(LoopEndedError):
            await run_loops(goes_on(), ends(), stop=asyncio.Event())


async def test_several_failures_are_raised_together() -> None:
    """The exit status is that of the worst."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        with pytest.raises(BaseExceptionGroup) as caught:
            await run_loops(goes_on(), fails(), fails(), stop=asyncio.Event())

    assert len(caught.value.exceptions) == 2


async def test_when_stopped_requests_are_answered_while_the_loops_go_on() -> None:
    """The loops end after what answers, and nothing is raised."""
    stop, order = asyncio.Event(), list[str]()

    async def notes(name: str, pause_seconds: float) -> None:
        try:
            await goes_on()
        finally:
            await asyncio.sleep(pause_seconds)
            order.append(name)

    async with asyncio.timeout(PATIENCE_SECONDS):
        running = asyncio.create_task(
            run_loops(notes("answers", 0.05), notes("loop", 0), stop=stop)
        )
        await asyncio.sleep(0)
        stop.set()
        await running

    assert order == ["answers", "loop"]


async def test_who_is_cancelled_leaves_no_loop_behind() -> None:
    """As when something around it failed."""
    deaf = LosesCancellations(1)
    running = asyncio.create_task(
        run_loops(deaf(), goes_on(), stop=asyncio.Event(), again_seconds=AGAIN_SECONDS)
    )
    await asyncio.sleep(0.01)

    running.cancel()

    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(PATIENCE_SECONDS):
            await running
    assert deaf.left == 0
