# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Performs what follows from the records: nodes are told what to run, and endings are said.

Level-triggered: it derives from what is stored, so it does not matter who died before, and doing
it once more does nothing.  Telling and ending run beside each other, because an ending waits for
the command that is being written and the nodes must not.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from typing import Final

import structlog

from services.scheduler.adapters.fleet_records import FleetRecords
from services.scheduler.adapters.pace import Pace
from services.scheduler.completion import Ending, endings, pending_node, settle
from services.scheduler.desired_state import Derivation, Fleet, derive_desired
from services.scheduler.draining import Observation
from services.scheduler.licence_standing import standing_change
from services.scheduler.place_conflicts import PlaceConflict
from services.scheduler.unfit import Stay, stays
from shared.adapters.outbox import Outbox
from shared.contracts.deployments import DeploymentRecord
from shared.errors import FaultError

RECONCILE_SECONDS: Final = 30.0
"""Everything is read and derived anew this often, whether or not it is known to have changed."""
RETRY_SECONDS: Final = 1.0

_log = structlog.get_logger()


class Execution:
    """Brings `desired` in line with the deployments, and each command to its end."""

    def __init__(self, *, records: FleetRecords, outbox: Outbox) -> None:
        self._records: Final = records
        self._outbox: Final = outbox
        self._changing: Final = asyncio.Lock()
        self._is_stale = False  # `records` were opened
        self.conflicts: Collection[PlaceConflict] = ()
        """Deployments that found a place taken when the nodes were told last."""
        self._stays: frozenset[Stay] = frozenset()
        self._telling: Final = Pace()
        self._ending: Final = Pace()
        self._waits_for: Final[dict[str, str]] = {}
        """By deployment: a node that its newest command was still waiting for."""
        self._stays_by_node: Final[dict[str, frozenset[Stay]]] = {}

    async def keep_telling(self) -> None:
        """For ever: the nodes are told whenever something changed, and from time to time."""
        await self._keep(self._records.nodes_concerned, self.tell_nodes, self._telling)

    async def keep_ending(self) -> None:
        """For ever: endings are said whenever a node reported, and from time to time."""
        await self._keep(self._records.endings_concerned, self.say_all, self._ending)

    @asynccontextmanager
    async def change(self) -> AsyncIterator[None]:
        """A block in which a command may change deployments; no ending settles one meanwhile."""
        async with self._changing:
            try:
                yield
            except FaultError:
                self.distrust()
                raise

    def distrust(self) -> None:
        """What was read may not be what is stored: everything is read anew before it is used."""
        self._is_stale = True
        self._records.nodes_concerned.set()

    async def mark_reconnected(self) -> None:
        """Writes may have been made that were never acknowledged."""
        self.distrust()

    def observation(self) -> Observation:
        """What is known of the nodes now."""
        records = self._records
        return Observation(records.fleet, records.observed, records.silence, self.conflicts)

    async def tell_nodes(self) -> None:
        """Every node's desired record is what follows from the deployments.

        Raises:
            FaultError: Some could not be written.
        """
        if self._is_stale:
            await self._records.reread()
            self._is_stale = False
        while True:
            with self._telling.thinking():
                fleet = self._records.fleet
                derived = derive_desired(fleet)
                self._records.known = derived.known
                self._log_new(derived.conflicts)
                self._log_stays(self._stays_now(fleet, derived.known))
                self.conflicts = derived.conflicts
            if await self._records.tell(derived.changed):
                break
        for node in derived.changed.values():
            _log.info("node_told", node=node.node, generation=node.generation)
        self._records.endings_concerned.set()
        self._records.rollouts_concerned.set()

    async def say_all(self) -> None:
        """Endings, and where deployments stand with the licence policy, are said once each.

        Raises:
            FaultError: An event could not be stored, or a record.
        """
        await self.say_endings()
        await self.say_standings()

    async def say_standings(self) -> None:
        """Every deployment that came to break licence rules without a waiver has its event, once.

        Raises:
            FaultError: An event could not be stored, or a record.
        """
        with self._ending.thinking():
            fleet = self._records.fleet
        for name, record in fleet.deployments.items():
            with self._ending.thinking():
                change = standing_change(record, fleet)
            if change is None:
                continue
            audience = fleet.audiences.of(record.space)
            await self._outbox.emit(change.body, event_id=change.event_id, audience=audience)
            _log.warning("licence_standing", deployment=name, **change.body.details)
            async with self._changing:
                if self._records.fleet.deployments[name] == record:
                    await self._records.rewrite_deployment(change.record)
                else:
                    self._records.endings_concerned.set()

    async def say_endings(self) -> None:
        """Every command that is over has its event, once.

        Raises:
            FaultError: An event could not be stored, or a record.
        """
        with self._ending.thinking():
            fleet = self._records.fleet
        for record in fleet.deployments.values():
            if not record.unfinished:
                continue
            with self._ending.thinking():
                over = self._endings(record, fleet)
            audience = fleet.audiences.of(record.space)
            for ending in over:
                await self._outbox.emit(ending.body, event_id=ending.event_id, audience=audience)
                _log.info(
                    "deployment_complete",
                    deployment=record.key,
                    outcome=ending.body.outcome,
                    command_id=ending.command_id,
                )
            if over:
                async with self._changing:
                    await self._settle(record.key, [ending.command_id for ending in over])

    def _endings(self, record: DeploymentRecord, fleet: Fleet) -> list[Ending]:
        """Looks first where the newest command was waited for last."""
        observed, conflicts = self._records.observed, self.conflicts
        if record.unfinished == (record.command_id,):
            since = self._waits_for.pop(record.key, "")
            found = pending_node(record, fleet, observed, conflicts, since=since)
            if found:
                self._waits_for[record.key] = found
                return []
        return endings(record, fleet, observed, conflicts)

    async def _settle(self, key: str, command_ids: list[str]) -> None:
        """The record no longer owes these events; if it changed, another round sees to it."""
        record = self._records.fleet.deployments[key]
        if not await self._records.rewrite_deployment(settle(record, command_ids)):
            self._records.endings_concerned.set()

    async def _keep(
        self, concerned: asyncio.Event, work: Callable[[], Awaitable[None]], pace: Pace
    ) -> None:
        while True:
            await pace.rest()
            concerned.clear()
            pause_seconds = RECONCILE_SECONDS
            try:
                await work()
            except FaultError as fault:
                _log.warning("reconciliation_interrupted", why=fault.message)
                self._is_stale = True
                pause_seconds = RETRY_SECONDS
            opening_seconds = self._records.spaces.seconds_to_opening()
            if opening_seconds is not None:
                pause_seconds = min(pause_seconds, opening_seconds)
            try:
                async with asyncio.timeout(pause_seconds):
                    await concerned.wait()
            except TimeoutError:
                self._is_stale = True

    def _log_new(self, conflicts: Collection[PlaceConflict]) -> None:
        for conflict in conflicts:
            if conflict not in self.conflicts:
                _log.warning(
                    "place_contested",
                    node=conflict.node,
                    interface=conflict.interface,
                    hook=conflict.hook,
                    order=conflict.order,
                    holder=conflict.holder,
                    left_out=conflict.left_out,
                )

    def _stays_now(self, fleet: Fleet, known: Derivation) -> frozenset[Stay]:
        """Everything that runs where it could not be put now; only what changed is looked at."""
        for node in known.renewed:
            found = frozenset(stays(fleet, nodes=(fleet.nodes[node],)))
            if found:
                self._stays_by_node[node] = found
            else:
                self._stays_by_node.pop(node, None)
        return frozenset(one for found in self._stays_by_node.values() for one in found)

    def _log_stays(self, found: frozenset[Stay]) -> None:
        for one in sorted(found - self._stays):
            _log.warning("requirement_lost", deployment=one.deployment, node=one.node, why=one.why)
        self._stays = found
