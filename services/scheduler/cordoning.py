# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Nodes that nothing new is put on: who stays there, and what comes when that is over.

Pure.

Rules:
 * A deployment that a cordoned node was told to run stays there and goes on as everywhere: its new
   revisions, its rollbacks and its removal reach the node.  No other deployment does.
 * One that is removed has left: should its name be used again, it does not come back.
 * The end of a cordon puts on the node whatever means it; if two of these cannot be in one chain,
   it is refused, and both are named.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

import msgspec

from services.scheduler.audiences import Sight
from services.scheduler.deployment import CommandFacts
from services.scheduler.desired_state import Fleet
from services.scheduler.labelling import refuse_new_conflicts
from shared.canonical import canonical_digest
from shared.contracts.cordons import Cordon, CordonStatus
from shared.contracts.errors import ErrorCode
from shared.contracts.events import EventBody
from shared.contracts.scheduler import NodeLabels
from shared.errors import Reason, RefusedError


class CordonError(RefusedError):
    """The node is already as it shall be."""

    code: ClassVar[ErrorCode] = "conflict"


def cordon_node(
    node: str, current: NodeLabels | None, fleet: Fleet, facts: CommandFacts
) -> NodeLabels:
    """The node's record once nothing new is put on it.

    Raises:
        CordonError: That is so already.
    """
    record = current or NodeLabels(node=node, labels={})
    if record.cordon is not None:
        raise _refused(node, "is cordoned already")
    cordon = Cordon(
        at=facts.at,
        command_id=facts.command_id,
        actor_key=facts.actor.key,
        actor_role=facts.actor.role,
        reason=facts.reason,
        stays=tuple(sorted(_there(node, fleet))),
    )
    return msgspec.structs.replace(record, cordon=cordon, command_id=facts.command_id)


def uncordon_node(
    node: str, current: NodeLabels | None, fleet: Fleet, facts: CommandFacts
) -> NodeLabels:
    """The node's record once everything that means it is put on it.

    Raises:
        CordonError: It is not cordoned.
        ChainConflictError: Two deployments that would come claim one place.
    """
    if current is None or current.cordon is None:
        raise _refused(node, "is not cordoned")
    open_again = replace(fleet.nodes[node], stays=None)
    refuse_new_conflicts(fleet, open_again, f"{node}: without the cordon", path="node")
    return msgspec.structs.replace(current, cordon=None, command_id=facts.command_id)


def cordon_event(
    action: str, record: NodeLabels, before: NodeLabels | None, facts: CommandFacts
) -> EventBody:
    """What the audit log says of a node that was cordoned, or is no more."""
    return EventBody(
        action=action,
        outcome="accepted",
        correlation=facts.command_id,
        actor=facts.actor,
        reason=facts.reason,
        node=record.node,
        before=_digest(record.node, before),
        after=_digest(record.node, record),
        details={"cordoned": record.cordon is not None},
    )


def cordon_status(cordon: Cordon | None, sight: Sight) -> CordonStatus | None:
    """The cordon, with the deployments that `sight` goes to."""
    if cordon is None:
        return None
    return CordonStatus(
        at=cordon.at,
        actor_key=cordon.actor_key,
        actor_role=cordon.actor_role,
        reason=cordon.reason,
        stays=tuple(filter(sight.sees_deployment, cordon.stays)),
    )


def without_removed(record: NodeLabels, fleet: Fleet) -> NodeLabels | None:
    """The record without deployments that were removed meanwhile; None: there are none."""
    cordon = record.cordon
    if cordon is None:
        return None
    stays = tuple(one for one in cordon.stays if _is_deployed(one, fleet))
    if stays == cordon.stays:
        return None
    return msgspec.structs.replace(record, cordon=msgspec.structs.replace(cordon, stays=stays))


def _there(node: str, fleet: Fleet) -> Iterator[str]:
    """Keys of the deployments that the node is told to run."""
    desired = fleet.desired.get(node)
    chains = desired.chains if desired else ()
    keys = {one.deployment for chain in chains for one in chain.programs}
    return (key for key in keys if _is_deployed(key, fleet))


def _is_deployed(key: str, fleet: Fleet) -> bool:
    record = fleet.deployments.get(key)
    return record is not None and not record.removed


def _refused(node: str, rule: str) -> CordonError:
    return CordonError(f"{node} {rule}", [Reason(path="node", rule=rule, got=node)])


def _digest(node: str, record: NodeLabels | None) -> str:
    """SHA-256 of whether something new is put on the node; who stays is not for all to know."""
    is_cordoned = record is not None and record.cordon is not None
    return canonical_digest({"node": node, "cordoned": is_cordoned})
