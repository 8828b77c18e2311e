# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Waivers on the bus: asked for, granted, revoked, listed, and their ends said in time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

import structlog

from services.catalog.adapters.packages import Packages
from services.catalog.adapters.watching import WATCH_SECONDS, keep_looking
from services.catalog.publication import check_has_name
from services.catalog.spacing import unknown_space
from services.catalog.waiver_notices import Saying, sayings, told
from services.catalog.waiving import (
    Asker,
    granted_waiver,
    listed_waivers,
    requested_waiver,
    revoked_waiver,
    waiver_event,
)
from shared.adapters.bus import Bus
from shared.adapters.callers import Caller
from shared.adapters.kv import KeyValue, RevisionConflictError
from shared.adapters.outbox import Outbox
from shared.adapters.service_layer import Handler
from shared.adapters.spaces import KnownSpaces
from shared.contracts.base import Endpoint, Message
from shared.contracts.events import PUBLIC, Audience
from shared.contracts.waivers import (
    GRANT_WAIVER,
    LICENCE_WAIVERS,
    LIST_WAIVERS,
    REQUEST_WAIVER,
    REVOKE_WAIVER,
    GrantWaiver,
    ListWaivers,
    RequestWaiver,
    RevokeWaiver,
    Waiver,
    WaiverGranted,
    WaiverList,
    WaiverRequested,
    WaiverRevoked,
)
from shared.errors import RefusedError
from shared.licensing.waivers import Notice, due_notices, in_force
from shared.outbox_records import Change, Decision, ReplyT

_log = structlog.get_logger()


