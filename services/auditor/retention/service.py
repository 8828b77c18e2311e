# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Answers how long records are kept and what is held, changes it, and prunes once a day."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import structlog

from services.auditor.retention.execution import Pruner, read_holds
from services.auditor.retention.holds import (
    check_place,
    check_release,
    placed_event,
    released_event,
)
from services.auditor.retention.remains import Pruning
from services.auditor.retention.rules import check_archive, next_rules, rules_event
from services.auditor.sight import SeenSpaces, Sight
from services.auditor.store import LogStore, SupersededError
from shared.adapters.callers import Caller
from shared.adapters.exception_groups import beside
from shared.adapters.kv import KeyValue
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
from shared.contracts.retention import (
    GET_RETENTION,
    LIST_SEGMENTS,
    PRUNE_RECORDS,
    RETENTION,
    RETENTION_KEY,
    SET_RETENTION,
    GetRetention,
    ListSegments,
    PruneRecords,
    RecordsPruned,
    RetentionRecord,
    RetentionRules,
    RetentionSet,
    RetentionShown,
    SegmentShown,
    SegmentsShown,
    SetRetention,
)
from shared.errors import FaultError, RefusedError
from shared.moments import render_time
from shared.outbox_records import Change, Decision

SEGMENTS_AT_ONCE: Final = 50
DAY: Final = timedelta(days=1)
PAUSE_SECONDS: Final = 60.0
"""Between two looks at whether it is time."""

_log = structlog.get_logger()


class RetentionDesk:
    """Answers how long records are kept, changes it, and prunes."""

    def __init__(
        self,
        pruner: Pruner,
        bucket: KeyValue[RetentionRecord],
        outbox: Outbox,
        sight: Sight,
    ) -> None:
        """Nothing is served yet."""
        self._pruner: Final = pruner
        self._bucket: Final = bucket
        self._sight: Final = sight
        self._set: Final = outbox.command(SET_RETENTION, self._decide)

    def endpoints(self) -> dict[Endpoint[Any, Any], Handler]:
        """What is served, and by which method."""
        return {
            GET_RETENTION: self.get_retention,
            SET_RETENTION: self.set_retention,
            PRUNE_RECORDS: self.prune,
            LIST_SEGMENTS: self.list_segments,
        }

    async def get_retention(self, _: GetRetention, __: Caller) -> RetentionShown:
        """The rules in force."""
        entry = await self._bucket.get(RETENTION_KEY)
        if entry is None:
            return RetentionShown(retention=RetentionRules())
        record = entry.value
        return RetentionShown(
            retention=record.retention,
            generation=record.generation,
            actor_key=record.actor_key,
            actor_role=record.actor_role,
            at=record.at,
            reason=record.reason,
        )

    async def set_retention(self, command: SetRetention, caller: Caller) -> RetentionSet:
        """The rules are these, or the refusal why not."""
        reply = await self._set(command, caller)
        assert isinstance(reply, RetentionSet)
        return reply

    async def prune(self, request: PruneRecords, caller: Caller) -> RecordsPruned:
        """The next records that the rules let go of are pruned."""
        if not request.dry_run:
            await self._pruner.finish()
        done = await self._pruner.prune(
            await self._rules(),
            now=datetime.now(UTC),
            position=request.position,
            dry_run=request.dry_run,
            actor=caller.actor(),
            reason=request.reason,
        )
        seen = await self._sight.of(caller.name)
        by_rule: Counter[str] = Counter()
        for (rule, audience), count in done.counts.items():
            by_rule[rule] += count if audience in seen else 0
        return RecordsPruned(
            by_rule=dict(+by_rule),
            held=sum(count for audience, count in done.held.items() if audience in seen),
            examined=done.examined,
            tree_size=done.tree_size,
            position=done.position,
        )

    async def list_segments(self, request: ListSegments, caller: Caller) -> SegmentsShown:
        """A page of what was archived; each file is read for it."""
        seen = await self._sight.of(caller.name)
        every = await self._pruner.archived(seen, after=request.after)
        found = [await self._shown(one) for one in every[:SEGMENTS_AT_ONCE]]
        is_all = len(every) <= SEGMENTS_AT_ONCE
        return SegmentsShown(segments=tuple(found), next=None if is_all else found[-1].record)

    async def _shown(self, pruning: Pruning) -> SegmentShown:
        return SegmentShown(
            name=pruning.segment,
            sha256=pruning.segment_sha256,
            rule=pruning.rule,
            record=pruning.record,
            at=pruning.at,
            records=pruning.count,
            first=pruning.ranges[0][0],
            last=pruning.ranges[-1][1],
            problem=await self._pruner.segment_problem(pruning),
        )

    async def keep_up(self) -> None:
        """Never returns: once a day everything is pruned that is due, if the rules say so.

        What somebody said and did not do is done at the start, whatever the rules say by now.
        """
        due = datetime.now(UTC)
        while True:
            try:
                if datetime.now(UTC) >= due:
                    await self._pruner.finish()
                    await self._prune_all()
                    due = datetime.now(UTC) + DAY
            except SupersededError:
                raise
            except FaultError as error:
                _log.warning("pruning_delayed", why=error.message)
            except RefusedError as error:  # credentials of an earlier release
                _log.warning("nothing_is_pruned", why=error.message)
                due = datetime.now(UTC) + DAY
            await asyncio.sleep(PAUSE_SECONDS)

    async def _prune_all(self) -> None:
        rules, position = await self._rules(), 0
        while rules.daily:
            done = await self._pruner.prune(
                rules, now=datetime.now(UTC), position=position, reason="daily"
            )
            if done.position is None:
                return
            position = done.position

    async def _rules(self) -> RetentionRules:
        entry = await self._bucket.get(RETENTION_KEY)
        return entry.value.retention if entry is not None else RetentionRules()

    async def _decide(
        self, command: SetRetention, caller: Caller, command_id: str, now: datetime
    ) -> Decision[RetentionSet]:
        entry = await self._bucket.get(RETENTION_KEY)
        check_archive(command.retention, has_archive=self._pruner.has_archive)
        before, revision = (entry.value, entry.revision) if entry is not None else (None, 0)
        actor = caller.actor()
        record = next_rules(
            before, command, command_id=command_id, actor=actor, at=render_time(now)
        )
        return Decision(
            reply=RetentionSet(command_id=command_id, generation=record.generation),
            change=Change(RETENTION, RETENTION_KEY, record, revision=revision),
            events=(rules_event(record, before, actor=actor),),
        )


@asynccontextmanager
async def retaining(desk: RetentionDesk) -> AsyncIterator[None]:
    """A block during which what is due is pruned."""
    async with beside(desk.keep_up()):
        yield


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
            principal=caller.name,
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
        hold = check_release(kept, command.hold, by=caller.key, principal=caller.name, seen=seen)
        body = released_event(
            hold, actor=caller.actor(), reason=command.reason, command_id=command_id
        )
        reply = HoldReleased(command_id=command_id, hold=hold.id)
        audience = self._spaces.audience_now(hold.audience)
        return Decision(reply=reply, events=(body,), audience=audience)
