# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A version that runs is revoked: each deployment does what it says, and the log says why."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from shared.adapters.bus import Bus
from shared.contracts.events import PUBLIC, Audience, Event, EventBody, draft_event
from shared.contracts.reviews import (
    REVOKE,
    REVOKE_PACKAGE,
    YANK_PACKAGE,
    RevokedVersion,
    RevokePackage,
    YankPackage,
)
from shared.contracts.rollout_policy import (
    SET_ROLLOUT_POLICY,
    PolicyRule,
    RolloutPolicy,
    SetRolloutPolicy,
)
from shared.contracts.scheduler import (
    GET_DEPLOYMENT,
    PLAN_DEPLOYMENT,
    DeploymentStatus,
    GetDeployment,
    PlanDeployment,
)
from shared.errors import Reason, RefusedError
from tests.fleets import a_package, a_spec
from tests.support.catalog_stage import a_stage
from tests.support.event_stream import stored_events
from tests.support.scheduler_neighbours import WAIT_SECONDS, a_catalog, until_running
from tests.support.scheduler_system import System, system

__all__ = ["system"]

OLD, NEW = a_package(version="1.0.0"), a_package(version="1.1.0")
REVOKED: Final = RevokedVersion(
    package="rate-limit",
    version="1.0.0",
    archive_sha256=OLD.signed.archive_sha256,
    at="2026-03-01T12:00:00.000000Z",
    why="lets everything through",
)
WHY: Final = "rate-limit 1.0.0 was revoked: lets everything through"


async def _revoke(
    catalog: Bus, revoked: list[RevokedVersion], *, audience: Audience = PUBLIC
) -> None:
    """The catalog knows, and says so."""
    revoked.append(REVOKED)
    body = EventBody(action=REVOKE, outcome="accepted", package="rate-limit", version="1.0.0")
    event = draft_event(
        body,
        event_id="catalog.revocation.0",
        emitter="catalog",
        sequence=1,
        time=REVOKED.at,
        salt=bytes(16),
        audience=audience,
    )
    await catalog.publish_event(event)


async def _running(system: System, **fields: Any) -> tuple[Bus, list[RevokedVersion]]:
    """1.0.0 runs on n1, and the catalog has 1.1.0 as well."""
    revoked: list[RevokedVersion] = []
    bus = await system.buses.open("service-catalog")
    await system.stack.enter_async_context(a_catalog(bus, OLD, NEW, revoked=revoked))
    await system.apply(a_spec(version="1.0.0", **fields))
    await until_running(system.operator, "edge")
    return bus, revoked


async def _until(system: System, holds: Callable[[DeploymentStatus], bool]) -> DeploymentStatus:
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            status = await system.operator.request(GET_DEPLOYMENT, GetDeployment(name="edge"))
            if holds(status):
                return status
            await asyncio.sleep(0.005)


async def _said(system: System, action: str) -> list[Event]:
    """The scheduler's events of an action, once there is one."""
    found: list[Event] = []
    async with asyncio.timeout(WAIT_SECONDS):
        while not found:
            events = await stored_events(system.auditor)
            found = [one for one in events if one.data.action == action]
    return found


@pytest.mark.parametrize("audience", [PUBLIC, "p_acme"])
async def test_a_deployment_alarms_unless_it_says_more(system: System, audience: str) -> None:
    """It goes on, one event says so with the reason, and its status too.

    It is heard of at once, whomever the revocation is told to.
    """
    await system.node("n1", "eth0")
    catalog, revoked = await _running(system)
    await _revoke(catalog, revoked, audience=audience)

    status = await _until(system, lambda one: one.alarm is not None)
    await _revoke(catalog, revoked)
    (alarm,) = await _said(system, "deployment.alarm")

    assert status.alarm is not None
    assert (status.alarm.version, status.alarm.why) == ("1.0.0", "lets everything through")
    assert [one.state for one in status.places] == ["running"]
    assert (alarm.data.reason, alarm.data.details["on_revoked"]) == (WHY, "alarm")


async def test_a_deployment_that_says_stop_is_gone_from_every_node(system: System) -> None:
    """It is removed as if somebody had asked, with the reason."""
    node = await system.node("n1", "eth0")
    catalog, revoked = await _running(system, on_revoked="stop")
    await _revoke(catalog, revoked)

    await _until(system, lambda one: one.removed and not one.places)
    (removal,) = await _said(system, "deployment.remove")

    assert node.told[-1].chains[0].programs == ()
    assert (removal.data.outcome, removal.data.reason) == ("accepted", WHY)
    assert removal.data.actor is not None
    assert removal.data.actor.role == "service-scheduler"


