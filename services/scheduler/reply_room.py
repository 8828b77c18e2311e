# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Statuses of many nodes within one message: what is left out is counted, what is wrong is shown.

Pure.

Rules:
 * Every place is counted by its state, whether it is listed or not.
 * Places that fail come before those that are pending, these before silent ones, and what runs is
   left out first; the listed ones are in the order that they had.
 * Of several deployments each has the same room; what one does not need, the next ones share.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from shared.contracts.scheduler import DeploymentList, DeploymentStatus, NodeList, NodeStatus

MAX_VIOLATIONS: Final = 1000
_RANKS: Final = {"failed": 0, "pending": 1, "node-silent": 2, "running": 3}
_COMMA: Final = 1
_LEFT_BYTES: Final = 256
"""For the fields that say what was left out."""


def deployment_with_room(status: DeploymentStatus, *, limit_bytes: int) -> DeploymentStatus:
    """The status with as many places as fit into a reply of so many bytes."""
    head = msgspec.structs.replace(
        status,
        places=(),
        states=dict(sorted(Counter(place.state for place in status.places).items())),
        violations=status.violations[:MAX_VIOLATIONS],
        more_violations=max(0, len(status.violations) - MAX_VIOLATIONS),
    )
    left_bytes = limit_bytes - len(msgspec.json.encode(head)) - _LEFT_BYTES
    ranked = sorted(enumerate(status.places), key=lambda item: (_RANKS[item[1].state], item[0]))
    kept: list[int] = []
    for index, place in ranked:
        left_bytes -= len(msgspec.json.encode(place)) + _COMMA
        if left_bytes < 0:
            break
        kept.append(index)
    return msgspec.structs.replace(
        head,
        places=tuple(status.places[index] for index in sorted(kept)),
        more_places=len(status.places) - len(kept),
    )


def list_with_room(statuses: Sequence[DeploymentStatus], *, limit_bytes: int) -> DeploymentList:
    """All of the deployments, with as many places as fit into a reply of so many bytes."""
    shown: list[DeploymentStatus] = []
    left_bytes = limit_bytes
    for number, status in enumerate(statuses):
        share = left_bytes // (len(statuses) - number)
        one = deployment_with_room(status, limit_bytes=share)
        left_bytes -= len(msgspec.json.encode(one)) + _COMMA
        shown.append(one)
    return DeploymentList(deployments=tuple(shown))


def nodes_with_room(statuses: Iterable[NodeStatus], *, limit_bytes: int) -> NodeList:
    """As many of the first nodes as fit into a reply of so many bytes; at least one."""
    shown: list[NodeStatus] = []
    left_bytes = limit_bytes - _LEFT_BYTES
    for status in statuses:
        left_bytes -= len(msgspec.json.encode(status)) + _COMMA
        if shown and left_bytes < 0:
            return NodeList(nodes=tuple(shown), has_more=True)
        shown.append(status)
    return NodeList(nodes=tuple(shown))
