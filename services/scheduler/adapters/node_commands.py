# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Commands that are about a node and not about a deployment."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from services.scheduler.adapters.deciding import Deciding, command_facts
from services.scheduler.adapters.fleet_records import FleetRecords
from services.scheduler.cordoning import cordon_event, cordon_node, drain_node, uncordon_node
from services.scheduler.deployment import CommandFacts
from services.scheduler.desired_state import Fleet
from services.scheduler.forgetting import forget_node, forgotten_event
from services.scheduler.labelling import (
    change_labels,
    known_node,
    labelled_event,
    refuse_label_conflicts,
)
from shared.adapters.callers import Caller
from shared.adapters.service_layer import Handler
from shared.contracts.base import Endpoint
from shared.contracts.cordons import (
    CORDON_NODE,
    DRAIN_NODE,
    UNCORDON_NODE,
    CordonNode,
    DrainNode,
    NodeCordoned,
    UncordonNode,
)
from shared.contracts.scheduler import (
    FORGET_NODE,
    LABEL_NODE,
    NODE_LABELS,
    ForgetNode,
    LabelNode,
    NodeForgotten,
    NodeLabelled,
    NodeLabels,
)
from shared.node_labels import effective_labels
from shared.outbox_records import Change, Decision


class NodeCommands:
    """One method for each; the rules are in the decision modules."""

    def __init__(self, *, records: FleetRecords, deciding: Deciding) -> None:
        """Nothing is taken yet."""
        self._records: Final = records
        self._deciding: Final = deciding

    def endpoints(self) -> dict[Endpoint[Any, Any], Handler]:
        """What is served, and by which method."""
        return {
            LABEL_NODE: self._deciding.command(LABEL_NODE, self.label_node),
            FORGET_NODE: self._deciding.command(FORGET_NODE, self.forget_node),
            CORDON_NODE: self._deciding.command(CORDON_NODE, self.cordon_node),
            DRAIN_NODE: self._deciding.command(DRAIN_NODE, self.drain_node),
            UNCORDON_NODE: self._deciding.command(UNCORDON_NODE, self.uncordon_node),
        }

    async def label_node(
        self, command: LabelNode, caller: Caller, command_id: str, now: datetime
    ) -> Decision[NodeLabelled]:
        """The node has the labels, or the refusal why not."""
        facts = command_facts(command, caller, command_id, now)
        node = command.node

        async def accept() -> Decision[NodeLabelled]:
            sequence = await self._records.reread_labels()
            record = known_node(self._records.nodes, node)
            before = self._records.labels_of(node)
            labels = change_labels(
                record,
                before,
                to_set=command.set,
                to_remove=command.remove,
                command_id=command_id,
            )
            refuse_label_conflicts(self._records.fleet, record, labels)
            effective = effective_labels(record, labels)
            return Decision(
                reply=NodeLabelled(command_id=command_id, node=node, labels=effective),
                change=Change(NODE_LABELS, node, labels, sequence),
                events=(labelled_event(labels, before, effective, facts),),
            )

        return await self._deciding.decided("node.label", accept, facts, caller, node=node)

    async def forget_node(
        self, command: ForgetNode, caller: Caller, command_id: str, now: datetime
    ) -> Decision[NodeForgotten]:
        """The node is given up or taken back, or the refusal why not."""
        facts = command_facts(command, caller, command_id, now)
        node = command.node

        async def accept() -> Decision[NodeForgotten]:
            sequence = await self._records.reread_labels()
            known_node(self._records.nodes, node)
            record = forget_node(
                node,
                self._records.labels_of(node),
                self._records.silence(node),
                undo=command.undo,
                command_id=command_id,
            )
            return Decision(
                reply=NodeForgotten(command_id=command_id, node=node, forgotten=record.forgotten),
                change=Change(NODE_LABELS, node, record, sequence),
                events=(forgotten_event(record, self._records.labels_of(node), facts),),
            )

        return await self._deciding.decided("node.forget", accept, facts, caller, node=node)

    async def cordon_node(
        self, command: CordonNode, caller: Caller, command_id: str, now: datetime
    ) -> Decision[NodeCordoned]:
        """Nothing new is put on the node, or the refusal why not."""
        facts = command_facts(command, caller, command_id, now)
        return await self._cordon("node.cordon", cordon_node, command.node, facts, caller)

    async def drain_node(
        self, command: DrainNode, caller: Caller, command_id: str, now: datetime
    ) -> Decision[NodeCordoned]:
        """What is on the node leaves it, or the refusal why not."""
        facts = command_facts(command, caller, command_id, now)
        return await self._cordon("node.drain", drain_node, command.node, facts, caller)

    async def uncordon_node(
        self, command: UncordonNode, caller: Caller, command_id: str, now: datetime
    ) -> Decision[NodeCordoned]:
        """Whatever means the node is put on it, or the refusal why not."""
        facts = command_facts(command, caller, command_id, now)
        return await self._cordon("node.uncordon", uncordon_node, command.node, facts, caller)

    async def _cordon(
        self,
        action: str,
        changed: Callable[[str, NodeLabels | None, Fleet, CommandFacts], NodeLabels],
        node: str,
        facts: CommandFacts,
        caller: Caller,
    ) -> Decision[NodeCordoned]:
        async def accept() -> Decision[NodeCordoned]:
            sequence = await self._records.reread_labels()
            known_node(self._records.nodes, node)
            before = self._records.labels_of(node)
            record = changed(node, before, self._records.fleet, facts)
            return Decision(
                reply=NodeCordoned(
                    command_id=facts.command_id,
                    node=node,
                    cordoned=record.cordon is not None,
                    drains=record.cordon is not None and record.cordon.drains,
                ),
                change=Change(NODE_LABELS, node, record, sequence),
                events=(cordon_event(action, record, before, facts),),
            )

        return await self._deciding.decided(action, accept, facts, caller, node=node)
