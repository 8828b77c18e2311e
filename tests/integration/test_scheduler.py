# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Commands to the scheduler, with a small catalog and nodes that need no kernel."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from shared.contracts.events import Event
from shared.contracts.scheduler import (
    APPLY_DEPLOYMENT,
    GET_DEPLOYMENT,
    GET_NODE,
    LABEL_NODE,
    LIST_DEPLOYMENTS,
    PLAN_DEPLOYMENT,
    REMOVE_DEPLOYMENT,
    ROLL_BACK_DEPLOYMENT,
    ApplyDeployment,
    DeploymentAccepted,
    GetDeployment,
    GetNode,
    LabelNode,
    ListDeployments,
    PlanDeployment,
    RemoveDeployment,
    RollBackDeployment,
)
from shared.errors import FaultError, RefusedError
from tests.fleets import a_spec
from tests.support.event_stream import stored_events
from tests.support.scheduler_neighbours import (
    WAIT_SECONDS,
    until_running,
    until_settled,
)
from tests.support.scheduler_system import NOTHING_STORED, VERIFIER, System, system

__all__ = ["system"]


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
