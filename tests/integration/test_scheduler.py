# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The scheduler over a real bus, with a small catalog and nodes that need no kernel."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from services.scheduler.__main__ import scheduling
from shared.adapters.bus import Bus
from shared.contracts.events import Event
from shared.contracts.node import DESIRED
from shared.contracts.scheduler import (
    APPLY_DEPLOYMENT,
    DEPLOYMENTS,
    GET_DEPLOYMENT,
    GET_NODE,
    LABEL_NODE,
    LIST_DEPLOYMENTS,
    LIST_NODES,
    PLAN_DEPLOYMENT,
    REMOVE_DEPLOYMENT,
    ROLL_BACK_DEPLOYMENT,
    ApplyDeployment,
    DeploymentAccepted,
    DeploymentSpec,
    GetDeployment,
    GetNode,
    LabelNode,
    ListDeployments,
    ListNodes,
    PlanDeployment,
    RemoveDeployment,
    RollBackDeployment,
)
from shared.contracts.storage import outbox_bucket
from shared.errors import FaultError, Reason, Refusal, RefusedError
from tests.fleets import a_package, a_spec
from tests.integration.conftest import Buses
from tests.support.event_stream import stored_events
from tests.support.scheduler_neighbours import (
    WAIT_SECONDS,
    TestNode,
    a_catalog,
    a_test_node,
    until_running,
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
    async with scheduling(scheduler), AsyncExitStack() as stack:
        yield System(buses, scheduler, operator, auditor, stack)


async def test_a_deployment_is_accepted_told_run_and_ended(system: System) -> None:
    """From one request to the event that says what the kernels were read back to hold."""
    await system.catalog()
    node = await system.node("n1")

    accepted = await system.apply(a_spec(config={"limits": {"80": 100}}), "command-1")
    status = await until_running(system.operator, "edge")

    assert (accepted.name, accepted.revision, accepted.command_id) == ("edge", 1, "command-1")
    assert accepted.node_generations == {"n1": 1}
    assert [place.observed_version for place in status.places] == ["1.1.0"]
    assert node.staged[0].chains == node.told[0].chains
    assert list(node.staged[0].tickets.values()) == ["a-ticket"]
    assert await system.events() == [
        ("deployment.apply", "accepted", "command-1"),
        ("deployment.complete", "succeeded", "command-1"),
    ]


async def test_the_same_command_again_has_the_same_answer_and_no_second_effect(
    system: System,
) -> None:
    """One revision, one acceptance, one ending."""
    await system.catalog()
    await system.node("n1")
    spec = a_spec()

    first = await system.apply(spec, "command-1")
    again = await system.apply(spec, "command-1")

    assert again == first
    status = await until_running(system.operator, "edge")
    assert len(status.revisions) == 1
    assert len(await system.events()) == 2


async def test_a_command_published_without_a_reply_subject_is_executed(system: System) -> None:
    """Nobody has to wait for an answer."""
    await system.catalog()
    await system.node("n1")
    command = ApplyDeployment(spec=a_spec(), command_id="command-1")

    await system.operator.connection.publish(APPLY_DEPLOYMENT.subject, msgspec.json.encode(command))

    async with asyncio.timeout(WAIT_SECONDS):
        while (await system.stored())[0] != {"edge"}:
            await asyncio.sleep(0.005)
    await until_running(system.operator, "edge")


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


async def test_a_catalog_that_is_down_makes_a_fault_that_names_it_and_changes_nothing(
    system: System,
) -> None:
    """And the same command succeeds once the catalog is back."""
    serving = await system.catalog()
    await system.node("n1")
    await serving.aclose()

    with pytest.raises(FaultError, match="catalog is not answering"):
        await system.apply(a_spec(), "command-1")
    assert await system.stored() == NOTHING_STORED

    await system.catalog()
    await system.apply(a_spec(), "command-1")
    await until_running(system.operator, "edge")


async def test_of_two_that_claim_one_place_at_once_exactly_one_wins(system: System) -> None:
    """The other is refused by name, and both answers are in the log."""
    await system.catalog()
    await system.node("n1")

    answers = await asyncio.gather(
        system.apply(a_spec("left"), "command-left"),
        system.apply(a_spec("right"), "command-right"),
        return_exceptions=True,
    )

    refused = [answer for answer in answers if isinstance(answer, RefusedError)]
    accepted = [answer for answer in answers if isinstance(answer, DeploymentAccepted)]
    assert (len(refused), len(accepted)) == (1, 1)
    assert refused[0].refusal_code == "conflict"
    assert {"left", "right"} <= set(refused[0].reasons[0].rule.split())
    await until_running(system.operator, accepted[0].name)
    outcomes = sorted(outcome for action, outcome, _ in await system.events() if "apply" in action)
    assert outcomes == ["accepted", "refused"]


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


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"package": "nothing"}, "not_found"),
        ({"version": ">=7"}, "version_unsatisfied"),
        ({"interfaces": ("nope0",)}, "no_eligible_node"),
        ({"proceed_on": ("maybe",)}, "invalid_request"),
        ({"config": {"limits": {"70000": 1}}}, "invalid_request"),
    ],
)
async def test_what_is_wrong_is_refused_with_its_code_and_changes_nothing(
    system: System, fields: dict[str, Any], code: str
) -> None:
    """Unknown package, impossible constraint, missing interface, bad verdict, bad port."""
    await system.catalog()
    await system.node("n1")

    with pytest.raises(RefusedError) as caught:
        await system.apply(a_spec(**fields), "command-1")

    assert caught.value.refusal_code == code
    assert (await system.stored())[0] == set()


