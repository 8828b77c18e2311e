# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Revisions reach their nodes in waves, over a real bus, and go back by themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta

import pytest

from shared.contracts.deployments import DEPLOYMENTS, DeploymentRecord
from shared.contracts.desired import DESIRED, DesiredNode
from shared.contracts.events import Event
from shared.contracts.rollout_commands import (
    ABORT_ROLLOUT,
    APPROVE_ROLLOUT,
    PAUSE_ROLLOUT,
    RESUME_ROLLOUT,
    AbortRollout,
    ApproveRollout,
    PauseRollout,
    ResumeRollout,
)
from shared.contracts.rollouts import RolloutSpec
from shared.errors import Refusal, RefusedError
from tests.fleets import a_spec
from tests.integration.conftest import Buses
from tests.support.event_stream import stored_events
from tests.support.scheduler_neighbours import (
    WAIT_SECONDS,
    TestNode,
    until_running,
    until_settled,
)
from tests.support.scheduler_system import System, system

__all__ = ["system"]

_COMMANDS = {"pause", "resume", "approve", "abort"}
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


def _waits_at(wave: int) -> Callable[[DeploymentRecord], bool]:
    return lambda record: (
        record.rollout is not None
        and (record.rollout.phase, record.rollout.wave) == ("waiting", wave)
    )


def _has_released(count: int) -> Callable[[DeploymentRecord], bool]:
    return lambda record: record.rollout is not None and record.rollout.released == count


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
    nodes[0].refusal, nodes[0].refused_version = REFUSED, "1.1.0"
    before = [await _told(system, name) for name in ("n1", "n2", "n3")]

    await system.apply(
        a_spec(version="1.1.0", rollout=RolloutSpec(strategy="canary")), "command-bad"
    )
    record = await _until(system, _is("rolled-back"))
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


async def test_no_more_nodes_are_away_than_the_deployment_allows(system: System) -> None:
    """At no time are two of them told and not confirmed, in this rollout and in the next."""
    nodes = await _fleet(system, "n1", "n2", "n3")
    for node in nodes:
        node.acts.clear()
    await system.apply(a_spec(version="1.1.0", rollout=RolloutSpec(max_unavailable=1)))
    for count, node in enumerate(nodes, start=1):
        await _until(system, _has_released(count))
        async with asyncio.timeout(WAIT_SECONDS):
            while len(node.told) < 2:
                await asyncio.sleep(0.01)
        assert [len(one.told) for one in nodes[count:]] == [1] * (3 - count)
        node.acts.set()
    await _until(system, _is("complete"))
    nodes[1].acts.clear()
    await system.apply(a_spec(version="1.0.0", rollout=RolloutSpec(max_unavailable=1)))
    await _until(system, _has_released(2))
    nodes[1].acts.set()
    record = await _until(system, _is("complete"))
    assert record.rollout is not None
    assert record.rollout.revision == 3


async def test_a_wave_bakes_by_the_schedulers_clock(system: System) -> None:
    """The others are told when its time is over, and not before."""
    nodes = await _fleet(system, "n1", "n2")
    rollout = RolloutSpec(strategy="canary", bake_seconds=20)
    await system.apply(a_spec(version="1.1.0", rollout=rollout))
    await _until(system, _is("baking"))
    assert len(nodes[1].told) == 1
    system.ahead = timedelta(seconds=20)  # less than makes a node silent
    for node in nodes:
        await node.beat()
    await _until(system, lambda record: record.rollout is not None and record.rollout.wave == 1)
    async with asyncio.timeout(WAIT_SECONDS):
        while len(nodes[1].told) < 2:
            await asyncio.sleep(0.01)


