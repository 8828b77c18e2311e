# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Schedulers, a store and nodes in memory, step by step: what any order of them may lead to.

The store refuses what the bus refuses: a write that does not name the bucket's last sequence.  A
new leader writes a fence first, so whoever led before knows no sequence that is still the last.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final, Literal

import msgspec

from services.scheduler.acceptance import draft_application, draft_removal
from services.scheduler.completion import endings, settle
from services.scheduler.deployment import CommandFacts
from services.scheduler.desired_state import Derivation, Fleet, derive_desired
from services.scheduler.placement import NodeView
from services.scheduler.rollout.assignment import is_rolling
from services.scheduler.rollout.commands import (
    aborted,
    approved,
    paused,
    resumed,
    rolling_record,
    rollout_event,
)
from services.scheduler.rollout.core import (
    DeploymentStored,
    Event,
    Instruction,
    NodeHeard,
    NodeObserved,
    NodeSeen,
    NodeSilent,
    NodeTold,
    PolicyStored,
    RolloutCore,
    Ticked,
)
from services.scheduler.rollout.policy_effects import others_in
from shared.contracts.deployments import DeploymentRecord, DeploymentSpec
from shared.contracts.desired import DesiredChain, DesiredNode
from shared.contracts.events import Actor, EventBody
from shared.contracts.node import ObservedNode
from shared.contracts.rollout_policy import NO_POLICY, RolloutPolicy
from shared.errors import Refusal
from shared.moments import render_time
from tests.fleets import a_command, a_package, observing

START: Final = datetime(2026, 1, 1, tzinfo=UTC)
SCHEDULER: Final = Actor(key="USCHEDULER", role="service-scheduler", attested=False)
OTHER: Final = Actor(key="UOTHER", role="operator", attested=True)
Steering = Literal["pause", "resume", "approve", "abort"]
REFUSED: Final = Refusal(code="verifier_rejected", message="the verifier refused it")
BAD: Final = "9.9.9"
"""A version that no kernel takes."""


@dataclass
class Store:
    """What is stored, and whose expectations are those of now."""

    deployments: dict[str, DeploymentRecord] = field(default_factory=dict)
    desired: dict[str, DesiredNode] = field(default_factory=dict)
    said: dict[str, tuple[EventBody, ...]] = field(default_factory=dict)
    """By the step that says it, in the write that makes it so."""
    ended: dict[str, EventBody] = field(default_factory=dict)
    """How commands ended, by the event's id: the first that is said of it counts."""
    sequence: int = 0

    def fence(self) -> int:
        """The sequence that only the new leader knows."""
        self.sequence += 1
        return self.sequence

    def write(self, expected: int) -> bool:
        """Whether a write with this expectation is taken."""
        if expected != self.sequence:
            return False
        self.sequence += 1
        return True


@dataclass
class Node:
    """One node: how it is, what it refuses, and what it read back last."""

    view: NodeView
    is_dead: bool = False
    refuses: frozenset[str] = frozenset({BAD})
    observed: ObservedNode | None = None

    def act(self, desired: DesiredNode) -> ObservedNode:
        """It does what it is told, chain by chain; a chain that it refuses fails by name."""
        fine, refused = list[DesiredChain](), list[DesiredChain]()
        for chain in desired.chains:
            is_bad = any(one.version in self.refuses for one in chain.programs)
            (refused if is_bad else fine).append(chain)
        parts = [
            observing(msgspec.structs.replace(desired, chains=tuple(fine))),
            observing(msgspec.structs.replace(desired, chains=tuple(refused)), refusal=REFUSED),
        ]
        chains = tuple(chain for part in parts for chain in part.chains)
        self.observed = msgspec.structs.replace(parts[0], chains=chains)
        return self.observed


