# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A node's heartbeat and metrics; nobody stores them, so a lost one does not matter."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from services.node_executor.adapters.node_bus import NodeBus
from services.node_executor.companion_metrics import companion_values
from services.node_executor.disclosure import Readers
from services.node_executor.generations import Point
from services.node_executor.metrics_sampling import Sampler, metric_values
from services.node_executor.staging import Thread
from shared.contracts.desired import DesiredNode
from shared.contracts.node import HEARTBEAT, METRICS, Heartbeat, NodeMetrics, ObservedChain
from shared.contracts.node_companions import CompanionShown
from shared.errors import FaultError, Refusal, RefusedError

log = structlog.get_logger()


def say_unreadable(point: Point, refusal: Refusal) -> None:
    """A hook point cannot be read; what it runs goes on."""
    log.warning("hook_unreadable", **point._asdict(), code=refusal.code, why=refusal.message)


class Heartbeats:
    """Says that the node is there, and what its programs counted."""

    def __init__(
        self,
        *,
        bus: NodeBus,
        thread: Thread,
        sampler: Sampler,
        readers: Readers,
        companions: Callable[[], tuple[CompanionShown, ...]],
        now: Callable[[], str],
    ) -> None:
        """Nothing is said yet; metrics are for whoever listens, so they are what everybody sees."""
        self._bus = bus
        self._thread = thread
        self._sampler = sampler
        self._readers = readers
        self._companions = companions
        self._now = now

    async def beat(
        self,
        desired: DesiredNode | None,
        *,
        acted_generation: int,
        looked: tuple[ObservedChain, ...] | None = None,
    ) -> None:
        """Said, if the bus is there; what was counted is read now.

        Args:
            desired: By the bus.
            acted_generation: Of the desired record that was acted upon.
            looked: What the last round found; None: it is looked now.
        """
        if not self._bus.is_there:
            return
        try:
            chains = looked
            if chains is None:
                chains = await self._thread(self._sampler.describe, desired)
            sampled = await self._thread(self._sampler.count, chains)
            heartbeat = Heartbeat(
                node=self._bus.name,
                at=self._now(),
                desired_generation=acted_generation,
                chains_attached=sum(chain.state == "attached" for chain in chains),
                chains_failed=sum(chain.refusal is not None for chain in chains),
            )
            await self._bus.publish(HEARTBEAT.at(node=self._bus.name), heartbeat)
            values = metric_values(map(self._readers.of("").counted, sampled))
            values |= companion_values(self._companions())
            if values:
                metrics = NodeMetrics(node=self._bus.name, at=heartbeat.at, values=values)
                await self._bus.publish(METRICS.at(node=self._bus.name), metrics)
        except (FaultError, RefusedError) as error:
            log.warning("heartbeat_failed", why=error.message)
