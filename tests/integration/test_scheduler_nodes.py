# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The scheduler and its nodes: away, refusing, labelled, new."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import msgspec
import pytest

from services.scheduler.adapters.fleet_records import FleetRecords
from shared.contracts.desired import DESIRED
from shared.contracts.interfaces import Interface
from shared.contracts.node import NODES, OBSERVED, ObservedNode
from shared.contracts.scheduler import (
    FORGET_NODE,
    GET_DEPLOYMENT,
    LABEL_NODE,
    LIST_NODES,
    PLAN_DEPLOYMENT,
    REMOVE_DEPLOYMENT,
    ForgetNode,
    GetDeployment,
    LabelNode,
    ListNodes,
    PlanDeployment,
    RemoveDeployment,
)
from shared.errors import FaultError, Refusal, RefusedError
from tests.fleets import a_node_record, a_package, a_spec, counted
from tests.support.scheduler_neighbours import (
    WAIT_SECONDS,
    TestNode,
    a_catalog,
    a_test_node,
    until_running,
)
from tests.support.scheduler_system import NOTHING_STORED, VERIFIER, System, system

__all__ = ["system"]


async def test_a_node_that_is_down_makes_a_fault_that_names_it_and_changes_nothing(
    system: System,
) -> None:
    """And the same command succeeds once the node is back."""
    await system.catalog()
    await system.node("n1")
    bus = await system.buses.open("node", "n2")
    gone = TestNode(bus, labels={})
    await gone.open()
    async with asyncio.timeout(WAIT_SECONDS):
        while len((await system.operator.request(LIST_NODES, ListNodes())).nodes) < 2:
            await asyncio.sleep(0.005)

    with pytest.raises(FaultError, match="n2: node n2 is not answering"):
        await system.apply(a_spec(), "command-1")
    assert await system.stored() == NOTHING_STORED

    await system.stack.enter_async_context(a_test_node(bus))
    await system.apply(a_spec(), "command-1")
    await until_running(system.operator, "edge")


async def test_a_silent_node_stops_nobody_and_catches_up_when_it_returns(system: System) -> None:
    """It is not asked to try; plans say what is known; the command ends when it runs there too."""
    packages = a_catalog(await system.buses.open("service-catalog"), counted(a_package(), 190))
    await system.stack.enter_async_context(packages)
    node = await system.node("n1")
    bus = await system.buses.open("node", "n2")
    away = TestNode(bus, labels={})
    await away.register()
    await away.beat()
    await _until_alive(system, n1=True, n2=True)
    system.ahead = timedelta(minutes=1)
    await node.beat()
    await _until_alive(system, n1=True, n2=False)

    plan = await system.operator.request(PLAN_DEPLOYMENT, PlanDeployment(spec=a_spec()))
    accepted = await system.apply(a_spec(), "command-1")
    status = await system.operator.request(GET_DEPLOYMENT, GetDeployment(name="edge"))
    told = {one.node: one.programs[0] for one in plan.chains}
    assert {name: one.is_estimate for name, one in told.items()} == {"n1": False, "n2": True}
    assert told["n2"].instructions == 190
    assert [one for one in accepted.plan.warnings if one.startswith("n2 is silent for")]
    assert {one.node: one.state for one in status.places}["n2"] == "node-silent"

    await system.stack.enter_async_context(a_test_node(bus))
    await until_running(system.operator, "edge")
    events = await system.events()
    assert ("deployment.complete", "succeeded", "command-1") in events


async def test_what_a_node_cannot_load_is_refused_before_anything_changes(
    system: System,
) -> None:
    """The verifier's essence, led by the node's name; the refusal is in the log."""
    await system.catalog()
    await system.node("n1")
    broken = await system.node("n2")
    broken.staging_refusal = VERIFIER

    with pytest.raises(RefusedError, match="n2 refused: the verifier refused") as caught:
        await system.apply(a_spec(), "command-1")

    assert caught.value.refusal_code == "verifier_rejected"
    assert caught.value.reasons[0].path == "nodes.n2.chains[0].programs[0]"
    deployments, desired, _ = await system.stored()
    assert (deployments, desired) == (set(), set())
    assert await system.events() == [("deployment.apply", "refused", "command-1")]


