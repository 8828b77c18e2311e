# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Spaces on the bus: made, changed and lifted by commands, and lifted when their time has come."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final, Protocol

import msgspec
import structlog

from services.catalog.adapters.watching import WATCH_SECONDS, keep_looking
from services.catalog.publication import check_has_name
from services.catalog.spacing import (
    Founder,
    created_space,
    lifted_space,
    opened_space,
    opening_event,
    seen_space,
    space_event,
    updated_space,
    view_of,
)
from shared.adapters.bus import Bus
from shared.adapters.callers import Caller
from shared.adapters.kv import KeyValue, RevisionConflictError
from shared.adapters.outbox import Outbox
from shared.adapters.service_layer import Handler
from shared.adapters.spaces import KnownSpaces
from shared.contracts.base import Endpoint, Message
from shared.contracts.events import PUBLIC, Audience, EventBody
from shared.contracts.spaces import (
    CREATE_SPACE,
    GET_SPACE,
    LIFT_SPACE,
    LIST_SPACES,
    SPACES,
    UPDATE_SPACE,
    CreateSpace,
    GetSpace,
    LiftSpace,
    ListSpaces,
    PackageInSpace,
    SpaceCreated,
    SpaceLifted,
    SpaceList,
    SpaceRecord,
    SpaceShown,
    SpaceUpdated,
    UpdateSpace,
)
from shared.outbox_records import Change, Decision, ReplyT
from shared.visibility import Spaces as Mapped

_log = structlog.get_logger()


class Contents(Protocol):
    """What is in spaces."""

    def versions_in(self, audience: Audience) -> tuple[PackageInSpace, ...]:
        """Of one space, by name, newest version first."""

    def twice(self, audience: Audience) -> tuple[str, ...]:
        """Those of one space that `public` has too, as `name version`."""


