# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A version that changes nothing on this machine's platform leaves its kernel alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from services.scheduler.__main__ import scheduling
from shared.contracts.deployments import DeploymentSpec
from shared.contracts.desired import DESIRED
from shared.contracts.node import GET_CHAINS, ChainShown, GetChains
from shared.contracts.scheduler import (
    APPLY_DEPLOYMENT,
    GET_NODE,
    LIST_NODES,
    ApplyDeployment,
    DeploymentAccepted,
    GetNode,
    ListNodes,
)
from shared.errors import FaultError
from tests.support.executors import COUNTED, Wire, a_counter, send_frames
from tests.support.node_fleets import DEADLINE_SECONDS, NODE, Fleet, a_fleet
from tests.support.scheduler_neighbours import a_catalog, until_running

pytestmark = pytest.mark.kernel


VERSIONS = (
    a_counter("1.0.0", code="1.0.0"),
    a_counter("1.0.1", code="1.0.0"),
    a_counter("1.1.0", code="2.0.0"),
)


class ScheduledFleet(Fleet):
    """The scheduler is the real one, and the catalog has three versions."""

    async def open(self, stack: AsyncExitStack) -> None:
        """The bus is provisioned, and everything but the executor answers."""
        await super().open(stack)
        self.archives |= {one.signed.archive_sha256: archive for one, archive in VERSIONS}
        catalog = await self._connect(stack, "service-catalog")
        await stack.enter_async_context(a_catalog(catalog, *(one for one, _ in VERSIONS)))
        await stack.enter_async_context(scheduling(self.scheduler))
        self.operator = await self.as_operator()

    async def apply(self, interface: str, version: str) -> DeploymentAccepted:
        """The deployment runs this version."""
        spec = DeploymentSpec(
            name="edge",
            package="counter",
            version=version,
            hook="xdp",
            interfaces=(interface,),
            metrics=COUNTED,
        )
        accepted = await self.operator.request(
            APPLY_DEPLOYMENT, ApplyDeployment(spec=spec), timeout_seconds=DEADLINE_SECONDS
        )
        await until_running(self.operator, "edge")
        return accepted

    async def is_known(self, interface: str) -> bool:
        """Whether the scheduler has heard of the interface."""
        nodes = (await self.operator.request(LIST_NODES, ListNodes())).nodes
        status = [await self.operator.request(GET_NODE, GetNode(node=one.node)) for one in nodes]
        places = [one.place for node in status for one in node.record.interfaces]
        return interface in places

    async def chain(self) -> ChainShown:
        """As it is read back from the kernel now."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while True:
                try:
                    shown = await self.viewer.request(GET_CHAINS.at(node=NODE), GetChains())
                    return shown.chains[0]
                except FaultError:
                    await asyncio.sleep(0.01)

    async def generation(self) -> int:
        """That the node is told."""
        entry = await self.scheduler.bucket(DESIRED).get(NODE)
        assert entry is not None
        return entry.value.generation


@pytest.fixture
async def fleet(tmp_path: Path, wire: Wire) -> AsyncIterator[ScheduledFleet]:
    """The scheduler knows the node and its interface."""
    async with a_fleet(tmp_path, ScheduledFleet) as made:
        await made.start_and_register()
        await made.until(lambda: made.is_known(wire.name))
        yield made


async def test_the_same_object_under_another_version_touches_nothing(
    fleet: ScheduledFleet, wire: Wire
) -> None:
    """Link, program, generation and counters stay; with another object, the program changes."""
    await fleet.apply(wire.name, "1.0.0")
    send_frames(wire.peer, 20)
    shown, told = await fleet.chain(), await fleet.generation()

    accepted = await fleet.apply(wire.name, "1.0.1")
    send_frames(wire.peer, 20)
    again = await fleet.chain()

    before, after = shown.chain, again.chain
    assert accepted.revision == 2
    assert accepted.node_generations == {}
    assert any(one.startswith("no change for linux-") for one in accepted.plan.warnings)
    assert await fleet.generation() == told
    assert (after.link_id, after.program_id) == (before.link_id, before.program_id)
    assert after.generation == before.generation
    assert [one.version for one in after.programs] == ["1.0.0"]
    assert [one.value for one in (*shown.metrics, *again.metrics)] == [20, 40]
    assert not any(one.data.version == "1.0.1" for one in fleet.events)

    await fleet.apply(wire.name, "1.1.0")
    changed = (await fleet.chain()).chain
    assert changed.link_id == before.link_id
    assert changed.program_id != before.program_id
    assert await fleet.generation() == told + 1
