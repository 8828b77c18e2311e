# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A small service behind an outbox, and what it left on the bus."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from shared.adapters.bus import Bus
from shared.adapters.callers import Caller
from shared.adapters.outbox import Outbox
from shared.adapters.outbox_bus import OutboxBus
from shared.adapters.service_layer import Handler
from shared.canonical import canonical_digest
from shared.contracts.events import Event, EventBody, Outcome
from shared.contracts.scheduler import LABEL_NODE, NODE_LABELS, LabelNode, NodeLabelled, NodeLabels
from shared.errors import RefusedError
from shared.outbox_records import Change, Decision

ALICE = Caller("UALICE", "operator", "alice", attested=True, address="")
BOB = Caller("UBOB", "operator", "bob", attested=True, address="")


@dataclass
class Labelling:
    """A small service: labels a node and tells events; refuses the node `forbidden`."""

    bus: Bus
    outcomes: tuple[Outcome, ...] = ("accepted", "observed")
    """Of the events that it tells."""
    by_key: bool = False
    """Whether a decision is about one key alone."""
    beside: tuple[str, ...] = ()
    """Further nodes that get the same labels by the same command."""
    decisions: int = 0
    asked_by: str = ""
    """Name of who asked last."""

    async def decide(
        self, request: LabelNode, caller: Caller, command_id: str, _now: datetime
    ) -> Decision[NodeLabelled]:
        """Labels the node as asked."""
        self.decisions += 1
        self.asked_by = caller.name
        if request.node == "forbidden":
            raise RefusedError("no", code="not_found")
        labels = self.bus.bucket(NODE_LABELS)
        snapshot = await labels.snapshot()
        before = snapshot.entries.get(request.node)
        own = (before.revision if before else 0) if self.by_key else None
        merged = {**(before.value.labels if before else {}), **request.set}

        def change(node: str, revision: int | None) -> Change:
            record = NodeLabels(node=node, labels=merged, command_id=command_id)
            return Change(NODE_LABELS, node, record, snapshot.sequence, revision)

        revisions = {key: entry.revision for key, entry in snapshot.entries.items()}
        return Decision(
            reply=NodeLabelled(command_id=command_id, node=request.node, labels=merged),
            change=change(request.node, own),
            also=tuple(change(node, revisions.get(node, 0)) for node in self.beside),
            events=tuple(
                EventBody(
                    action="node.label",
                    outcome=outcome,
                    node=request.node,
                    after=canonical_digest(merged),
                )
                for outcome in self.outcomes
            ),
        )


async def open_outbox(
    bus: Bus, over: OutboxBus | None = None, *, beside: tuple[str, ...] = ()
) -> tuple[Handler, Outbox, Labelling]:
    """A process that has started: its handler serves."""
    outbox, labelling = Outbox(over or bus, "scheduler"), Labelling(bus, beside=beside)
    handler = outbox.command(LABEL_NODE, labelling.decide)
    await outbox.open()
    return handler, outbox, labelling


async def revisions_of(bus: Bus, node: str) -> dict[str, str]:
    """The labels stored for a node."""
    entry = await bus.bucket(NODE_LABELS).get(node)
    return {} if entry is None else entry.value.labels


def assert_gapless(events: list[Event]) -> None:
    """Every event once, numbered from 1 without gaps in the order of the stream."""
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert len({event.id for event in events}) == len(events)


async def answer_of(handler: Handler, request: LabelNode) -> object:
    """What the caller is told, comparably."""
    try:
        reply = await handler(request, ALICE)
    except RefusedError as error:
        return error.refusal_code
    assert isinstance(reply, NodeLabelled)
    return reply.node, frozenset(reply.labels)
