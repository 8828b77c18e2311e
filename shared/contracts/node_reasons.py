# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Why a node runs what it runs, and not what it does not run."""

from __future__ import annotations

from typing import Final, Literal

from shared.contracts.base import API, Endpoint, Message, Request
from shared.contracts.probes import ProbeTarget
from shared.errors import Reason
from shared.identifiers import Hook, Token


class ExplainNode(Request, frozen=True, kw_only=True):
    """Which deployments a node runs and which it does not, and why."""

    node: Token


class ExplainedPlace(Message, frozen=True, kw_only=True):
    """One place of a deployment on the node."""

    place: str
    """Interface and network namespace in their one written form; of a probe, which of them."""
    hook: Hook
    state: Literal["running", "pending", "failed"]
    """By what the node reported last."""
    revision: int
    """That is wanted there."""
    why: tuple[Reason, ...] = ()
    """Why it is not running."""
    target: ProbeTarget | None = None
    """What a probe is to be attached to."""


class DeploymentOnNode(Message, frozen=True, kw_only=True):
    """One deployment that the caller sees, and the node."""

    deployment: str
    package: str
    version: str
    """Of what the node has of it, or would have."""
    places: tuple[ExplainedPlace, ...] = ()
    """Where it is on the node; empty: nowhere."""
    because: tuple[str, ...] = ()
    """What the deployment asks of nodes, and this one meets; of one that has places."""
    rollout: str = ""
    """While a revision is on its way: with which wave it came, or comes."""
    why_not: str = ""
    """Of one without places: the first requirement that fails, or what it waits for."""


class NodeExplained(Message, frozen=True, kw_only=True):
    """What is so of the node, and each deployment, those that it runs first."""

    node: str
    standing: tuple[str, ...]
    """What is so of the node itself: whether it is there, cordoned, drained, forgotten."""
    deployments: tuple[DeploymentOnNode, ...]
    unseen: bool = False
    """Whether it runs something, too, that the caller does not see."""


EXPLAIN_NODE: Final = Endpoint(f"{API}.scheduler.node.explain", ExplainNode, NodeExplained)
