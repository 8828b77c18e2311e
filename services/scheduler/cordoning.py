# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Nodes that nothing new is put on: who stays there, and what comes when that is over.

Pure.

Rules:
 * A deployment that a cordoned node was told to run stays there and goes on as everywhere: its new
   revisions, its rollbacks and its removal reach the node.  No other deployment does.
 * One that is removed has left: should its name be used again, it does not come back.
 * A drain is a cordon from which deployments leave (`draining`); a cordon given meanwhile ends it
   where it is.
 * The end of a cordon puts on the node whatever means it; if two of these cannot be in one chain,
   it is refused, and both are named.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import ClassVar

import msgspec

from services.scheduler.audiences import Sight
from services.scheduler.deployment import CommandFacts
from services.scheduler.desired_state import Fleet
from services.scheduler.labelling import refuse_new_conflicts
from shared.canonical import canonical_digest
from shared.contracts.cordons import Cordon, CordonStatus, DrainWait
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
    if record.cordon is not None and not record.cordon.drains:
        raise _refused(node, "is cordoned already")
    return _cordoned(record, fleet, facts, drains=False)


def drain_node(
    node: str, current: NodeLabels | None, fleet: Fleet, facts: CommandFacts
) -> NodeLabels:
    """The node's record once what is there is to leave it.

    Raises:
        CordonError: That is so already.
    """
    record = current or NodeLabels(node=node, labels={})
    if record.cordon is not None and record.cordon.drains:
        rule = "was drained already" if record.cordon.drained_at else "is being drained already"
        raise _refused(node, rule)
    return _cordoned(record, fleet, facts, drains=True)


def _cordoned(record: NodeLabels, fleet: Fleet, facts: CommandFacts, *, drains: bool) -> NodeLabels:
    known = record.cordon
    cordon = Cordon(
        at=facts.at,
        command_id=facts.command_id,
        actor_key=facts.actor.key,
        actor_role=facts.actor.role,
        reason=facts.reason,
        stays=tuple(sorted(_there(record.node, fleet))) if known is None else known.stays,
        drains=drains,
        left=() if known is None else known.left,
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
    open_again = replace(fleet.nodes[node], stays=None, left=frozenset())
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
        details=_standing(record),
    )


def cordon_status(
    cordon: Cordon | None, sight: Sight, waits: Iterable[DrainWait] = ()
) -> CordonStatus | None:
    """The cordon, with the deployments that `sight` goes to."""
    if cordon is None:
        return None
    return CordonStatus(
        at=cordon.at,
        actor_key=cordon.actor_key,
        actor_role=cordon.actor_role,
        reason=cordon.reason,
        stays=tuple(filter(sight.sees_deployment, cordon.stays)),
        drains=cordon.drains,
        left=tuple(filter(sight.sees_deployment, cordon.left)),
        drained_at=cordon.drained_at,
        waits=tuple(
            one
            for one in (waits if cordon.drains else ())
            if not one.deployment or sight.sees_deployment(one.deployment)
        ),
    )


def without_removed(record: NodeLabels, fleet: Fleet) -> NodeLabels | None:
    """The record without deployments that were removed meanwhile; None: there are none."""
    cordon = record.cordon
    if cordon is None:
        return None
    stays, left = (
        tuple(one for one in keys if _is_deployed(one, fleet))
        for keys in (cordon.stays, cordon.left)
    )
    if (stays, left) == (cordon.stays, cordon.left):
        return None
    pruned = msgspec.structs.replace(cordon, stays=stays, left=left)
    return msgspec.structs.replace(record, cordon=pruned)


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


def _standing(record: NodeLabels | None) -> dict[str, bool]:
    """What is for all to know: which deployments stay is not."""
    cordon = record.cordon if record is not None else None
    return {"cordoned": cordon is not None, "drains": cordon is not None and cordon.drains}


def _digest(node: str, record: NodeLabels | None) -> str:
    """SHA-256 of whether something new is put on the node, and whether what is there leaves it."""
    return canonical_digest({"node": node, **_standing(record)})
