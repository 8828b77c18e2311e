# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A node's heartbeat and metrics; nobody stores them, so a lost one does not matter."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from services.node_executor.adapters.node_bus import NodeBus
from services.node_executor.metrics_sampling import Sampler, metric_values
from services.node_executor.staging import Thread
from shared.contracts.node import HEARTBEAT, METRICS, DesiredNode, Heartbeat, NodeMetrics
from shared.errors import FaultError, RefusedError

log = structlog.get_logger()


class Heartbeats:
    """Says that the node is there, and what its programs counted."""

    def __init__(
        self, *, bus: NodeBus, thread: Thread, sampler: Sampler, now: Callable[[], str]
    ) -> None:
        """Nothing is said yet."""
        self._bus = bus
        self._thread = thread
        self._sampler = sampler
        self._now = now

    async def beat(self, desired: DesiredNode | None, *, acted_generation: int) -> None:
        """Said, if the bus is there."""
        if not self._bus.is_there:
            return
        try:
            sampled = await self._thread(self._sampler.sample, desired)
            chains = [one.chain for one in sampled]
            heartbeat = Heartbeat(
                node=self._bus.name,
                at=self._now(),
                desired_generation=acted_generation,
                chains_attached=sum(chain.state == "attached" for chain in chains),
                chains_failed=sum(chain.refusal is not None for chain in chains),
            )
            await self._bus.publish(HEARTBEAT.at(node=self._bus.name), heartbeat)
            values = metric_values(sampled)
            if values:
                metrics = NodeMetrics(node=self._bus.name, at=heartbeat.at, values=values)
                await self._bus.publish(METRICS.at(node=self._bus.name), metrics)
        except (FaultError, RefusedError) as error:
            log.warning("heartbeat_failed", why=error.message)