async def test_a_removal_does_not_wait_for_a_node_that_is_away(system: System) -> None:
    """It is accepted; the node learns of it when it is back."""
    await system.catalog()
    node = await system.node("n1")
    await system.apply(a_spec())
    await until_running(system.operator, "edge")
    node.acts.clear()

    await system.operator.request(REMOVE_DEPLOYMENT, RemoveDeployment(name="edge"))
    status = await system.operator.request(GET_DEPLOYMENT, GetDeployment(name="edge"))
    assert [place.state for place in status.places] == ["pending"]

    node.acts.set()
    await until_running(system.operator, "edge")


async def test_a_label_moves_deployments_at_once_without_a_new_revision(system: System) -> None:
    """Set: the node gets it.  Removed: it loses it."""
    await system.catalog()
    await system.node("n1", role="edge")
    late = await system.node("n2")
    await system.apply(a_spec(labels={"role": "edge"}))

    labelled = await system.operator.request(
        LABEL_NODE, LabelNode(node="n2", set={"role": "edge"}, command_id="label-001")
    )
    assert labelled.labels == {"role": "edge"}
    async with asyncio.timeout(WAIT_SECONDS):
        while len((await until_running(system.operator, "edge")).places) < 2:
            await asyncio.sleep(0.005)
    assert late.told[-1].chains[0].programs[0].revision == 1

    await system.operator.request(LABEL_NODE, LabelNode(node="n2", remove=("role",)))
    async with asyncio.timeout(WAIT_SECONDS):
        while late.told[-1].chains[0].programs:
            await asyncio.sleep(0.005)
    assert ("node.label", "accepted", "label-001") in await system.events()


async def test_a_node_that_registers_later_gets_what_it_matches(system: System) -> None:
    """And so does an interface that appears later."""
    await system.catalog()
    await system.node("n1")
    await system.apply(a_spec(interfaces=("eth*",)))

    late = await system.node("n2", "eth0")
    async with asyncio.timeout(WAIT_SECONDS):
        while not late.told:
            await asyncio.sleep(0.005)
    late.record = TestNode(late.bus, "eth0", "eth1", labels={}).record
    await late.register()
    async with asyncio.timeout(WAIT_SECONDS):
        while len(late.told[-1].chains) < 2:
            await asyncio.sleep(0.005)

    assert {chain.cause.command_id for chain in late.told[-1].chains} == {
        (await until_running(system.operator, "edge")).revisions[0].command_id
    }


async def test_a_node_that_refuses_what_it_is_told_fails_the_command_once(
    system: System,
) -> None:
    """The status has the reasons, and so has the event."""
    await system.catalog()
    node = await system.node("n1")
    node.refusal = Refusal(code="hook_owned", message="somebody else holds the hook")

    await system.apply(a_spec(), "command-1")
    events = await system.events()
    status = await system.operator.request(GET_DEPLOYMENT, GetDeployment(name="edge"))

    assert events[-1] == ("deployment.complete", "failed", "command-1")
    assert [(place.state, place.why[0].rule) for place in status.places] == [
        ("failed", "somebody else holds the hook")
    ]


