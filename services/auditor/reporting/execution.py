# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Makes the reports that are due, each once, and removes those that are kept no longer.

A report's pieces are kept first, under its digest, which is noted before them; its record and its
event are one step of the outbox.  So whoever goes on after a crash finds a report made, or makes
it, and removes the pieces that came to be no report's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Protocol

import msgspec
import structlog

from services.auditor.compliance.execution import findings_of
from services.auditor.compliance.listing import FoundFindings
from services.auditor.inventory import inventory_page
from services.auditor.records import parse_time_us
from services.auditor.reporting.keeping import (
    DRAFTS,
    draft_key,
    kept_report,
    key_of,
    keys_that_go,
    make_event,
    no_longer_kept,
    parts_of,
    report_key,
    step_id,
)
from services.auditor.reporting.kinds import made_report
from services.auditor.reporting.nodes import licensed_spans
from services.auditor.reporting.ranges import chains_in_range
from services.auditor.reporting.schedules import Covered, covered_by, last_due, next_due
from services.auditor.searching import Chunk, parse_search
from services.auditor.store import LogStore, SupersededError
from services.auditor.told_places import Range, RanSpans
from shared.adapters.exception_groups import beside
from shared.adapters.outbox_bus import OutboxBus, Records
from shared.contracts.audit import AuditRecord, StreamRecords
from shared.contracts.base import Accepted
from shared.contracts.events import Audience
from shared.contracts.inventory import ChainInRange, HookPlace, HookRun
from shared.contracts.licence_reports import ReportLicences
from shared.contracts.log_health import LogHealth
from shared.contracts.reports import (
    REPORT_PARTS,
    REPORT_SCHEDULES,
    REPORTS,
    KeptReport,
    ReportPart,
    ReportSchedule,
    ReportScheduleRecord,
)
from shared.errors import FaultError, RefusedError
from shared.outbox_records import Change, Decision

PAUSE_SECONDS: Final = 1.0
RETRY_SECONDS: Final = 5.0
REFUSED_SECONDS: Final = 60.0
CHUNK_RECORDS: Final = 1000
CHUNK_SCANNED: Final = 20_000

_log = structlog.get_logger()


class Stepping(Protocol):
    """Changes something and says so, once."""

    async def step(self, decision: Decision[Any], *, step_id: str) -> bool:
        """Whether it happened; not if the state had moved."""


class ReadersOfSpaces(Protocol):
    """Who is told what."""

    def audience_now(self, audience: Audience) -> Audience:
        """To whom that is told from now on which was told to `audience` before."""

    def open_to_all(self) -> frozenset[Audience]:
        """`public`, and what is open by now."""


@dataclass(frozen=True, slots=True)
class ReportBuckets:
    """Where plans and reports are kept."""

    schedules: Records[ReportScheduleRecord]
    reports: Records[KeptReport]
    parts: Records[ReportPart]

    @classmethod
    def of(cls, bus: OutboxBus) -> ReportBuckets:
        """The installation's."""
        return cls(bus.bucket(REPORT_SCHEDULES), bus.bucket(REPORTS), bus.bucket(REPORT_PARTS))


Health = Callable[[], Awaitable[LogHealth]]


class LogReading:
    """The log up to one record, as those read it who see some audiences."""

    def __init__(
        self, log: LogStore, *, audiences: frozenset[Audience], health: Health, now: datetime
    ) -> None:
        """Everything that is recorded at this moment is read, and nothing that comes later."""
        self._log: Final = log
        self._audiences: Final = audiences
        self._health: Final = health
        self.tree_size: Final = log.size
        self.now: Final = now

    async def records(self, question: StreamRecords) -> AsyncIterator[AuditRecord]:
        """Records that match, in the question's order, each once."""
        before = question.before_index
        asked = msgspec.structs.replace(
            question,
            before_index=self.tree_size if before is None else min(before, self.tree_size),
            limit=CHUNK_RECORDS,
            scan_limit=CHUNK_SCANNED,
        )
        way = "after_index" if question.order == "oldest" else "before_index"
        while True:
            chunk = Chunk(parse_search(asked, audiences=self._audiences))
            while (query := chunk.next_page()) is not None:
                page, tree_size, more = await self._log.page(query)
                chunk.take(page, tree_size, more=more)
            shown = chunk.render()
            for record in shown.records:
                yield record
            if shown.position is None:
                return
            asked = msgspec.structs.replace(asked, **{way: shown.position})

    async def running(self, at: str, *, node: str = "") -> list[HookRun]:
        """What ran at a moment, by place.

        Raises:
            RefusedError: That is not known any more.
        """
        at_us, found = parse_time_us(at), list[HookRun]()
        after: HookPlace | None = None
        while True:
            page = inventory_page(
                await self._log.sightings(at_us, audiences=self._audiences, node=node, after=after),
                at_us=at_us,
            )
            found += page.hook_points
            if page.next is None:
                return found
            after = page.next

    async def findings(self, at: str) -> FoundFindings:
        """Every finding of compliance as of a moment."""
        at_us = parse_time_us(at)
        return await findings_of(self._log, self._audiences, size=self.tree_size, at_us=at_us)

    async def chains(self, covers: Covered, *, node: str = "") -> list[ChainInRange]:
        """What ran at any moment of a range.

        Raises:
            RefusedError: That is not known any more of all of it.
        """
        asked = Range(parse_time_us(covers.since), parse_time_us(covers.until))
        ran = await self._log.spans(
            asked, audiences=self._audiences, wanted=lambda name: node in ("", name)
        )
        return chains_in_range(ran, asked)

    async def licensed(self, request: ReportLicences, asked: Range) -> RanSpans:
        """What ran within a range, for a licence report.

        Raises:
            RefusedError: That is not known any more of all of it.
        """
        return await licensed_spans(self._log, request, asked, audiences=self._audiences)

    async def health(self) -> LogHealth:
        """What about the log needs attention now."""
        return await self._health()