class Spaces:
    """Every space; commands change them through the outbox."""

    def __init__(
        self,
        bus: Bus,
        outbox: Outbox,
        *,
        known: KnownSpaces,
        contents: Contents,
        now: Callable[[], datetime],
    ) -> None:
        self._bucket: Final[KeyValue[SpaceRecord]] = bus.bucket(SPACES)
        self._outbox: Final = outbox
        self._known: Final = known
        self._contents: Final = contents
        self._now: Final = now
        self._concerned: Final = asyncio.Event()
        self._create: Final = outbox.command(CREATE_SPACE, self.create)
        self._update: Final = outbox.command(UPDATE_SPACE, self.update, concerned=self._told_to)
        self._lift: Final = outbox.command(LIFT_SPACE, self.lift, concerned=self._told_to)

    def endpoints(self) -> dict[Endpoint[Any, Any], Handler]:
        """What is served, and by which method."""
        return {
            CREATE_SPACE: self._by_name(self._create),
            UPDATE_SPACE: self._by_name(self._update),
            LIFT_SPACE: self._by_name(self._lift),
            LIST_SPACES: self.list_spaces,
            GET_SPACE: self.get_space,
        }

    async def create(
        self, request: CreateSpace, caller: Caller, command_id: str, now: datetime
    ) -> Decision[SpaceCreated]:
        """The space is there and holds nothing, or the refusal why not."""
        spaces, sequence = await self._stored()
        space = created_space(spaces, request, _founder(caller), command_id=command_id, now=now)
        reply = SpaceCreated(command_id=command_id, space=space.audience, members=space.members)
        return _decided(reply, space, space_event("space.create", space, None), sequence)

    async def update(
        self, request: UpdateSpace, caller: Caller, command_id: str, now: datetime
    ) -> Decision[SpaceUpdated]:
        """The space is as asked, or the refusal why not."""
        spaces, sequence = await self._stored()
        space = updated_space(spaces, request, _founder(caller), command_id=command_id, now=now)
        reply = SpaceUpdated(
            command_id=command_id,
            space=space.audience,
            members=space.members,
            lifts_at=space.lifts_at,
            lifts_on_release=space.lifts_on_release,
        )
        event = space_event("space.update", space, spaces[space.audience])
        return _decided(reply, space, event, sequence)

    async def lift(
        self, request: LiftSpace, caller: Caller, command_id: str, now: datetime
    ) -> Decision[SpaceLifted]:
        """Everybody sees what is in it, or the refusal why not."""
        spaces, sequence = await self._stored()
        space = lifted_space(spaces, request, _founder(caller), command_id=command_id, now=now)
        reply = SpaceLifted(command_id=command_id, space=space.audience, lifted_at=space.lifted_at)
        twice = list(self._contents.twice(space.audience))
        event = space_event("space.lift", space, spaces[space.audience], twice=twice)
        return _decided(reply, space, event, sequence, audience=PUBLIC)

    async def list_spaces(self, request: ListSpaces, caller: Caller) -> SpaceList:
        """By name; only what the caller sees."""
        now, seen = self._now(), self._known.visible_to(caller.name)
        views = [
            view_of(space, now=now)
            for audience, space in sorted(self._known.current.items())
            if audience in seen
        ]
        return SpaceList(spaces=tuple(one for one in views if request.lifted or not one.is_open))

    async def get_space(self, request: GetSpace, caller: Caller) -> SpaceShown:
        """The space and what is in it."""
        now = self._now()
        space = seen_space(self._known.current, request.space, caller.name, now=now)
        return SpaceShown(
            view=view_of(space, now=now), packages=self._contents.versions_in(space.audience)
        )

    async def keep_lifting(self) -> None:
        """For ever: what is to be lifted is lifted and said, at its time or right after a command.

        What is visible does not wait for this; that everybody was told does.
        """
        await keep_looking(self._lift_due, self._concerned, what="spaces")

    async def _lift_due(self) -> float:
        await self.lift_due()
        return self._pause_seconds()

    async def lift_due(self) -> None:
        """Every space whose moment has come is lifted and everybody told, whoever died before.

        Raises:
            FaultError: Something could not be written or said; call again.
        """
        for entry in await self._bucket.entries():
            space = entry.value
            revision = entry.revision
            opened = opened_space(space, released=self._is_released(space), now=self._now())
            if opened is not None:
                # Written before it is said, so that nobody is told of what they do not see yet.
                revision = await self._write(opened, revision)
                space = opened
            if not revision or not space.lifted_at or space.told:
                continue
            event = opening_event(space, twice=self._contents.twice(space.audience))
            await self._outbox.emit(event, event_id=f"{space.audience}.lifted")
            _log.info("space_lifted", space=space.audience, lifted_at=space.lifted_at)
            await self._write(msgspec.structs.replace(space, told=True), revision)

    def concern(self) -> None:
        """A package changed, so that a space may have to be lifted by a release."""
        if any(one.lifts_on_release and not one.told for one in self._known.current.values()):
            self._concerned.set()

    def _is_released(self, space: SpaceRecord) -> bool:
        if not space.lifts_on_release or space.lifted_at:
            return False
        versions = self._contents.versions_in(space.audience)
        return any(space.lifts_on_release in one.channels for one in versions)

    def _pause_seconds(self) -> float:
        """Until the next space opens by itself, or WATCH_SECONDS if none does earlier."""
        opening_seconds = self._known.seconds_to_opening()
        return WATCH_SECONDS if opening_seconds is None else min(WATCH_SECONDS, opening_seconds)

    async def _write(self, space: SpaceRecord, revision: int) -> int:
        """Its new revision; 0: it moved meanwhile, and the next round looks again."""
        try:
            revision = await self._bucket.update(space.audience, space, revision=revision)
        except RevisionConflictError:
            self._concerned.set()
            return 0
        await self._known.refresh()
        return revision

    async def _stored(self) -> tuple[Mapped, int]:
        """All spaces, and the bucket's sequence."""
        snapshot = await self._bucket.snapshot()
        spaces = {audience: entry.value for audience, entry in snapshot.entries.items()}
        return spaces, snapshot.sequence

    async def _told_to(self, request: UpdateSpace | LiftSpace, caller: Caller) -> Audience:
        """The space that the caller speaks of, if it is one of theirs."""
        return self._known.concerned(request.space, caller.name)

    def _by_name(self, handler: Handler) -> Handler:
        async def perform(request: Any, caller: Caller) -> Message:
            check_has_name(caller.name)
            try:
                return await handler(request, caller)
            finally:
                await self._known.refresh()
                self._concerned.set()

        return perform


def _founder(caller: Caller) -> Founder:
    return Founder(caller.actor(), caller.name)


def _decided(
    reply: ReplyT,
    space: SpaceRecord,
    event: EventBody,
    sequence: int,
    *,
    audience: Audience | None = None,
) -> Decision[ReplyT]:
    """The space becomes what it is now, and that is said to those who see it."""
    return Decision(
        reply=reply,
        change=Change(SPACES, space.audience, space, sequence),
        events=(event,),
        audience=audience or space.audience,
    )
