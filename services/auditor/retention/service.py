# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Places, releases and shows legal holds."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, Final

from services.auditor.retention.holds import (
    HOLD_ACTIONS,
    KeptHolds,
    check_place,
    check_release,
    holds_of,
    placed_event,
    released_event,
)
from services.auditor.sight import SeenSpaces, Sight
from services.auditor.store import LogStore
from shared.adapters.callers import Caller
from shared.adapters.outbox import Outbox
from shared.adapters.service_layer import Handler
from shared.contracts.base import Endpoint
from shared.contracts.events import PUBLIC, Audience
from shared.contracts.holds import (
    LIST_HOLDS,
    PLACE_HOLD,
    RELEASE_HOLD,
    HoldPlaced,
    HoldReleased,
    HoldsShown,
    ListHolds,
    PlaceHold,
    ReleaseHold,
)
from shared.outbox_records import Decision


async def read_holds(log: LogStore) -> KeptHolds:
    """The holds that the log speaks of; what it has recorded holds."""
    return holds_of(await log.of_actions(HOLD_ACTIONS, emitter="auditor"))


class HoldDesk:
    """Answers and changes what is held."""

    def __init__(
        self,
        log: LogStore,
        outbox: Outbox,
        spaces: SeenSpaces,
        *,
        recorded: Callable[[], Awaitable[None]],
    ) -> None:
        """Nothing is served yet.

        Args:
            log: Whose records are held.
            outbox: Of the auditor.
            spaces: Who sees what.
            recorded: Returns when everything that the stream holds by now is in the log.
        """
        self._log: Final = log
        self._spaces: Final = spaces
        self._sight: Final = Sight(log, spaces)
        self._recorded: Final = recorded
        self._place: Final = outbox.command(
            PLACE_HOLD, self._decide_place, concerned=self._told_of_place
        )
        self._release: Final = outbox.command(RELEASE_HOLD, self._decide_release)

    def endpoints(self) -> dict[Endpoint[Any, Any], Handler]:
        """What is served, and by which method."""
        return {
            PLACE_HOLD: self.place,
            RELEASE_HOLD: self.release,
            LIST_HOLDS: self.list_holds,
        }

    async def place(self, command: PlaceHold, caller: Caller) -> HoldPlaced:
        """The records are held when this returns."""
        reply = await self._place(command, caller)
        assert isinstance(reply, HoldPlaced)
        await self._recorded()
        return reply

    async def release(self, command: ReleaseHold, caller: Caller) -> HoldReleased:
        """The hold is over when this returns."""
        reply = await self._release(command, caller)
        assert isinstance(reply, HoldReleased)
        await self._recorded()
        return reply

    async def list_holds(self, request: ListHolds, caller: Caller) -> HoldsShown:
        """The holds that were told to an audience that the caller sees."""
        kept = await read_holds(self._log)
        seen = await self._sight.of(caller.name)
        return HoldsShown(
            holds=tuple(
                one
                for one in kept.shown
                if one.audience in seen and (request.released or one.released_record is None)
            )
        )

    async def _decide_place(
        self, command: PlaceHold, caller: Caller, command_id: str, _: datetime
    ) -> Decision[HoldPlaced]:
        kept = await read_holds(self._log)
        audience = await self._told_of_place(command, caller)
        closed = self._spaces.visible_to(caller.name) - self._spaces.open_to_all()
        check_place(command, kept, sees_spaces=bool(closed))
        body = placed_event(
            command_id,
            command.selection,
            actor=caller.actor(),
            reason=command.reason,
            command_id=command_id,
        )
        reply = HoldPlaced(command_id=command_id, hold=command_id)
        return Decision(reply=reply, events=(body,), audience=audience)

    async def _told_of_place(self, command: PlaceHold, caller: Caller) -> Audience:
        """Members of the space that is selected, if the caller is one; else everybody."""
        space = command.selection.space
        if space and space != PUBLIC and await self._spaces.sees(caller.name, space):
            return self._spaces.audience_now(space)
        return PUBLIC

    async def _decide_release(
        self, command: ReleaseHold, caller: Caller, command_id: str, _: datetime
    ) -> Decision[HoldReleased]:
        kept = await read_holds(self._log)
        seen = await self._sight.of(caller.name)
        hold = check_release(kept, command.hold, by=caller.key, seen=seen)
        body = released_event(
            hold, actor=caller.actor(), reason=command.reason, command_id=command_id
        )
        reply = HoldReleased(command_id=command_id, hold=hold.id)
        audience = self._spaces.audience_now(hold.audience)
        return Decision(reply=reply, events=(body,), audience=audience)
