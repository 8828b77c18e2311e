# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The tables of code owners on the bus: one of `public`, and one of each space that has any."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

import structlog

from services.catalog.code_ownership import changed_table, owners_event, rules_for
from services.catalog.spacing import unknown_space
from shared.adapters.bus import Bus
from shared.adapters.callers import Caller
from shared.adapters.kv import KeyValue
from shared.adapters.outbox import Outbox
from shared.adapters.service_layer import Handler
from shared.adapters.spaces import KnownSpaces
from shared.contracts.base import Endpoint
from shared.contracts.events import PUBLIC, Audience
from shared.contracts.reviews import (
    CODE_OWNERS,
    LIST_OWNERS,
    OWNERS_KEY,
    SET_OWNERS,
    ListOwners,
    OwnerList,
    OwnerRule,
    OwnersSet,
    OwnerTable,
    SetOwners,
)
from shared.errors import RefusedError
from shared.outbox_records import Change, Decision

_log = structlog.get_logger()


class Owners:
    """Who owns what; commands change it through the outbox."""

    def __init__(self, bus: Bus, outbox: Outbox, *, spaces: KnownSpaces) -> None:
        self._bucket: Final[KeyValue[OwnerTable]] = bus.bucket(CODE_OWNERS)
        self._spaces: Final = spaces
        self._set: Final = outbox.command(SET_OWNERS, self.set_owners, concerned=self._told_to)

    def endpoints(self) -> dict[Endpoint[Any, Any], Handler]:
        """What is served, and by which method."""
        return {SET_OWNERS: self._set, LIST_OWNERS: self.list_owners}

    async def set_owners(
        self, request: SetOwners, caller: Caller, command_id: str, _now: datetime
    ) -> Decision[OwnersSet]:
        """The table of the space has the rule, or not any more."""
        if not await self._spaces.sees(caller.name, request.space):
            raise unknown_space(request.space)
        snapshot = await self._bucket.snapshot()
        key = _key_of(request.space)
        entry = snapshot.entries.get(key)
        before = entry.value if entry else None
        table = changed_table(before, request, command_id=command_id)
        return Decision(
            reply=OwnersSet(command_id=command_id, rules=table.rules),
            change=Change(CODE_OWNERS, key, table, snapshot.sequence),
            events=(owners_event(request, before, table),),
            audience=self._spaces.audience_now(request.space),
        )

    async def list_owners(self, request: ListOwners, caller: Caller) -> OwnerList:
        """In the order in which they were set, space by space; only what the caller sees."""
        seen = self._spaces.visible_to(caller.name)
        rules = await self._rules([PUBLIC, *sorted(seen - {PUBLIC})])
        return OwnerList(rules=rules_for(request.package, rules) if request.package else rules)

    async def rules(self, space: Audience) -> tuple[OwnerRule, ...]:
        """Those of now for the versions of a space; none if they cannot be read."""
        return await self._rules([PUBLIC, space] if space != PUBLIC else [PUBLIC])

    async def _rules(self, spaces: Iterable[Audience]) -> tuple[OwnerRule, ...]:
        try:
            entries = (await self._bucket.snapshot()).entries
        except RefusedError as error:
            # Credentials of an earlier release have no right to read them.
            _log.warning("owners_not_read", why=error.message)
            return ()
        tables = (entries.get(_key_of(space)) for space in spaces)
        return tuple(rule for table in tables if table for rule in table.value.rules)

    async def _told_to(self, request: SetOwners, caller: Caller) -> Audience:
        return self._spaces.concerned(request.space, caller.name)


def _key_of(space: Audience) -> str:
    return OWNERS_KEY if space == PUBLIC else space