async def test_a_lost_node_is_forgotten_and_taken_back(system: System) -> None:
    """Not if it is alive, and by administrators alone."""
    await system.catalog()
    await system.node("n1")
    lost = await system.buses.open("node", "n2")
    await lost.bucket(NODES).put("n2", a_node_record("n2"))
    administrator = await system.buses.open("administrator")
    async with asyncio.timeout(WAIT_SECONDS):
        while await _listed(system) != ["n1", "n2"]:
            await asyncio.sleep(0.005)
    with pytest.raises(FaultError, match="n2: node n2 is not answering"):
        await system.apply(a_spec(), "command-1")
    with pytest.raises(RefusedError, match="n1 is alive"):
        await administrator.request(FORGET_NODE, ForgetNode(node="n1"))
    with pytest.raises((RefusedError, FaultError)):
        await system.operator.request(FORGET_NODE, ForgetNode(node="n2"))

    forgotten = await administrator.request(
        FORGET_NODE, ForgetNode(node="n2", command_id="forget-01")
    )
    accepted = await system.apply(a_spec(), "command-1")

    assert (forgotten.node, forgotten.forgotten) == ("n2", True)
    assert [(one.node, one.why) for one in accepted.plan.excluded] == [("n2", "was forgotten")]
    events = await system.events()
    assert events[-1] == ("deployment.complete", "succeeded", "command-1")
    assert ("node.forget", "accepted", "forget-01") in events
    assert await _listed(system) == ["n1"]
    assert await _listed(system, forgotten=True) == ["n1", "n2"]

    await administrator.request(FORGET_NODE, ForgetNode(node="n2", undo=True))
    async with asyncio.timeout(WAIT_SECONDS):
        while await system.scheduler.bucket(DESIRED).get("n2") is None:
            await asyncio.sleep(0.005)
    assert await _listed(system) == ["n1", "n2"]


async def test_a_record_that_names_another_node_is_ignored(system: System) -> None:
    """Followed or read anew: a node speaks of itself alone."""
    await system.catalog()
    await system.node("n1")
    await system.apply(a_spec())
    status = await until_running(system.operator, "edge")
    liar = await system.buses.open("node", "n2")

    await liar.bucket(NODES).put("n2", a_node_record("n1", "eth7"))
    await liar.bucket(OBSERVED).put(
        "n2", ObservedNode(node="n1", desired_generation=99, chains=(), at="")
    )
    records = FleetRecords(system.scheduler)
    await records.reread()
    await system.node("n3")

    assert (set(records.nodes), set(records.observed)) == ({"n1"}, {"n1"})
    assert await _listed(system) == ["n1", "n3"]
    places = (await until_running(system.operator, "edge")).places
    assert [place for place in places if place.node == "n1"] == list(status.places)


async def _until_alive(system: System, **alive: bool) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            listed = await system.operator.request(LIST_NODES, ListNodes())
            if {one.node: one.alive for one in listed.nodes} == alive:
                return
            await asyncio.sleep(0.005)


async def _listed(system: System, *, forgotten: bool = False) -> list[str]:
    listed = await system.operator.request(LIST_NODES, ListNodes(forgotten=forgotten))
    return [one.node for one in listed.nodes]


async def test_deployments_follow_interfaces_and_network_namespaces(system: System) -> None:
    """Whatever the inventory says now: a new interface, one under another name, a namespace."""
    await system.catalog()
    node = await system.node("n1", "eth0")
    spec = a_spec(interfaces=("eth*",), network_namespaces=("", "cust-*"))
    await system.apply(spec)

    async def told(*places: str) -> None:
        async with asyncio.timeout(WAIT_SECONDS):
            while not node.told or {one.place for one in node.told[-1].chains} != set(places):
                await asyncio.sleep(0.005)

    await told("eth0")
    for interfaces, places in (
        ((("eth0", ""), ("eth1", "")), ("eth0", "eth1")),
        ((("eth7", ""), ("eth1", "")), ("eth0", "eth1", "eth7")),
        (
            (("eth7", ""), ("eth1", "cust-1"), ("eth1", "blue")),
            ("eth0", "eth1", "eth7", "cust-1/eth1"),
        ),
    ):
        node.record = msgspec.structs.replace(
            node.record,
            interfaces=tuple(
                Interface(name=name, netns=netns, index=index)
                for index, (name, netns) in enumerate(interfaces, 1)
            ),
        )
        await node.register()
        await told(*places)
    status = await until_running(system.operator, "edge")
    assert {(one.netns, one.interface) for one in status.places} == {
        ("", "eth0"),
        ("", "eth1"),
        ("", "eth7"),
        ("cust-1", "eth1"),
    }
