# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Nodes that nothing new is put on, and those that are emptied."""

from __future__ import annotations

from typing import Final

from shared.contracts.base import API, Accepted, Command, Endpoint, Message
from shared.identifiers import Token


class Cordon(Message, frozen=True, kw_only=True):
    """That nothing new is put on a node."""

    at: str
    """Since when, RFC 3339 UTC."""
    command_id: str
    actor_key: str
    actor_role: str
    reason: str = ""
    stays: tuple[str, ...] = ()
    """Keys of the deployments that were on the node, and may be still, ascending."""
    drains: bool = False
    """Whether these leave it, as far as their `max_unavailable` lets them."""
    left: tuple[str, ...] = ()
    """Keys of those that did so, ascending."""
    drained_at: str = ""
    """When the node was read back to run nothing; empty: it was not, or is not drained."""


class DrainWait(Message, frozen=True, kw_only=True):
    """Why something is still on a node that is drained."""

    deployment: str = ""
    """Empty: it is about the node."""
    why: str


class CordonStatus(Message, frozen=True, kw_only=True):
    """That nothing new is put on a node, as whoever asks sees it."""

    at: str
    actor_key: str
    actor_role: str
    reason: str = ""
    stays: tuple[str, ...] = ()
    """Keys of the deployments that were on the node and are on it still."""
    drains: bool = False
    """Whether these leave it, as far as their `max_unavailable` lets them."""
    left: tuple[str, ...] = ()
    """Keys of those that did so."""
    drained_at: str = ""
    """When the node was read back to run nothing; empty: it was not, or is not drained."""
    waits: tuple[DrainWait, ...] = ()
    """What keeps the drain from its end."""


class CordonNode(Command, frozen=True, kw_only=True):
    """Put nothing new on a node; what is there stays, and follows its deployments."""

    node: Token


class DrainNode(Command, frozen=True, kw_only=True):
    """Empty a node: nothing new is put on it, and what is there leaves it."""

    node: Token


class UncordonNode(Command, frozen=True, kw_only=True):
    """Put on a node again whatever means it, at once."""

    node: Token


class NodeCordoned(Accepted, frozen=True, kw_only=True):
    """Whether nothing new is put on the node, and whether what is there leaves it."""

    node: str
    cordoned: bool
    drains: bool = False


CORDON_NODE: Final = Endpoint(f"{API}.scheduler.node.cordon", CordonNode, NodeCordoned)
DRAIN_NODE: Final = Endpoint(f"{API}.scheduler.node.drain", DrainNode, NodeCordoned)
UNCORDON_NODE: Final = Endpoint(f"{API}.scheduler.node.uncordon", UncordonNode, NodeCordoned)
