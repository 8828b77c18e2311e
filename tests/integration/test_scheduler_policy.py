# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The rollout policy over a real bus: who sets and sees it, and that it outlives a scheduler."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta

import pytest

from services.scheduler.__main__ import scheduling
from services.scheduler.adapters.fleet_records import FleetRecords
from shared.contracts.deployments import DEPLOYMENTS
from shared.contracts.events import Event
from shared.contracts.rollout_commands import (
    APPROVE_ROLLOUT,
    RESUME_ROLLOUT,
    ApproveRollout,
    ResumeRollout,
)
from shared.contracts.rollout_policy import (
    GET_ROLLOUT_POLICY,
    SET_ROLLOUT_POLICY,
    TRY_ROLLOUT_POLICY,
    DeploymentSelector,
    GetRolloutPolicy,
    PolicyRule,
    RolloutPolicy,
    SetRolloutPolicy,
    TryRolloutPolicy,
)
from shared.contracts.rollouts import ChangeWindow, RolloutState
from shared.errors import RefusedError
from shared.moments import read_time, render_time
from tests.fleets import a_spec
from tests.integration.conftest import Buses
from tests.support.event_stream import stored_events
from tests.support.scheduler_neighbours import WAIT_SECONDS, until_running, until_settled
from tests.support.scheduler_system import System, system

__all__ = ["system"]

FREEZE = PolicyRule(
    name="holidays",
    freezes=(ChangeWindow(cron="0 0 20 12 *", duration_seconds=86_400, time_zone="Europe/Berlin"),),
)
EYES = PolicyRule(name="eyes", approvals=1, deployments=DeploymentSelector(packages=("rate-*",)))


async def test_an_administrator_sets_it_and_everybody_who_looks_sees_it(system: System) -> None:
    """An operator may look and try, not set; setting is one event, and a repeat of it none."""
    administrator = await system.buses.open("administrator")
    command = SetRolloutPolicy(
        policy=RolloutPolicy(rules=(FREEZE,)), command_id="command-1", reason="holidays"
    )
    with pytest.raises(RefusedError):
        await system.operator.request(SET_ROLLOUT_POLICY, command)

    for _ in range(2):
        done = await administrator.request(SET_ROLLOUT_POLICY, command)
        assert done.generation == 1
    viewer = await system.buses.open("viewer")
    shown = await viewer.request(GET_ROLLOUT_POLICY, GetRolloutPolicy())
    assert (shown.policy.rules, shown.generation) == ((FREEZE,), 1)
    assert (shown.actor_role, shown.reason) == ("administrator", "holidays")
    (event,) = await _policy_events(system)
    assert (event.data.outcome, event.data.reason) == ("accepted", "holidays")
    assert event.data.details["added"] == ["holidays"]

    stale = SetRolloutPolicy(policy=RolloutPolicy(), if_generation=0)
    with pytest.raises(RefusedError, match="generation 1"):
        await administrator.request(SET_ROLLOUT_POLICY, stale)
    assert [one.data.outcome for one in await _policy_events(system)] == ["refused"]


async def test_what_a_policy_would_say_is_asked_before_it_is_set(system: System) -> None:
    """Of what runs, at a time that is to come; what is wrong with it is said."""
    await system.catalog()
    await system.node("n1")
    await system.apply(a_spec())
    offered = RolloutPolicy(rules=(FREEZE, EYES))
    request = TryRolloutPolicy(policy=offered, at="2026-12-20T12:00:00+01:00")
    tried = await system.operator.request(TRY_ROLLOUT_POLICY, request)
    (said,) = tried.effects
    assert (said.deployment, said.rules, said.approvals) == ("edge", ("holidays", "eyes"), 1)
    assert "frozen" in said.why
    assert "must approve" in said.why

    in_force = await system.operator.request(TRY_ROLLOUT_POLICY, TryRolloutPolicy())
    assert in_force.effects[0].rules == ()

    idle = RolloutPolicy(rules=(PolicyRule(name="idle"),))
    with pytest.raises(RefusedError) as caught:
        await system.operator.request(TRY_ROLLOUT_POLICY, TryRolloutPolicy(policy=idle))
    assert [one.path for one in caught.value.reasons] == ["policy.rules[0]"]


async def test_the_policy_outlives_the_scheduler(buses: Buses) -> None:
    """The next one reads it before it answers, and so does one that is at work."""
    administrator = await buses.open("administrator")
    async with scheduling(await buses.open("service-scheduler")):
        await administrator.request(
            SET_ROLLOUT_POLICY, SetRolloutPolicy(policy=RolloutPolicy(rules=(EYES,)))
        )
    bus = await buses.open("service-scheduler")
    records = FleetRecords(bus)
    async with scheduling(bus, records=records):
        shown = await administrator.request(GET_ROLLOUT_POLICY, GetRolloutPolicy())
        assert shown.policy.rules == (EYES,)
        assert records.fleet.policy.rules == (EYES,)


