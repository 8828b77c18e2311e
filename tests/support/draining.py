# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A fleet whose nodes are drained, cordoned, lost and found, without a bus."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from services.scheduler.desired_state import Fleet
from services.scheduler.draining import Observation, after_step, drain_steps
from services.scheduler.liveness import Silence
from services.scheduler.placement import view_node
from services.scheduler.rebalancing import Rebalance, rebalance
from services.scheduler.rollout.assignment import at_end
from shared.contracts.node import NodeRecord, ObservedNode
from shared.contracts.scheduler import NodeLabels
from tests.fleets import a_command, a_fleet, a_node_record, all_observing, applied, told

HEARD = Silence(seconds=1.0, is_silent=False)
SILENT = Silence(seconds=99.0, is_silent=True)


class DrainingFleet:
    """A fleet whose nodes do at once what they are told, unless a test says otherwise."""

    def __init__(self, *specs: Any, nodes: int = 3, zones: int = 1) -> None:
        self._zones = zones
        names = [f"n{number}" for number in range(1, nodes + 1)]
        self.fleet: Fleet = a_fleet(*(view_node(self._record(name), None) for name in names))
        for at, spec in enumerate(specs, 1):
            self.fleet = applied(self.fleet, spec, at=at)
        over = {key: at_end(record) for key, record in self.fleet.deployments.items()}
        self.fleet = told(replace(self.fleet, deployments=over))
        self.labels = {name: NodeLabels(node=name, labels={}) for name in names}
        self.silent: set[str] = set()
        self.observed: dict[str, ObservedNode] = all_observing(self.fleet)
        self.commands = 10
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def _record(self, name: str) -> NodeRecord:
        return a_node_record(name, zone=f"z{int(name[1:]) % self._zones}")

    def given(self, deed: Any, node: str) -> None:
        """An operator's command."""
        self.commands += 1
        facts = a_command(self.commands, reason="new disks")
        self.keep(deed(node, self.labels[node], self.fleet, facts))

    def keep(self, record: NodeLabels) -> None:
        """The record is stored, and the nodes are told."""
        self.labels[record.node] = record
        view = view_node(self._record(record.node), record)
        self.fleet = told(replace(self.fleet, nodes={**self.fleet.nodes, record.node: view}))

    @property
    def seen(self) -> Observation:
        """What the scheduler knows."""
        return Observation(
            self.fleet, self.observed, lambda node: SILENT if node in self.silent else HEARD
        )

    def step(self) -> dict[str, tuple[str, ...]]:
        """Whatever may leave does; the nodes have not acted upon it yet."""
        steps = drain_steps(self.labels.values(), self.seen)
        for node, one in steps.items():
            self.keep(after_step(self.labels[node], one))
        return {node: one.leaves for node, one in steps.items() if one.leaves}

    def lose(self, *nodes: str) -> None:
        """They are silent, and were for long."""
        self.silent |= set(nodes)
        self.fleet = replace(self.fleet, lost=frozenset(self.silent))

    def find(self, *nodes: str) -> None:
        """They are back."""
        self.silent -= set(nodes)
        self.fleet = replace(self.fleet, lost=frozenset(self.silent))

    def rebalance(self) -> list[Rebalance]:
        """What is moved is, and the nodes are told; they have not acted upon it yet."""
        found = []
        for record in self.fleet.deployments.values():
            step = rebalance(record, self.seen, now=self.now)
            if step is not None:
                found.append(step)
                self.fleet = told(self.fleet.with_deployment(step.after))
        return found

    def chosen(self, key: str = "edge") -> set[str]:
        """The nodes that the deployment is for."""
        choice = self.fleet.deployments[key].revisions[-1].choice
        return set(choice.names) if choice is not None else set()

    def waits(self, node: str) -> dict[str, str]:
        """What waits for what."""
        step = drain_steps(self.labels.values(), self.seen)[node]
        return {one.deployment: one.why for one in step.waits}

    def act(self) -> None:
        """Every node that is there does what it is told."""
        seen = all_observing(self.fleet)
        self.observed |= {node: one for node, one in seen.items() if node not in self.silent}
