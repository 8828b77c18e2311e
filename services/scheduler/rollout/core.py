# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The core of rollouts: what happened in the fleet -> what is to be written next.

Pure: no clock and nothing outside.  What it knows follows from the events, and after a restart the
same records lead to the same knowledge.

Rules:
 * Events say what is so now; saying one once more changes nothing.
 * Of one deployment there is at most one instruction at a time, from the record that is stored.
   It is repeated until a record that differs is stored.
 * Steps that need nothing from a node happen in one write; after a release, nodes are waited for.
 * Whose rollout was accepted first is asked first, and what it does counts for those behind it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from services.scheduler.desired_state import Fleet
from services.scheduler.place_conflicts import PlaceConflict
from services.scheduler.placement import NodeView
from services.scheduler.rollout.assignment import is_rolling
from services.scheduler.rollout.decision import Circumstances, Fail, Release, decide, due_at
from services.scheduler.rollout.health_watches import (
    GateAnswered,
    NodeMeasured,
    Question,
    Watches,
)
from services.scheduler.rollout.policy import Others, hold, room
from services.scheduler.rollout.standing import (
    GONE,
    SILENT,
    UNHEARD,
    Standing,
    has_settled,
    released_nodes,
    standing_of,
)
from services.scheduler.rollout.transitions import apply_step, state_of
from services.scheduler.status import PlaceView, view_places
from services.scheduler.wanted_places import places_of
from shared.canonical import canonical_digest
from shared.change_windows import Hold
from shared.contracts.deployments import DeploymentRecord
from shared.contracts.desired import DesiredNode
from shared.contracts.events import Actor, EventBody
from shared.contracts.node import ObservedNode
from shared.contracts.rollout_policy import NO_POLICY, RolloutPolicy
from shared.contracts.rollouts import RolloutState
from shared.moments import render_time

STEPS_AT_ONCE: Final = 8
"""In one write: a wave that is through, and the next that waits or begins, are three."""
_ID_DIGITS: Final = 40


@dataclass(frozen=True, slots=True)
class DeploymentStored:
    """The record of a deployment is this."""

    record: DeploymentRecord


@dataclass(frozen=True, slots=True)
class NodeSeen:
    """A node is like this."""

    node: NodeView


@dataclass(frozen=True, slots=True)
class NodeTold:
    """A node was told to run this."""

    desired: DesiredNode


@dataclass(frozen=True, slots=True)
class NodeObserved:
    """A node read this back."""

    observed: ObservedNode


@dataclass(frozen=True, slots=True)
class NodeSilent:
    """A node is not heard; unless that is known, only because nobody listened for long."""

    node: str
    is_known: bool = True


@dataclass(frozen=True, slots=True)
class NodeHeard:
    """A node that was not is heard again."""

    node: str


@dataclass(frozen=True, slots=True)
class PlacesContested:
    """Deployments found these places taken, and no others."""

    conflicts: tuple[PlaceConflict, ...]


@dataclass(frozen=True, slots=True)
class PolicyStored:
    """This holds of every rollout."""

    policy: RolloutPolicy


@dataclass(frozen=True, slots=True)
class Ticked:
    """Time went on."""


FleetEvent = (
    DeploymentStored
    | NodeSeen
    | NodeTold
    | NodeObserved
    | NodeSilent
    | NodeHeard
    | PlacesContested
    | PolicyStored
    | Ticked
)
Event = FleetEvent | NodeMeasured | GateAnswered


@dataclass(frozen=True, slots=True)
class Instruction:
    """The record is to be replaced, if it is still what it was, and the events said with it."""

    before: DeploymentRecord
    after: DeploymentRecord
    events: tuple[EventBody, ...]
    step_id: str
    """The same for the same step, whoever performs it."""

    @property
    def key(self) -> str:
        """Of the deployment."""
        return self.before.key


