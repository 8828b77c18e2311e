# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Several deployments in one command: one answer, all of them or none, whoever dies meanwhile."""

from __future__ import annotations

from contextlib import AsyncExitStack

import msgspec
import pytest

from services.scheduler.adapters.fleet_records import FleetRecords
from shared.adapters.kv import RevisionConflictError
from shared.adapters.watched_bus import StoredChange
from shared.contracts.deployments import DEPLOYMENTS, DeploymentSpec
from shared.contracts.scheduler import APPLY_DEPLOYMENT, ApplyDeployment
from shared.contracts.storage import outbox_bucket
from shared.errors import RefusedError
from tests.fleets import a_package, a_spec
from tests.integration.conftest import Buses
from tests.support.event_stream import stored_events
from tests.support.mortal_scheduler import Life, dies, one_life, until_known
from tests.support.scheduler_neighbours import (
    WAIT_SECONDS,
    a_catalog,
    a_test_node,
    until_running,
    until_settled,
)
from tests.support.scheduler_system import NOTHING_STORED, System, system

__all__ = ["system"]

WRITES_OF_A_PAIR = 22
"""As of one deployment, and of the second: change, event, the five of its ending, settling."""

BEFORE_THE_SECOND = 4
"""After one at the start, the pending record, and the first of two changes."""


async def test_all_are_accepted_by_one_command(system: System) -> None:
    """The nodes are told all of it at once, and each deployment has its events."""
    await system.catalog()
    node = await system.node("n1")
    command = ApplyDeployment(
        spec=a_spec("edge", order=10),
        also=(a_spec("guard", order=20, reason="its own"),),
        command_id="command-1",
    )

    accepted = await system.operator.request(APPLY_DEPLOYMENT, command)
    again = await system.operator.request(APPLY_DEPLOYMENT, command)
    for name in ("edge", "guard"):
        await until_running(system.operator, name)

    assert accepted == again
    assert (accepted.key, [one.key for one in accepted.also]) == ("edge", ["guard"])
    assert [[one.deployment for one in told.chains[0].programs] for told in node.told] == [
        ["edge", "guard"]
    ]
    await until_settled(system.scheduler)
    events = [one.data for one in await stored_events(system.auditor) if one.emitter == "scheduler"]
    assert [(one.action, one.deployment, one.correlation) for one in events[:2]] == [
        ("deployment.apply", "edge", "command-1"),
        ("deployment.apply", "guard", "command-1"),
    ]
    assert sorted((one.action, one.deployment, one.outcome) for one in events[2:]) == [
        ("deployment.complete", "edge", "succeeded"),
        ("deployment.complete", "guard", "succeeded"),
    ]
    assert [one.details["together"] for one in events[:2]] == [["guard"], ["edge"]]
    assert [one.reason for one in events[:2]] == ["", "its own"]


@pytest.mark.parametrize(
    "bad",
    [
        a_spec("guard", package="nonesuch", order=20),
        a_spec("guard", order=10),
        a_spec("guard", program="nonesuch", order=20),
    ],
    ids=["no package", "place taken", "no program"],
)
async def test_none_is_accepted_if_one_does_not_fit(system: System, bad: DeploymentSpec) -> None:
    """Nothing is stored, and each deployment of the command has the event of its refusal."""
    await system.catalog()
    await system.node("n1")
    request = ApplyDeployment(spec=a_spec("edge", order=10), also=(bad,))

    with pytest.raises(RefusedError):
        await system.operator.request(APPLY_DEPLOYMENT, request)

    deployments, desired, _ = await system.stored()
    assert (deployments, desired) == NOTHING_STORED[:2]
    events = [one.data for one in await stored_events(system.auditor) if one.emitter == "scheduler"]
    assert [(one.outcome, one.deployment) for one in events] == [
        ("refused", "edge"),
        ("refused", "guard"),
    ]


async def test_a_generation_that_is_not_as_believed_refuses_all(system: System) -> None:
    """Also if it is that of the second deployment."""
    await system.catalog()
    await system.node("n1")
    await system.apply(a_spec("guard", order=20))
    request = ApplyDeployment(
        spec=a_spec("edge", order=10),
        also=(a_spec("guard", order=30),),
        if_generations={"edge": 0, "guard": 0},
    )

    with pytest.raises(RefusedError, match="its generation is 1 and not 0"):
        await system.operator.request(APPLY_DEPLOYMENT, request)

    assert (await system.stored())[0] == {"guard"}


