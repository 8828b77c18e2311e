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

from services.scheduler.audiences import Audiences
from services.scheduler.place_conflicts import PlaceConflict
from services.scheduler.placement import NodeView
from services.scheduler.revocation import revoked_newly
from services.scheduler.rollout.assignment import is_rolling
from services.scheduler.rollout.decision import (
    Advance,
    Circumstances,
    Fail,
    Finish,
    Release,
    decide,
    due_at,
)
from services.scheduler.rollout.health_watches import (
    GateAnswered,
    NodeMeasured,
    Question,
    Watches,
)
from services.scheduler.rollout.knowledge import Knowledge
from services.scheduler.rollout.policy import Others, hold, room
from services.scheduler.rollout.standing import Standing, released_nodes
from services.scheduler.rollout.transitions import apply_step, state_of
from services.scheduler.rollout.waves import late_waves
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
class SpacesSeen:
    """This is who sees what."""

    audiences: Audiences


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
    | SpacesSeen
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
        self._fleet: Final = Knowledge()
        self._policy = NO_POLICY
        self._memo: Final[dict[tuple[object, ...], Any]] = {}
        """What was worked out of the nodes and the policy."""
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
        fleet = self._fleet
        records = sorted(
            fleet.rolling.values(), key=lambda one: (state_of(one).started_at, one.key)
        )
        others = Others(fleet.nodes, dict(fleet.rolling), self._unavailable(), self._memo)
        for record in records:
            instruction, known = self._next(record, others, now)
            if instruction is not None:
                found.append(instruction)
                others = _with(others, instruction)
                continue
            due = due_at(record.revisions[-1].spec.rollout, state_of(record), known)
            looked = self._watches.due(record.key, state_of(record), now)
            if due is not None and due > now:  # what has passed brings nothing by itself any more
                dues.append(due)
            if looked is not None:
                dues.append(looked)
        self.due = min(dues, default=None)
        return tuple(found)

    def questions(self, now: datetime) -> tuple[Question, ...]:
        """What is to be asked for the sake of health; it is held to be asked from then on."""
        fleet = self._fleet
        found = (
            self._watches.question(
                record, state_of(record), fleet.views(record), fleet.standings(record), now
            )
            for _, record in sorted(fleet.rolling.items())
        )
        return tuple(one for one in found if one is not None)

    def standings(self, key: str) -> Mapping[str, Standing]:
        """How the nodes of a rollout that goes on stand, as far as they are in its waves."""
        record = self._fleet.rolling.get(key)
        return self._fleet.standings(record) if record is not None else {}

    def _note(self, event: FleetEvent, now: datetime) -> None:
        match event:
            case DeploymentStored(record):
                self._store(record)
            case NodeSeen(view):
                self._fleet.see(view)
                self._memo.clear()
            case NodeTold(desired):
                self._fleet.tell(desired)
            case NodeObserved(observed):
                self._fleet.observe(observed)
            case NodeSilent(node, is_known):
                self._fleet.miss(node, is_known=is_known)
            case NodeHeard(node):
                self._fleet.hear(node, now)
            case PlacesContested() | SpacesSeen() | PolicyStored():
                self._note_common(event)
            case Ticked():
                pass

    def _note_common(self, event: PlacesContested | SpacesSeen | PolicyStored) -> None:
        """What is about no node or deployment alone."""
        match event:
            case PlacesContested(conflicts):
                self._fleet.contest(conflicts)
            case SpacesSeen(audiences):
                self._fleet.show(audiences)
            case PolicyStored(policy):
                self._policy = policy
                self._memo.clear()

    def _store(self, record: DeploymentRecord) -> None:
        self._fleet.store(record)
        if is_rolling(record):
            self._watches.store(record)
        else:
            self._watches.drop(record.key)

    def _known(self, record: DeploymentRecord, others: Others, now: datetime) -> Circumstances:
        views, standings = self._fleet.views(record), self._fleet.standings(record)
        health = self._watches.known(record, state_of(record), views, standings, now)
        is_waiting = state_of(record).phase == "waiting"
        held = hold(record, self._policy, others, now) if is_waiting else None
        if held is None and health.hold:
            held = Hold(health.hold)
        return Circumstances(
            standings=standings,
            drained=self._fleet.drained(record),
            returned_at=self._fleet.returned_at,
            hold=held,
            stop=revoked_newly(record),
            room=room(record, self._policy, others),
            is_healthy=health.is_healthy,
            unknown=health.why,
            failure=health.failure,
            bad_periods=health.bad_periods,
            baseline=health.baseline,
        )

    def _unavailable(self) -> set[str]:
        """The nodes that are, if a rule of the policy asks for it; also those not yet told."""
        if all(rule.max_unavailable is None for rule in self._policy.rules):
            return set()
        return self._fleet.unavailable()

    def _next(
        self, before: DeploymentRecord, others: Others, now: datetime
    ) -> tuple[Instruction | None, Circumstances]:
        """What is to be written, if anything is, and by what that was decided last."""
        step_id = _step_id(before, state_of(before))
        record, events = before, list[EventBody]()
        rollout = before.revisions[-1].spec.rollout
        known = self._known(record, others, now)
        for _ in range(STEPS_AT_ONCE):
            step = decide(rollout, state_of(record), known, now)
            if step is None:
                break
            if isinstance(step, Finish):
                late = self._fleet.latecomers(record)
                step = Advance(late_waves(rollout, late)) if late else step
            applied = apply_step(
                record,
                step,
                at=render_time(now),
                step_id=step_id,
                actor=self._actor,
            )
            record = applied.record
            events += applied.events
            is_further = isinstance(step, Advance) and step.further
            if isinstance(step, Release | Fail) or is_further or not is_rolling(record):
                break
            known = self._known(record, others, now)
        if record is before:
            return None, known
        return Instruction(before, record, tuple(events), step_id), known


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
