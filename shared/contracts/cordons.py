# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Nodes that nothing new is put on."""

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


class CordonStatus(Message, frozen=True, kw_only=True):
    """That nothing new is put on a node, as whoever asks sees it."""

    at: str
    actor_key: str
    actor_role: str
    reason: str = ""
    stays: tuple[str, ...] = ()
    """Keys of the deployments that were on the node and are on it still."""


class CordonNode(Command, frozen=True, kw_only=True):
    """Put nothing new on a node; what is there stays, and follows its deployments."""

    node: Token


class UncordonNode(Command, frozen=True, kw_only=True):
    """Put on a node again whatever means it, at once."""

    node: Token


class NodeCordoned(Accepted, frozen=True, kw_only=True):
    """Whether nothing new is put on the node."""

    node: str
    cordoned: bool


CORDON_NODE: Final = Endpoint(f"{API}.scheduler.node.cordon", CordonNode, NodeCordoned)
UNCORDON_NODE: Final = Endpoint(f"{API}.scheduler.node.uncordon", UncordonNode, NodeCordoned)
