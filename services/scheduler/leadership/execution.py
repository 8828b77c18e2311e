# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Waits for the lead, leads for as long as the lease is renewed, and waits again.

Whoever leads starts from what is stored, over a connection that ends with the lead: nothing that
an earlier lead read, or was about to do, outlives it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Final

import msgspec
import structlog

from services.scheduler.leadership.adapters.instances import Instance
from services.scheduler.leadership.adapters.lease_records import STANDBY_SECONDS, LeaseRecords
from services.scheduler.leadership.lease import (
    LOOK_SECONDS,
    RENEW_SECONDS,
    Sight,
    Why,
    blurred,
    free_because,
    is_fresh,
    is_led_by,
    look,
    next_token,
)
from shared.adapters.callers import Caller
from shared.adapters.exception_groups import plain_task_group
from shared.adapters.fencing import FenceLostError
from shared.adapters.kv import RevisionConflictError
from shared.contracts.events import EventBody
from shared.contracts.leadership import LEADER_TAKE, GetLeader, Leader, Lease, Standby
from shared.errors import FaultError
from shared.moments import render_time

LEAVE_SECONDS: Final = 2.0
"""How long an end waits for a bus that does not answer."""
STANDING_BY_SECONDS: Final = STANDBY_SECONDS / 3

_log = structlog.get_logger()


class Lead:
    """One process's lead, from taking the lease to its end."""

    def __init__(
        self, records: LeaseRecords, lease: Lease, *, why: Why, before: Lease | None
    ) -> None:
        self.lease: Final = lease
        self.lost: Final = asyncio.Event()
        """Set once another process has the lease."""
        self._records: Final = records
        self._why: Final = why
        self._before: Final = before
        self._confirmed = 0.0
        self._revision = 0
        self._news = asyncio.Event()

    @property
    def take_id(self) -> str:
        """Of the event that says `taken`."""
        return f"{LEADER_TAKE}-{self.lease.token}"

    @property
    def taken(self) -> EventBody:
        """What the audit log is told."""
        details = {
            "token": self.lease.token,
            "instance": self.lease.instance,
            "host": self.lease.host,
            "why": self._why,
        }
        if self._before is not None:
            details |= {"before": self._before.instance, "before_host": self._before.host}
        return EventBody(action=LEADER_TAKE, outcome="succeeded", details=details)

    async def get_leader(self, _request: GetLeader, _caller: Caller) -> Leader:
        """This process, and the others."""
        lease = self.lease
        return Leader(
            token=lease.token,
            instance=lease.instance,
            host=lease.host,
            pid=lease.pid,
            at=lease.at,
            standbys=await self._records.standbys(),
        )

    async def admit(self) -> bool:
        """Whether this process is the one to answer; waits until that is certain."""
        while not self.lost.is_set():
            if is_fresh(self._confirmed, now=_now()):
                return True
            await self._news.wait()
        return False

    async def take(self, *, revision: int) -> None:
        """The lease is this process's.

        Raises:
            RevisionConflictError: Somebody else was faster.
            FaultError: It may be, or not.
        """
        sent = _now()
        self._revision = await self._records.write(self.lease, revision=revision)
        self._confirmed = sent

    async def keep(self) -> None:
        """Renews the lease until it is lost."""
        renewals = 0
        while not self.lost.is_set():
            await asyncio.sleep(RENEW_SECONDS)
            renewals += 1
            try:
                await self._renew(msgspec.structs.replace(self.lease, renewals=renewals))
            except (RevisionConflictError, FaultError) as error:
                _log.warning("lease_not_renewed", token=self.lease.token, why=error.message)
            self._news.set()
            self._news = asyncio.Event()

    async def release(self) -> None:
        """The lease is free, if it was still this process's."""
        released = msgspec.structs.replace(self.lease, released=True)
        try:
            async with asyncio.timeout(LEAVE_SECONDS):
                await self._records.write(released, revision=self._revision)
        except (RevisionConflictError, FaultError, TimeoutError) as error:
            _log.warning("lease_not_released", token=self.lease.token, why=str(error))

    async def _renew(self, lease: Lease) -> None:
        sent = _now()
        try:
            self._revision = await self._records.write(lease, revision=self._revision)
        except RevisionConflictError:
            stored = await self._records.read()
            if stored is not None and not is_led_by(stored.value, lease.token, lease.instance):
                _log.warning("lease_lost", token=lease.token, to=stored.value.instance)
                self.lost.set()
                return
            # Deleted, gone with the server's memory, or written by us unheard.
            self._revision = await self._records.write(
                lease, revision=stored.revision if stored is not None else 0
            )
        self._confirmed = sent