class Waivers:
    """Every waiver; commands change them through the outbox."""

    def __init__(
        self,
        bus: Bus,
        packages: Packages,
        outbox: Outbox,
        *,
        spaces: KnownSpaces,
        now: Callable[[], datetime],
    ) -> None:
        self._bucket: Final[KeyValue[Waiver]] = bus.bucket(LICENCE_WAIVERS)
        self._packages: Final = packages
        self._outbox: Final = outbox
        self._spaces: Final = spaces
        self._now: Final = now
        self._concerned: Final = asyncio.Event()
        self._request: Final = outbox.command(
            REQUEST_WAIVER, self.request, concerned=self._told_of_request
        )
        self._grant: Final = outbox.command(GRANT_WAIVER, self.grant, concerned=self._told_to)
        self._revoke: Final = outbox.command(REVOKE_WAIVER, self.revoke, concerned=self._told_to)

    def endpoints(self) -> dict[Endpoint[Any, Any], Handler]:
        """What is served, and by which method."""
        return {
            REQUEST_WAIVER: self._by_name(self._request),
            GRANT_WAIVER: self._by_name(self._grant),
            REVOKE_WAIVER: self._by_name(self._revoke),
            LIST_WAIVERS: self.list_waivers,
        }

    async def request(
        self, request: RequestWaiver, caller: Caller, command_id: str, now: datetime
    ) -> Decision[WaiverRequested]:
        """The waiver waits to be granted, or the refusal why not."""
        if not await self._spaces.sees(caller.name, request.scope.space):
            raise unknown_space(request.scope.space)
        sequence = (await self._bucket.snapshot()).sequence
        waiver = requested_waiver(request, _asker(caller), command_id=command_id, now=now)
        reply = WaiverRequested(
            command_id=command_id, waiver=waiver.id, expires_at=waiver.expires_at
        )
        return self._decided(reply, "waiver.request", None, waiver, sequence)

    async def grant(
        self, request: GrantWaiver, caller: Caller, command_id: str, now: datetime
    ) -> Decision[WaiverGranted]:
        """The waiver is in force, or the refusal why not."""
        before, sequence = await self._known(request.waiver, caller)
        waiver = granted_waiver(before, request, _asker(caller), command_id=command_id, now=now)
        reply = WaiverGranted(command_id=command_id, waiver=waiver.id, expires_at=waiver.expires_at)
        return self._decided(reply, "waiver.grant", before, waiver, sequence)

    async def revoke(
        self, request: RevokeWaiver, caller: Caller, command_id: str, now: datetime
    ) -> Decision[WaiverRevoked]:
        """The waiver is in force no more, or the refusal why not."""
        before, sequence = await self._known(request.waiver, caller)
        waiver = revoked_waiver(before, request, _asker(caller), command_id=command_id, now=now)
        reply = WaiverRevoked(command_id=command_id, waiver=waiver.id)
        return self._decided(reply, "waiver.revoke", before, waiver, sequence)

    async def list_waivers(self, request: ListWaivers, caller: Caller) -> WaiverList:
        """By expiry; only those of spaces that the caller sees."""
        seen = self._spaces.visible_to(caller.name)
        entries = await self._bucket.entries()
        waivers = [entry.value for entry in entries if entry.value.scope.space in seen]
        views = listed_waivers(
            waivers, glob=request.package, with_ended=request.ended, now=self._now()
        )
        return WaiverList(waivers=views)

    async def in_force(self) -> tuple[Waiver, ...]:
        """Those that let something through now; none if they cannot be read."""
        try:
            entries = await self._bucket.entries()
        except RefusedError as error:
            # Credentials of an earlier release have no right to read them.
            _log.warning("waivers_not_read", why=error.message)
            return ()
        return in_force((entry.value for entry in entries), now=self._now())

    async def keep_saying(self) -> None:
        """For ever: what is due is said, within WATCH_SECONDS or right after a command."""
        await keep_looking(self._say_due, self._concerned, what="waivers")

    async def _say_due(self) -> float:
        await self.say_due()
        return WATCH_SECONDS

    async def say_due(self) -> None:
        """Everything that is due is said, once, whoever died before.

        Raises:
            FaultError: Something could not be said or noted; call again.
        """
        now = self._now()
        entries = await self._bucket.entries()
        waivers = {entry.value.id: entry for entry in entries}
        for notice in due_notices([entry.value for entry in entries], now=now):
            entry = waivers[notice.waiver]
            package = entry.value.scope.package
            held = await self._packages.read(package, self._packages.every_space)
            standing = in_force((one.value for one in entries), now=now)
            records = [part.record for part in held.parts]
            for saying in sayings(notice, entry.value, records=records, in_force=standing, now=now):
                await self._say(saying, notice)
            await self._note(notice)

    async def _say(self, saying: Saying, notice: Notice) -> None:
        audience = self._spaces.audience_now(saying.space)
        await self._outbox.emit(saying.body, event_id=saying.event_id, audience=audience)
        _log.info("waiver_notice", waiver=notice.waiver, kind=notice.kind, event_id=saying.event_id)

    async def _note(self, notice: Notice) -> None:
        """The record says that it was said; if it moved meanwhile, the next round writes it."""
        entry = await self._bucket.get(notice.waiver)
        if entry is None or notice.kind in entry.value.told:
            return
        try:
            await self._bucket.update(
                notice.waiver, told(entry.value, notice), revision=entry.revision
            )
        except RevisionConflictError:
            self._concerned.set()

    def _by_name(self, handler: Handler) -> Handler:
        async def perform(request: Any, caller: Caller) -> Message:
            check_has_name(caller.name)
            try:
                return await handler(request, caller)
            finally:
                self._concerned.set()

        return perform

    async def _known(self, waiver: str, caller: Caller) -> tuple[Waiver | None, int]:
        """The waiver, if there is one that the caller sees."""
        snapshot = await self._bucket.snapshot()
        entry = snapshot.entries.get(waiver)
        seen = self._spaces.visible_to(caller.name)
        found = entry.value if entry and entry.value.scope.space in seen else None
        return found, snapshot.sequence

    def _decided(
        self,
        reply: ReplyT,
        action: str,
        before: Waiver | None,
        waiver: Waiver,
        sequence: int,
    ) -> Decision[ReplyT]:
        """The waiver becomes what it is now, and that is said to those who see it."""
        return Decision(
            reply=reply,
            change=Change(LICENCE_WAIVERS, waiver.id, waiver, sequence),
            events=(waiver_event(action, waiver, before),),
            audience=self._spaces.audience_now(waiver.scope.space),
        )

    async def _told_of_request(self, request: RequestWaiver, caller: Caller) -> Audience:
        return self._spaces.concerned(request.scope.space, caller.name)

    async def _told_to(self, request: GrantWaiver | RevokeWaiver, caller: Caller) -> Audience:
        entry = await self._bucket.get(request.waiver)
        space = entry.value.scope.space if entry else PUBLIC
        return self._spaces.concerned(space, caller.name)


def _asker(caller: Caller) -> Asker:
    return Asker(caller.actor(), caller.name)
