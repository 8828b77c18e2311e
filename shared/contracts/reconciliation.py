# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Asking a node to compare its kernel with what is desired, now."""

from __future__ import annotations

from typing import Final

from shared.contracts.base import API, Endpoint, Message, Request


class ReconcileNode(Request, frozen=True, kw_only=True):
    """Look at every hook point and mend what is not as desired, as happens every 15 seconds."""


class NodeReconciled(Message, frozen=True, kw_only=True):
    """A whole round was made that began after the request came."""

    node: str
    desired_generation: int
    """The newest desired generation that was acted upon."""
    states: dict[str, int] = {}
    """State of a chain, as `attached`, to how many hook points are in it."""
    problems: dict[str, str] = {}
    """Hook point to why what is desired does not run there."""
    duration_ms: float = 0.0


RECONCILE_NODE: Final = Endpoint(f"{API}.node.{{node}}.reconcile", ReconcileNode, NodeReconciled)
