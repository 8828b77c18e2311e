# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A rollout outlives the scheduler that leads it: another goes on where the last one was."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

from shared.adapters.bus import Bus
from shared.contracts.deployments import DEPLOYMENTS, DeploymentSpec
from shared.contracts.rollouts import RolloutSpec, RolloutState
from shared.contracts.scheduler import APPLY_DEPLOYMENT, ApplyDeployment
from shared.errors import FaultError
from tests.fleets import a_package, a_spec
from tests.integration.conftest import Buses
from tests.support.event_stream import stored_events
from tests.support.scheduler_neighbours import a_catalog, a_test_node, until_settled
from tests.support.scheduler_process import PATIENCE_SECONDS, scheduler_processes, the_leader

NODES = ("n1", "n2", "n3", "n4", "n5")


async def _apply(operator: Bus, spec: DeploymentSpec, command_id: str) -> None:
    request = ApplyDeployment(spec=spec, command_id=command_id)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            try:
                await operator.request(APPLY_DEPLOYMENT, request, timeout_seconds=2.0)
            except FaultError:
                await asyncio.sleep(0.02)
            else:
                return


async def _until_released(scheduler: Bus, count: int) -> RolloutState:
    """So many nodes have the new revision, or the rollout is over."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            entry = await scheduler.bucket(DEPLOYMENTS).get("edge")
            state = entry.value.rollout if entry is not None else None
            if state is not None and (state.released >= count or state.phase == "complete"):
                return state
            await asyncio.sleep(0.01)


async def test_another_scheduler_goes_on_in_the_middle_of_a_rollout(
    buses: Buses, tmp_path: Path
) -> None:
    """Killed twice, once with a standby and once without: each step happened once."""
    operator, scheduler = await buses.open("operator"), await buses.open("service-scheduler")
    async with AsyncExitStack() as stack:
        versions = a_package(version="1.0.0"), a_package(version="1.1.0")
        await stack.enter_async_context(a_catalog(await buses.open("service-catalog"), *versions))
        nodes = [
            await stack.enter_async_context(a_test_node(await buses.open("node", name)))
            for name in NODES
        ]
        credentials = buses.server.credentials("service-scheduler")
        schedulers = stack.enter_context(scheduler_processes(credentials, tmp_path))
        first = schedulers.start("first")
        before = await the_leader(operator)
        second = schedulers.start("second")
        await the_leader(operator, standbys=1)
        await _apply(operator, a_spec(version="1.0.0"), "command-1")
        await until_settled(scheduler)
        for node in nodes:
            node.acts.clear()
            await node.beat()
        rollout = RolloutSpec(max_unavailable=1)
        await _apply(operator, a_spec(version="1.1.0", rollout=rollout), "command-2")

        await _until_released(scheduler, 1)
        first.kill()
        after = await the_leader(operator, other_than=before.pid)
        for node in nodes[:2]:
            node.acts.set()
        await _until_released(scheduler, 3)
        second.kill()
        schedulers.start("second")
        await the_leader(operator, other_than=after.pid)
        for node in nodes:
            await node.beat()
        nodes[2].acts.set()
        await _until_released(scheduler, 4)
        assert [len(node.told) for node in nodes[4:]] == [1]
        for node in nodes:
            node.acts.set()
        assert (await _until_released(scheduler, 6)).phase == "complete"
        await until_settled(scheduler)

        events = await stored_events(await buses.open("service-auditor"))
        own = [event for event in events if event.emitter == "scheduler"]
        assert [event.sequence for event in own] == list(range(1, len(own) + 1))
        steps = [event.data for event in own if event.data.action.startswith("rollout.")]
        assert [one.details.get("nodes") for one in steps] == [
            *([name] for name in NODES),
            None,
            None,
        ]
        assert [one.action for one in steps[-2:]] == ["rollout.confirm", "rollout.complete"]
        assert [len(node.told) for node in nodes] == [2] * 5
        endings = [
            (event.data.correlation, event.data.outcome)
            for event in own
            if event.data.action == "deployment.complete"
        ]
        assert endings == [("command-1", "succeeded"), ("command-2", "succeeded")]
