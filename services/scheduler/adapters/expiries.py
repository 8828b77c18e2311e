# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Acts when the time of a deployment is over, or of a waiver that it runs by the grace of.

Level-triggered: it looks at what runs when a deployment, a waiver or the rollout policy changed,
when the next one ends, and from time to time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Final

import structlog

from services.scheduler import waiver_end
from services.scheduler.adapters.fleet_records import FleetRecords
from services.scheduler.execution import RECONCILE_SECONDS, RETRY_SECONDS, Execution
from services.scheduler.expiry import Expired, alarm, expired, said, seconds_to_next
from services.scheduler.waiver_end import Unwaived
from shared.adapters.bus import Bus
from shared.adapters.callers import Caller
from shared.adapters.outbox import Outbox
from shared.adapters.service_layer import Handler
from shared.contracts.scheduler import RemoveDeployment
from shared.errors import FaultError, RefusedError

_log = structlog.get_logger()


class Expiries:
    """Deployments end when they say."""

    def __init__(
        self,
        bus: Bus,
        *,
        records: FleetRecords,
        outbox: Outbox,
        execution: Execution,
        remove: Handler,
        now: Callable[[], datetime],
    ) -> None:
        """Nothing ends yet.

        Args:
            bus: The scheduler's.
            records: What runs.
            outbox: The scheduler's.
            execution: Whose lock guards records.
            remove: Serves `deployment.remove`.
            now: The scheduler's clock.
        """
        self._bus: Final = bus
        self._records: Final = records
        self._outbox: Final = outbox
        self._execution: Final = execution
        self._remove: Final = remove
        self._now: Final = now

    async def keep_acting(self) -> None:
        """For ever: when its time is over, a deployment does what it says."""
        while True:
            self._records.ends_concerned.clear()
            pause_seconds = RECONCILE_SECONDS
            try:
                await self.act()
            except FaultError as fault:
                _log.warning("expiries_not_followed", why=fault.message)
                pause_seconds = RETRY_SECONDS
            fleet, now = self._records.fleet, self._now()
            for left_seconds in (
                seconds_to_next(fleet, now=now),
                waiver_end.seconds_to_next(fleet, now=now),
            ):
                if left_seconds is not None:
                    pause_seconds = min(pause_seconds, left_seconds)
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_seconds):
                    await self._records.ends_concerned.wait()

    async def act(self) -> None:
        """Every deployment whose time is over does what it says.

        Raises:
            FaultError: Something could not be done; call again.
        """
        for one in expired(self._records.fleet, now=self._now()):
            if one.is_to_go:
                await self._end(one)
            else:
                await self._say(one)
        for unwaived in waiver_end.unwaived(self._records.fleet):
            await self._end(unwaived)

    async def _end(self, one: Expired | Unwaived) -> None:
        own = Caller(self._bus.key, self._bus.role, "", attested=False, address="")
        command = RemoveDeployment(
            name=one.record.name,
            space=one.record.space,
            if_generation=one.record.generation_now,
            command_id=one.command_id(self._now()),
            reason=one.why,
        )
        try:
            await self._remove(command, own)
        except RefusedError as error:
            _log.warning("removal_refused", deployment=one.record.key, why=error.message)
            return
        _log.info("deployment_ended", deployment=one.record.key, why=one.why)

    async def _say(self, one: Expired) -> None:
        event_id, body = alarm(one)
        audience = self._records.fleet.audiences.of(one.record.space)
        await self._outbox.emit(body, event_id=event_id, audience=audience)
        _log.warning("deployment_over", deployment=one.record.key, why=one.why)
        async with self._execution.change():
            noted = said(self._records.fleet.deployments.get(one.record.key), one)
            if noted is not None:
                await self._records.rewrite_deployment(noted)
