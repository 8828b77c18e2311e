# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A node with everything around it, whose bus, state and kernel are taken away by a test."""

from __future__ import annotations

import asyncio
import secrets
import signal
from collections.abc import Awaitable, Callable

import msgspec

from services.node_executor.adapters.state_store import StateStore
from services.node_executor.generations import Point
from services.node_executor.observed_hook import ObservedHook
from shared.adapters.bus import connect
from shared.contracts.desired import DesiredChain
from shared.contracts.events import Event
from shared.contracts.node import ObservedChain
from shared.errors import FaultError
from tests.support.event_stream import stored_events
from tests.support.executors import (
    Wire,
    real_kernel,
    remove_pins,
)
from tests.support.node_fleets import NODE, Fleet


def a_store(fleet: Fleet) -> StateStore:
    """The state of an executor that is not running."""
    return StateStore.open(
        fleet.state / "state.sqlite",
        emitter=f"node/{NODE}",
        now=lambda: "2026-01-01T00:00:00.000000Z",
        new_salt=lambda: secrets.token_bytes(16),
        on_event=lambda _event: None,
    )


async def running(fleet: Fleet, *chains: DesiredChain) -> tuple[ObservedChain, ...]:
    """The executor runs the chains, and has said so."""
    fleet.start()
    observed = (await fleet.observed(await fleet.desire(*chains))).chains
    await fleet.said(2 * len(chains))
    await fleet.until(lambda: has_said(fleet, "node.register", 1))
    return observed


async def without_bus(fleet: Fleet, number: signal.Signals = signal.SIGKILL) -> None:
    """The executor has ended, and then the bus."""
    await everything_is_said(fleet)
    fleet.stop(number)
    fleet.server.stop()


async def everything_is_said(fleet: Fleet) -> None:
    """The bus has all that was journaled until now."""

    async def is_quiet() -> object:
        before = len(fleet.events)
        await asyncio.sleep(0.1)
        return before and len(fleet.events) == before

    await fleet.until(is_quiet)


def reboot(fleet: Fleet) -> None:
    """Nothing is pinned or attached any more, and what is remembered is of another boot."""
    remove_pins(fleet.base)
    store = a_store(fleet)
    for memory in store.remembered().values():
        store.journal([], msgspec.structs.replace(memory, boot_id="the boot before"))
    store.close()


async def attached(fleet: Fleet, wire: Wire) -> ObservedHook:
    """What is on the hook, once something is."""
    kernel, point = real_kernel(fleet.base / NODE), Point(wire.name, "xdp")

    async def look() -> ObservedHook | None:
        found = kernel.observe(point)
        return found if found.link_is_live else None

    found = await fleet.until(look)
    assert isinstance(found, ObservedHook)
    return found


async def read_stream(fleet: Fleet) -> None:
    """Events that were published before the test's own connections were back are known too."""
    try:
        async with connect(fleet.server.credentials("service-auditor")) as auditor:
            fleet.events += await stored_events(auditor)
    except FaultError:
        return


async def has_stored(fleet: Fleet, ids: list[str]) -> bool:
    """Whether the stream holds all these events."""
    await read_stream(fleet)
    return set(ids) <= {one.id for one in fleet.events}


async def said_in_order(fleet: Fleet, action: str, count: int = 1) -> list[Event]:
    """All events, once there are `count` of an action: each once, their sequences without a gap."""

    async def read() -> list[Event] | None:
        await read_stream(fleet)
        once = {one.id: one for one in fleet.events}
        ordered = sorted(once.values(), key=lambda one: one.sequence)
        found = [one for one in ordered if one.data.action == action]
        is_whole = [one.sequence for one in ordered] == list(range(1, len(ordered) + 1))
        return ordered if len(found) >= count and is_whole else None

    found = await fleet.until(read)
    assert isinstance(found, list)
    return found


async def again(attempt: Callable[[], Awaitable[int]], fleet: Fleet) -> int:
    """What succeeds once the test's own connections are back."""

    async def once() -> object:
        try:
            return await attempt()
        except FaultError:
            return None

    found = await fleet.until(once)
    assert isinstance(found, int)
    return found


async def has_logged(fleet: Fleet, words: str) -> bool:
    """Whether the executor's log has these words."""
    return words in fleet.log()


async def has_said(fleet: Fleet, action: str, count: int) -> bool:
    """Whether at least `count` events of an action are known."""
    return times_said(fleet, action) >= count


def times_said(fleet: Fleet, action: str) -> int:
    """How many events of an action are known."""
    return len({one.id for one in fleet.events if one.data.action == action})
