# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A scheduler that dies at any of its writes: the next one finishes what was accepted, once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import pytest

from services.scheduler.__main__ import scheduling
from shared.adapters.bus import Bus, connect
from shared.adapters.kv import KeyValue
from shared.contracts.base import Bucket
from shared.contracts.events import Event
from shared.contracts.scheduler import (
    APPLY_DEPLOYMENT,
    LIST_NODES,
    REMOVE_DEPLOYMENT,
    ApplyDeployment,
    ListNodes,
    RemoveDeployment,
)
from shared.errors import FaultError
from tests.fleets import a_package, a_spec
from tests.integration.conftest import Buses
from tests.support.event_stream import stored_events
from tests.support.mortal_bus import ProcessDiedError
from tests.support.scheduler_neighbours import (
    WAIT_SECONDS,
    a_catalog,
    a_test_node,
    until_running,
    until_settled,
)

WRITES_OF_A_COMMAND = 14
"""One at the start; pending, change, event, heads, done, delete; the node's desired record; for
the ending the same as for the command, but no change; and settling the record."""


class Life:
    """Counts the writes of one process, and ends it."""

    def __init__(self, *, dies_at: int, lands: bool) -> None:
        self.dies_at = dies_at
        self.lands = lands
        self.writes = 0

    async def write(self, effect: Any) -> Any:
        """The effect; from write `dies_at` on nothing is written, or only that one if it lands."""
        self.writes += 1
        if self.dies_at and self.writes >= self.dies_at:
            is_last = self.writes == self.dies_at
            if self.lands and is_last:
                await effect
            effect.close()
            # One death ends the process; whoever else still writes is silently gone with it.
            raise ProcessDiedError if is_last else asyncio.CancelledError
        return await effect


class MortalKeyValue(KeyValue[Any]):
    """A bucket whose every write may be the last."""

    life: Life

    async def _publish(self, key: str, data: bytes, headers: Mapping[str, str]) -> int:
        sequence: int = await self.life.write(super()._publish(key, data, headers))
        return sequence


class MortalBus(Bus):
    """A whole bus for one life."""

    def __init__(self, bus: Bus, life: Life) -> None:
        super().__init__(bus.connection, bus._tasks)
        self.life = life

    def bucket(self, bucket: Bucket[Any]) -> KeyValue[Any]:
        """A bucket that counts."""
        values = MortalKeyValue(self.connection, bucket, spawn=self.spawn)
        values.life = self.life
        return values

    async def publish_event(self, event: Event) -> None:
        """Counts too."""
        await self.life.write(super().publish_event(event))


@asynccontextmanager
async def _one_life(buses: Buses, life: Life) -> AsyncIterator[Bus]:
    """A scheduler until the block ends, or it dies."""
    async with connect(buses.server.credentials("service-scheduler")) as bus:
        mortal = MortalBus(bus, life)
        try:
            async with scheduling(mortal):
                yield mortal
        finally:
            mortal.cancel_spawned()


async def _give(operator: Bus, command: ApplyDeployment | RemoveDeployment) -> None:
    endpoint: Any = APPLY_DEPLOYMENT if isinstance(command, ApplyDeployment) else REMOVE_DEPLOYMENT
    await operator.request(endpoint, command, timeout_seconds=2.0)


@pytest.mark.parametrize("removes", [False, True], ids=["apply", "remove"])
@pytest.mark.parametrize("lands", [False, True], ids=["before", "after"])
async def test_a_command_completes_once_whichever_write_the_scheduler_dies_at(
    buses: Buses, *, lands: bool, removes: bool
) -> None:
    """Killed at each write in turn, from the first of the start to the settling of the record."""
    operator = await buses.open("operator")
    catalog = await buses.open("service-catalog")
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(a_catalog(catalog, a_package()))
        await stack.enter_async_context(a_test_node(await buses.open("node", "n1")))
        deaths = 0
        for dies_at in range(1, 40):
            name = f"edge-{dies_at}"
            order = dies_at
            if removes:
                async with _one_life(buses, Life(dies_at=0, lands=False)) as scheduler:
                    await _until_known(operator)
                    await _give(operator, ApplyDeployment(spec=a_spec(name, order=order)))
                    await until_running(operator, name)
                    await until_settled(scheduler)
                command: Any = RemoveDeployment(name=name, command_id=f"command-{dies_at}")
            else:
                spec = a_spec(name, order=order)
                command = ApplyDeployment(spec=spec, command_id=f"command-{dies_at}")

            died = await _dies(buses, operator, command, Life(dies_at=dies_at, lands=lands))
            deaths += died

            async with _one_life(buses, Life(dies_at=0, lands=False)) as scheduler:
                await _until_known(operator)
                await _give(operator, command)
                status = await until_running(operator, name)
                await until_settled(scheduler)
            assert status.removed is removes
            if not died:
                break

    assert deaths == WRITES_OF_A_COMMAND
    events = await stored_events(await buses.open("service-auditor"))
    steps = [
        (event.data.action, event.data.outcome, event.data.correlation)
        for event in events
        if event.data.correlation.startswith("command-")
    ]
    action = "deployment.remove" if removes else "deployment.apply"
    assert sorted(steps) == sorted(
        step
        for number in range(1, deaths + 2)
        for step in (
            (action, "accepted", f"command-{number}"),
            ("deployment.complete", "succeeded", f"command-{number}"),
        )
    )
    sequences = [event.sequence for event in events if event.emitter == "scheduler"]
    assert sequences == list(range(1, len(sequences) + 1))


async def _until_known(operator: Bus) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        while not (await operator.request(LIST_NODES, ListNodes())).nodes:
            await asyncio.sleep(0.005)


async def _dies(buses: Buses, operator: Bus, command: Any, life: Life) -> bool:
    """Whether the scheduler died before the command was over and settled."""
    try:
        async with _one_life(buses, life) as scheduler:
            with suppress(FaultError):
                await _give(operator, command)
            await until_settled(scheduler)
    except* ProcessDiedError:
        assert life.writes >= life.dies_at
    return life.writes >= life.dies_at