@pytest.mark.parametrize("lands", [False, True], ids=["before", "after"])
async def test_a_pair_is_there_whole_whichever_write_the_scheduler_dies_at(
    buses: Buses, *, lands: bool
) -> None:
    """Nodes are never told one of two, and the command completes once for each."""
    operator = await buses.open("operator")
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(a_catalog(await buses.open("service-catalog"), a_package()))
        node = await stack.enter_async_context(a_test_node(await buses.open("node", "n1")))
        deaths = 0
        for dies_at in range(1, 50):
            # One pair, changed again and again: no chain gets longer than two.
            command = ApplyDeployment(
                spec=a_spec("edge", order=2 * dies_at),
                also=(a_spec("guard", order=2 * dies_at + 1),),
                command_id=f"command-{dies_at}",
            )
            died = await dies(buses, operator, command, Life(dies_at=dies_at, lands=lands))
            deaths += died
            async with one_life(buses, Life(dies_at=0, lands=False)) as scheduler:
                await until_known(operator)
                await operator.request(APPLY_DEPLOYMENT, command, timeout_seconds=WAIT_SECONDS)
                both = [await until_running(operator, name) for name in ("edge", "guard")]
                await until_settled(scheduler)
            assert [one.revision for one in both] == [dies_at, dies_at]
            if not died:
                break

    assert deaths == WRITES_OF_A_PAIR
    assert all(
        [one.order % 2 for one in told.chains[0].programs] == [0, 1]
        and told.chains[0].programs[1].order - told.chains[0].programs[0].order == 1
        for told in node.told
    )
    events = await stored_events(await buses.open("service-auditor"))
    endings = [one.data for one in events if one.data.action == "deployment.complete"]
    assert sorted((one.deployment, one.correlation, one.outcome) for one in endings) == sorted(
        (name, f"command-{number}", "succeeded")
        for name in ("edge", "guard")
        for number in range(1, deaths + 2)
    )


async def test_what_nobody_is_left_to_finish_counts_as_it_is(buses: Buses) -> None:
    """As after a restore of a part: a scheduler that starts acts on what there is."""
    operator, writer = await buses.open("operator"), await buses.open("service-scheduler")
    command = ApplyDeployment(
        spec=a_spec("edge", order=1), also=(a_spec("guard", order=2),), command_id="command-1"
    )
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(a_catalog(await buses.open("service-catalog"), a_package()))
        node = await stack.enter_async_context(a_test_node(await buses.open("node", "n1")))
        assert await dies(buses, operator, command, Life(dies_at=BEFORE_THE_SECOND, lands=False))
        assert [one.key for one in await writer.bucket(DEPLOYMENTS).entries()] == ["edge"]
        await writer.bucket(outbox_bucket("scheduler")).delete("pending.command-1")

        async with one_life(buses, Life(dies_at=0, lands=False)):
            await until_running(operator, "edge")

    assert [one.deployment for one in node.told[-1].chains[0].programs] == ["edge"]


async def test_what_is_there_in_part_is_not_written_over(system: System) -> None:
    """A step that was decided without it finds that the record is another one."""
    await system.catalog()
    await system.node("n1")
    await system.apply(a_spec("edge", order=10))
    await until_running(system.operator, "edge")
    await until_settled(system.scheduler)
    records, bucket = FleetRecords(system.scheduler), system.scheduler.bucket(DEPLOYMENTS)
    await records.reread()
    known = records.fleet.deployments["edge"]
    newest = msgspec.structs.replace(
        known.revisions[-1], revision=2, together={"edge": 2, "guard": 1}
    )
    part = msgspec.structs.replace(known, revisions=(*known.revisions, newest), generation=2)
    revision = await bucket.update("edge", part, revision=records.revision_of("edge"))

    records.note(StoredChange(DEPLOYMENTS.name, "edge", msgspec.json.encode(part), revision))

    assert records.fleet.deployments["edge"] is known
    with pytest.raises(RevisionConflictError):
        await bucket.update("edge", known, revision=records.revision_of("edge"))