class Candidacy:
    """A process that leads whenever no other does."""

    def __init__(self, records: LeaseRecords, instance: Instance) -> None:
        self._records: Final = records
        self._instance: Final = instance
        self._since: Final = render_time(datetime.now(UTC))
        self._listed: float | None = None

    async def turn(self, stop: asyncio.Event) -> Lead | None:
        """The lead, once it is this process's turn; None if `stop` was set before."""
        sight: Sight | None = None
        lead: Lead | None = None
        while lead is None and not stop.is_set():
            try:
                stored = await self._records.read()
                sight = look(
                    sight,
                    stored.value if stored is not None else None,
                    stored.revision if stored is not None else 0,
                    now=_now(),
                )
                lead = await self._taken(sight)
            except FaultError as fault:
                _log.warning("lease_not_read", why=fault.message)
                sight = blurred(sight, now=_now())
            if lead is None:
                await _pause(stop, LOOK_SECONDS)
        await self._unlist()
        return lead

    @asynccontextmanager
    async def kept(self, lead: Lead) -> AsyncIterator[None]:
        """A block during which the lease is renewed; it is free afterwards, if it was not lost.

        A FenceLostError ends the block as well, and the lead with it.
        """
        async with plain_task_group() as tasks:
            keeping = tasks.create_task(lead.keep())
            try:
                yield
            except FenceLostError as lost:
                lead.lost.set()
                _log.warning("lead_given_up", token=lead.lease.token, why=lost.message)
            finally:
                keeping.cancel()
        if not lead.lost.is_set():
            await lead.release()

    async def _taken(self, sight: Sight) -> Lead | None:
        """The lead, if the lease was free and is now this process's."""
        why = free_because(sight, self._instance.name, now=_now())
        if why is None:
            await self._stand_by(sight)
            return None
        lease = Lease(
            token=next_token(sight, await self._records.largest_fence()),
            instance=self._instance.name,
            host=self._instance.host,
            pid=self._instance.pid,
            at=render_time(datetime.now(UTC)),
        )
        lead = Lead(self._records, lease, why=why, before=sight.lease)
        try:
            await lead.take(revision=sight.revision)
        except RevisionConflictError:
            return None
        _log.info("lease_taken", token=lease.token, why=why)
        return lead

    async def _stand_by(self, sight: Sight) -> None:
        if self._listed is None:
            leader = sight.lease.instance if sight.lease is not None else ""
            _log.info("standing_by", leader=leader)
        elif _now() - self._listed < STANDING_BY_SECONDS:
            return
        self._listed = _now()
        await self._records.stand_by(
            Standby(
                instance=self._instance.name,
                host=self._instance.host,
                pid=self._instance.pid,
                at=self._since,
            )
        )

    async def _unlist(self) -> None:
        if self._listed is None:
            return
        self._listed = None
        try:
            async with asyncio.timeout(LEAVE_SECONDS):
                await self._records.leave_standbys(self._instance.name)
        except (FaultError, TimeoutError) as error:
            _log.warning("still_listed", why=str(error))


async def over(lead: Lead, stop: asyncio.Event, fence_lost: asyncio.Event) -> None:
    """Returns once the lead is to end: by a signal, with the lease, or by a refused write."""
    async with asyncio.TaskGroup() as tasks:
        waiting = [tasks.create_task(event.wait()) for event in (stop, lead.lost, fence_lost)]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
    if fence_lost.is_set():
        lead.lost.set()


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return


def _now() -> float:
    return asyncio.get_running_loop().time()
