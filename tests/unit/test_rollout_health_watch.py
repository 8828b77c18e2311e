# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Whom the health of a rollout is asked of, when, and what follows from the answers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec.structs import replace

from services.scheduler.rollout.decision import Circumstances, Fail, decide
from services.scheduler.rollout.health import GateAnswer
from services.scheduler.rollout.health_watch import HealthWatch, Known
from services.scheduler.rollout.standing import Standing
from services.scheduler.status import PlaceView
from shared.contracts.deployments import DeploymentRevision
from shared.contracts.health import DropGuard, ExternalGate, HealthSpec, MetricCondition
from shared.contracts.rollouts import RolloutSpec, RolloutState, RolloutWave
from tests.fleets import a_spec
from tests.support.node_readings import KEY, NEWEST, a_reading, a_view

START = datetime(2027, 1, 1, tzinfo=UTC)
NODES = ("n1", "n2", "n3")
DROPS = HealthSpec(drops=DropGuard(max_share=0.05))
GROWS = HealthSpec(drops=DropGuard(max_increase=0.05))


class Watched:
    """A canary of one node, then two more; every node sees a hundred packets a second."""

    def __init__(self, health: HealthSpec, *, timeout_seconds: int = 600) -> None:
        spec = a_spec(KEY, health=health, rollout=RolloutSpec(timeout_seconds=timeout_seconds))
        self.watch = HealthWatch(
            DeploymentRevision(
                revision=NEWEST,
                spec=spec,
                version="1.0.0",
                archive_sha256="0" * 64,
                command_id="c",
                actor_key="U",
                actor_role="operator",
                at="",
            )
        )
        self.state = RolloutState(
            revision=NEWEST,
            phase="waiting",
            waves=(RolloutWave(nodes=NODES[:1]), RolloutWave(nodes=NODES[1:])),
        )
        self.seconds = 0.0
        self.views: Sequence[PlaceView] = ()
        self.answering: Sequence[str] = NODES
        self.packets = 0
        self.dropped = 0
        self.drops = 0.0
        """Which part of the packets from now on."""
        self.asked: list[tuple[float, tuple[str, ...]]] = []

    @property
    def now(self) -> datetime:
        """By the scheduler's clock."""
        return START + timedelta(seconds=self.seconds)

    def change(self, **fields: Any) -> None:
        """The rollout is so now."""
        kept = {name: getattr(self.state, name) for name in self.state.__struct_fields__}
        self.state = RolloutState(**{**kept, **fields})

    def release(self) -> None:
        """The canary was told and runs the new revision."""
        self.change(phase="rolling-out", released=1)
        self.views = [a_view("n1")]

    def after(self, seconds: float) -> Known:
        """What is known once so much time has passed and whoever was asked has answered."""
        self.seconds += seconds
        self.packets += int(100 * seconds)
        self.dropped += int(100 * seconds * self.drops)
        asked = self.watch.ask(self.state, self.views, self.answering, self.now)
        if asked:
            self.asked.append((self.seconds, asked))
        released = self.state.waves[self.state.wave].nodes[: self.state.released]
        for name in asked:
            if name in self.answering:
                revision = NEWEST if name in released else NEWEST - 1
                self.watch.note(
                    a_reading(
                        name,
                        1000 + self.seconds,
                        revision=revision,
                        packets=self.packets,
                        dropped=self.dropped,
                    ),
                    self.now,
                )
        return self.watch.known(self.state, self.views, self.answering, self.now)


def test_a_version_that_drops_everything_fails_one_period_after_it_runs() -> None:
    """What came before it ran is not held against it."""
    rollout = Watched(DROPS)
    rollout.release()
    rollout.drops = 1.0

    first = rollout.after(0.5)
    before = [rollout.after(1) for _ in range(9)]
    last = rollout.after(1)

    assert not any(one.failure for one in (first, *before))
    assert [one.rule for one in last.failure] == ["drops 1000 of 1000 packets"]
    assert not any(one.is_healthy for one in (first, *before, last))


def test_a_version_that_is_well_is_known_to_be_after_one_period() -> None:
    """Until then it is not known."""
    rollout = Watched(DROPS)
    rollout.release()

    first, later = rollout.after(1), rollout.after(10)

    assert (first.is_healthy, later.is_healthy) == (False, True)


def test_nodes_are_asked_once_a_period_and_only_those_of_the_wave() -> None:
    """Nobody else is bothered, and nobody before anything runs unless it is compared."""
    rollout = Watched(DROPS)
    for _ in range(5):
        rollout.after(1)
    rollout.release()
    for _ in range(21):
        rollout.after(1)

    assert rollout.asked == [(6.0, ("n1",)), (16.0, ("n1",)), (26.0, ("n1",))]


def test_a_node_is_asked_again_soon_until_it_says_what_was_read_back() -> None:
    """A period begins when the new revision runs and not when the next one is due."""
    rollout = Watched(GROWS)
    for _ in range(12):
        rollout.after(1)
    rollout.release()
    for _ in range(3):
        rollout.after(1)

    assert [seconds for seconds, _ in rollout.asked] == [1.0, 11.0, 13.0]


def test_a_wave_waits_for_the_numbers_before_it() -> None:
    """They are of the wave's nodes, of one whole period."""
    rollout = Watched(GROWS)
    rollout.drops = 0.25

    held = [rollout.after(1) for _ in range(10)]
    free = rollout.after(1)

    assert {one.hold for one in held} == {"the numbers before wave 1 are being read"}
    assert (free.hold, free.baseline) == ("", {"l3af.drop_share": 0.25})


