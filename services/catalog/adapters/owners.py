# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The table of code owners on the bus."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

import structlog

from services.catalog.code_ownership import changed_table, owners_event, rules_for
from shared.adapters.bus import Bus
from shared.adapters.callers import Caller
from shared.adapters.kv import KeyValue
from shared.adapters.outbox import Outbox
from shared.adapters.service_layer import Handler
from shared.contracts.base import Endpoint
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
    """One table for the whole installation; commands change it through the outbox."""

    def __init__(self, bus: Bus, outbox: Outbox) -> None:
        self._bucket: Final[KeyValue[OwnerTable]] = bus.bucket(CODE_OWNERS)
        self._set: Final = outbox.command(SET_OWNERS, self.set_owners)

    def endpoints(self) -> dict[Endpoint[Any, Any], Handler]:
        """What is served, and by which method."""
        return {SET_OWNERS: self._set, LIST_OWNERS: self.list_owners}

    async def set_owners(
        self, request: SetOwners, _caller: Caller, command_id: str, _now: datetime
    ) -> Decision[OwnersSet]:
        """The table has the rule, or not any more."""
        snapshot = await self._bucket.snapshot()
        entry = snapshot.entries.get(OWNERS_KEY)
        before = entry.value if entry else None
        table = changed_table(before, request, command_id=command_id)
        return Decision(
            reply=OwnersSet(command_id=command_id, rules=table.rules),
            change=Change(CODE_OWNERS, OWNERS_KEY, table, snapshot.sequence),
            events=(owners_event(request, before),),
        )

    async def list_owners(self, request: ListOwners, _caller: Caller) -> OwnerList:
        """In the order in which they were set."""
        rules = await self.rules()
        return OwnerList(rules=rules_for(request.package, rules) if request.package else rules)

    async def rules(self) -> tuple[OwnerRule, ...]:
        """Those of now; none if they cannot be read."""
        try:
            entry = await self._bucket.get(OWNERS_KEY)
        except RefusedError as error:
            # Credentials of an earlier release have no right to read them.
            _log.warning("owners_not_read", why=error.message)
            return ()
        return entry.value.rules if entry else ()
