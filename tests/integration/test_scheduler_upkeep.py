# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The scheduler and nodes that are cordoned, drained, or lost by those who are so many."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress
from datetime import timedelta

import pytest

from shared.contracts.cordons import (
    CORDON_NODE,
    DRAIN_NODE,
    UNCORDON_NODE,
    CordonNode,
    CordonStatus,
    DrainNode,
    UncordonNode,
)
from shared.contracts.rollouts import RolloutSpec
from shared.contracts.scheduler import (
    APPLY_DEPLOYMENT,
    GET_NODE,
    LABEL_NODE,
    NODE_LABELS,
    REMOVE_DEPLOYMENT,
    ApplyDeployment,
    GetNode,
    LabelNode,
    RemoveDeployment,
)
from shared.errors import FaultError, RefusedError
from tests.fleets import a_package, a_spec
from tests.integration.conftest import Buses
from tests.support.event_stream import stored_events
from tests.support.mortal_bus import ProcessDiedError
from tests.support.mortal_scheduler import Life, one_life, until_known
from tests.support.scheduler_neighbours import (
    WAIT_SECONDS,
    a_catalog,
    a_test_node,
    until_running,
    until_settled,
)
from tests.support.scheduler_system import System, system

__all__ = ["system"]


async def test_a_cordoned_node_keeps_what_it_has_and_gets_nothing_new(system: System) -> None:
    """Until the cordon ends; both are in the log, and operators may."""
    await system.catalog()
    await system.node("n1")
    late = await system.node("n2")
    await system.apply(a_spec(order=10))
    await until_running(system.operator, "edge")

    await system.operator.request(CORDON_NODE, CordonNode(node="n2", command_id="cordon-001"))
    accepted = await system.apply(a_spec("other", order=20))
    await until_running(system.operator, "other")
    shown = await system.operator.request(GET_NODE, GetNode(node="n2"))

    assert [(one.node, one.why) for one in accepted.plan.excluded] == [("n2", "is cordoned")]
    assert shown.cordon is not None
    assert shown.cordon.stays == ("edge",)
    assert [one.deployment for one in late.told[-1].chains[0].programs] == ["edge"]

    await system.operator.request(UNCORDON_NODE, UncordonNode(node="n2", command_id="uncordon-1"))
    async with asyncio.timeout(WAIT_SECONDS):
        while [one.deployment for one in late.told[-1].chains[0].programs] != ["edge", "other"]:
            await asyncio.sleep(0.005)
    events = await system.events()
    assert ("node.cordon", "accepted", "cordon-001") in events
    assert ("node.uncordon", "accepted", "uncordon-1") in events


async def test_a_removed_deployment_leaves_a_cordoned_node_for_good(system: System) -> None:
    """Another one of its name does not come."""
    await system.catalog()
    await system.node("n1")
    await system.apply(a_spec())
    await until_running(system.operator, "edge")
    await system.operator.request(CORDON_NODE, CordonNode(node="n1"))

    await system.operator.request(REMOVE_DEPLOYMENT, RemoveDeployment(name="edge"))
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            shown = await system.operator.request(GET_NODE, GetNode(node="n1"))
            if shown.cordon is not None and not shown.cordon.stays:
                break
            await asyncio.sleep(0.005)

    with pytest.raises(RefusedError, match="no node is eligible"):
        await system.apply(a_spec())


async def test_a_drained_node_is_empty_until_it_is_uncordoned(system: System) -> None:
    """What it waits for is said meanwhile, and its end is in the log once."""
    await system.catalog()
    await system.node("n1")
    node = await system.node("n2")
    await system.apply(a_spec())
    await until_running(system.operator, "edge")

    async def cordon_once(why: str) -> CordonStatus:
        async with asyncio.timeout(WAIT_SECONDS):
            while True:
                cordon = (await system.operator.request(GET_NODE, GetNode(node="n2"))).cordon
                assert cordon is not None
                if [one.why for one in cordon.waits] == ([why] if why else []):
                    return cordon
                await asyncio.sleep(0.005)

    node.acts.clear()
    await system.operator.request(DRAIN_NODE, DrainNode(node="n2", command_id="drain-0001"))
    held = await cordon_once("it has not acted upon it yet")
    assert (held.stays, held.left, held.drained_at) == ((), ("edge",), "")
    node.acts.set()
    async with asyncio.timeout(WAIT_SECONDS):
        while not (await cordon_once("")).drained_at:
            await asyncio.sleep(0.005)
    assert not node.told[-1].chains[0].programs
    status = await until_running(system.operator, "edge")
    assert [place.node for place in status.places] == ["n1"]

    await system.operator.request(UNCORDON_NODE, UncordonNode(node="n2"))
    async with asyncio.timeout(WAIT_SECONDS):
        while not node.told[-1].chains[0].programs:
            await asyncio.sleep(0.005)
    assert [one for one in await system.events() if one[0] == "node.drain"] == [
        ("node.drain", "accepted", "drain-0001"),
        ("node.drain", "succeeded", "drain-0001"),
    ]


