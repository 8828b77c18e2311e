# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Answers by which numbers a rollout is judged; the scheduler alone may ask."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from services.node_executor.adapters.processor_time import ProcessorTime
from services.node_executor.event_tally import EventTally
from services.node_executor.generations import point_of
from services.node_executor.metrics_sampling import Sampler
from services.node_executor.staging import Thread
from shared.adapters.callers import Caller
from shared.adapters.service_layer import Handler
from shared.contracts.base import Endpoint
from shared.contracts.desired import DesiredNode
from shared.contracts.node import ChainShown
from shared.contracts.node_health import READ_HEALTH, NodeHealth, PlaceHealth, ReadHealth


class HealthDesk:
    """Counters, metrics, processors and events, as they are now."""

    def __init__(
        self,
        *,
        node: str,
        boot_id: str,
        start: str,
        thread: Thread,
        sampler: Sampler,
        tally: EventTally,
        uptime: Callable[[], float],
        processors: Callable[[], ProcessorTime],
    ) -> None:
        """`start` is of this run of the executor alone."""
        self._about: Final = {"node": node, "boot_id": boot_id, "start": start}
        self._thread: Final = thread
        self._sampler: Final = sampler
        self._tally: Final = tally
        self._uptime: Final = uptime
        self._processors: Final = processors
        self._desired: Callable[[], DesiredNode | None] = lambda: None

    def endpoints(
        self, desired: Callable[[], DesiredNode | None]
    ) -> dict[Endpoint[Any, Any], Handler]:
        """What it answers; `desired` is what the bus said last."""
        self._desired = desired
        return {READ_HEALTH: self.read}

    async def read(self, request: ReadHealth, _caller: Caller) -> NodeHealth:
        """What happened here to the deployment.

        Raises:
            FaultError: The kernel does not say how long its processors worked.
        """
        shown, processors = await self._thread(self._read, request.deployment)
        points = [point_of(one.chain) for one in shown]
        return NodeHealth(
            **self._about,
            uptime_seconds=self._uptime(),
            cpu_seconds=processors.seconds,
            cpu_busy_seconds=processors.busy_seconds,
            places=tuple(_place(one, request) for one in shown),
            events=self._tally.counts(request.deployment, points),
        )

    def _read(self, deployment: str) -> tuple[list[ChainShown], ProcessorTime]:
        seen = [
            chain
            for chain in self._sampler.describe(self._desired())
            if any(program.deployment == deployment for program in chain.programs)
        ]
        return self._sampler.count(seen), self._processors()


def _place(shown: ChainShown, request: ReadHealth) -> PlaceHealth:
    key, chain = request.deployment, shown.chain
    (program,) = (one for one in chain.programs if one.deployment == key)
    slots = (one for one in shown.counters.slots if one.deployment == key)
    return PlaceHealth(
        interface=chain.interface,
        hook=chain.hook,
        netns=chain.netns,
        revision=program.revision,
        counters=next(slots, None),
        problem=shown.counters.problem,
        metrics=tuple(
            msgspec.structs.replace(one, buckets=())
            for one in shown.metrics
            if one.deployment == key and one.metric in request.metrics
        ),
    )
