# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Rollouts are judged by what nodes and gates say, over a real bus."""

from __future__ import annotations

import asyncio

from services.scheduler.adapters.health_questions import Answer, HealthQuestions
from services.scheduler.audiences import Audiences
from services.scheduler.rollout.health_watches import Question
from shared.adapters.callers import Caller
from shared.contracts.deployments import DEPLOYMENTS, DeploymentRecord
from shared.contracts.events import Event
from shared.contracts.gates import ASK_GATE, AskGate, GateSaid
from shared.contracts.health import DropGuard, ExternalGate, HealthSpec
from shared.contracts.node_health import READ_HEALTH, NodeHealth, ReadHealth
from shared.contracts.rollouts import RolloutSpec
from tests.fleets import a_spec
from tests.integration.conftest import Buses
from tests.support.event_stream import stored_events
from tests.support.scheduler_neighbours import WAIT_SECONDS, TestNode, until_running
from tests.support.scheduler_system import System, system

__all__ = ["system"]

CANARY = RolloutSpec(strategy="canary")
GUARDED = HealthSpec(period_seconds=1, drops=DropGuard(max_share=0.05, max_increase=0.01))


async def a_fleet(system: System) -> list[TestNode]:
    """Three nodes run 1.0.0."""
    await system.catalog()
    nodes = [await system.node(name) for name in ("n1", "n2", "n3")]
    await system.apply(a_spec(version="1.0.0"))
    await until_running(system.operator, "edge")
    return nodes


async def until_over(system: System) -> DeploymentRecord:
    """The record once the rollout is."""
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            entry = await system.scheduler.bucket(DEPLOYMENTS).get("edge")
            assert entry is not None
            rollout = entry.value.rollout
            if rollout is not None and rollout.ended_at:
                return entry.value
            await asyncio.sleep(0.01)


async def rollout_events(system: System) -> list[Event]:
    """What was said of the rollout, once its end was."""
    found: list[Event] = []
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            events = await stored_events(system.auditor)  # those that are new
            found += [event for event in events if event.data.action.startswith("rollout.")]
            if found and found[-1].data.action in ("rollout.rollback", "rollout.complete"):
                return found
            await asyncio.sleep(0.01)


async def test_a_canary_that_drops_everything_is_taken_back(system: System) -> None:
    """The others are not told of it, and one event has the evidence."""
    nodes = await a_fleet(system)
    nodes[0].dropping.add("1.1.0")

    await system.apply(a_spec(version="1.1.0", rollout=CANARY, health=GUARDED))
    record = await until_over(system)

    assert (record.revisions[-1].version, record.revisions[-1].rollback_of) == ("1.0.0", 1)
    assert [len(node.told) for node in nodes[1:]] == [1, 1]
    events = await rollout_events(system)
    assert [one.data.action for one in events] == [
        "rollout.wait",
        "rollout.release",
        "rollout.rollback",
    ]
    assert events[0].data.reason == "the numbers before wave 1 are being read"
    rollback = events[-1].data
    assert rollback.reason == "it is not healthy"
    assert [(one.path, one.got, one.allowed) for one in rollback.reasons] == [
        ("nodes.n1.eth0.drops.max_share", 1.0, 0.05),
        ("health.drops.max_increase", 1.0, 0.01),
    ]


async def test_a_canary_that_is_as_good_as_before_lets_the_others_follow(system: System) -> None:
    """It is compared with what it was before the wave, and only its wave is asked."""
    nodes = await a_fleet(system)

    await system.apply(a_spec(version="1.1.0", rollout=CANARY, health=GUARDED))
    record = await until_over(system)

    assert record.rollout is not None
    assert record.rollout.phase == "complete"
    assert record.revisions[-1].version == "1.1.0"
    assert all(node.readings >= 3 for node in nodes)
    names = [one.data.details.get("nodes") for one in await rollout_events(system)]
    assert [one for one in names if one] == [["n1"], ["n2", "n3"]]


async def test_a_gate_decides_wave_by_wave(system: System) -> None:
    """What it is asked names the wave; its no is the evidence."""
    await a_fleet(system)
    asked: list[AskGate] = []
    bus = await system.buses.open("viewer", "slo")

    async def answer(question: AskGate) -> GateSaid:
        asked.append(question)
        is_first = question.wave == 1
        return GateSaid(well=is_first, reason="" if is_first else "error budget spent")

    await bus.answer(ASK_GATE.at(name="slo"), answer)
    gated = HealthSpec(period_seconds=1, gate=ExternalGate(name="slo"))
    await system.apply(a_spec(version="1.1.0", rollout=CANARY, health=gated))
    record = await until_over(system)

    assert record.revisions[-1].version == "1.0.0"
    assert [(one.wave, one.waves, one.nodes) for one in asked[:1]] == [(1, 2, ("n1",))]
    assert (asked[-1].wave, asked[-1].nodes, asked[-1].version) == (2, ("n2", "n3"), "1.1.0")
    (rollback,) = [
        one.data for one in await rollout_events(system) if one.data.action == "rollout.rollback"
    ]
    assert [(one.path, one.rule) for one in rollback.reasons] == [
        ("health.gate", "slo says no: error budget spent")
    ]


async def test_who_owes_an_answer_is_not_asked_once_more(buses: Buses) -> None:
    """However often there is a question: else questions pile up behind a node that hangs."""
    asked, released = asyncio.Event(), asyncio.Event()
    questions_taken: list[ReadHealth] = []
    told: list[Answer] = []

    async def read(request: ReadHealth, _: Caller) -> NodeHealth:
        questions_taken.append(request)
        asked.set()
        await released.wait()
        return NodeHealth(
            node="n1",
            boot_id="boot-1",
            uptime_seconds=1.0,
            start="start-1",
            cpu_seconds=1.0,
            cpu_busy_seconds=0.0,
        )

    node = await buses.open("node", "n1")
    questions = HealthQuestions(await buses.open("service-scheduler"))
    question = Question(deployment="edge", revision=2, nodes=("n1",), metrics=(), wave=0)
    async with node.serve("node", {READ_HEALTH: read}, version="0.1.0", tokens={"node": "n1"}):
        first = asyncio.create_task(questions.ask(question, Audiences(), told.append))
        async with asyncio.timeout(WAIT_SECONDS):
            await asked.wait()
            await questions.ask(question, Audiences(), told.append)
            assert (len(questions_taken), told) == (1, [])
            released.set()
            await first
            await questions.ask(question, Audiences(), told.append)

    assert (len(questions_taken), len(told)) == (2, 2)