def test_a_node_that_never_answers_holds_no_wave() -> None:
    """It is asked three times."""
    rollout = Watched(GROWS)
    rollout.answering = ()
    asked = [rollout.watch.ask(rollout.state, (), NODES, rollout.now)]
    for _ in range(40):
        rollout.seconds += 1
        asked.append(rollout.watch.ask(rollout.state, (), NODES, rollout.now))

    known = rollout.watch.known(rollout.state, (), NODES, rollout.now)

    assert (known.hold, known.baseline) == ("", {})


def test_a_bad_period_is_counted_once() -> None:
    """However often it is looked at; the wave fails with the third."""
    spec = HealthSpec(drops=DropGuard(max_share=0.05), bad_periods=3)
    rollout = Watched(spec)
    rollout.release()
    rollout.drops = 1.0
    rollout.after(0)
    counts, failed_at = [], 0.0
    while not failed_at:
        known = rollout.after(1)
        rollout.change(bad_periods=known.bad_periods)
        counts.append(known.bad_periods)
        failed_at = rollout.seconds if known.failure else 0.0

    assert failed_at == 30.0
    assert counts == [0] * 9 + [1] * 10 + [2] * 10 + [3]


def test_what_nobody_can_say_is_a_failure_after_the_waves_time() -> None:
    """A canary whose metric cannot be read does not wait for ever."""
    unread = HealthSpec(metrics=(MetricCondition(metric="errors", maximum=1.0),))
    rollout = Watched(unread, timeout_seconds=60)
    rollout.release()

    known = [rollout.after(1) for _ in range(60)]
    last = rollout.after(1)

    assert not any(one.failure for one in known)
    assert [one.rule for one in last.failure] == ["errors cannot be read on n1/eth0"]
    said = [one.why for one in known]
    assert said == [""] * 30 + ["its health is not known: errors cannot be read on n1/eth0"] * 30


def test_a_node_that_cannot_count_is_named_with_its_reason() -> None:
    """Also when the wave's time is over before that would be said otherwise."""
    rollout = Watched(DROPS, timeout_seconds=20)
    rollout.release()
    known = Known()
    for second in range(1, 40):
        reading = a_reading("n1", 1000 + second)
        (place,) = reading.places
        uncounted = replace(place, counters=None, problem="no map of counters")
        rollout.seconds += 1
        rollout.watch.note(replace(reading, places=(uncounted,)), rollout.now)
        known = rollout.watch.known(rollout.state, rollout.views, NODES, rollout.now)
        if known.failure:
            break
    else:
        raise AssertionError("nothing was said in time")
    why = "does not count its packets: no map of counters"
    assert [(one.path, one.rule) for one in known.failure] == [("nodes.n1.eth0", why)]
    assert known.why == f"its health is not known: n1.eth0 {why}"
    failed = decide(
        RolloutSpec(),
        rollout.state,
        Circumstances({"n1": Standing("confirmed")}, unknown=known.why, failure=known.failure),
        rollout.now,
    )
    assert failed == Fail(known.why, known.failure)


def test_a_wave_is_compared_with_some_of_the_later_ones() -> None:
    """They are asked while somebody compares with them, and only then."""
    spec = HealthSpec(metrics=(MetricCondition(metric="errors", against="rest", maximum=1.0),))
    rollout = Watched(spec)
    rollout.release()
    rollout.after(1)

    assert rollout.asked == [(1.0, NODES)]


def test_a_gate_is_asked_once_all_of_the_wave_runs_and_then_each_period() -> None:
    """Its word counts from then on, until it says another."""
    rollout = Watched(HealthSpec(gate=ExternalGate(name="slo")))
    watch = rollout.watch
    asked_before = watch.ask_gate(rollout.state, rollout.views, rollout.now)
    rollout.change(phase="rolling-out", released=1)
    rollout.views = [a_view("n1", "pending")]
    asked_on_its_way = watch.ask_gate(rollout.state, rollout.views, rollout.now)
    rollout.release()
    asked = [watch.ask_gate(rollout.state, rollout.views, rollout.now)]
    unknown = rollout.after(0)
    watch.note_gate(GateAnswer(is_well=True))
    well = rollout.after(5)
    asked.append(watch.ask_gate(rollout.state, rollout.views, rollout.now))
    rollout.after(5)
    asked.append(watch.ask_gate(rollout.state, rollout.views, rollout.now))
    watch.note_gate(GateAnswer(is_well=False, reason="error budget spent"))
    bad = rollout.after(0)

    assert (asked_before, asked_on_its_way, asked) == (False, False, [True, False, True])
    assert (unknown.is_healthy, well.is_healthy) == (False, True)
    assert [one.rule for one in bad.failure] == ["slo says no: error budget spent"]


def test_the_next_wave_begins_with_nothing_known() -> None:
    """A gate's word and the bad periods are of the wave that they were said of."""
    rollout = Watched(HealthSpec(gate=ExternalGate(name="slo")))
    rollout.release()
    rollout.watch.ask_gate(rollout.state, rollout.views, rollout.now)
    rollout.watch.note_gate(GateAnswer(is_well=True))
    first = rollout.after(1)
    rollout.change(wave=1, phase="rolling-out", released=2)
    rollout.views = [a_view(name) for name in NODES]
    second = rollout.after(1)

    assert (first.is_healthy, second.is_healthy) == (True, False)
    assert rollout.watch.ask_gate(rollout.state, rollout.views, rollout.now)