class ReportMaker:
    """Makes what is due."""

    def __init__(
        self,
        *,
        log: LogStore,
        buckets: ReportBuckets,
        outbox: Stepping,
        spaces: ReadersOfSpaces,
        health: Health,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Nothing is made yet."""
        self._log: Final = log
        self._buckets: Final = buckets
        self._outbox: Final = outbox
        self._spaces: Final = spaces
        self._health: Final = health
        self._now: Final = now
        self._records: dict[str, ReportScheduleRecord] | None = None
        self._made: dict[str, KeptReport] = {}
        self._next: datetime | None = None

    def reread(self) -> None:
        """Schedules are read again before anything else is made."""
        self._records = None

    async def keep_making(self) -> None:
        """Never returns: everything that is due is made; a fault is waited out."""
        while True:
            pause_seconds = PAUSE_SECONDS
            try:
                await self.make_due()
            except SupersededError:
                raise
            except FaultError as error:
                _log.warning("reports_delayed", why=error.message)
                self._records, pause_seconds = None, RETRY_SECONDS
            except RefusedError as error:  # credentials of an earlier release
                _log.warning("no_reports", why=error.message)
                self._records, pause_seconds = None, REFUSED_SECONDS
            await asyncio.sleep(pause_seconds)

    async def make_due(self) -> None:
        """Everything that is due is made, and what is kept no longer is gone.

        Raises:
            FaultError: Not everything is; call again.
        """
        now = self._now()
        if self._records is not None and (self._next is None or now < self._next):
            return
        records = self._records
        if records is None:
            records = {one.key: one.value for one in await self._buckets.schedules.entries()}
            self._records = records
            self._made = {one.key: one.value for one in await self._buckets.reports.entries()}
            await self._sweep()
        faults: list[FaultError] = []
        for record in records.values():
            try:
                await self._make_if_due(record, now)
            except FaultError as error:  # others need not wait for it
                faults.append(error)
        await self._remove_old(records)
        self._next = min(filter(None, (_next(one, now) for one in records.values())), default=None)
        if faults:
            raise faults[0]

    async def _make_if_due(self, record: ReportScheduleRecord, now: datetime) -> None:
        due, schedule = last_due(record, now), record.schedule
        if due is None or schedule is None:
            return
        made = [one for one in self._made.values() if _is_of(one, record)]
        if any(report_key(record.space, record.name, due) <= key_of(one) for one in made):
            return
        report, content = await self._report(record, schedule, due)
        if report.sha256:
            await self._buckets.parts.put(draft_key(report.sha256), ReportPart(data=b""))
            for key, part in parts_of(report, content).items():
                await self._buckets.parts.put(key, part)
        decision = Decision(
            reply=Accepted(command_id=report.command_id),
            change=Change(REPORTS, key_of(report), report, revision=0),
            events=(make_event(report),),
            audience=self._spaces.audience_now(record.space),
        )
        await self._outbox.step(decision, step_id=report.command_id)
        stored = await self._buckets.reports.get(key_of(report))
        if stored is None:
            raise FaultError(f"the report {record.name} of {report.due} is not stored")
        self._made[stored.key] = stored.value  # by whomever it was made
        await self._sweep()
        _log.info("report_made", name=record.name, due=report.due, problem=report.problem)

    async def _report(
        self, record: ReportScheduleRecord, schedule: ReportSchedule, due: datetime
    ) -> tuple[KeptReport, bytes]:
        audiences = self._spaces.open_to_all() | {record.space}
        now = self._now()
        log = LogReading(self._log, audiences=audiences, health=self._health, now=now)
        covers, content, problem = covered_by(schedule, due), None, ""
        try:
            content = await made_report(log, schedule.report, covers)
        except RefusedError as error:
            problem = error.message
        report = kept_report(
            record,
            schedule,
            due=due,
            covers=covers,
            content=content,
            tree_size=log.tree_size,
            now=now,
            problem=problem,
        )
        return msgspec.structs.replace(report, command_id=step_id(report)), content or b""

    async def _sweep(self) -> None:
        """No pieces are there that were kept for a report that is another one, or none."""
        kept = {report.sha256 for report in self._made.values()}
        for draft in await self._buckets.parts.entries(DRAFTS):
            digest = draft.key.removeprefix(DRAFTS)
            if digest not in kept:
                for part in await self._buckets.parts.entries(f"{digest}."):
                    await self._buckets.parts.delete(part.key)
            await self._buckets.parts.delete(draft.key)

    async def _remove_old(self, records: dict[str, ReportScheduleRecord]) -> None:
        going = no_longer_kept(self._made.values(), records)
        keys = {key_of(one) for one in going}
        staying = [one for key, one in self._made.items() if key not in keys]
        for part in keys_that_go(going, staying):
            await self._buckets.parts.delete(part)
        for key in sorted(keys):
            await self._buckets.reports.delete(key)
            del self._made[key]


@asynccontextmanager
async def making_reports(maker: ReportMaker) -> AsyncIterator[None]:
    """A block during which reports are made."""
    async with beside(maker.keep_making()):
        yield


def _is_of(report: KeptReport, record: ReportScheduleRecord) -> bool:
    return (report.space, report.name) == (record.space, record.name)


def _next(record: ReportScheduleRecord, now: datetime) -> datetime | None:
    return next_due(record.schedule, now) if record.schedule is not None else None