async def test_the_rollout_policy_says_what_happens_at_least(system: System) -> None:
    """A deployment that would go on is stopped, and the reason names the rule."""
    await system.node("n1", "eth0")
    administrator = await system.buses.open("administrator")
    policy = RolloutPolicy(rules=(PolicyRule(name="strict", on_revoked="stop"),))
    await administrator.request(SET_ROLLOUT_POLICY, SetRolloutPolicy(policy=policy))
    catalog, revoked = await _running(system)
    await _revoke(catalog, revoked)

    await _until(system, lambda one: one.removed and not one.places)
    (removal,) = await _said(system, "deployment.remove")

    assert removal.data.reason == f"{WHY} (rules strict of the rollout policy)"


async def test_a_deployment_that_says_replace_runs_another_version(system: System) -> None:
    """The constraint decides which, by the same command that people give."""
    await system.node("n1", "eth0")
    catalog, revoked = await _running(system, on_revoked="replace:1.1.0")
    await _revoke(catalog, revoked)

    status = await _until(system, lambda one: one.version == "1.1.0")
    status = await until_running(system.operator, "edge")

    assert [one.observed_version for one in status.places] == ["1.1.0"]
    assert (status.revision, status.alarm) == (2, None)
    assert status.revisions[-1].reason == WHY


async def test_a_replacement_that_cannot_be_is_an_alarm(system: System) -> None:
    """A node's refusal is in the alarm, and what runs goes on."""
    node = await system.node("n1", "eth0")
    catalog, revoked = await _running(system, on_revoked="replace:1.1.0")
    node.staging_refusal = RefusedError("no", [Reason(path="chains[0]", rule="too long")])
    await _revoke(catalog, revoked)

    status = await _until(system, lambda one: one.alarm is not None)
    (alarm,) = await _said(system, "deployment.alarm")

    assert (status.version, status.places[0].state) == ("1.0.0", "running")
    assert [one.rule for one in alarm.data.reasons] == ["too long"]


async def test_what_the_catalog_revokes_is_stopped(system: System, tmp_path: Path) -> None:
    """From an approver's word in the real catalog to an empty chain, and the log has both."""
    node = await system.node("n1", "eth0")
    async with a_stage(system.buses, tmp_path / "catalog") as stage:
        await stage.publish()
        await system.apply(a_spec(on_revoked="stop"))
        await until_running(system.operator, "edge")
        approver = await system.buses.open("approver", "bob")
        revoke = RevokePackage(name="rate-limit", version="1.0.0", reason=REVOKED.why)
        await approver.request(REVOKE_PACKAGE, revoke)
        await _until(system, lambda one: one.removed and not one.places)
        with pytest.raises(RefusedError) as refused:
            await system.apply(a_spec(version="1.0.0"))

    assert node.told[-1].chains[0].programs == ()
    assert "was revoked" in refused.value.reasons[0].rule
    found = [one.data for one in await stored_events(system.auditor)]
    reasons = {one.action: one.reason for one in found if one.outcome == "accepted"}
    assert (reasons["package.revoke"], reasons["deployment.remove"]) == (REVOKED.why, WHY)


async def test_plans_say_that_a_version_was_yanked(system: System, tmp_path: Path) -> None:
    """Who names it exactly gets it, and reads why it should not be; others get nothing."""
    await system.node("n1", "eth0")
    async with a_stage(system.buses, tmp_path / "catalog") as stage:
        await stage.publish()
        yank = YankPackage(name="rate-limit", version="1.0.0", reason="drops too much")
        await stage.publisher.request(YANK_PACKAGE, yank)
        pinned = a_spec(version="1.0.0")
        planned = await system.operator.request(PLAN_DEPLOYMENT, PlanDeployment(spec=pinned))
        accepted = await system.apply(pinned)
        with pytest.raises(RefusedError) as refused:
            await system.apply(a_spec("other", order=7))

    warning = "rate-limit 1.0.0 was yanked: drops too much"
    assert planned.warnings[0] == accepted.plan.warnings[0] == warning
    assert refused.value.refusal_code == "version_unsatisfied"
