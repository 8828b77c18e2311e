# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The numbers by which a rollout is judged, asked of a node by the scheduler.

All that grows is counted from the beginning, so that two readings tell what happened between them.
"""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta

from shared.contracts.base import INTERNAL, Endpoint, Message, Request
from shared.contracts.events import Outcome
from shared.contracts.inspection import SlotCounters
from shared.contracts.node import MetricValue
from shared.deployment_keys import DeploymentKey
from shared.identifiers import Hook, Token, render_place


class ReadHealth(Request, frozen=True, kw_only=True):
    """What happened on a node to one deployment."""

    deployment: DeploymentKey
    metrics: Annotated[tuple[Token, ...], Meta(max_length=64)] = ()
    """Which of its metrics are wanted."""


class PlaceHealth(Message, frozen=True, kw_only=True):
    """One hook point that the deployment's program runs on."""

    interface: str
    hook: Hook
    netns: str = ""
    revision: int
    """The deployment's, that runs."""
    counters: SlotCounters | None = None
    problem: str = ""
    """Why there are no counters."""
    metrics: tuple[MetricValue, ...] = ()

    @property
    def place(self) -> str:
        """Interface and namespace in their one written form."""
        return render_place(self.interface, self.netns)


class EventCount(Message, frozen=True, kw_only=True):
    """How often the node said something since its executor started."""

    action: str
    outcome: Outcome
    concerns: bool
    """Whether it names the deployment, or a hook point that it is on."""
    count: int
    newest: str
    """Id of the last one."""


class NodeHealth(Message, frozen=True, kw_only=True):
    """As far as the deployment's space sees it."""

    node: str
    boot_id: str
    uptime_seconds: float
    """Since the kernel started: when it was read."""
    start: str
    """Another one after each start of the executor: events are counted anew."""
    cpu_seconds: float
    """Of all processors since the kernel started."""
    cpu_busy_seconds: float
    """Of these, at work."""
    places: tuple[PlaceHealth, ...] = ()
    events: tuple[EventCount, ...] = ()


READ_HEALTH: Final = Endpoint(f"{INTERNAL}.node.{{node}}.health.read", ReadHealth, NodeHealth)
