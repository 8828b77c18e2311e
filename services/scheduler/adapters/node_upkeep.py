# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Sees to nodes that are cordoned or drained, and notes which are lost and found.

Level-triggered: it looks when a node reported or a deployment changed, and from time to time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Final

import structlog

from services.scheduler.adapters.fleet_records import FleetRecords
from services.scheduler.adapters.pace import Pace
from services.scheduler.cordoning import without_removed
from services.scheduler.draining import (
    after_step,
    drain_steps,
    drained,
    drained_event,
    is_drained,
)
from services.scheduler.execution import RETRY_SECONDS, Execution
from services.scheduler.rebalancing import rebalance
from shared.adapters.outbox import Outbox
from shared.contracts.base import Accepted
from shared.contracts.deployments import DEPLOYMENTS
from shared.contracts.scheduler import NodeLabels
from shared.errors import FaultError, RefusedError
from shared.moments import render_time
from shared.outbox_records import Change, Decision

LOOK_SECONDS: Final = 5.0
"""Nobody says that a node fell silent."""

_log = structlog.get_logger()


class NodeUpkeep:
    """Does what is to be done about nodes without anybody's command."""

    def __init__(
        self,
        *,
        records: FleetRecords,
        outbox: Outbox,
        execution: Execution,
        now: Callable[[], datetime],
    ) -> None:
        """Nothing is looked at yet.

        Args:
            records: Of the nodes.
            outbox: The scheduler's.
            execution: Whose lock guards records.
            now: The scheduler's clock.
        """
        self._records: Final = records
        self._outbox: Final = outbox
        self._execution: Final = execution
        self._now: Final = now
        self._silent: frozenset[str] = frozenset()
        self._pace: Final = Pace()

    async def keep(self) -> None:
        """For ever."""
        while True:
            await self._pace.rest()
            self._records.upkeep_concerned.clear()
            pause_seconds = LOOK_SECONDS
            try:
                await self.look()
            except FaultError as fault:
                _log.warning("node_upkeep_interrupted", why=fault.message)
                pause_seconds = RETRY_SECONDS
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_seconds):
                    await self._records.upkeep_concerned.wait()

    async def look(self) -> None:
        """Whatever is to be done now is done.

        Raises:
            FaultError: A record could not be stored.
        """
        with self._pace.thinking():
            self._note_lost()
        await self._prune()
        await self._drain()
        await self._rebalance()

    def _note_lost(self) -> None:
        silences = self._records.silences()
        silent = frozenset(node for node, one in silences.items() if one.is_silent)
        for node in sorted(silent - self._silent):
            _log.warning("node_silent", node=node, why=silences[node].why)
        for node in sorted(self._silent - silent):
            _log.info("node_back", node=node)
        self._silent = silent
        self._records.lost = frozenset(node for node in silent if silences[node].is_lost)

    async def _prune(self) -> None:
        for record in self._records.cordoned():
            if without_removed(record, self._records.fleet) is None:
                continue
            async with self._execution.change():
                current = self._records.labels_of(record.node)
                left = current and without_removed(current, self._records.fleet)
                if left:
                    await self._records.rewrite_labels(left)

    async def _drain(self) -> None:
        if not any(one.cordon and one.cordon.drains for one in self._records.cordoned()):
            self._records.drain_waits = {}
            return
        async with self._execution.change():
            nodes = self._records.cordoned()
            with self._pace.thinking():
                steps = drain_steps(nodes, self._execution.observation())
            self._records.drain_waits = {node: step.waits for node, step in steps.items()}
            for record in nodes:
                step = steps.get(record.node)
                if step is not None and step.leaves:
                    await self._records.rewrite_labels(after_step(record, step))
                    self._records.upkeep_concerned.set()
                    _log.info("node_drains", node=record.node, deployments=len(step.leaves))
        for record in self._records.cordoned():
            if is_drained(record, self._execution.observation()):
                await self._say_drained(record)

    async def _rebalance(self) -> None:
        for key, record in self._records.fleet.deployments.items():
            if not record.removed and record.revisions[-1].choice is not None:
                await self._rebalance_one(key)

    async def _rebalance_one(self, key: str) -> None:
        async with self._execution.change():
            seen = self._execution.observation()
            record = seen.fleet.deployments.get(key)
            with self._pace.thinking():
                step = rebalance(record, seen, now=self._now()) if record is not None else None
            if step is None:
                return
            decision = Decision(
                reply=Accepted(command_id=step.step_id),
                change=Change(
                    DEPLOYMENTS, key, step.after, revision=self._records.revision_of(key)
                ),
                events=(step.event,),
                audience=seen.fleet.audiences.of(step.before.space),
            )
            try:
                await self._outbox.step(decision, step_id=step.step_id)
            except RefusedError as error:
                raise FaultError(f"{key}: nodes cannot be moved: {error.message}") from error
            if self._records.fleet.deployments.get(key) is record:
                await self._records.reread_deployments()
        self._records.nodes_concerned.set()
        _log.warning("deployment_rebalanced", deployment=key, added=list(step.added))

    async def _say_drained(self, record: NodeLabels) -> None:
        event_id, body = drained_event(record)
        await self._outbox.emit(body, event_id=event_id)
        _log.info("node_drained", node=record.node)
        async with self._execution.change():
            if self._records.labels_of(record.node) == record:
                await self._records.rewrite_labels(drained(record, at=render_time(self._now())))
