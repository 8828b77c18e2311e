# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The health of several rollouts beside one another, as the core of rollouts asks for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from services.scheduler.rollout.health import GateAnswer
from services.scheduler.rollout.health_watch import Known
from services.scheduler.rollout.health_watches import GateAnswered, NodeMeasured, Watches
from services.scheduler.rollout.standing import Standing
from services.scheduler.status import PlaceView
from shared.contracts.deployments import DeploymentRecord, DeploymentRevision
from shared.contracts.health import DropGuard, ExternalGate, HealthSpec
from shared.contracts.rollouts import RolloutState, RolloutWave
from tests.fleets import a_spec
from tests.support.node_readings import KEY, NEWEST, a_reading, a_view

NOW = datetime(2027, 1, 1, tzinfo=UTC)
DROPS = HealthSpec(drops=DropGuard(max_share=0.05))


def a_record(health: HealthSpec, **wave: Any) -> DeploymentRecord:
    """A rollout whose only node was told."""
    revision = DeploymentRevision(
        revision=NEWEST,
        spec=a_spec(KEY, health=health),
        version="1.0.0",
        archive_sha256="0" * 64,
        command_id="c",
        actor_key="U",
        actor_role="operator",
        at="",
    )
    state = RolloutState(
        revision=NEWEST,
        phase="rolling-out",
        waves=(RolloutWave(**{"nodes": ("n1",), **wave}),),
        released=1,
    )
    return DeploymentRecord(name=KEY, revisions=(revision,), rollout=state)


class Asked:
    """Watches of one rollout."""

    def __init__(self, record: DeploymentRecord, views: Sequence[PlaceView]) -> None:
        assert record.rollout is not None
        self.record, self.state, self.views = record, record.rollout, {"n1": views}
        self.watches = Watches()
        self.watches.store(record)

    def question(self, seconds: float = 0.0) -> Any:
        """What is asked then."""
        now = NOW + timedelta(seconds=seconds)
        standings = {"n1": Standing("confirmed")}
        return self.watches.question(self.record, self.state, self.views, standings, now)

    def known(self, seconds: float = 0.0) -> Known:
        """What is known then."""
        now = NOW + timedelta(seconds=seconds)
        standings = {"n1": Standing("confirmed")}
        return self.watches.known(self.record, self.state, self.views, standings, now)

    def read(self, seconds: float, *, revision: int = NEWEST, dropped: int) -> None:
        """The node says so many of its packets were dropped, a thousand for each second."""
        reading = a_reading(
            "n1", 100 + seconds, packets=int(1000 * seconds), dropped=dropped, revision=NEWEST
        )
        event = NodeMeasured(KEY, revision, reading)
        self.watches.note(event, NOW + timedelta(seconds=seconds))


def test_a_deployment_that_asks_nothing_of_health_is_well_and_nobody_is_asked() -> None:
    """It costs nothing."""
    plain = Asked(a_record(HealthSpec()), [a_view("n1")])

    assert plain.question() is None
    assert plain.known() == Known()
    assert plain.watches.due(KEY, plain.state, NOW) is None


def test_what_was_said_for_another_revision_is_of_no_use() -> None:
    """An answer that comes too late tells nothing of what runs now."""
    late = Asked(a_record(DROPS), [a_view("n1")])
    for seconds in (1.0, 11.0):
        late.read(seconds, revision=NEWEST - 1, dropped=0)
    now = Asked(a_record(DROPS), [a_view("n1")])
    for seconds in (1.0, 11.0):
        now.read(seconds, dropped=0)

    assert not late.known(11).is_healthy
    assert now.known(11).is_healthy


def test_a_gates_word_on_another_wave_is_not_taken() -> None:
    """Only the wave that goes on is let through by it."""
    gated = Asked(a_record(HealthSpec(gate=ExternalGate(name="slo"))), [a_view("n1")])
    question = gated.question()
    gated.known()
    gated.watches.note(GateAnswered(KEY, NEWEST, 1, GateAnswer(is_well=True)), NOW)
    other = gated.known(0.1)
    gated.watches.note(GateAnswered(KEY, NEWEST, 0, GateAnswer(is_well=True)), NOW)

    assert (question.gate.name, question.about.nodes, question.about.wave) == ("slo", ("n1",), 1)
    assert (other.is_healthy, gated.known(0.2).is_healthy) == (False, True)


def test_what_follows_is_worked_out_once_a_second_or_when_somebody_spoke() -> None:
    """A thousand nodes that read something back do not make it be judged a thousand times."""
    looked = Asked(a_record(DROPS), [a_view("n1")])
    first = looked.known()
    again = looked.known(0.5)
    looked.read(0.6, dropped=0)

    soon, later = looked.known(0.6), looked.known(2.0)

    assert again is first
    assert soon is not first
    assert later is not soon


def test_a_wave_of_thousands_is_judged_less_often() -> None:
    """However many of them say something in one moment."""
    names = tuple(f"n{number}" for number in range(5000))
    many = Asked(a_record(DROPS, nodes=names), [a_view("n1")])
    first = many.known()
    many.read(0.1, dropped=0)

    assert many.known(0.9) is first
    assert many.known(1.0) is not first


def test_of_a_blue_green_wave_only_its_own_interface_is_judged() -> None:
    """The other one still runs what it ran, and that has no period to pass."""
    old = a_view("n1", revision=NEWEST - 1)
    blue = replace(old, interface="eth1")
    views = [a_view("n1"), blue]
    green = Asked(a_record(DROPS, interface_label="green"), views)
    both = Asked(a_record(DROPS), views)
    for seconds in (1.0, 11.0):
        green.read(seconds, dropped=0)
        both.read(seconds, dropped=0)

    assert green.known(11).is_healthy
    assert not both.known(11).is_healthy


def test_a_rollout_that_is_over_is_forgotten() -> None:
    """Nothing more is asked for its sake."""
    over = Asked(a_record(DROPS), [a_view("n1")])
    asked = over.question()
    over.watches.drop(KEY)
    over.state = msgspec.structs.replace(over.state, phase="complete")

    assert asked.nodes == ("n1",)
    assert over.question(20) is None
