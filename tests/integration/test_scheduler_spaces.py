# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Deployments of a space on the real bus: what members and strangers are answered and told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from shared.adapters.bus import Bus
from shared.contracts.base import Endpoint
from shared.contracts.desired import DesiredNode
from shared.contracts.events import PUBLIC, Event
from shared.contracts.scheduler import (
    APPLY_DEPLOYMENT,
    GET_DEPLOYMENT,
    GET_NODE,
    LIST_DEPLOYMENTS,
    PLAN_DEPLOYMENT,
    REMOVE_DEPLOYMENT,
    ROLL_BACK_DEPLOYMENT,
    ApplyDeployment,
    DeploymentAccepted,
    GetDeployment,
    GetNode,
    ListDeployments,
    PlanDeployment,
    RemoveDeployment,
    RollBackDeployment,
)
from shared.contracts.spaces import SPACES, SpaceRecord
from shared.errors import RefusedError
from shared.moments import render_time
from tests.fleets import a_spec
from tests.support.event_stream import stored_events
from tests.support.scheduler_neighbours import (
    WAIT_SECONDS,
    TestNode,
    until_running,
    until_settled,
)
from tests.support.scheduler_system import System, system

__all__ = ["system"]

ACME, EMBARGO = "p_acme", "r_0123456789abcdef"
SECRET = "quiet-fix"


@dataclass
class Spaces:
    """A system with two operators, of which one is a member of `p_acme`."""

    system: System
    ann: Bus
    bob: Bus
    catalog: Bus
    node: TestNode

    async def put(self, space: SpaceRecord) -> None:
        """As the catalog does."""
        await self.catalog.bucket(SPACES).put(space.audience, space)

    async def deploy(self, command_id: str = "", **fields: Any) -> DeploymentAccepted:
        """The restricted deployment, by its member."""
        spec = a_spec(SECRET, **{"space": ACME, "order": 10, **fields})
        return await self.ann.request(
            APPLY_DEPLOYMENT, ApplyDeployment(spec=spec, command_id=command_id)
        )

    async def told(self, is_so: Callable[[DesiredNode], bool]) -> DesiredNode:
        """What the node is told, once it is so."""
        async with asyncio.timeout(WAIT_SECONDS):
            while not self.node.told or not is_so(self.node.told[-1]):
                await asyncio.sleep(0.005)
        return self.node.told[-1]

    async def events(self) -> list[Event]:
        """Of the scheduler, that were not read before."""
        await until_settled(self.system.scheduler)
        stored = await stored_events(self.system.auditor)
        return [event for event in stored if event.emitter == "scheduler"]


def a_space(audience: str = ACME, *members: str, **fields: Any) -> SpaceRecord:
    """A space with these members, or ann."""
    return SpaceRecord(
        audience=audience,
        kind="embargo" if audience.startswith("r_") else "private",
        members=members or ("ann",),
        created_at="2026-01-01T00:00:00Z",
        created_by="U",
        **fields,
    )


@pytest.fixture
async def spaces(system: System) -> Spaces:
    """With a node, a catalog and `p_acme`."""
    await system.catalog()
    made = Spaces(
        system,
        ann=await system.buses.open("operator", "ann"),
        bob=await system.buses.open("operator", "bob"),
        catalog=await system.buses.open("service-catalog"),
        node=await system.node("n1", "eth0"),
    )
    await made.put(a_space())
    return made


async def answers(asker: Bus) -> list[bytes]:
    """Of every endpoint, to questions about the deployment, as they travel."""
    spec = a_spec(SECRET, space=ACME, order=10)
    named: dict[str, Any] = {"name": SECRET, "space": ACME}
    said = []
    asked: tuple[tuple[Endpoint[Any, Any], Any], ...] = (
        (LIST_DEPLOYMENTS, ListDeployments(removed=True)),
        (LIST_DEPLOYMENTS, ListDeployments(removed=True, space=ACME)),
        (GET_DEPLOYMENT, GetDeployment(**named)),
        (GET_DEPLOYMENT, GetDeployment(name=SECRET)),
        (ROLL_BACK_DEPLOYMENT, RollBackDeployment(**named)),
        (ROLL_BACK_DEPLOYMENT, RollBackDeployment(**named, to_revision=1)),
        (REMOVE_DEPLOYMENT, RemoveDeployment(**named)),
        (PLAN_DEPLOYMENT, PlanDeployment(spec=spec)),
        (APPLY_DEPLOYMENT, ApplyDeployment(spec=spec)),
    )
    for endpoint, request in asked:
        try:
            reply = await asker.request(endpoint, request)
        except RefusedError as error:
            said.append(msgspec.json.encode(error.refusal()))
        else:
            said.append(msgspec.json.encode(reply))
    return said


async def test_a_stranger_is_answered_as_if_there_were_nothing(spaces: Spaces) -> None:
    """Before there is a space, with one, and with a deployment in it: the same bytes."""
    nobody = a_space("p_other")
    before = await answers(spaces.bob)
    await spaces.deploy()
    await until_running(spaces.ann, SECRET, space=ACME)
    after = await answers(spaces.bob)
    unknown = [one.replace(ACME.encode(), nobody.audience.encode()) for one in after]

    assert before == after
    assert unknown == after, "the name of a space is in no answer"
    assert all(b"not_found" in one for one in after[2:])