async def test_nodes_are_drained_one_after_another(system: System) -> None:
    """As the deployment allows: the second waits until the first is back."""
    await system.catalog()
    nodes = [await system.node(name) for name in ("n1", "n2")]
    await system.apply(a_spec(rollout=RolloutSpec(max_unavailable=1)))
    async with asyncio.timeout(WAIT_SECONDS):
        while len((await until_running(system.operator, "edge")).places) < len(nodes):
            await asyncio.sleep(0.005)

    async def until_drained(node: str) -> None:
        async with asyncio.timeout(WAIT_SECONDS):
            while True:
                cordon = (await system.operator.request(GET_NODE, GetNode(node=node))).cordon
                if cordon is not None and cordon.drained_at:
                    return
                await asyncio.sleep(0.005)

    await system.operator.request(DRAIN_NODE, DrainNode(node="n1"))
    await until_drained("n1")
    await system.operator.request(DRAIN_NODE, DrainNode(node="n2"))
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            held = (await system.operator.request(GET_NODE, GetNode(node="n2"))).cordon
            if held is not None and held.waits:
                break
            await asyncio.sleep(0.005)
    assert [(one.deployment, one.why) for one in held.waits] == [
        ("edge", "1 of its 2 nodes are away and no more than 1 may be: n1 is drained")
    ]
    assert nodes[1].told[-1].chains[0].programs

    await system.operator.request(UNCORDON_NODE, UncordonNode(node="n1"))
    await until_drained("n2")
    assert not nodes[1].told[-1].chains[0].programs
    assert nodes[0].told[-1].chains[0].programs


async def test_a_lost_node_is_replaced_and_has_nothing_when_it_returns(system: System) -> None:
    """Of so many nodes that a deployment is for; the log says who, by whom and why, once."""
    await system.catalog()
    nodes = {name: await system.node(name) for name in ("n1", "n2")}
    await system.apply(a_spec(count=1))
    status = await until_running(system.operator, "edge")
    (lost,) = {place.node for place in status.places}
    (other,) = set(nodes) - {lost}

    system.ahead = timedelta(minutes=5)
    await nodes[other].beat()
    async with asyncio.timeout(WAIT_SECONDS):
        while (await system.operator.request(GET_NODE, GetNode(node=other))).away:
            await asyncio.sleep(0.005)
    await system.operator.request(LABEL_NODE, LabelNode(node=other, set={"woken": "up"}))
    async with asyncio.timeout(WAIT_SECONDS):
        while {one.node for one in (await until_running(system.operator, "edge")).places} != {
            other
        }:
            await asyncio.sleep(0.005)
    async with asyncio.timeout(WAIT_SECONDS):
        while nodes[lost].told[-1].chains[0].programs:
            await asyncio.sleep(0.005)
    await until_settled(system.scheduler)
    moves = [
        event.data
        for event in await stored_events(system.auditor)
        if event.data.action == "deployment.rebalance"
    ]
    assert [(one.details["added"], list(one.details["removed"])) for one in moves] == [
        ([other], [lost])
    ]


async def test_a_drain_ends_once_whichever_write_the_scheduler_dies_at(buses: Buses) -> None:
    """Killed at each write in turn, before it or after it; the next scheduler goes on there."""
    operator = await buses.open("operator")
    catalog = await buses.open("service-catalog")
    labels = (await buses.open("service-scheduler")).bucket(NODE_LABELS)
    deaths = 0

    async def until_drained() -> None:
        async with asyncio.timeout(WAIT_SECONDS):
            while True:
                entry = await labels.get("n1")
                if entry and entry.value.cordon and entry.value.cordon.drained_at:
                    return
                await asyncio.sleep(0.005)

    async with AsyncExitStack() as stack:
        await stack.enter_async_context(a_catalog(catalog, a_package()))
        await stack.enter_async_context(a_test_node(await buses.open("node", "n1")))
        async with one_life(buses, Life(dies_at=0, lands=False)) as scheduler:
            await until_known(operator)
            await operator.request(APPLY_DEPLOYMENT, ApplyDeployment(spec=a_spec()))
            await until_running(operator, "edge")
            await until_settled(scheduler)
        for dies_at in range(2, 40):
            command = DrainNode(node="n1", command_id=f"drain-{dies_at:04d}")
            life = Life(dies_at=dies_at, lands=dies_at % 2 == 0)
            try:
                async with one_life(buses, life):
                    await until_known(operator)
                    with suppress(FaultError):
                        await operator.request(DRAIN_NODE, command, timeout_seconds=WAIT_SECONDS)
                    await until_drained()
            except* ProcessDiedError:
                deaths += 1
            async with one_life(buses, Life(dies_at=0, lands=False)):
                await until_known(operator)
                await operator.request(DRAIN_NODE, command)
                await until_drained()
                await operator.request(UNCORDON_NODE, UncordonNode(node="n1"))
                await until_running(operator, "edge")
            if life.writes < dies_at:
                break

    assert deaths > 5
    drains = [
        (event.data.outcome, event.data.correlation)
        for event in await stored_events(await buses.open("service-auditor"))
        if event.data.action == "node.drain"
    ]
    assert sorted(drains) == sorted(
        (outcome, f"drain-{number:04d}")
        for number in range(2, deaths + 3)
        for outcome in ("accepted", "succeeded")
    )
