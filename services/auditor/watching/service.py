# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Answers what is watched for, and changes it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from services.auditor.watching.execution import WatchedLog
from services.auditor.watching.rules import DEFAULT_RULES, next_rules, rules_event
from shared.adapters.callers import Caller
from shared.adapters.outbox import Outbox
from shared.adapters.service_layer import Handler
from shared.contracts.base import Endpoint
from shared.contracts.watching import (
    GET_WATCH_RULES,
    RULES_KEY,
    SET_WATCH_RULES,
    WATCH_RULES,
    GetWatchRules,
    SetWatchRules,
    WatchRulesSet,
    WatchRulesShown,
)
from shared.moments import render_time
from shared.outbox_records import Change, Decision


class WatchDesk:
    """Answers and changes what is watched for."""

    def __init__(self, watched: WatchedLog, outbox: Outbox) -> None:
        """Nothing is served yet."""
        self._watched: Final = watched
        self._set: Final = outbox.command(SET_WATCH_RULES, self._decide)

    def endpoints(self) -> dict[Endpoint[Any, Any], Handler]:
        """What is served, and by which method."""
        return {GET_WATCH_RULES: self.get_rules, SET_WATCH_RULES: self.set_rules}

    async def get_rules(self, _: GetWatchRules, __: Caller) -> WatchRulesShown:
        """The rules in force."""
        record = self._watched.record
        if record is None:
            return WatchRulesShown(watch=DEFAULT_RULES, behind=self._watched.behind)
        return WatchRulesShown(
            watch=record.watch,
            generation=record.generation,
            actor_key=record.actor_key,
            actor_role=record.actor_role,
            at=record.at,
            reason=record.reason,
            behind=self._watched.behind,
        )

    async def set_rules(self, command: SetWatchRules, caller: Caller) -> WatchRulesSet:
        """The rules are these, or the refusal why not; in force when this returns."""
        reply = await self._set(command, caller)
        assert isinstance(reply, WatchRulesSet)
        await self._watched.reread()
        return reply

    async def _decide(
        self, command: SetWatchRules, caller: Caller, command_id: str, now: datetime
    ) -> Decision[WatchRulesSet]:
        stored, actor = await self._watched.stored(), caller.actor()
        before = stored.value if stored is not None else None
        revision = stored.revision if stored is not None else 0
        record = next_rules(
            before, command, command_id=command_id, actor=actor, at=render_time(now)
        )
        return Decision(
            reply=WatchRulesSet(command_id=command_id, generation=record.generation),
            change=Change(WATCH_RULES, RULES_KEY, record, revision=revision),
            events=(rules_event(record, before, actor=actor),),
        )