async def test_a_member_deploys_sees_rolls_back_and_removes(spaces: Spaces) -> None:
    """As with any deployment; the role is still what it takes."""
    accepted = await spaces.deploy(version="1.0.0")
    await spaces.deploy(version="1.1.0")
    status = await until_running(spaces.ann, SECRET, space=ACME)
    back = await spaces.ann.request(
        ROLL_BACK_DEPLOYMENT, RollBackDeployment(name=SECRET, space=ACME)
    )
    removed = await spaces.ann.request(REMOVE_DEPLOYMENT, RemoveDeployment(name=SECRET, space=ACME))

    assert (accepted.key, status.key, status.space) == (f"{ACME}.{SECRET}", accepted.key, ACME)
    assert [place.observed_version for place in status.places] == ["1.1.0"]
    assert (back.revision, removed.revision) == (3, 3)
    listed = await spaces.ann.request(LIST_DEPLOYMENTS, ListDeployments(removed=True, space=ACME))
    assert [one.key for one in listed.deployments] == [accepted.key]


async def test_several_deployments_of_a_space_are_told_its_members_alone(spaces: Spaces) -> None:
    """Accepted or refused; and with one of another space beside, not even by name."""
    quiet = a_spec(SECRET, space=ACME, order=10)
    louder, public = a_spec("louder", space=ACME, order=10), a_spec("open", order=30)
    for first, second in ((quiet, louder), (quiet, public), (public, quiet)):
        with pytest.raises(RefusedError):
            await spaces.ann.request(APPLY_DEPLOYMENT, ApplyDeployment(spec=first, also=(second,)))
    louder = a_spec("louder", space=ACME, order=20)
    await spaces.ann.request(APPLY_DEPLOYMENT, ApplyDeployment(spec=quiet, also=(louder,)))
    with pytest.raises(RefusedError, match="no such space") as unseen:
        await spaces.bob.request(APPLY_DEPLOYMENT, ApplyDeployment(spec=quiet, also=(louder,)))

    events = await spaces.events()
    told = [(one.audience, one.data.outcome, one.data.deployment) for one in events]
    assert [one for one in told if one[1] in ("refused", "accepted")] == [
        (ACME, "refused", quiet.key),
        (ACME, "refused", louder.key),
        (ACME, "refused", quiet.key),
        (PUBLIC, "refused", "open"),
        (ACME, "accepted", quiet.key),
        (ACME, "accepted", louder.key),
        (PUBLIC, "refused", ""),
    ]
    of_all = [event for event in events if event.audience == PUBLIC]
    assert not any(ACME.encode() in msgspec.json.encode(event) for event in of_all)
    assert unseen.value.refusal_code == "not_found"


async def test_a_name_that_is_taken_in_a_space_is_free_for_others(spaces: Spaces) -> None:
    """Both run; neither learns of the other."""
    await spaces.deploy()

    accepted = await spaces.bob.request(
        APPLY_DEPLOYMENT, ApplyDeployment(spec=a_spec(SECRET, order=20))
    )

    assert (accepted.revision, accepted.key) == (1, SECRET)
    await until_running(spaces.bob, SECRET)
    await until_running(spaces.ann, SECRET, space=ACME)
    (chain,) = (await spaces.told(lambda one: len(one.chains[0].programs) == 2)).chains
    assert [one.deployment for one in chain.programs] == [f"{ACME}.{SECRET}", SECRET]


async def test_events_of_a_space_go_to_its_audience_alone(spaces: Spaces) -> None:
    """Accepted, refused and ended; each audience is numbered without a gap."""
    await spaces.deploy("command-0001")
    await until_running(spaces.ann, SECRET, space=ACME)
    with pytest.raises(RefusedError):
        await spaces.deploy("command-0002", hook="tc-ingress")
    with pytest.raises(RefusedError):
        await spaces.bob.request(
            APPLY_DEPLOYMENT, ApplyDeployment(spec=a_spec(SECRET, space=ACME, package=SECRET))
        )

    events = await spaces.events()

    told = {
        audience: [
            (one.data.action, one.data.outcome) for one in events if one.audience == audience
        ]
        for audience in (ACME, PUBLIC)
    }
    assert sorted(told[ACME]) == [
        ("deployment.apply", "accepted"),
        ("deployment.apply", "refused"),
        ("deployment.complete", "succeeded"),
    ]
    assert told[PUBLIC] == [("deployment.apply", "refused")]
    public = b"".join(msgspec.json.encode(one) for one in events if one.audience == PUBLIC)
    assert SECRET.encode() not in public
    assert ACME.encode() not in public
    assert [one.sequence for one in events if one.audience == ACME] == [1, 2, 3]
    assert {one.subject.split(".")[3] for one in events if one.audience == ACME} == {ACME}


