# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Looks at the log again and again, and says in the event stream when a condition begins or ends.

What is said goes to the stream, not to the log: it is said while the log's disk is full as well,
and waits there with everything else until there is room.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol, TypeVar

import structlog

from services.auditor.admission import Channel, Gap
from services.auditor.disclosure import RESTRICTED
from services.auditor.execution import Emitter, Heads, Recording
from services.auditor.health.alarms import (
    ALARM,
    RECOVER,
    Alarms,
    Said,
    alarm_event,
    judge,
    recorded_occurrences,
)
from services.auditor.health.clocks import ClockOffsets
from services.auditor.health.findings import (
    DiskSeen,
    Facts,
    LagMarks,
    WitnessWord,
    find,
    open_gaps,
)
from services.auditor.health.limits import Limits
from services.auditor.query import RecordQuery, StoredRecord
from services.auditor.records import (
    StreamEnd,
    parse_time_us,
    render_time_us,
    time_us_of,
    try_event,
)
from services.auditor.store import LogStore, SupersededError
from shared.adapters.exception_groups import beside
from shared.contracts.events import Event
from shared.contracts.log_heads import WitnessSeen
from shared.contracts.log_health import ConditionSeen, EmitterClock, LogHealth
from shared.errors import FaultError

GAP: Final = "log.gap"
RECORDS_LOOKED_AT: Final = 500
"""Of the newest, at each look, for the clocks; and of the gaps that were said."""
CLOCKS_TOLD: Final = 20
WEEK: Final = timedelta(days=7)
_MICROSECONDS: Final = 1_000_000

ResultT = TypeVar("ResultT")

_log = structlog.get_logger()


class Disk(Protocol):
    """Where the auditor keeps what it keeps."""

    async def look(self) -> DiskSeen:
        """As it is now."""


@dataclass(frozen=True, slots=True)
class Watched:
    """What is looked at."""

    log: LogStore
    heads: Heads
    recording: Recording
    stream_end: Callable[[], Awaitable[StreamEnd]]
    witnesses: Callable[[], Sequence[WitnessSeen]]
    disk: Disk


