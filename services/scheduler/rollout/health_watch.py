# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The health of one rollout as time passes: whom to ask when, and what follows from the answers.

Pure: it asks nobody.  All that it knows is lost with the process; a successor asks anew, and how
many bad periods there were is in the record.

Rules:
 * A node is asked once a period, and at once when it runs the new revision; then a period begins.
 * Before a wave its nodes are asked if it is to be compared with what was before it.  One that
   was asked ASKED_IN_VAIN times and said nothing is not waited for.
 * A bad period is counted once.
 * What is not known for longer than a wave may take is a failure, unless it is what a gate says.
 * A gate is asked once every node runs what it was told, and in each period after that.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from services.scheduler.rollout.health import GateAnswer, Verdict, World, judge, weigh
from services.scheduler.rollout.health_numbers import (
    Period,
    baseline_names,
    baseline_of,
    is_possible,
)
from services.scheduler.status import PlaceView
from shared.contracts.deployments import DeploymentRevision
from shared.contracts.node_health import NodeHealth
from shared.contracts.rollouts import RolloutState
from shared.errors import Reason

ASKED_AT_ONCE: Final = 200
"""Nodes of one rollout; larger waves are judged by longer periods."""
ASKED_AGAIN: Final = timedelta(seconds=1)
"""A node that runs the new revision and did not say so yet."""
ASKED_IN_VAIN: Final = 3
REST_ASKED: Final = 20
"""Nodes of later waves that a wave is compared with."""
WHOLE: Final = 0.9
"""Of a period, from which on it counts as one: clocks of nodes are their own."""
FORGOTTEN_AFTER: Final = 3
"""Periods after which what a node said is not the present any more."""

SAID_AFTER: Final = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Known:
    """What the health of a rollout says to its next step."""

    is_healthy: bool = True
    failure: tuple[Reason, ...] = ()
    """What was bad for so many periods that the wave failed."""
    bad_periods: int = 0
    baseline: Mapping[str, float] = field(default_factory=dict)
    """Of a wave that did not begin yet."""
    hold: str = ""
    """Why the wave may not begin yet; empty: as far as its health is concerned it may."""
    why: str = ""
    """What is not known of it for three periods, and for SAID_AFTER."""


@dataclass(slots=True)
class _Node:
    """What a node said."""

    asked_at: datetime | None = None
    in_vain: int = 0
    begin: NodeHealth | None = None
    period: Period | None = None
    period_at: datetime | None = None


@dataclass(slots=True)
class _Wave:
    """What was said of a wave as a whole."""

    number: int
    gate: GateAnswer | None = None
    gate_asked_at: datetime | None = None
    counted_at: datetime | None = None
    """When a bad period was counted last, of those that follow one another."""
    count: int = 0
    unknown_since: datetime | None = None