async def test_a_node_is_shown_to_each_as_far_as_they_see(spaces: Spaces) -> None:
    """The stranger sees that something is there, and the member what."""
    await spaces.deploy()
    await until_running(spaces.ann, SECRET, space=ACME)

    to_bob = await spaces.bob.request(GET_NODE, GetNode(node="n1"))
    to_ann = await spaces.ann.request(GET_NODE, GetNode(node="n1"))

    assert [one.restricted for one in to_bob.chains[0].programs] == [True]
    assert SECRET.encode() not in msgspec.json.encode(to_bob)
    assert ACME.encode() not in msgspec.json.encode(to_bob)
    assert [one.deployment for one in to_ann.chains[0].programs] == [f"{ACME}.{SECRET}"]


async def test_who_is_taken_out_of_a_space_sees_nothing_any_more(spaces: Spaces) -> None:
    """And nodes are told who the members are now, without anything else."""
    await spaces.deploy()
    before = await spaces.told(lambda one: one.members == {ACME: ("ann",)})

    await spaces.put(a_space(ACME, "carl"))
    after = await spaces.told(lambda one: one.members == {ACME: ("carl",)})

    assert (after.chains, after.generation) == (before.chains, before.generation)
    with pytest.raises(RefusedError, match="there is no such deployment"):
        await spaces.ann.request(GET_DEPLOYMENT, GetDeployment(name=SECRET, space=ACME))


async def test_a_lifted_space_is_everybodys_with_its_history(spaces: Spaces) -> None:
    """No chain is touched; what happens from then on is told to everybody."""
    await spaces.put(a_space(EMBARGO))
    await spaces.deploy(space=EMBARGO)
    before = await spaces.told(lambda one: [two.audience for two in one.chains] == [EMBARGO])
    await until_running(spaces.ann, SECRET, space=EMBARGO)
    await spaces.events()

    lifted_at = render_time(datetime.now(UTC))
    await spaces.put(a_space(EMBARGO, lifted_at=lifted_at))
    after = await spaces.told(lambda one: [two.audience for two in one.chains] == [PUBLIC])
    status = await spaces.bob.request(GET_DEPLOYMENT, GetDeployment(name=SECRET, space=EMBARGO))
    await spaces.bob.request(REMOVE_DEPLOYMENT, RemoveDeployment(name=SECRET, space=EMBARGO))

    assert (after.chains[0].programs, after.generation) == (
        before.chains[0].programs,
        before.generation,
    )
    assert [one.revision for one in status.revisions] == [1]
    later = await spaces.events()
    assert {one.audience for one in later} == {PUBLIC}
    assert [one.data.deployment for one in later] == [f"{EMBARGO}.{SECRET}"] * 2


async def test_a_space_opens_at_its_moment_and_nodes_are_told_then(spaces: Spaces) -> None:
    """Nobody has to do anything."""
    moment = datetime.now(UTC) + timedelta(seconds=1)
    await spaces.put(a_space(EMBARGO, lifts_at=render_time(moment)))
    await spaces.deploy(space=EMBARGO)
    await spaces.told(lambda one: [two.audience for two in one.chains] == [EMBARGO])

    await spaces.told(lambda one: [two.audience for two in one.chains] == [PUBLIC])

    assert datetime.now(UTC) >= moment
    await spaces.bob.request(GET_DEPLOYMENT, GetDeployment(name=SECRET, space=EMBARGO))


async def test_two_restricted_spaces_are_refused_at_one_hook_point(spaces: Spaces) -> None:
    """Neither is named to the other."""
    await spaces.put(a_space(EMBARGO, "bob"))
    await spaces.deploy()

    with pytest.raises(RefusedError) as caught:
        await spaces.bob.request(
            APPLY_DEPLOYMENT, ApplyDeployment(spec=a_spec("other", space=EMBARGO, order=30))
        )

    assert caught.value.refusal_code == "conflict"
    said = msgspec.json.encode(caught.value.refusal())
    assert SECRET.encode() not in said
    assert ACME.encode() not in said


async def test_a_public_deployment_shares_a_hook_point_with_a_restricted_one(
    spaces: Spaces,
) -> None:
    """It works, and its plan, its status and what the node refuses say nothing of the other."""
    await spaces.deploy()
    spec = a_spec("edge", order=20)

    plan = await spaces.bob.request(PLAN_DEPLOYMENT, PlanDeployment(spec=spec))
    accepted = await spaces.bob.request(APPLY_DEPLOYMENT, ApplyDeployment(spec=spec))
    status = await until_running(spaces.bob, "edge")
    spaces.node.staging_refusal = RefusedError(f"{ACME}.{SECRET} does not load")
    with pytest.raises(RefusedError) as caught:
        await spaces.bob.request(
            APPLY_DEPLOYMENT, ApplyDeployment(spec=a_spec("edge", order=20, version="1.0.0"))
        )

    said = b"".join(
        msgspec.json.encode(one) for one in (plan, accepted, status, caught.value.refusal())
    )
    assert SECRET.encode() not in said
    assert ACME.encode() not in said
    assert [place.state for place in status.places] == ["running"]
    assert [one.restricted for one in plan.chains[0].programs] == [True, False]
