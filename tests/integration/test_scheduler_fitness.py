# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Nodes with older kernels: not chosen, named with what they lack, and what runs there stays."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from services.scheduler.placement import NoEligibleNodeError
from shared.contracts.scheduler import (
    GET_DEPLOYMENT,
    GET_NODE,
    PLAN_DEPLOYMENT,
    GetDeployment,
    GetNode,
    NodeStatus,
    PlanDeployment,
)
from shared.errors import RefusedError
from tests.fleets import a_spec
from tests.support.kernels import a_demanding_package, a_kernel
from tests.support.scheduler_neighbours import WAIT_SECONDS, TestNode, a_catalog, until_running
from tests.support.scheduler_system import System, system

__all__ = ["system"]

NO_LOOP = "kernel {} has no helper bpf_loop (181) for XDP programs"
CODE = NoEligibleNodeError.code


async def _catalog(system: System) -> None:
    bus = await system.buses.open("service-catalog")
    package = a_demanding_package(helpers=(1, 181), map_types=("hash",))
    await system.stack.enter_async_context(a_catalog(bus, package))


async def _node(system: System, name: str, release: str) -> TestNode:
    """A node with that kernel, as the scheduler knows it."""
    node = await system.node(name)
    await _becomes(system, node, release)
    return node


async def _becomes(system: System, node: TestNode, release: str) -> None:
    node.record = msgspec.structs.replace(
        node.record, kernel=release, capabilities=a_kernel(release)
    )
    await node.register()
    async with asyncio.timeout(WAIT_SECONDS):
        while (await _status(system, node.bus.name)).record.kernel != release:
            await asyncio.sleep(0.005)


async def _status(system: System, node: str) -> NodeStatus:
    return await system.operator.request(GET_NODE, GetNode(node=node))


async def test_older_kernels_are_left_out_of_the_plan_by_name(system: System) -> None:
    """The plan says of each what it lacks; only the able node is asked to stage."""
    await _catalog(system)
    nodes = {
        name: await _node(system, name, release)
        for name, release in (("a", "5.4.0"), ("b", "5.15.0"), ("c", "6.18.0"))
    }

    plan = await system.operator.request(PLAN_DEPLOYMENT, PlanDeployment(spec=a_spec()))

    assert [(one.node, one.why) for one in plan.excluded] == [
        ("a", NO_LOOP.format("5.4.0")),
        ("b", NO_LOOP.format("5.15.0")),
    ]
    assert [chain.node for chain in plan.chains] == ["c"]
    assert {name for name, node in nodes.items() if node.staged} == {"c"}
    await system.apply(a_spec())
    assert [one.node for one in (await until_running(system.operator, "edge")).places] == ["c"]
    (unfit,) = (await _status(system, "a")).unfit_for
    assert (unfit.deployment, unfit.why, unfit.stays) == ("edge", NO_LOOP.format("5.4.0"), False)


async def test_a_deployment_that_no_kernel_can_take_is_refused_and_changes_nothing(
    system: System,
) -> None:
    """With what each node lacks, before any of them is asked."""
    await _catalog(system)
    old = await _node(system, "a", "5.4.0")

    with pytest.raises(RefusedError, match="no node is eligible") as caught:
        await system.apply(a_spec())

    assert caught.value.refusal_code == CODE
    assert [one.rule for one in caught.value.reasons] == [NO_LOOP.format("5.4.0")]
    assert not old.staged
    deployments, desired, _ = await system.stored()
    assert not deployments | desired


async def test_what_runs_stays_on_a_node_whose_kernel_can_no_longer(system: System) -> None:
    """It booted an older kernel, say: it is told nothing new, and status and node say why."""
    await _catalog(system)
    node = await _node(system, "a", "6.18.0")
    await system.apply(a_spec())
    await until_running(system.operator, "edge")
    told = len(node.told)

    await _becomes(system, node, "5.4.0")

    status = await system.operator.request(GET_DEPLOYMENT, GetDeployment(name="edge"))
    (place,) = status.places
    why = NO_LOOP.format("5.4.0")
    assert (place.state, place.why[0].rule) == ("running", f"it stays here, although {why}")
    (unfit,) = (await _status(system, "a")).unfit_for
    assert (unfit.why, unfit.stays) == (why, True)
    assert len(node.told) == told