async def test_a_plan_is_staged_and_changes_nothing(system: System) -> None:
    """A dry run finds what acceptance would find."""
    await system.catalog()
    node = await system.node("n1")

    plan = await system.operator.request(PLAN_DEPLOYMENT, PlanDeployment(spec=a_spec()))

    assert [place.change for place in plan.chains[0].programs] == ["added"]
    assert len(node.staged) == 1
    assert await system.stored() == NOTHING_STORED
    node.staging_refusal = VERIFIER
    with pytest.raises(RefusedError, match="the verifier refused"):
        await system.operator.request(PLAN_DEPLOYMENT, PlanDeployment(spec=a_spec()))


async def test_a_rollback_brings_the_pinned_version_back(system: System) -> None:
    """Not what the old constraint would resolve to today."""
    await system.catalog()
    await system.node("n1")
    await system.apply(a_spec(version="1.0.0", order=7))
    await system.apply(a_spec(version="*", order=8))

    accepted = await system.operator.request(
        ROLL_BACK_DEPLOYMENT, RollBackDeployment(name="edge", command_id="back-0001")
    )
    status = await until_running(system.operator, "edge")

    assert (accepted.revision, status.version, status.order) == (3, "1.0.0", 7)
    assert status.revisions[-1].rollback_of == 1
    assert ("deployment.rollback", "accepted", "back-0001") in await system.events()


async def test_a_removed_deployment_leaves_every_node_and_ends(system: System) -> None:
    """Its name is free, its history is not lost."""
    await system.catalog()
    node = await system.node("n1")
    await system.apply(a_spec())
    await until_running(system.operator, "edge")

    await system.operator.request(
        REMOVE_DEPLOYMENT, RemoveDeployment(name="edge", command_id="remove-01")
    )
    status = await until_running(system.operator, "edge")

    assert (status.removed, status.places) == (True, ())
    assert node.told[-1].chains[0].programs == ()
    assert (await system.events())[-1] == ("deployment.complete", "succeeded", "remove-01")
    listed = await system.operator.request(LIST_DEPLOYMENTS, ListDeployments())
    assert listed.deployments == ()


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


async def test_unknown_names_are_not_found(system: System) -> None:
    """For every question about one thing."""
    asked = [
        system.operator.request(GET_DEPLOYMENT, GetDeployment(name="nope")),
        system.operator.request(GET_NODE, GetNode(node="nope")),
        system.operator.request(REMOVE_DEPLOYMENT, RemoveDeployment(name="nope")),
        system.operator.request(ROLL_BACK_DEPLOYMENT, RollBackDeployment(name="nope")),
        system.operator.request(LABEL_NODE, LabelNode(node="nope", set={"a": "b"})),
    ]

    answers = await asyncio.gather(*asked, return_exceptions=True)

    assert [answer.refusal_code for answer in answers if isinstance(answer, RefusedError)] == [
        "not_found"
    ] * len(asked)


async def test_every_event_of_the_scheduler_is_numbered_without_gaps(system: System) -> None:
    """Accepted, refused and ended alike."""
    await system.catalog()
    await system.node("n1")
    await system.apply(a_spec(), "command-1")
    with pytest.raises(RefusedError):
        await system.apply(a_spec("other"), "command-2")
    await system.apply(a_spec(order=1), "command-3")
    await until_running(system.operator, "edge")
    await until_settled(system.scheduler)

    events: list[Event] = await stored_events(system.auditor)

    sequences = [event.sequence for event in events if event.emitter == "scheduler"]
    assert sequences == list(range(1, len(sequences) + 1))
    completed = [event.data for event in events if event.data.action == "deployment.complete"]
    assert sorted(event.correlation for event in completed) == ["command-1", "command-3"]
