# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A scheduler over a real bus, and what a test does with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import monotonic

import pytest

from services.scheduler.__main__ import scheduling
from shared.adapters.bus import Bus
from shared.contracts.deployments import DEPLOYMENTS, DeploymentSpec
from shared.contracts.desired import DESIRED
from shared.contracts.scheduler import (
    APPLY_DEPLOYMENT,
    LIST_NODES,
    ApplyDeployment,
    DeploymentAccepted,
    ListNodes,
)
from shared.contracts.storage import outbox_bucket
from shared.errors import Reason, RefusedError
from tests.fleets import a_package
from tests.integration.conftest import Buses
from tests.support.event_stream import stored_events
from tests.support.scheduler_neighbours import (
    WAIT_SECONDS,
    TestNode,
    a_catalog,
    a_test_node,
    until_settled,
)

VERIFIER = RefusedError(
    "the verifier refused limiter",
    [Reason(path="chains[0].programs[0]", rule="invalid access, limiter.bpf.c:7")],
    code="verifier_rejected",
)


@dataclass
class System:
    """What a test talks to."""

    buses: Buses
    scheduler: Bus
    operator: Bus
    auditor: Bus
    stack: AsyncExitStack
    ahead: timedelta = timedelta()
    """How far the scheduler's clock is ahead of the true one."""

    def now(self) -> datetime:
        """By the scheduler's clock."""
        return datetime.now(UTC) + self.ahead

    def clock(self) -> float:
        """By which silence is counted."""
        return monotonic() + self.ahead.total_seconds()

    async def catalog(self) -> AsyncExitStack:
        """Two versions of rate-limit; leave the stack to take the catalog down."""
        bus = await self.buses.open("service-catalog")
        serving = AsyncExitStack()
        await serving.enter_async_context(
            a_catalog(bus, a_package(version="1.0.0"), a_package(version="1.1.0"))
        )
        self.stack.push_async_callback(serving.aclose)
        return serving

    async def node(self, name: str, *interfaces: str, **labels: str) -> TestNode:
        """A node that is registered and known to the scheduler."""
        bus = await self.buses.open("node", name)
        node = await self.stack.enter_async_context(a_test_node(bus, *interfaces, labels=labels))
        async with asyncio.timeout(WAIT_SECONDS):
            while True:
                listed = await self.operator.request(LIST_NODES, ListNodes())
                if any(one.node == name and one.alive for one in listed.nodes):
                    return node
                await asyncio.sleep(0.005)

    async def apply(self, spec: DeploymentSpec, command_id: str = "") -> DeploymentAccepted:
        """The specification is accepted, or the refusal raised."""
        return await self.operator.request(
            APPLY_DEPLOYMENT, ApplyDeployment(spec=spec, command_id=command_id)
        )

    async def events(self) -> list[tuple[str, str, str]]:
        """Action, outcome and correlation of every event so far, once all endings were said."""
        await until_settled(self.scheduler)
        return [
            (event.data.action, event.data.outcome, event.data.correlation)
            for event in await stored_events(self.auditor)
            if event.emitter == "scheduler"
        ]

    async def stored(self) -> tuple[set[str], set[str], set[str]]:
        """Keys of deployments, desired records and the outbox."""
        return (
            {one.key for one in await self.scheduler.bucket(DEPLOYMENTS).entries()},
            {one.key for one in await self.scheduler.bucket(DESIRED).entries()},
            {
                one.key
                for one in await self.scheduler.bucket(outbox_bucket("scheduler")).entries()
                if not one.key.startswith("heads.")
            },
        )


NOTHING_STORED: tuple[set[str], set[str], set[str]] = (set(), set(), set())


@pytest.fixture
async def system(buses: Buses) -> AsyncIterator[System]:
    """A scheduler without catalog and nodes."""
    scheduler = await buses.open("service-scheduler")
    operator = await buses.open("operator")
    auditor = await buses.open("service-auditor")
    async with AsyncExitStack() as stack:
        system = System(buses, scheduler, operator, auditor, stack)
        await stack.enter_async_context(scheduling(scheduler, now=system.now, clock=system.clock))
        yield system
