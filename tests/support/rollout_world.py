# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A fleet in memory around the core of rollouts: what it says is stored, told and acted upon."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from services.scheduler.acceptance import draft_application
from services.scheduler.deployment import CommandFacts
from services.scheduler.desired_state import Fleet, derive_desired
from services.scheduler.placement import NodeView
from services.scheduler.rollout.commands import approved, resumed
from services.scheduler.rollout.core import (
    DeploymentStored,
    Event,
    NodeHeard,
    NodeObserved,
    NodeSeen,
    NodeSilent,
    NodeTold,
    PolicyStored,
    RolloutCore,
    SpacesSeen,
    Ticked,
)
from services.scheduler.rollout.policy import Others
from shared.contracts.deployments import DeploymentRecord, DeploymentSpec
from shared.contracts.desired import DesiredNode
from shared.contracts.events import Actor, EventBody
from shared.contracts.node import ObservedNode
from shared.contracts.rollout_policy import RolloutPolicy
from shared.contracts.rollouts import Phase, RolloutState
from shared.errors import Refusal
from shared.moments import render_time
from tests.fleets import a_command, a_fleet, a_node, a_package, observing

SCHEDULER = Actor(key="USCHEDULER", role="service-scheduler", attested=False)
SECOND = Actor(key="USECOND", role="operator", attested=True)
REFUSED = Refusal(code="verifier_rejected", message="the verifier refused limiter")
START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class RolloutWorld:
    """Nodes that do what they are told when they are let, and what the core made of it."""

    fleet: Fleet
    core: RolloutCore = field(default_factory=lambda: RolloutCore(actor=SCHEDULER))
    now: datetime = START
    observed: dict[str, ObservedNode] = field(default_factory=dict)
    refusing: dict[str, set[str]] = field(default_factory=dict)
    """Version to the nodes that refuse it."""
    silent: set[str] = field(default_factory=set)
    events: list[EventBody] = field(default_factory=list)
    told: dict[str, list[DesiredNode]] = field(default_factory=dict)
    commands: int = 0
    key: str = "edge"
    """Of the one deployment."""

    @property
    def record(self) -> DeploymentRecord:
        """Of the one deployment."""
        return self.fleet.deployments[self.key]

    @property
    def state(self) -> RolloutState:
        """Of its rollout."""
        assert self.record.rollout is not None
        return self.record.rollout

    def phase(self) -> Phase:
        """Of its rollout."""
        return self.state.phase

    def actions(self) -> list[str]:
        """What was said so far, without `rollout.`."""
        return [one.action.removeprefix("rollout.") for one in self.events]

    def versions(self) -> dict[str, str]:
        """What each node is told to run."""
        return {
            name: program.version
            for name, desired in sorted(self.fleet.desired.items())
            for chain in desired.chains
            for program in chain.programs
        }

    def apply(self, spec: DeploymentSpec, version: str = "1.0.0") -> None:
        """A new revision is accepted; the core hears of it."""
        self.commands += 1
        facts = a_command(self.commands, at=render_time(self.now))
        draft = draft_application(self.fleet, spec, a_package(version=version), facts)
        self.store(draft.record)

    def store(self, record: DeploymentRecord) -> None:
        """The record is stored, and nodes are told what follows from it."""
        self.fleet = self.fleet.with_deployment(record)
        self.handle(DeploymentStored(record))

    def handle(self, *events: Event) -> None:
        """The core hears, and all that it says is done, until it says nothing."""
        for _ in range(100):
            instructions = self.core.handle(events, self.now)
            for one in instructions:
                assert one.before is self.record
                self.events += one.events
                self.fleet = self.fleet.with_deployment(one.after)
            events = (*(DeploymentStored(one.after) for one in instructions), *self._tell())
            if not events:
                return
        raise AssertionError("the core never comes to rest")

    def _tell(self) -> list[Event]:
        derived = derive_desired(self.fleet)
        for name, desired in derived.changed.items():
            self.told.setdefault(name, []).append(desired)
        self.fleet = replace(self.fleet, desired=derived.desired, known=derived.known)
        return [NodeTold(desired) for desired in derived.changed.values()]

    def act(self, *names: str) -> None:
        """These nodes, or all that are heard, do what they are told and say so."""
        for name in names or tuple(sorted(self.fleet.desired)):
            desired = self.fleet.desired.get(name)
            if desired is None or name in self.silent:
                continue
            versions = {one.version for chain in desired.chains for one in chain.programs}
            refuses = any(name in self.refusing.get(version, ()) for version in versions)
            observed = observing(desired, refusal=REFUSED if refuses else None)
            if self.observed.get(name) != observed:
                self.observed[name] = observed
                self.handle(NodeObserved(observed))

    def until_quiet(self) -> None:
        """Nodes act until nothing changes any more."""
        for _ in range(1000):
            before = self.record, dict(self.observed)
            self.act()
            if (self.record, self.observed) == before:
                return
        raise AssertionError("the rollout never comes to rest")

    def join(self, node: NodeView) -> None:
        """One more node is there."""
        self.fleet = replace(self.fleet, nodes={**self.fleet.nodes, node.name: node})
        self.handle(NodeSeen(node))

    def silence(self, *names: str) -> None:
        """These nodes are not heard any more."""
        self.silent.update(names)
        self.handle(*(NodeSilent(name) for name in names))

    def hear(self, *names: str) -> None:
        """These nodes are heard again."""
        self.silent.difference_update(names)
        self.handle(*(NodeHeard(name) for name in names))

    def see(self, view: NodeView) -> None:
        """The node is like this now."""
        self.fleet = replace(self.fleet, nodes={**self.fleet.nodes, view.name: view})
        self.handle(NodeSeen(view), *self._tell())

    def wait(self, seconds: float) -> None:
        """Time goes on."""
        self.now += timedelta(seconds=seconds)
        self.handle(Ticked())

    def command(
        self, change: Callable[[DeploymentRecord, CommandFacts], DeploymentRecord], **facts: Any
    ) -> None:
        """What somebody does to the rollout is accepted."""
        self.commands += 1
        said = a_command(self.commands, at=render_time(self.now), **facts)
        self.store(change(self.record, said))

    def approve(self, wave: int | None = None, *, by: Actor = SECOND) -> None:
        """Somebody else approves."""
        let_begin = partial(
            approved, wave=wave, policy=self.fleet.policy, others=Others(nodes=self.fleet.nodes)
        )
        self.command(let_begin, actor=by)

    def resume(self, *, override: bool = False, **facts: Any) -> None:
        """Somebody resumes it."""
        go_on = partial(
            resumed,
            override=override,
            policy=self.fleet.policy,
            others=Others(nodes=self.fleet.nodes),
        )
        self.command(go_on, **facts)

    def govern(self, policy: RolloutPolicy) -> None:
        """The policy is this from now on."""
        self.fleet = replace(self.fleet, policy=policy)
        self.handle(PolicyStored(policy))

    def restart(self) -> None:
        """Another scheduler leads: it knows what is stored, and nothing else."""
        self.core = RolloutCore(actor=SCHEDULER)
        self.handle(
            *map(NodeSeen, self.fleet.nodes.values()),
            *map(NodeTold, self.fleet.desired.values()),
            *map(NodeObserved, self.observed.values()),
            *map(NodeSilent, sorted(self.silent)),
            SpacesSeen(self.fleet.audiences),
            PolicyStored(self.fleet.policy),
            *map(DeploymentStored, self.fleet.deployments.values()),
        )


def a_world(nodes: Iterable[NodeView] | None = None) -> RolloutWorld:
    """A fleet of these nodes, or n1 to n4, which run nothing."""
    known = nodes or map(a_node, ("n1", "n2", "n3", "n4"))
    world = RolloutWorld(a_fleet(*known))
    world.handle(*map(NodeSeen, world.fleet.nodes.values()))
    return world