class RolloutCore:
    """Every rollout that goes on."""

    def __init__(self, *, actor: Actor) -> None:
        """Nothing is known yet.

        Args:
            actor: The scheduler, who goes back in its own name.
        """
        self._actor: Final = actor
        self._rolling: Final[dict[str, DeploymentRecord]] = {}
        self._nodes: Final[dict[str, NodeView]] = {}
        self._desired: Final[dict[str, DesiredNode]] = {}
        self._observed: Final[dict[str, ObservedNode]] = {}
        self._silent: Final[dict[str, Standing]] = {}
        self._returned_at: Final[dict[str, datetime]] = {}
        self._conflicts: tuple[PlaceConflict, ...] = ()
        self._policy = NO_POLICY
        self._memo: Final[dict[tuple[object, ...], Any]] = {}
        """What was worked out of the nodes and the policy."""
        self._unsettled: Final[set[str]] = set()
        """Nodes that did not confirm what they were told, whatever deployment it is of."""
        self._views: Final[dict[str, dict[str, list[PlaceView]]]] = {}
        self._standings: Final[dict[str, dict[str, Standing]]] = {}
        self._unclear: Final[dict[str, set[str]]] = {}
        """By deployment, nodes of which something changed since their standing was worked out."""
        self._watches: Final = Watches()
        self.due: datetime | None = None
        """When there may be something to do though nothing happens; None: never."""

    def handle(self, events: Iterable[Event], now: datetime) -> tuple[Instruction, ...]:
        """What is to be written now that this happened, by deployment.

        Args:
            events: In their order.
            now: Aware.
        """
        for event in events:
            if isinstance(event, NodeMeasured | GateAnswered):
                self._watches.note(event, now)
            else:
                self._note(event, now)
        found: list[Instruction] = []
        dues: list[datetime] = []
        records = sorted(
            self._rolling.values(), key=lambda one: (state_of(one).started_at, one.key)
        )
        for record in records:
            self._clear_up(record)
        others = Others(self._nodes, dict(self._rolling), self._unavailable(), self._memo)
        for record in records:
            instruction = self._next(record, others, now)
            if instruction is not None:
                found.append(instruction)
                others = _with(others, instruction)
                continue
            due = due_at(
                record.revisions[-1].spec.rollout,
                state_of(record),
                self._known(record, others, now),
            )
            dues += [one for one in (due, self._watches.due(record.key, now)) if one is not None]
        self.due = min(dues, default=None)
        return tuple(found)

    def questions(self, now: datetime) -> tuple[Question, ...]:
        """What is to be asked for the sake of health; it is held to be asked from then on."""
        found = (
            self._watches.question(
                record, state_of(record), self._views[key], self._standings[key], now
            )
            for key, record in sorted(self._rolling.items())
        )
        return tuple(one for one in found if one is not None)

    def standings(self, key: str) -> Mapping[str, Standing]:
        """How the nodes of a rollout that goes on stand, as far as they are in its waves."""
        return self._standings.get(key, {})

    def _note(self, event: FleetEvent, now: datetime) -> None:
        match event:
            case DeploymentStored(record):
                self._store(record)
            case NodeSeen(view):
                self._nodes[view.name] = view
                self._memo.clear()
                self._touch(view.name)
            case NodeTold(desired):
                self._desired[desired.node] = desired
                self._settle(desired.node)
            case NodeObserved(observed):
                self._observed[observed.node] = observed
                self._settle(observed.node)
            case NodeSilent(node, is_known):
                self._silent[node] = SILENT if is_known else UNHEARD
                self._touch(node)
            case NodeHeard(node):
                self._silent.pop(node, None)
                self._returned_at[node] = now
                self._touch(node)
            case PlacesContested(conflicts):
                self._contest(conflicts)
            case PolicyStored(policy):
                self._policy = policy
                self._memo.clear()
            case Ticked():
                pass

    def _contest(self, conflicts: tuple[PlaceConflict, ...]) -> None:
        for one in {*conflicts} ^ {*self._conflicts}:
            self._touch(one.node)
        self._conflicts = conflicts

    def _settle(self, node: str) -> None:
        is_settled = has_settled(self._desired.get(node), self._observed.get(node))
        (self._unsettled.discard if is_settled else self._unsettled.add)(node)
        self._touch(node)

    def _touch(self, node: str) -> None:
        for unclear in self._unclear.values():
            unclear.add(node)

    def _store(self, record: DeploymentRecord) -> None:
        key = record.key
        before = self._rolling.pop(key, None)
        if not is_rolling(record):
            for known in (self._views, self._standings, self._unclear):
                known.pop(key, None)
            self._watches.drop(key)
            return
        self._rolling[key] = record
        self._watches.store(record)
        state = state_of(record)
        if before is None or before.revisions[-1].revision != record.revisions[-1].revision:
            self._views[key], self._standings[key] = {}, {}
            self._unclear[key] = {name for wave in state.waves for name in wave.names}
            return
        was = state_of(before)
        if (was.wave, was.released) != (state.wave, state.released):
            first, last = sorted((was.wave, state.wave))
            self._unclear[key] |= {
                name for wave in state.waves[first : last + 1] for name in wave.names
            }

    def _clear_up(self, record: DeploymentRecord) -> None:
        """The standing of every node of the rollout is that of now."""
        unclear, views = self._unclear[record.key], self._views[record.key]
        if not unclear:
            return
        members = {name for wave in state_of(record).waves for name in wave.names}
        for name in unclear & members:
            views[name] = self._view(record, name)
            self._standings[record.key][name] = standing_of(
                views[name],
                silence=self._silent.get(name),
                is_meant=bool(views[name]) or self._is_meant(record, name),
            )
        unclear.clear()

    def _view(self, record: DeploymentRecord, name: str) -> list[PlaceView]:
        node = self._nodes.get(name)
        if node is None:
            return []
        fleet = Fleet({record.key: record}, {name: node}, self._desired)
        return view_places(record, fleet, self._observed, self._conflicts)

    def _is_meant(self, record: DeploymentRecord, name: str) -> bool:
        node = self._nodes.get(name)
        if node is None or node.is_forgotten:
            return False
        return bool(places_of(record.revisions[-1], node, self._desired.get(name)))

    def _known(self, record: DeploymentRecord, others: Others, now: datetime) -> Circumstances:
        views, standings = self._views[record.key], self._standings[record.key]
        health = self._watches.known(record, state_of(record), views, standings, now)
        is_waiting = state_of(record).phase == "waiting"
        held = hold(record, self._policy, others, now) if is_waiting else None
        if held is None and health.hold:
            held = Hold(health.hold)
        return Circumstances(
            standings=standings,
            returned_at=self._returned_at,
            hold=held,
            room=room(record, self._policy, others),
            is_healthy=health.is_healthy,
            failure=health.failure,
            bad_periods=health.bad_periods,
            baseline=health.baseline,
        )

    def _unavailable(self) -> set[str]:
        """The nodes that are, if a rule of the policy asks for it; also those not yet told."""
        if all(rule.max_unavailable is None for rule in self._policy.rules):
            return set()
        found = self._unsettled.union(self._silent)
        for key, record in self._rolling.items():
            state, standings = state_of(record), self._standings[key]
            names = state.waves[state.wave].names if state.waves else ()
            told = names[: state.released]
            found.update(one for one in told if standings.get(one, GONE).state == "pending")
        return found

    def _next(self, before: DeploymentRecord, others: Others, now: datetime) -> Instruction | None:
        step_id = _step_id(before, state_of(before))
        record, events = before, list[EventBody]()
        for _ in range(STEPS_AT_ONCE):
            rollout = before.revisions[-1].spec.rollout
            step = decide(rollout, state_of(record), self._known(record, others, now), now)
            if step is None:
                break
            applied = apply_step(
                record,
                step,
                at=render_time(now),
                step_id=step_id,
                actor=self._actor,
            )
            record = applied.record
            events += applied.events
            if isinstance(step, Release | Fail) or not is_rolling(record):
                break
        return None if record is before else Instruction(before, record, tuple(events), step_id)


def _with(others: Others, done: Instruction) -> Others:
    """What else goes on, once the instruction is performed."""
    before = released_nodes(state_of(done.before))
    after = released_nodes(state_of(done.after))
    return Others(
        others.nodes,
        {**others.rolling, done.key: done.after},
        {*others.unavailable, *set(after).difference(before)},
        others.memo,
    )


def _step_id(record: DeploymentRecord, state: RolloutState) -> str:
    parts = [record.key, record.revisions[-1].revision, state.step]
    return f"rollout-{canonical_digest(parts)[:_ID_DIGITS]}"