class Watch:
    """Knows how the log is doing."""

    def __init__(self, watched: Watched, *, emitter: Emitter, limits: Limits) -> None:
        self._watched: Final = watched
        self._emitter: Final = emitter
        self._limits: Final = limits
        self._started_at: Final = datetime.now(UTC)
        self._alarms = Alarms()
        self._unsaid: Final[list[Said]] = []
        self._marks: Final = LagMarks()
        self._clocks: Final = ClockOffsets()
        self._looked_to: int | None = None
        self._recalls_until: int | None = None
        self._is_recalled = False

    async def watch(self) -> None:
        """Never returns: what changes is said; a fault is waited out."""
        while True:
            try:
                await self._recall()
                facts = await self._look()
                self._alarms, news = judge(self._alarms, find(facts, self._limits))
                self._unsaid.extend(news)
                await self._say()
                await self._look_at_clocks(facts.now, is_prompt=facts.lag_seconds == 0)
            except SupersededError:
                raise
            except FaultError as fault:
                _log.warning("health_unknown", why=fault.message)
            await asyncio.sleep(self._limits.look_seconds)

    async def health(self) -> LogHealth:
        """As it is now."""
        facts = await self._look()
        conditions = [
            ConditionSeen(
                condition=one.condition,
                needs_attention=one.ratio is not None and one.ratio >= 1,
                is_alarm=self._alarms.stands(one.condition),
                value=one.value,
                limit=one.limit,
                unit=one.unit,
                summary=one.summary,
            )
            for one in find(facts, self._limits)
        ]
        return LogHealth(
            at=render_time_us(time_us_of(facts.now)),
            tree_size=facts.records,
            conditions=tuple(conditions),
            clocks=tuple(
                EmitterClock(emitter=one.emitter, offset_seconds=round(one.seconds, 3))
                for one in facts.clocks[:CLOCKS_TOLD]
            ),
        )

    async def _recall(self) -> None:
        """What was said before is known: from the log, and again once it holds what waited."""
        if self._is_recalled:
            return
        log = self._watched.log
        if self._recalls_until is None:
            self._recalls_until = (await self._watched.stream_end()).sequence
        is_complete = log.state.stream_sequence >= self._recalls_until
        recorded = await log.of_actions((ALARM, RECOVER), emitter="auditor")
        said = [_event(one) for one in recorded]
        self._alarms = self._alarms.recall(recorded_occurrences(filter(None, said)))
        self._is_recalled = is_complete

    async def _say(self) -> None:
        """In order; what cannot be said now is said later."""
        while self._unsaid:
            body, event_id = alarm_event(self._unsaid[0])
            await self._emitter.emit(body, event_id=event_id)
            _log.warning(body.action.replace(".", "_"), **body.details)
            del self._unsaid[0]

    async def _look(self) -> Facts:
        """What can be seen; what cannot is left out, and is no reason not to see the rest."""
        now, log = datetime.now(UTC), self._watched.log
        state = log.state
        end = await _tried(self._watched.stream_end())
        lag_seconds = None
        if end is not None:
            lag_seconds = self._marks.waited_seconds(
                end=end.sequence, recorded=state.stream_sequence, now=now
            )
        first = await _tried(log.record(0)) if log.size else None
        return Facts(
            now=now,
            started_at=self._started_at,
            signed_at=self._watched.heads.signed_at,
            stopped=self._watched.recording.stopped,
            lag_seconds=lag_seconds,
            lag_events=max(0, end.sequence - state.stream_sequence) if end is not None else 0,
            gaps=await _tried(self._gaps(now)),
            disk=await _tried(self._watched.disk.look()),
            records=log.size,
            week_records=await _tried(self._week_records(now)),
            first_at=_moment(first.received_us) if first is not None else None,
            witnesses=[_heard(one) for one in self._watched.witnesses()],
            clocks=self._clocks.offsets(),
        )

    async def _gaps(self, now: datetime) -> list[Gap]:
        since_us = time_us_of(now - timedelta(days=self._limits.gap_days))
        found, _, _ = await self._watched.log.page(_query(since_us=since_us, action=GAP))
        said = [event for one in found if (event := _event(one)) is not None]
        gaps = [
            Gap(
                details["kind"],
                Channel(details["emitter"], details["audience"]),
                details["first"],
                details["last"],
                details["found_at_index"],
            )
            for details in (event.data.details for event in said if event.emitter == "auditor")
            if details["audience"] != RESTRICTED  # the whole of it is told to its audience
        ]
        return open_gaps(gaps, self._watched.log.state.missing)

    async def _week_records(self, now: datetime) -> int:
        query = _query(since_us=time_us_of(now - WEEK), is_ascending=True, limit=1)
        found, size, _ = await self._watched.log.page(query)
        return size - found[0].index if found else 0

    async def _look_at_clocks(self, now: datetime, *, is_prompt: bool) -> None:
        """Of what was received since the last look, if the log kept pace: else it was late here."""
        size, since = self._watched.log.size, self._looked_to
        self._looked_to = size
        if since is None or not is_prompt or size <= since:
            self._clocks.note((), now=now)
            return
        found, _, _ = await self._watched.log.page(_query(above=since - 1))
        events = [(one, event) for one in found if (event := _event(one)) is not None]
        self._clocks.note(
            [
                (event.emitter, (one.received_us - parse_time_us(event.time)) / _MICROSECONDS)
                for one, event in events
            ],
            now=now,
        )


async def _tried(work: Awaitable[ResultT]) -> ResultT | None:
    """What the work gives; None if it cannot give it now."""
    try:
        return await work
    except SupersededError:
        raise
    except FaultError as fault:
        _log.info("part_of_health_unknown", why=fault.message)
        return None


def _query(
    *,
    since_us: int | None = None,
    action: str = "",
    above: int = -1,
    is_ascending: bool = False,
    limit: int = RECORDS_LOOKED_AT,
) -> RecordQuery:
    return RecordQuery(
        audiences=None,
        since_us=since_us,
        until_us=None,
        equal=(),
        action=action,
        above=above,
        below=None,
        limit=limit,
        is_ascending=is_ascending,
    )


def _event(stored: StoredRecord) -> Event | None:
    """The event, if it can be believed."""
    if stored.problem or stored.body is None:
        return None
    return try_event(stored.body)


def _heard(seen: WitnessSeen) -> WitnessWord:
    at = _moment(parse_time_us(seen.cosigned_at)) if seen.cosigned_at else None
    return WitnessWord(seen.verifier_key.partition("+")[0], at, seen.problem)


def _moment(time_us: int) -> datetime:
    return datetime.fromtimestamp(time_us / _MICROSECONDS, UTC)


@asynccontextmanager
async def watching(watch: Watch) -> AsyncIterator[None]:
    """A block during which the log is looked at."""
    async with beside(watch.watch()):
        yield