class Scheduler:
    """One process: what it knows, what it is yet to hear, and what it is about to write."""

    def __init__(self, fleet: History) -> None:
        """It leads from now on, and knows what is stored."""
        store = fleet.store
        self._fleet: Final = fleet
        self._core: Final = RolloutCore(actor=SCHEDULER)
        self._expected = store.fence()
        self.deployments = dict(store.deployments)
        self.desired = dict(store.desired)
        self.nodes: dict[str, NodeView] = {}
        self.observed: dict[str, ObservedNode] = {}
        self.silent: set[str] = set()
        self.thought_told: dict[str, DesiredNode] = {}
        """What it knew to be told when it thought last."""
        self._known: Derivation | None = None
        self.inbox: list[Event] = fleet.facts()
        self.waiting: tuple[Instruction, ...] = ()
        self.is_deposed = False

    def fleet(self) -> Fleet:
        """As it knows it."""
        return Fleet(
            self.deployments,
            self.nodes,
            self.desired,
            policy=self._fleet.policy,
            known=self._known,
        )

    def think(self) -> None:
        """It hears all that happened, and knows what is to be written."""
        for event in self.inbox:
            match event:
                case NodeSeen(node):
                    self.nodes[node.name] = node
                case NodeObserved(observed):
                    self.observed[observed.node] = observed
                case NodeSilent(name):
                    self.silent.add(name)
                case NodeHeard(name):
                    self.silent.discard(name)
        heard, self.inbox = self.inbox, []
        self.thought_told = dict(self.desired)
        self.waiting = self._core.handle(heard, self._fleet.now)

    def store(self, record: DeploymentRecord, events: tuple[EventBody, ...], step_id: str) -> bool:
        """Whether the record and the events are stored; if not, it knows that it leads no more."""
        if not self._write():
            return False
        self._fleet.stored(record, events, step_id)
        self.deployments[record.key] = record
        return True

    def perform(self, count: int) -> None:
        """The first so many of what is to be written; from one on whose record moved, none is."""
        for one in self.waiting[:count]:
            if self.deployments.get(one.key) != one.before:
                self.waiting = ()
                return
            self._fleet.check_step(self, one)
            if not self.store(one.after, one.events, one.step_id):
                return
        self.waiting = self.waiting[count:]

    def tell(self, count: int) -> None:
        """So many of the nodes that are to be told something are told."""
        derived = derive_desired(self.fleet())
        self._known = derived.known
        for node in list(derived.changed.values())[:count]:
            if not self._write():
                return
            self.desired[node.node] = node
            self._fleet.told(node)

    def say(self, *, settles: bool) -> None:
        """Commands that are over are said to be, and, if it does not die before, owed no more."""
        for record in list(self.deployments.values()):
            over = endings(record, self.fleet(), self.observed)
            for one in over:
                if not self._write():
                    return
                self._fleet.store.ended.setdefault(one.event_id, one.body)
            if over and settles and self._write():
                after = settle(record, [one.command_id for one in over])
                self.deployments[record.key] = self._fleet.store.deployments[record.key] = after
                self._fleet.happens(DeploymentStored(after))

    def _write(self) -> bool:
        if self.is_deposed or not self._fleet.store.write(self._expected):
            self.is_deposed = True
            return False
        self._expected = self._fleet.store.sequence
        return True

    def instructions_of(self, facts: Iterable[Event]) -> tuple[Instruction, ...]:
        """What a process that hears these facts at once would write."""
        return RolloutCore(actor=SCHEDULER).handle(facts, self._fleet.now)


