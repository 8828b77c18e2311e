# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a change of a node's labels leads to, decided before it is made.

Rules:
 * Only what operators set can be removed; a label from the node's own configuration can be covered
   by another value, not taken away.
 * A change that would make two deployments claim one place is refused, and both are named.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import ClassVar, Final

import msgspec

from services.scheduler.audiences import Sight
from services.scheduler.deployment import CommandFacts
from services.scheduler.desired_state import Fleet, derive_node
from services.scheduler.misfits import misfits
from services.scheduler.place_conflicts import ChainConflictError, PlaceConflict
from services.scheduler.placement import NodeView
from services.scheduler.rollout.assignment import at_end
from shared.canonical import canonical_digest
from shared.contracts.errors import ErrorCode
from shared.contracts.events import PUBLIC, EventBody
from shared.contracts.node import NodeRecord
from shared.contracts.scheduler import NodeLabels
from shared.errors import Reason, RefusedError
from shared.node_labels import effective_labels

MAX_LABELS: Final = 64


class UnknownNodeError(RefusedError):
    """No node of this name ever registered."""

    code: ClassVar[ErrorCode] = "not_found"


class LabelChangeError(RefusedError):
    """The labels cannot be changed like this; a reason for each that cannot."""

    code: ClassVar[ErrorCode] = "invalid_request"


def known_node(records: Mapping[str, NodeRecord], node: str) -> NodeRecord:
    """The inventory of `node`.

    Raises:
        UnknownNodeError: It never registered.
    """
    if node in records:
        return records[node]
    reason = Reason(path="node", rule="no node of this name ever registered", got=node)
    raise UnknownNodeError(f"{node}: there is no such node", [reason])


def change_labels(
    record: NodeRecord,
    current: NodeLabels | None,
    *,
    to_set: Mapping[str, str],
    to_remove: Collection[str],
    command_id: str,
) -> NodeLabels:
    """The labels that operators gave the node, after the change.

    Raises:
        LabelChangeError: With every label that cannot be changed so.
    """
    given = current.labels if current else {}
    problems: list[Reason] = []
    if not to_set and not to_remove:
        problems.append(Reason(path="set", rule="at least one label must be set or removed"))
    for index, key in enumerate(to_remove):
        path = f"remove[{index}]"
        if key in to_set:
            problems.append(Reason(path=path, rule="is also to be set", got=key))
        elif key not in given and key in record.labels:
            rule = "comes from the node's own configuration"
            problems.append(Reason(path=path, rule=rule, got=key, allowed=sorted(given)))
        elif key not in given:
            rule = "is not a label of the node"
            problems.append(Reason(path=path, rule=rule, got=key, allowed=sorted(given)))
    labels = {key: value for key, value in {**given, **to_set}.items() if key not in to_remove}
    if len(labels) > MAX_LABELS:
        rule = "a node has too many labels"
        problems.append(Reason(path="set", rule=rule, got=len(labels), allowed=MAX_LABELS))
    if problems:
        raise LabelChangeError(f"{record.node}: the labels cannot be changed like this", problems)
    known = current or NodeLabels(node=record.node, labels={})
    return msgspec.structs.replace(known, labels=labels, command_id=command_id)


def refuse_label_conflicts(fleet: Fleet, record: NodeRecord, labels: NodeLabels) -> None:
    """Nothing, if the new labels leave every chain of the node without a new contest.

    Raises:
        ChainConflictError: Naming both deployments of every contested place, if everybody sees
            them: so it is recorded.
    """
    relabelled = replace(fleet.nodes[record.node], labels=effective_labels(record, labels))
    refuse_new_conflicts(fleet, relabelled, f"{record.node}: with these labels", path="set")


def refuse_new_conflicts(fleet: Fleet, node: NodeView, why: str, *, path: str) -> None:
    """Nothing, if every chain of the node, were it as given, is without a new contest.

    Neither now nor once the rollouts that go on are over; and without two that do not go together.

    Args:
        fleet: As it is.
        node: One of it as it would be.
        why: Which node, and what the contest would come from.
        path: What was asked for, in a reason.

    Raises:
        ChainConflictError: Naming both deployments of every contested place, if everybody sees
            them: so it is recorded.
    """
    desired = fleet.desired.get(node.name)
    over = {key: at_end(one) for key, one in fleet.deployments.items()}
    before, after = (
        [
            conflict
            for deployments in (fleet.deployments, over)
            for conflict in derive_node(view, deployments, desired, fleet.audiences)[1]
        ]
        for view in (fleet.nodes[node.name], node)
    )
    sight = fleet.audiences.seen_in(PUBLIC)
    new = [one for one in dict.fromkeys(after) if one not in before]
    if new:
        raise ChainConflictError(
            f"{why} two deployments cannot be in one chain",
            [_conflict_reason(conflict, sight, path=path) for conflict in new],
        )
    ahead = replace(fleet, deployments=over)
    told, _ = derive_node(node, over, desired, fleet.audiences)
    unfit = misfits(fleet, ahead, {node.name: told} if told is not None else {}, over)
    refused = [Reason(path=path, rule=one.told(sight)) for one in unfit if one.is_refused]
    if refused:
        raise ChainConflictError(f"{why} two deployments do not go into one chain", refused)


def labelled_event(
    labels: NodeLabels, before: NodeLabels | None, effective: dict[str, str], facts: CommandFacts
) -> EventBody:
    """What the audit log says of an accepted change of labels."""
    return EventBody(
        action="node.label",
        outcome="accepted",
        correlation=facts.command_id,
        actor=facts.actor,
        reason=facts.reason,
        node=labels.node,
        before=canonical_digest(before.labels) if before else "",
        after=canonical_digest(labels.labels),
        details={"labels": effective},
    )


def _conflict_reason(conflict: PlaceConflict, sight: Sight, *, path: str) -> Reason:
    place = f"{conflict.interface}/{conflict.hook}"
    return Reason(path=path, rule=conflict.told(sight, place))
