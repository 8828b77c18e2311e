# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which nodes may be given up, and taken back.

Rules:
 * A node that is alive is not forgotten: its key is revoked first, or it is relabelled.
 * A forgotten node stays forgotten, whatever is heard of it, until somebody takes it back.
 * Its labels are kept, so that taking it back restores what it was.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from services.scheduler.deployment import CommandFacts
from services.scheduler.liveness import Silence
from shared.canonical import canonical_digest
from shared.contracts.errors import ErrorCode
from shared.contracts.events import EventBody
from shared.contracts.scheduler import NodeLabels
from shared.errors import Reason, RefusedError


class ForgettingError(RefusedError):
    """The node cannot be forgotten, or taken back, as it is now."""

    code: ClassVar[ErrorCode] = "conflict"


def forget_node(
    node: str, current: NodeLabels | None, silence: Silence, *, undo: bool, command_id: str
) -> NodeLabels:
    """The node's record once it is forgotten, or once it is taken back.

    Raises:
        ForgettingError: It is alive and shall be forgotten, or it is already as it shall be.
    """
    record = current or NodeLabels(node=node, labels={})
    if record.forgotten is not undo:
        rule = "is forgotten already" if record.forgotten else "was not forgotten"
        raise ForgettingError(f"{node} {rule}", [Reason(path="node", rule=rule, got=node)])
    if silence.is_alive and not undo:
        rule = "is alive: a heartbeat was received within three intervals"
        raise ForgettingError(
            f"{node} is alive and cannot be forgotten", [Reason(path="node", rule=rule, got=node)]
        )
    return msgspec.structs.replace(record, forgotten=not undo, command_id=command_id)


def forgotten_event(
    record: NodeLabels, before: NodeLabels | None, facts: CommandFacts
) -> EventBody:
    """What the audit log says of a node that was forgotten or taken back."""
    was_forgotten = before is not None and before.forgotten
    return EventBody(
        action="node.forget",
        outcome="accepted",
        correlation=facts.command_id,
        actor=facts.actor,
        reason=facts.reason,
        node=record.node,
        before=_standing_digest(record.node, is_forgotten=was_forgotten),
        after=_standing_digest(record.node, is_forgotten=record.forgotten),
        details={"forgotten": record.forgotten},
    )


def _standing_digest(node: str, *, is_forgotten: bool) -> str:
    """SHA-256 of whether the node counts."""
    return canonical_digest({"node": node, "forgotten": is_forgotten})