class History:
    """Everything that happened so far; subclasses check what must always hold."""

    def __init__(self, views: Iterable[NodeView], policy: RolloutPolicy = NO_POLICY) -> None:
        """Nodes that run nothing, one scheduler, and what holds of every rollout."""
        self.now = START
        self.policy: Final = policy
        self.store = Store()
        self.nodes = {view.name: Node(view) for view in views}
        self.commands = 0
        self.accepted: dict[str, DeploymentRecord] = {}
        """By command, what it made."""
        self.frozen: list[Scheduler] = []
        self.leader = Scheduler(self)

    def facts(self) -> list[Event]:
        """What is so now, as whoever begins is told."""
        found: list[Event] = [PolicyStored(self.policy)]
        found += [NodeSeen(one.view) for one in self.nodes.values()]
        found += [NodeTold(one) for one in self.store.desired.values()]
        found += [NodeObserved(one.observed) for one in self.nodes.values() if one.observed]
        found += [NodeSilent(name) for name, one in self.nodes.items() if one.is_dead]
        found += [DeploymentStored(one) for one in self.store.deployments.values()]
        return found

    def happens(self, event: Event) -> None:
        """Every process is to hear of it, whether or not it is frozen."""
        for one in (self.leader, *self.frozen):
            one.inbox.append(event)

    def stored(self, record: DeploymentRecord, events: tuple[EventBody, ...], step: str) -> None:
        """A write of a deployment was taken."""
        assert step not in self.store.said, "a step is made once"
        self.store.said[step] = events
        self.store.deployments[record.key] = record
        self.happens(DeploymentStored(record))

    def told(self, node: DesiredNode) -> None:
        """A write for a node was taken."""
        self.store.desired[node.node] = node
        self.happens(NodeTold(node))

    def check_step(self, process: Scheduler, step: Instruction) -> None:
        """Nothing, if the process may think so by what it knows."""

    def facts_of_command(self) -> CommandFacts:
        """Of the next command."""
        self.commands += 1
        return a_command(self.commands, at=render_time(self.now))

    def apply(self, spec: DeploymentSpec, version: str) -> None:
        """The leader accepts it, or refuses by name.

        Raises:
            RefusedError: It may not be.
        """
        self.leader.think()
        facts = self.facts_of_command()
        draft = draft_application(
            self.leader.fleet(), spec, a_package(spec.package, version), facts
        )
        assert self.leader.store(draft.record, (), facts.command_id)
        self.accepted[facts.command_id] = draft.record

    def remove(self, key: str) -> None:
        """The leader takes it off.

        Raises:
            RefusedError: There is none.
        """
        self.leader.think()
        facts = self.facts_of_command()
        draft = draft_removal(self.leader.fleet(), key, facts)
        assert self.leader.store(draft.record, (), facts.command_id)
        self.accepted[facts.command_id] = draft.record

    def steer(self, key: str, how: Steering) -> None:
        """Somebody else than who deployed speaks to the rollout.

        Raises:
            RefusedError: None goes on, or it is not so that this could be done to it.
        """
        self.leader.think()
        facts = replace(self.facts_of_command(), actor=OTHER)
        fleet = self.leader.fleet()
        before = rolling_record(fleet.deployments.get(key), name=key)
        everything: dict[str, Any] = {"policy": self.policy, "others": others_in(fleet)}
        match how:
            case "pause":
                after = paused(before, facts)
            case "resume":
                after = resumed(before, facts, override=False, **everything)
            case "approve":
                after = approved(before, facts, wave=None, **everything)
            case _:
                after = aborted(before, facts)
        said = rollout_event(f"deployment.{how}", before, after, facts)
        assert self.leader.store(after, (said,), facts.command_id)

    def act(self, name: str) -> None:
        """The node does what it is told, if it lives and was told anything new."""
        node, desired = self.nodes[name], self.store.desired.get(name)
        if node.is_dead or desired is None:
            return
        before = node.observed
        if node.act(desired) != before and node.observed is not None:
            self.happens(NodeObserved(node.observed))

    def die(self, name: str) -> None:
        """Its heartbeats were missed."""
        if not self.nodes[name].is_dead:
            self.nodes[name].is_dead = True
            self.happens(NodeSilent(name))

    def come_back(self, name: str) -> None:
        """It is heard again."""
        if self.nodes[name].is_dead:
            self.nodes[name].is_dead = False
            self.happens(NodeHeard(name))

    def relabel(self, name: str, labels: dict[str, str]) -> None:
        """It has these labels from now on."""
        self._see(replace(self.nodes[name].view, labels=labels))

    def forget(self, name: str, *, undo: bool) -> None:
        """It is given up, or taken back."""
        self._see(replace(self.nodes[name].view, is_forgotten=not undo))

    def _see(self, view: NodeView) -> None:
        self.nodes[view.name].view = view
        self.happens(NodeSeen(view))

    def join(self, view: NodeView) -> None:
        """A node that was not there is."""
        if view.name not in self.nodes:
            self.nodes[view.name] = Node(view)
            self.happens(NodeSeen(view))

    def goes_on(self, record: DeploymentRecord) -> bool:
        """Whether the rollout of the deployment comes to its end by itself."""
        return (
            is_rolling(record) and record.rollout is not None and record.rollout.phase != "paused"
        )

    def take_over(self, *, freeze: bool) -> None:
        """Another process leads; the old one is dead, or stands still and knows nothing of it."""
        if freeze:
            self.frozen.append(self.leader)
        self.leader = Scheduler(self)

    def wake(self) -> None:
        """Whoever stood still goes on with what it was about to do: nothing of it is taken."""
        before = self._stored()
        for old in self.frozen:
            old.perform(len(old.waiting))
            old.think()
            old.perform(len(old.waiting))
            old.tell(len(self.nodes))
            old.say(settles=True)
        self.frozen.clear()
        assert self._stored() == before, "a leader that was superseded wrote"

    def _stored(self) -> tuple[object, ...]:
        store = self.store
        return dict(store.deployments), dict(store.desired), len(store.said), len(store.ended)

    def settle(self) -> None:
        """The leader does all that it can for now, and the nodes that live do what they are told.

        Raises:
            AssertionError: It never comes to rest.
        """
        for _ in range(300):
            before = self.store.sequence
            self.happens(Ticked())
            self.leader.think()
            self.leader.perform(len(self.leader.waiting))
            self.leader.tell(len(self.nodes))
            self.leader.say(settles=True)
            for name in self.nodes:
                self.act(name)
            if not self.leader.inbox and self.store.sequence == before:
                return
        raise AssertionError("the scheduler never comes to rest")
