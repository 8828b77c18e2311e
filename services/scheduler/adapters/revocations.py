# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Acts when a version that runs somewhere is revoked.

Level-triggered: the catalog is asked from time to time what was revoked of the packages that run;
its event only makes that happen at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Final

import structlog

from services.scheduler.adapters.fleet_records import FleetRecords
from services.scheduler.adapters.neighbours import Neighbours
from services.scheduler.execution import RECONCILE_SECONDS, RETRY_SECONDS, Execution
from services.scheduler.revocation import Affected, affected, alarm, alarmed, packages_in_use
from shared.adapters.bus import Bus
from shared.adapters.callers import Caller
from shared.adapters.outbox import Outbox
from shared.adapters.service_layer import Handler
from shared.contracts.base import EVENTS
from shared.contracts.reviews import REVOKE
from shared.contracts.scheduler import ApplyDeployment, RemoveDeployment
from shared.errors import FaultError, RefusedError

_log = structlog.get_logger()


class Revocations:
    """Follows what the catalog forbids."""

    def __init__(
        self,
        bus: Bus,
        *,
        records: FleetRecords,
        neighbours: Neighbours,
        outbox: Outbox,
        execution: Execution,
        apply: Handler,
        remove: Handler,
        now: Callable[[], datetime],
    ) -> None:
        """Nothing is followed yet.

        Args:
            bus: The scheduler's.
            records: What runs.
            neighbours: The catalog among them.
            outbox: The scheduler's.
            execution: Whose lock guards records.
            apply: Serves `deployment.apply`.
            remove: Serves `deployment.remove`.
            now: The scheduler's clock.
        """
        self._bus: Final = bus
        self._records: Final = records
        self._neighbours: Final = neighbours
        self._outbox: Final = outbox
        self._execution: Final = execution
        self._apply: Final = apply
        self._remove: Final = remove
        self._now: Final = now
        self._heard: Final = asyncio.Event()
        self._heard_of = False

    async def keep_acting(self) -> None:
        """For ever: within RECONCILE_SECONDS, deployments do what they say they do."""
        while True:
            self._heard.clear()
            pause_seconds = RECONCILE_SECONDS
            try:
                await self._listen()
                await self.act()
            except FaultError as fault:
                _log.warning("revocations_not_followed", why=fault.message)
                pause_seconds = RETRY_SECONDS
            except RefusedError as error:
                # Credentials of an earlier release have no right to ask.
                _log.warning("revocations_not_permitted", why=error.message)
            try:
                async with asyncio.timeout(pause_seconds):
                    await self._heard.wait()
            except TimeoutError:
                continue

    async def act(self) -> None:
        """Every deployment that runs what is revoked does what it says.

        Raises:
            FaultError: Something could not be asked or done; call again.
        """
        packages = packages_in_use(self._records.fleet)
        revoked = await self._neighbours.find_revoked(packages)
        faults = []
        for one in affected(self._records.fleet, revoked):
            try:
                await self._act(one)
            except FaultError as fault:
                faults.append(fault)
                await self._alarm(one, fault)
        if faults:
            raise faults[0]

    async def _act(self, one: Affected) -> None:
        own = Caller(self._bus.key, self._bus.role, "", attested=False, address="")
        command_id, why = one.command_id(self._now()), one.why
        said = {"deployment": one.record.key, "way": one.way, "why": why}
        if one.way == "alarm":
            await self._alarm(one)
            return
        try:
            if one.way == "stop":
                stop = RemoveDeployment(
                    name=one.record.name,
                    space=one.record.space,
                    command_id=command_id,
                    reason=why,
                )
                await self._remove(stop, own)
            else:
                spec = one.replacement
                await self._neighbours.resolve(
                    spec.package, spec.version, spec.channel, space=spec.space
                )
                apply = ApplyDeployment(spec=spec, command_id=command_id, reason=why)
                await self._apply(apply, own)
        except RefusedError as error:
            await self._alarm(one, error)
            return
        _log.warning("revocation_followed", **said)

    async def _alarm(self, one: Affected, error: RefusedError | FaultError | None = None) -> None:
        """It is said once that something runs which must not."""
        if one.is_alarmed:
            return
        event_id, body = alarm(one, reasons=error.reasons if error else ())
        audience = self._records.fleet.audiences.of(one.record.space)
        await self._outbox.emit(body, event_id=event_id, audience=audience)
        _log.error("revoked_version_runs", deployment=one.record.key, why=one.why)
        async with self._execution.change():
            noted = alarmed(self._records.fleet.deployments.get(one.record.key), one)
            if noted is not None and not await self._records.rewrite_deployment(noted):
                self._heard.set()

    async def _listen(self) -> None:
        if self._heard_of:
            return
        subject = f"{EVENTS}.*.catalog.{REVOKE}"
        await self._bus.subscribe(subject, self._on_revoked)
        self._heard_of = True

    async def _on_revoked(self, _subject: str, _data: bytes) -> None:
        self._heard.set()