async def _policy_events(system: System) -> list[Event]:
    await until_settled(system.scheduler)
    return [
        one for one in await stored_events(system.auditor) if one.data.action.startswith("policy.")
    ]


async def test_a_rollout_waits_for_what_the_policy_says_and_begins_without_it(
    system: System,
) -> None:
    """Nodes are told nothing meanwhile; the plan said so, status says so, a new policy frees it."""
    await system.catalog()
    node = await system.node("n1")
    administrator = await system.buses.open("administrator")
    eyes = SetRolloutPolicy(policy=RolloutPolicy(rules=(EYES,)))
    await administrator.request(SET_ROLLOUT_POLICY, eyes)

    accepted = await system.apply(a_spec())
    waiting = await _until_phase(system, lambda state: "must approve" in state.why)
    (said,) = accepted.plan.policy
    assert (said.deployment, said.approvals, said.until) == ("edge", 1, "")
    assert waiting.why == said.why
    assert all(not chain.programs for desired in node.told for chain in desired.chains)

    none = SetRolloutPolicy(policy=RolloutPolicy())
    await administrator.request(SET_ROLLOUT_POLICY, none)
    await until_running(system.operator, "edge")


async def test_a_rollout_begins_when_a_freeze_is_over(system: System) -> None:
    """At the moment that its state names."""
    await system.catalog()
    node = await system.node("n1")
    start = system.now() - timedelta(minutes=1)
    freeze = ChangeWindow(start=render_time(start), duration_seconds=3600)
    administrator = await system.buses.open("administrator")
    policy = RolloutPolicy(rules=(PolicyRule(name="freeze", freezes=(freeze,)),))
    await administrator.request(SET_ROLLOUT_POLICY, SetRolloutPolicy(policy=policy))

    accepted = await system.apply(a_spec())
    waiting = await _until_phase(system, lambda state: "frozen" in state.why)
    until = read_time(accepted.plan.policy[0].until)
    assert until == start.replace(microsecond=0) + timedelta(hours=1)
    assert "until" in waiting.why

    system.ahead = timedelta(hours=1)
    await node.beat()
    await until_running(system.operator, "edge")


async def test_four_eyes_and_a_freeze_are_got_over_by_those_who_may(system: System) -> None:
    """Another operator approves, an administrator overrides with a reason; both are in the log."""
    await system.catalog()
    await system.node("n1")
    freeze = ChangeWindow(start=render_time(system.now()), duration_seconds=3600)
    rule = PolicyRule(name="year-end", freezes=(freeze,), approvals=1)
    administrator = await system.buses.open("administrator")
    policy = SetRolloutPolicy(policy=RolloutPolicy(rules=(rule,)))
    await administrator.request(SET_ROLLOUT_POLICY, policy)
    await system.apply(a_spec())

    approval = ApproveRollout(name="edge", reason="looked at it")
    with pytest.raises(RefusedError, match="cannot approve it"):
        await system.operator.request(APPROVE_ROLLOUT, approval)
    other = await system.buses.open("operator", "somebody-else")
    await other.request(APPROVE_ROLLOUT, approval)
    await _until_phase(system, lambda state: "approve" not in state.why and "frozen" in state.why)
    override = ResumeRollout(name="edge", override=True, reason="the site is down")
    with pytest.raises(RefusedError) as caught:
        await other.request(RESUME_ROLLOUT, override)
    assert [one.path for one in caught.value.reasons] == ["override"]
    await administrator.request(RESUME_ROLLOUT, override)
    await until_running(system.operator, "edge")

    await until_settled(system.scheduler)
    events = [one.data for one in await stored_events(system.auditor)]
    (said,) = [one for one in events if one.action == "rollout.override"]
    assert said.actor is not None
    assert (said.actor.role, said.reason) == ("administrator", "the site is down")
    assert said.details["rules"] == ["year-end"]
    assert "frozen" in said.details["waited_for"]
    assert read_time(said.details["until"]) > system.now()


async def _until_phase(system: System, holds: Callable[[RolloutState], bool]) -> RolloutState:
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            entry = await system.scheduler.bucket(DEPLOYMENTS).get("edge")
            state = entry.value.rollout if entry is not None else None
            if state is not None and holds(state):
                return state
            await asyncio.sleep(0.01)