async def test_operators_pause_resume_approve_and_abort(system: System) -> None:
    """Each command is one event, and nodes are told nothing in between."""
    nodes = await _fleet(system, "n1", "n2", "n3")
    rollout = RolloutSpec(strategy="canary", waves=(1,), gate="manual")
    await system.apply(a_spec(version="1.1.0", rollout=rollout))
    await _until(system, _waits_at(1))
    ask = system.operator.request

    stopped = await ask(PAUSE_ROLLOUT, PauseRollout(name="edge", reason="lunch"))
    assert (stopped.phase, stopped.why) == ("paused", "operator paused it: lunch")
    with pytest.raises(RefusedError, match="paused already"):
        await ask(PAUSE_ROLLOUT, PauseRollout(name="edge"))
    with pytest.raises(RefusedError, match="generation is"):
        await ask(RESUME_ROLLOUT, ResumeRollout(name="edge", if_generation=1))
    await ask(RESUME_ROLLOUT, ResumeRollout(name="edge", if_generation=stopped.generation))
    await _until(system, _waits_at(1))
    approved = await ask(APPROVE_ROLLOUT, ApproveRollout(name="edge"))
    assert (approved.wave, approved.waves) == (1, 3)
    await _until(system, lambda record: record.rollout is not None and record.rollout.wave == 2)
    assert [len(node.told) for node in nodes] == [2, 2, 1]
    gone = await ask(ABORT_ROLLOUT, AbortRollout(name="edge", reason="wrong ticket"))
    assert gone.phase == "aborted"
    status = await until_running(system.operator, "edge")
    assert (status.version, status.revision) == ("1.0.0", 3)
    assert [len(node.told) for node in nodes] == [3, 3, 1]
    with pytest.raises(RefusedError, match="no rollout of it goes on"):
        await ask(ABORT_ROLLOUT, AbortRollout(name="edge"))

    await until_settled(system.scheduler)
    events = [one.data for one in await stored_events(system.auditor)]
    commands = [one for one in events if one.action.split(".")[1] in _COMMANDS]
    assert [(one.action, one.outcome) for one in commands] == [
        ("deployment.pause", "accepted"),
        ("deployment.pause", "refused"),
        ("deployment.resume", "refused"),
        ("deployment.resume", "accepted"),
        ("deployment.approve", "accepted"),
        ("deployment.abort", "accepted"),
        ("deployment.abort", "refused"),
    ]
    assert {one.deployment for one in commands} == {"edge"}


async def test_a_viewer_does_not_touch_rollouts(system: System, buses: Buses) -> None:
    """An approver approves; nothing else is an approver's."""
    await _fleet(system, "n1")
    await system.apply(a_spec(version="1.1.0", rollout=RolloutSpec(approvals=1)))
    viewer, approver = await buses.open("viewer"), await buses.open("approver")
    with pytest.raises(RefusedError) as caught:
        await viewer.request(APPROVE_ROLLOUT, ApproveRollout(name="edge"))
    assert caught.value.refusal_code == "not_permitted"
    with pytest.raises(RefusedError) as caught:
        await approver.request(ABORT_ROLLOUT, AbortRollout(name="edge"))
    assert caught.value.refusal_code == "not_permitted"
    await approver.request(APPROVE_ROLLOUT, ApproveRollout(name="edge"))
    await _until(system, _is("complete"))


async def test_a_node_that_joins_meanwhile_gets_what_was_there_before(system: System) -> None:
    """And the new revision when that is everywhere."""
    nodes = await _fleet(system, "n1", "n2")
    nodes[0].acts.clear()
    await system.apply(a_spec(version="1.1.0", rollout=RolloutSpec(strategy="canary")))
    await _until(system, _is("rolling-out"))
    late = await system.node("n0")
    async with asyncio.timeout(WAIT_SECONDS):
        while not late.told:
            await asyncio.sleep(0.01)
    assert [one.version for one in late.told[0].chains[0].programs] == ["1.0.0"]
    nodes[0].acts.set()
    await _until(system, _is("complete"))
    status = await until_running(system.operator, "edge")
    assert {one.observed_version for one in status.places} == {"1.1.0"}
    assert len(status.places) == 3
