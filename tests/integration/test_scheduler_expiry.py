# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Deployments end when they say, and commands hold for the generation that they name."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from shared.contracts.events import Event
from shared.contracts.scheduler import (
    APPLY_DEPLOYMENT,
    GET_DEPLOYMENT,
    REMOVE_DEPLOYMENT,
    ApplyDeployment,
    DeploymentStatus,
    GetDeployment,
    RemoveDeployment,
)
from shared.errors import RefusedError
from shared.moments import render_time
from tests.fleets import a_spec
from tests.support.event_stream import stored_events
from tests.support.scheduler_neighbours import WAIT_SECONDS, until_running
from tests.support.scheduler_system import System, system

__all__ = ["system"]


async def _apply_and_outlive(system: System, **fields: str) -> str:
    """The moment at which the deployment ended; the scheduler's clock went on beyond it."""
    expiry = render_time(system.now() + timedelta(hours=1))
    await system.apply(a_spec(expiry=expiry, **fields))
    system.ahead = timedelta(hours=2)
    await system.apply(a_spec("other", order=7))  # so that the scheduler looks at its clock
    return expiry


async def _event(system: System, action: str) -> Event:
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            for event in await stored_events(system.auditor):
                if event.data.action == action:
                    return event
            await asyncio.sleep(0.01)


async def _status(system: System) -> DeploymentStatus:
    return await system.operator.request(GET_DEPLOYMENT, GetDeployment(name="edge"))


async def test_a_deployment_is_taken_off_every_node_when_its_time_is_over(system: System) -> None:
    """As if somebody had removed it, by the scheduler and with the reason."""
    await system.catalog()
    node = await system.node("n1")
    expiry = await _apply_and_outlive(system, owner="net-team", reason="the January flood")
    applied = await _event(system, "deployment.apply")

    removal = await _event(system, "deployment.remove")
    async with asyncio.timeout(WAIT_SECONDS):
        while (await _status(system)).places:
            await asyncio.sleep(0.01)

    assert (applied.data.reason, applied.data.details["owner"]) == ("the January flood", "net-team")
    assert removal.data.reason == f"its expiry {expiry} is over"
    assert removal.data.actor is not None
    assert (removal.data.outcome, removal.data.actor.role) == ("accepted", "service-scheduler")
    assert [one.deployment for one in node.told[-1].chains[0].programs] == ["other"]
    assert (await _status(system)).removed


async def test_a_deployment_that_says_alarm_goes_on(system: System) -> None:
    """One event says that it is over."""
    await system.catalog()
    node = await system.node("n1")
    await _apply_and_outlive(system, on_expiry="alarm")
    await node.beat()  # it is later now by an hour

    event = await _event(system, "deployment.alarm")
    status = await until_running(system.operator, "edge")

    assert event.data.details["on_expiry"] == "alarm"
    assert not status.removed


async def test_a_command_for_another_generation_changes_nothing(system: System) -> None:
    """Whoever comes second is told what the generation is now."""
    await system.catalog()
    await system.node("n1")
    first = ApplyDeployment(spec=a_spec(order=1), if_generation=0)
    await system.operator.request(APPLY_DEPLOYMENT, first)

    for refused in (
        system.operator.request(
            APPLY_DEPLOYMENT, ApplyDeployment(spec=a_spec(order=2), if_generation=0)
        ),
        system.operator.request(REMOVE_DEPLOYMENT, RemoveDeployment(name="edge", if_generation=7)),
    ):
        with pytest.raises(RefusedError) as caught:
            await refused
        assert caught.value.refusal_code == "conflict"
        assert caught.value.reasons[0].allowed == 1
    status = await _status(system)

    assert (status.revision, status.generation, status.order) == (1, 1, 1)
    await system.operator.request(REMOVE_DEPLOYMENT, RemoveDeployment(name="edge", if_generation=1))
    assert (await _status(system)).generation == 2
