# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Revisions reach their nodes in waves, over a real bus, and go back by themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from shared.contracts.deployments import DEPLOYMENTS, DeploymentRecord
from shared.contracts.desired import DESIRED, DesiredNode
from shared.contracts.events import Event
from shared.contracts.rollouts import RolloutSpec
from shared.errors import Refusal
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

REFUSED = Refusal(code="verifier_rejected", message="the verifier refused limiter")


async def _fleet(system: System, *names: str) -> list[TestNode]:
    """These nodes run 1.0.0."""
    await system.catalog()
    nodes = [await system.node(name) for name in names]
    await system.apply(a_spec(version="1.0.0"))
    await until_running(system.operator, "edge")
    return nodes


async def _record(system: System) -> DeploymentRecord:
    entry = await system.scheduler.bucket(DEPLOYMENTS).get("edge")
    assert entry is not None
    return entry.value


async def _until(system: System, is_so: Callable[[DeploymentRecord], bool]) -> DeploymentRecord:
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            record = await _record(system)
            if is_so(record):
                return record
            await asyncio.sleep(0.01)


def _is(phase: str) -> Callable[[DeploymentRecord], bool]:
    return lambda record: record.rollout is not None and record.rollout.phase == phase


async def _told(system: System, node: str) -> DesiredNode:
    entry = await system.scheduler.bucket(DESIRED).get(node)
    assert entry is not None
    return entry.value


async def _said(system: System) -> tuple[list[Event], Event]:
    """The steps that were not read before, and how the command behind them ended."""
    await until_settled(system.scheduler)
    events = await stored_events(system.auditor)
    steps = [event for event in events if event.data.action.startswith("rollout.")]
    (ending,) = [
        event
        for event in events
        if event.data.action == "deployment.complete"
        and event.data.correlation == steps[0].data.correlation
    ]
    return steps, ending


async def test_a_canary_is_confirmed_before_the_others_hear_of_it(system: System) -> None:
    """Each step has one event; the command ends when the last wave is through."""
    nodes = await _fleet(system, "n1", "n2", "n3")
    nodes[0].acts.clear()
    untouched = [await _told(system, name) for name in ("n2", "n3")]

    accepted = await system.apply(
        a_spec(version="1.1.0", rollout=RolloutSpec(strategy="canary")), "command-canary"
    )
    await _until(system, _is("rolling-out"))
    async with asyncio.timeout(WAIT_SECONDS):
        while len(nodes[0].told) < 2:
            await asyncio.sleep(0.01)
    assert [await _told(system, name) for name in ("n2", "n3")] == untouched
    nodes[0].acts.set()
    await _until(system, _is("complete"))

    steps, ending = await _said(system)
    assert [one.data.action for one in steps] == [
        "rollout.release",
        "rollout.confirm",
        "rollout.release",
        "rollout.confirm",
        "rollout.complete",
    ]
    assert [one.data.details.get("nodes") for one in steps if "nodes" in one.data.details] == [
        ["n1"],
        ["n2", "n3"],
    ]
    assert {one.data.correlation for one in steps} == {accepted.command_id}
    assert ending.data.outcome == "succeeded"


async def test_a_canary_that_refuses_brings_everything_back(system: System) -> None:
    """The others are never told anything, and the command ends with what the node said."""
    nodes = await _fleet(system, "n1", "n2", "n3")
    nodes[0].refusal = REFUSED
    before = [await _told(system, name) for name in ("n1", "n2", "n3")]

    await system.apply(
        a_spec(version="1.1.0", rollout=RolloutSpec(strategy="canary")), "command-bad"
    )
    record = await _until(system, _is("rolled-back"))
    nodes[0].refusal = None
    status = await until_running(system.operator, "edge")

    assert (record.revisions[-1].version, record.revisions[-1].rollback_of) == ("1.0.0", 1)
    assert status.revision == 3
    after = [await _told(system, name) for name in ("n1", "n2", "n3")]
    assert after[1:] == before[1:]
    assert [one.programs for one in after[0].chains] == [one.programs for one in before[0].chains]
    assert after[0].generation == before[0].generation + 2
    assert [len(node.told) for node in nodes[1:]] == [1, 1]
    (_, rollback), ending = await _said(system)
    assert rollback.data.reasons[0].path.startswith("nodes.n1")
    assert "verifier refused" in rollback.data.reasons[0].rule
    assert ending.data.outcome == "failed"
    assert rollback.data.reasons[0] in ending.data.reasons
