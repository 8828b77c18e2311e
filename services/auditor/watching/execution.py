# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Looks at every record once it is kept, and says the alerts.

What was looked at is noted after its alerts were said, so whoever goes on may look at some records
again: their alerts have the ids that they had.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

import structlog

from services.auditor.disclosure import audience_of
from services.auditor.execution import Emitter
from services.auditor.query import RecordQuery, StoredRecord
from services.auditor.store import LogStore, SupersededError
from services.auditor.watching.alerts import alert_event
from services.auditor.watching.evaluation import Alert, Watcher, seen_stored
from services.auditor.watching.rules import DEFAULT_RULES, ReadyRule, ready_rules
from shared.adapters.exception_groups import beside
from shared.adapters.kv import Entry, KeyValue, RevisionConflictError
from shared.contracts.events import Audience
from shared.contracts.watching import (
    RULES_KEY,
    STATE_KEY,
    WatchRulesRecord,
    WatchState,
    WatchWindow,
)
from shared.errors import FaultError, RefusedError

RECORDS_AT_ONCE: Final = 500
PAUSE_SECONDS: Final = 0.25
RETRY_SECONDS: Final = 1.0
REFUSED_SECONDS: Final = 60.0
NOTED_EVERY: Final = timedelta(seconds=10)
"""How often it is noted how far the log was looked at, if there was nothing to say."""

_log = structlog.get_logger()


class TellingSpaces(Protocol):
    """Who is told what."""

    def audience_now(self, audience: Audience) -> Audience:
        """To whom that is told from now on which was told to `audience` before."""


class WatchedLog:
    """The log, looked at by the rules in force."""

    def __init__(
        self,
        *,
        log: LogStore,
        rules: KeyValue[WatchRulesRecord],
        state: KeyValue[WatchState],
        emitter: Emitter,
        spaces: TellingSpaces,
    ) -> None:
        """Nothing is looked at yet."""
        self._log: Final = log
        self._rules_bucket: Final = rules
        self._state_bucket: Final = state
        self._emitter: Final = emitter
        self._spaces: Final = spaces
        self._record: Entry[WatchRulesRecord] | None = None
        self._ready: tuple[ReadyRule, ...] = ready_rules(DEFAULT_RULES)
        self._watcher: Watcher | None = None
        self._stored: Entry[WatchState] | None = None
        self._position = 0
        self._noted_at = datetime.now(UTC)
        self._turn: Final = asyncio.Lock()

    async def watch(self) -> None:
        """Never returns: every record is looked at; a fault is waited out."""
        while True:
            try:
                async with self._turn:
                    if self._watcher is None:
                        await self._recall()
                    is_looking = await self._look()
                pause_seconds = 0.0 if is_looking else PAUSE_SECONDS
            except SupersededError:
                raise
            except (FaultError, RevisionConflictError) as error:  # what is noted is read anew
                _log.warning("watching_delayed", why=error.message)
                self._watcher, pause_seconds = None, RETRY_SECONDS
            except RefusedError as error:  # credentials of an earlier release
                _log.warning("nothing_is_watched", why=error.message)
                self._watcher, pause_seconds = None, REFUSED_SECONDS
            await asyncio.sleep(pause_seconds)

    @property
    def record(self) -> WatchRulesRecord | None:
        """The rules that somebody set; None: nobody did."""
        return self._record.value if self._record is not None else None

    @property
    def behind(self) -> int:
        """How many records were not looked at yet."""
        return max(0, self._log.size - self._position)

    async def stored(self) -> Entry[WatchRulesRecord] | None:
        """The rules as they are stored at this moment; None: nobody set any.

        Waits for nobody: whoever decides about rules keeps others from saying alerts meanwhile.

        Raises:
            FaultError: They cannot be read.
        """
        return await self._rules_bucket.get(RULES_KEY)

    async def reread(self) -> None:
        """The rules are those that are stored.

        Raises:
            FaultError: They cannot be read.
        """
        async with self._turn:
            await self._reread()

    async def _reread(self) -> None:
        self._record = await self.stored()
        record = self.record
        ready = ready_rules(record.watch if record is not None else DEFAULT_RULES)
        if ready != self._ready and self._watcher is not None:
            self._watcher = Watcher(ready, _still_meant(self._state(), ready))
        self._ready = ready

    async def _recall(self) -> None:
        """From where somebody left off; a log that nobody ever looked at is not looked back at."""
        await self._reread()
        self._stored = await self._state_bucket.get(STATE_KEY)
        known = self._stored.value if self._stored is not None else None
        size = self._log.size
        self._position = min(known.position, size) if known is not None else size
        windows = _still_meant(known, self._ready) if known is not None else ()
        self._watcher = Watcher(self._ready, windows)
        if known is None:
            await self._note()

    async def _look(self) -> bool:
        """Whether there was anything to look at."""
        watcher = self._watcher
        if watcher is None:
            return False
        if self._position >= self._log.size:
            await self._note_if_due()
            return False
        page, _, _ = await self._log.page(_next_records(self._position))
        alerts = await asyncio.to_thread(_taken, watcher, page)
        for alert in alerts:
            body, event_id, audience = alert_event(alert, self._spaces.audience_now)
            await self._emitter.emit(body, event_id=event_id, audience=audience)
            _log.warning("watch_alert", rule=alert.rule.name, record=alert.index)
        self._position = page[-1].index + 1 if page else self._log.size
        if alerts:
            await self._note()
        return True

    async def _note_if_due(self) -> None:
        known = self._stored.value.position if self._stored is not None else -1
        if known != self._position and datetime.now(UTC) - self._noted_at >= NOTED_EVERY:
            await self._note()

    async def _note(self) -> None:
        revision = self._stored.revision if self._stored is not None else 0
        state = self._state()
        revision = await self._state_bucket.update(STATE_KEY, state, revision=revision)
        self._stored = Entry(STATE_KEY, state, revision)
        self._noted_at = datetime.now(UTC)

    def _state(self) -> WatchState:
        return WatchState(
            position=self._position,
            rules={one.rule.name: one.digest for one in self._ready},
            windows=self._watcher.windows if self._watcher is not None else (),
        )


@asynccontextmanager
async def alerting(watched: WatchedLog) -> AsyncIterator[None]:
    """A block during which alerts are said."""
    async with beside(watched.watch()):
        yield


def _taken(watcher: Watcher, page: list[StoredRecord]) -> list[Alert]:
    return [
        alert
        for stored in page
        if stored.pruned_by is None
        for alert in watcher.take(seen_stored(stored, audience_of(stored.leaf)))
    ]


def _still_meant(state: WatchState, ready: tuple[ReadyRule, ...]) -> tuple[WatchWindow, ...]:
    """What was counted for rules that say what they said then."""
    same = {one.rule.name for one in ready if state.rules.get(one.rule.name) == one.digest}
    return tuple(one for one in state.windows if one.rule in same)


def _next_records(position: int) -> RecordQuery:
    return RecordQuery(
        audiences=None,
        since_us=None,
        until_us=None,
        equal=(),
        action="",
        above=position - 1,
        below=None,
        limit=RECORDS_AT_ONCE,
        is_ascending=True,
    )
