# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A fleet whose nodes are drained, cordoned and uncordoned, without a bus."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from services.scheduler.desired_state import Fleet
from services.scheduler.draining import Observation, after_step, drain_steps
from services.scheduler.liveness import Silence
from services.scheduler.placement import view_node
from services.scheduler.rollout.assignment import at_end
from shared.contracts.node import ObservedNode
from shared.contracts.scheduler import NodeLabels
from tests.fleets import a_command, a_fleet, a_node_record, all_observing, applied, told

HEARD = Silence(seconds=1.0, is_silent=False)
SILENT = Silence(seconds=99.0, is_silent=True)


class DrainingFleet:
    """A fleet whose nodes do at once what they are told, unless a test says otherwise."""

    def __init__(self, *specs: Any, nodes: int = 3) -> None:
        names = [f"n{number}" for number in range(1, nodes + 1)]
        self.fleet: Fleet = a_fleet(*(view_node(a_node_record(name), None) for name in names))
        for at, spec in enumerate(specs, 1):
            self.fleet = applied(self.fleet, spec, at=at)
        over = {key: at_end(record) for key, record in self.fleet.deployments.items()}
        self.fleet = told(replace(self.fleet, deployments=over))
        self.labels = {name: NodeLabels(node=name, labels={}) for name in names}
        self.silent: set[str] = set()
        self.observed: dict[str, ObservedNode] = all_observing(self.fleet)
        self.commands = 10

    def given(self, deed: Any, node: str) -> None:
        """An operator's command."""
        self.commands += 1
        facts = a_command(self.commands, reason="new disks")
        self.keep(deed(node, self.labels[node], self.fleet, facts))

    def keep(self, record: NodeLabels) -> None:
        """The record is stored, and the nodes are told."""
        self.labels[record.node] = record
        view = view_node(a_node_record(record.node), record)
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

    def waits(self, node: str) -> dict[str, str]:
        """What waits for what."""
        step = drain_steps(self.labels.values(), self.seen)[node]
        return {one.deployment: one.why for one in step.waits}

    def act(self) -> None:
        """Every node does what it is told."""
        self.observed = all_observing(self.fleet)