class HealthWatch:
    """One revision on its way."""

    def __init__(self, revision: DeploymentRevision) -> None:
        """Nothing was asked."""
        self._spec: Final = revision.spec.health
        self._rollout: Final = revision.spec.rollout
        self._key: Final = revision.spec.key
        self._revision: Final = revision.revision
        self._period: Final = timedelta(seconds=self._spec.period_seconds)
        self._nodes: Final[dict[str, _Node]] = {}
        self._wave = _Wave(-1)

    @property
    def metrics(self) -> tuple[str, ...]:
        """The deployment's metrics that nodes are asked for."""
        names = {one.metric for one in self._spec.metrics if not one.metric.startswith("l3af.")}
        return tuple(sorted(names))

    def ask(
        self,
        state: RolloutState,
        places: Iterable[PlaceView],
        answering: Collection[str],
        now: datetime,
    ) -> tuple[str, ...]:
        """The nodes that are to be asked now, and are held to be asked from then on.

        Args:
            state: How far the rollout came.
            places: Of the newest revision.
            answering: Nodes that are heard.
            now: Aware.
        """
        if not self._spec.asks_nodes or state.phase not in ("waiting", "rolling-out", "baking"):
            return ()
        if state.phase == "waiting" and not self._baseline_names:
            return ()
        running = {one.node: one for one in places if one.state == "running"}
        found = [
            (self._of(name).asked_at or datetime.min.replace(tzinfo=now.tzinfo), name)
            for name in self._meant(state)
            if name in answering and self._is_due(name, running.get(name), now)
        ]
        asked = tuple(name for _, name in sorted(found)[:ASKED_AT_ONCE])
        for name in asked:
            self._of(name).asked_at = now
            self._of(name).in_vain += 1
        return asked

    def due(self, state: RolloutState, now: datetime) -> datetime:
        """When somebody is to be asked, or something may be known, at the latest in a second."""
        asked = (self._of(name).asked_at for name in self._meant(state))
        times = (at + self._period for at in (*asked, self._wave.gate_asked_at) if at is not None)
        return min((at for at in times if at > now), default=now + ASKED_AGAIN)

    def note(self, reading: NodeHealth, now: datetime) -> None:
        """A node said this."""
        node = self._of(reading.node)
        node.in_vain = 0
        begin = node.begin
        if begin is None or not is_possible(begin, reading):
            node.begin, node.period = reading, None
            return
        period = Period(begin, reading)
        is_whole = period.seconds >= WHOLE * self._period.total_seconds()
        if is_whole or _revisions(begin) != _revisions(reading):
            node.begin, node.period, node.period_at = reading, period, now

    def ask_gate(self, state: RolloutState, places: Sequence[PlaceView], now: datetime) -> bool:
        """Whether the gate is to be asked now, and is held to be asked from then on."""
        self._see_wave(state)
        if self._spec.gate is None or state.phase not in ("rolling-out", "baking"):
            return False
        nodes = self._released(state)
        states = {one.state for one in places if one.node in nodes}
        if len(nodes) < len(state.waves[state.wave].names) or states != {"running"}:
            return False
        if self._wave.gate_asked_at is not None and now - self._wave.gate_asked_at < self._period:
            return False
        self._wave.gate_asked_at = now
        return True

    def note_gate(self, answer: GateAnswer) -> None:
        """The gate said this, or nothing in time."""
        self._wave.gate = answer

    def known(
        self,
        state: RolloutState,
        places: Sequence[PlaceView],
        answering: Collection[str],
        now: datetime,
    ) -> Known:
        """What follows from everything that was said so far."""
        self._see_wave(state)
        if state.phase == "waiting":
            return self._before_wave(state, answering)
        if state.phase not in ("rolling-out", "baking"):
            return Known(bad_periods=state.bad_periods)
        nodes = frozenset(self._released(state)) & frozenset(answering)
        world = World(
            deployment=self._key,
            revision=self._revision,
            places=places,
            periods=self._periods(now),
            gate=self._wave.gate,
        )
        verdict = judge(self._spec, nodes, world, state.baseline)
        bad_periods, has_failed = self._weighed(verdict, state.bad_periods, now)
        unknown, unknown_for = self._unknown(verdict, places, nodes, now)
        is_too_long = unknown_for >= timedelta(seconds=self._rollout.timeout_seconds)
        is_long = unknown_for >= max(FORGOTTEN_AFTER * self._period, SAID_AFTER)
        return Known(
            is_healthy=verdict.state == "healthy",
            failure=verdict.reasons if has_failed else unknown if is_too_long else (),
            bad_periods=bad_periods,
            why=_not_known(unknown[0]) if unknown and (is_long or is_too_long) else "",
        )

    @property
    def _baseline_names(self) -> frozenset[str]:
        return baseline_names(self._spec)

    def _of(self, name: str) -> _Node:
        return self._nodes.setdefault(name, _Node())

    def _see_wave(self, state: RolloutState) -> None:
        if state.wave != self._wave.number or state.phase == "waiting":
            self._wave = _Wave(state.wave)

    def _meant(self, state: RolloutState) -> list[str]:
        """The nodes whose numbers matter now."""
        wave = state.waves[state.wave].names if state.waves else ()
        if state.phase == "waiting":
            return list(wave)
        later = [name for one in state.waves[state.wave + 1 :] for name in one.names]
        has_rest = any(one.against == "rest" for one in self._spec.metrics)
        rest = [name for name in later if name not in wave][: REST_ASKED if has_rest else 0]
        return [*self._released(state), *rest]

    def _released(self, state: RolloutState) -> tuple[str, ...]:
        return state.waves[state.wave].names[: state.released] if state.waves else ()

    def _is_due(self, name: str, view: PlaceView | None, now: datetime) -> bool:
        node = self._of(name)
        if node.asked_at is None or now - node.asked_at >= self._period:
            return True
        if view is None or now - node.asked_at < ASKED_AGAIN:
            return False
        return node.begin is None or not _has_said(node.begin, view, self._key)

    def _periods(self, now: datetime) -> dict[str, Period]:
        oldest = now - FORGOTTEN_AFTER * max(self._period, ASKED_AGAIN)
        return {
            name: node.period
            for name, node in self._nodes.items()
            if node.period is not None and node.period_at is not None and node.period_at >= oldest
        }

    def _before_wave(self, state: RolloutState, answering: Collection[str]) -> Known:
        if not self._baseline_names or not state.waves:
            return Known(bad_periods=state.bad_periods)
        names = [name for name in state.waves[state.wave].names if name in answering]
        waited_for = [
            name
            for name in names
            if self._of(name).period is None and self._of(name).in_vain < ASKED_IN_VAIN
        ]
        if waited_for:
            hold = f"the numbers before wave {state.wave + 1} are being read"
            return Known(bad_periods=state.bad_periods, hold=hold)
        found = {name: period for name in names if (period := self._of(name).period) is not None}
        return Known(bad_periods=state.bad_periods, baseline=baseline_of(self._spec, found))

    def _weighed(self, verdict: Verdict, before: int, now: datetime) -> tuple[int, bool]:
        if verdict.state != "failing":
            self._wave.counted_at = None if verdict.state == "healthy" else self._wave.counted_at
            return weigh(verdict, before, self._spec)
        if self._wave.counted_at is None or now - self._wave.counted_at >= self._period:
            self._wave.counted_at = now
            self._wave.count, _ = weigh(verdict, before, self._spec)
        return self._wave.count, self._wave.count >= self._spec.bad_periods

    def _unknown(
        self,
        verdict: Verdict,
        places: Sequence[PlaceView],
        nodes: Collection[str],
        now: datetime,
    ) -> tuple[tuple[Reason, ...], timedelta]:
        """What of places that run is not known, and for how long something was not.

        Places that are on their way have a deadline of their own.
        """
        is_on_its_way = any(one.node in nodes and one.state == "pending" for one in places)
        unknown = tuple(one for one in verdict.reasons if one.path != "health.gate")
        if verdict.state != "undecided" or is_on_its_way or not unknown:
            self._wave.unknown_since = None
            return (), timedelta()
        self._wave.unknown_since = self._wave.unknown_since or now
        return unknown, now - self._wave.unknown_since


def _not_known(reason: Reason) -> str:
    """That it is so, and on which node."""
    where = reason.path.removeprefix("nodes.")
    named = reason.rule if where.startswith("health.") else f"{where} {reason.rule}"
    return f"its health is not known: {named}"


def _revisions(reading: NodeHealth) -> dict[tuple[str, str], int]:
    return {(one.place, one.hook): one.revision for one in reading.places}


def _has_said(reading: NodeHealth, view: PlaceView, deployment: str) -> bool:
    """Whether the reading is of what the place was read back to run."""
    programs = view.chain.programs if view.chain is not None else ()
    running = [one.revision for one in programs if one.deployment == deployment]
    said = [one.revision for one in reading.places if one.place == view.interface]
    return said == running
