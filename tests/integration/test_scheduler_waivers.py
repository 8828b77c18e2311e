# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Versions that need waivers run where one is in force, and what runs on after its end is named."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Final

import msgspec
import pytest

from shared.adapters.bus import Bus
from shared.contracts.events import EventBody
from shared.contracts.licences import LicenceFinding, LicenceVerdict
from shared.contracts.rollout_policy import (
    SET_ROLLOUT_POLICY,
    PolicyRule,
    RolloutPolicy,
    SetRolloutPolicy,
)
from shared.contracts.scheduler import (
    GET_DEPLOYMENT,
    DeploymentStatus,
    GetDeployment,
    LicenceViolation,
)
from shared.contracts.selectors import NodeSelector
from shared.contracts.waivers import LICENCE_WAIVERS, Waiver, WaiverScope
from shared.errors import RefusedError
from shared.moments import render_time
from tests.fleets import a_package, a_spec
from tests.support.event_stream import stored_events
from tests.support.scheduler_neighbours import WAIT_SECONDS, a_catalog, until_running
from tests.support.scheduler_system import System, system

__all__ = ["system"]

RULE: Final = "policy-groups"
LACK = f"rate-limit 1.0.0 breaks the licence rule {RULE}, and no waiver for it is in force here"


async def _excused_catalog(system: System) -> Bus:
    """A catalog with one version, which was published by the grace of a waiver."""
    bus = await system.buses.open("service-catalog")
    finding = LicenceFinding(rule=RULE, outcome="refused", waiver="w-1")
    verdict = LicenceVerdict(
        policy="p", policy_version="1.0.0", outcome="noted", findings=(finding,)
    )
    package = msgspec.structs.replace(a_package(), licences=verdict)
    await system.stack.enter_async_context(a_catalog(bus, package))
    return bus


async def _grant(system: System, catalog: Bus, name: str, *, days: int, node: str) -> None:
    """A waiver is in force on one node."""
    now = system.now()
    nodes = NodeSelector(names=(node,))
    waiver = Waiver(
        id=name,
        scope=WaiverScope(rule=RULE, package="rate-limit", versions="^1", nodes=nodes),
        reason="a test",
        expires_at=render_time(now + timedelta(days=days)),
        requested_by="Ua",
        requested_name="alice",
        requested_role="publisher",
        requested_at=render_time(now),
        granted_by="Ub",
        granted_at=render_time(now),
    )
    await catalog.bucket(LICENCE_WAIVERS).put(name, waiver)


async def _until(system: System, holds: Callable[[DeploymentStatus], bool]) -> DeploymentStatus:
    """The deployment, once this is so."""
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            status = await system.operator.request(GET_DEPLOYMENT, GetDeployment(name="edge"))
            if holds(status):
                return status
            await asyncio.sleep(0.005)


async def test_a_version_runs_where_a_waiver_for_it_is_in_force(system: System) -> None:
    """Other nodes are left out by name; each waiver that is used is said."""
    catalog = await _excused_catalog(system)
    await system.node("n1", "eth0")
    await system.node("n2", "eth0")

    with pytest.raises(RefusedError) as refused:
        await system.apply(a_spec())
    await _grant(system, catalog, "w-1", days=10, node="n1")
    accepted = await system.apply(a_spec())
    status = await until_running(system.operator, "edge")

    assert refused.value.refusal_code == "no_eligible_node"
    assert {one.rule for one in refused.value.reasons} == {LACK}
    assert [(one.node, one.why) for one in accepted.plan.excluded] == [("n2", LACK)]
    assert ([one.node for one in status.places], status.violations) == (["n1"], ())
    events = [event.data for event in await stored_events(system.auditor)]
    (use,) = [one for one in events if one.action == "waiver.use"]
    assert (use.deployment, use.details["waiver"], use.details["nodes"]) == ("edge", "w-1", ["n1"])


async def test_what_runs_on_after_the_end_of_its_waiver_violates(system: System) -> None:
    """It stays, is shown so, has one event, and nothing new is put there; a new waiver mends it."""
    catalog = await _excused_catalog(system)
    node = await system.node("n1", "eth0")
    await _grant(system, catalog, "w-1", days=10, node="n1")
    await system.apply(a_spec())
    await until_running(system.operator, "edge")

    system.ahead = timedelta(days=10)
    await node.beat()
    violating = await _until(
        system, lambda one: bool(one.violations) and one.places[0].state != "node-silent"
    )
    with pytest.raises(RefusedError) as refused:
        await system.apply(a_spec("other", order=7))
    await _grant(system, catalog, "w-9", days=-1, node="n1")
    async with asyncio.timeout(WAIT_SECONDS):
        said: list[str] = []
        while "licence.violate" not in said:
            said += [event.data.action for event in await stored_events(system.auditor)]
    await _grant(system, catalog, "w-2", days=10, node="n1")
    mended = await _until(system, lambda one: not one.violations)
    async with asyncio.timeout(WAIT_SECONDS):
        while "licence.comply" not in said:
            said += [event.data.action for event in await stored_events(system.auditor)]

    assert violating.violations == (LicenceViolation(node="n1", rule=RULE),)
    (place,) = violating.places
    assert (place.state, place.why[0].rule) == ("running", f"it stays here, although {LACK}")
    assert refused.value.refusal_code == "no_eligible_node"
    assert mended.places[0].why == ()
    assert [said.count(one) for one in ("licence.violate", "licence.comply")] == [1, 1]


@pytest.mark.parametrize("by", ["deployment", "policy"])
async def test_what_shall_stop_is_removed_when_its_waiver_ends(system: System, by: str) -> None:
    """By its own word or that of the rollout policy, as if somebody had asked, with the reason."""
    catalog = await _excused_catalog(system)
    node = await system.node("n1", "eth0")
    await _grant(system, catalog, "w-1", days=10, node="n1")
    if by == "policy":
        administrator = await system.buses.open("administrator")
        rule = PolicyRule(name="strict", on_waiver_expired="stop")
        policy = SetRolloutPolicy(policy=RolloutPolicy(rules=(rule,)))
        await administrator.request(SET_ROLLOUT_POLICY, policy)
        await system.apply(a_spec())
    else:
        await system.apply(a_spec(on_waiver_expired="stop"))
    await until_running(system.operator, "edge")

    system.ahead = timedelta(days=10)
    await _grant(system, catalog, "w-9", days=-1, node="n1")  # so that it looks at its clock
    await _until(system, lambda one: one.removed and not one.places)
    removals: list[EventBody] = []
    async with asyncio.timeout(WAIT_SECONDS):
        while not removals:
            events = await stored_events(system.auditor)
            removals = [one.data for one in events if one.data.action == "deployment.remove"]

    assert node.told[-1].chains[0].programs == ()
    (removal,) = removals
    assert removal.actor is not None
    assert (removal.outcome, removal.actor.role) == ("accepted", "service-scheduler")
    assert removal.reason.startswith(f"no waiver for {RULE} is in force on n1")
    assert ("rules strict of the rollout policy" in removal.reason) == (by == "policy")
