# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Sees to nodes that are cordoned, and notes which are lost and found.

Level-triggered: it looks when a node reported or a deployment changed, and from time to time.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

import structlog

from services.scheduler.adapters.fleet_records import FleetRecords
from services.scheduler.cordoning import without_removed
from services.scheduler.execution import RETRY_SECONDS, Execution
from shared.errors import FaultError

LOOK_SECONDS: Final = 5.0
"""Nobody says that a node fell silent."""

_log = structlog.get_logger()


class NodeUpkeep:
    """Does what is to be done about nodes without anybody's command."""

    def __init__(self, *, records: FleetRecords, execution: Execution) -> None:
        """Nothing is looked at yet."""
        self._records: Final = records
        self._execution: Final = execution
        self._lost: frozenset[str] = frozenset()

    async def keep(self) -> None:
        """For ever."""
        while True:
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
        self._note_lost()
        await self._prune()

    def _note_lost(self) -> None:
        silences = self._records.silences()
        lost = frozenset(node for node, one in silences.items() if one.is_silent)
        for node in sorted(lost - self._lost):
            _log.warning("node_lost", node=node, why=silences[node].why)
        for node in sorted(self._lost - lost):
            _log.info("node_found", node=node)
        self._lost = lost

    async def _prune(self) -> None:
        for record in self._records.cordoned():
            if without_removed(record, self._records.fleet) is None:
                continue
            async with self._execution.change():
                current = self._records.labels_of(record.node)
                left = current and without_removed(current, self._records.fleet)
                if left:
                    await self._records.rewrite_labels(left)
