# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Plans reports, and gives out those that were made."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from services.auditor.page_readings import PageReadings
from services.auditor.reading.execution import ReadingNotes
from services.auditor.records import time_us_of
from services.auditor.reporting.execution import ReportBuckets, ReportMaker
from services.auditor.reporting.keeping import key_of, part_key, part_keys, report_key
from services.auditor.reporting.licences import licence_page, licence_reading, parse_range
from services.auditor.reporting.nodes import licensed_spans
from services.auditor.reporting.ranges import range_page, range_reading
from services.auditor.reporting.schedules import (
    next_record,
    removed_record,
    schedule_event,
    schedule_key,
    unknown_schedule,
)
from services.auditor.reporting.shown import (
    newest_made,
    report_page,
    report_readings,
    schedule_view,
)
from services.auditor.sight import SeenSpaces, Sight
from services.auditor.store import LogStore
from services.auditor.timelines import OPEN_US
from shared.adapters.callers import Caller
from shared.adapters.outbox import Outbox
from shared.adapters.service_layer import Handler
from shared.canonical import canonical_digest
from shared.contracts.base import Endpoint
from shared.contracts.events import Audience
from shared.contracts.inventory import GET_RANGE, GetRange, RangeShown
from shared.contracts.licence_reports import REPORT_LICENCES, LicenceReport, ReportLicences
from shared.contracts.reports import (
    GET_REPORT,
    LIST_REPORTS,
    LIST_SCHEDULES,
    REMOVE_SCHEDULE,
    REPORT_SCHEDULES,
    SET_SCHEDULE,
    GetReport,
    KeptReport,
    ListReports,
    ListSchedules,
    RemoveSchedule,
    ReportList,
    ReportShown,
    ScheduleList,
    ScheduleRemoved,
    ScheduleSet,
    SetSchedule,
)
from shared.errors import FaultError, Reason, RefusedError
from shared.moments import read_time, render_time
from shared.outbox_records import Change, Decision


class Telling(SeenSpaces, Protocol):
    """Who sees which audience, and who is told what."""

    def concerned(self, audience: Audience, name: str) -> Audience:
        """To whom it is told what the principal of that name says of an audience."""


class ReportDesk:
    """Plans reports, and gives them out."""

    def __init__(
        self,
        maker: ReportMaker,
        outbox: Outbox,
        *,
        log: LogStore,
        buckets: ReportBuckets,
        spaces: Telling,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Nothing is served yet."""
        self._maker: Final = maker
        self._buckets: Final = buckets
        self._spaces: Final = spaces
        self._now: Final = now
        self._readings: Final = PageReadings()
        self._log: Final = log
        self._sight: Final = Sight(log, spaces)
        self._notes: Final = ReadingNotes(outbox, spaces)
        self._set: Final = outbox.command(
            SET_SCHEDULE, self._decide_setting, concerned=self._told_of_setting
        )
        self._remove: Final = outbox.command(
            REMOVE_SCHEDULE, self._decide_removal, concerned=self._told_of_removal
        )

    def endpoints(self) -> dict[Endpoint[Any, Any], Handler]:
        """What is served, and by which method."""
        return {
            LIST_SCHEDULES: self.list_schedules,
            SET_SCHEDULE: self.set_schedule,
            REMOVE_SCHEDULE: self.remove_schedule,
            LIST_REPORTS: self.list_reports,
            GET_REPORT: self.get_report,
            GET_RANGE: self.get_range,
            REPORT_LICENCES: self.report_licences,
        }

    async def list_schedules(self, _: ListSchedules, caller: Caller) -> ScheduleList:
        """Every schedule of what the caller sees."""
        seen, now = self._spaces.visible_to(caller.name), self._now()
        entries = await self._buckets.schedules.entries()
        views = (schedule_view(one.value, now=now) for one in entries if one.value.space in seen)
        found = (one for one in views if one is not None)
        ordered = sorted(found, key=lambda one: (one.schedule.space, one.schedule.name))
        return ScheduleList(schedules=tuple(ordered))

    async def set_schedule(self, command: SetSchedule, caller: Caller) -> ScheduleSet:
        """A report is made by this plan from now on, or the refusal why not."""
        reply = await self._set(command, caller)
        assert isinstance(reply, ScheduleSet)
        self._maker.reread()
        return reply

    async def remove_schedule(self, command: RemoveSchedule, caller: Caller) -> ScheduleRemoved:
        """It is made no more, or the refusal why not."""
        reply = await self._remove(command, caller)
        assert isinstance(reply, ScheduleRemoved)
        self._maker.reread()
        return reply

    async def list_reports(self, request: ListReports, caller: Caller) -> ReportList:
        """Reports that were made, a page of them."""
        seen = self._spaces.visible_to(caller.name)
        entries = await self._buckets.reports.entries()
        return report_page((one.value for one in entries if one.value.space in seen), request)

    async def get_report(self, request: GetReport, caller: Caller) -> ReportShown:
        """A part of one report."""
        if not await self._spaces.sees(caller.name, request.space):
            raise unknown_schedule(request.name)
        report = await self._found(request)
        keys = part_keys(report)
        if request.part >= len(keys):
            rule = "the report has no such part"
            reason = Reason(path="part", rule=rule, got=request.part, allowed=len(keys) - 1)
            raise RefusedError(rule, [reason])
        part = await self._buckets.parts.get(part_key(report, request.part))
        if part is None:
            raise FaultError(f"a part of the report {report.name} of {report.due} is not stored")
        if self._readings.begins(
            key_of(report), is_first=request.part == 0, caller=caller.key, now=self._now()
        ):
            await self._note_reading(report, caller)
        return ReportShown(report=report, data=part.value.data)

    async def get_range(self, request: GetRange, caller: Caller) -> RangeShown:
        """One page of what ran at any moment of a range."""
        now = self._now()
        times = ReportLicences(since=request.since, until=request.until or render_time(now))
        asked = parse_range(times, now_us=OPEN_US)  # what is asked of the future is what runs now
        await self._note_page(range_reading(request), caller, is_first=not request.after)
        audiences = await self._sight.of(caller.name)
        ran = await self._log.spans(
            asked, audiences=audiences, wanted=lambda name: request.node in ("", name)
        )
        return range_page(ran, asked, after=request.after)

    async def report_licences(self, request: ReportLicences, caller: Caller) -> LicenceReport:
        """One page of under which licences nodes ran."""
        asked = parse_range(request, now_us=time_us_of(self._now()))
        await self._note_page(licence_reading(request), caller, is_first=not request.after)
        audiences = await self._sight.of(caller.name)
        ran = await licensed_spans(self._log, request, asked, audiences=audiences)
        return await asyncio.to_thread(licence_page, ran, asked, by=request.by, after=request.after)

    async def _found(self, request: GetReport) -> KeptReport:
        if request.due:
            try:
                due = read_time(request.due)
            except ValueError as error:
                reason = Reason(path="due", rule="is no moment, as RFC 3339", got=request.due)
                raise RefusedError("the time cannot be read", [reason]) from error
            entry = await self._buckets.reports.get(report_key(request.space, request.name, due))
            found = entry.value if entry is not None else None
        else:
            prefix = f"{schedule_key(request.space, request.name)}."
            made = await self._buckets.reports.entries(prefix)
            found = newest_made(one.value for one in made)
        if found is None:
            raise unknown_schedule(request.name)
        if not found.sha256:
            reason = Reason(path="due", rule=found.problem, got=found.due)
            raise RefusedError(f"the report {found.name} of {found.due} was not made", [reason])
        return found

    async def _decide_setting(
        self, command: SetSchedule, caller: Caller, command_id: str, now: datetime
    ) -> Decision[ScheduleSet]:
        schedule = command.schedule
        if not await self._spaces.sees(caller.name, schedule.space):
            rule = "is no space that you see"
            reason = Reason(path="schedule.space", rule=rule, got=schedule.space)
            raise RefusedError("there is no such space", [reason], code="not_found")
        key = schedule_key(schedule.space, schedule.name)
        known = await self._buckets.schedules.entries(f"{schedule.space}.")
        entries = {one.key: one for one in known}
        stored = entries.pop(key, None)
        before, actor = (stored.value if stored is not None else None), caller.actor()
        record = next_record(
            before,
            command,
            others=sum(one.value.schedule is not None for one in entries.values()),
            command_id=command_id,
            actor=actor,
            at=render_time(now),
        )
        revision = stored.revision if stored is not None else 0
        return Decision(
            reply=ScheduleSet(command_id=command_id, generation=record.generation),
            change=Change(REPORT_SCHEDULES, key, record, revision=revision),
            events=(schedule_event(record, before, actor=actor),),
            audience=await self._told_of_setting(command, caller),
        )

    async def _decide_removal(
        self, command: RemoveSchedule, caller: Caller, command_id: str, now: datetime
    ) -> Decision[ScheduleRemoved]:
        if not await self._spaces.sees(caller.name, command.space):
            raise unknown_schedule(command.name)
        key = schedule_key(command.space, command.name)
        stored = await self._buckets.schedules.get(key)
        before, actor = (stored.value if stored is not None else None), caller.actor()
        record = removed_record(
            before,
            command,
            has_reports=bool(await self._buckets.reports.entries(f"{key}.")),
            command_id=command_id,
            actor=actor,
            at=render_time(now),
        )
        return Decision(
            reply=ScheduleRemoved(command_id=command_id, generation=record.generation),
            change=Change(REPORT_SCHEDULES, key, record, revision=stored.revision if stored else 0),
            events=(schedule_event(record, before, actor=actor),),
            audience=await self._told_of_removal(command, caller),
        )

    async def _told_of_setting(self, command: SetSchedule, caller: Caller) -> Audience:
        return self._spaces.concerned(command.schedule.space, caller.name)

    async def _told_of_removal(self, command: RemoveSchedule, caller: Caller) -> Audience:
        return self._spaces.concerned(command.space, caller.name)

    async def _note_page(self, details: dict[str, Any], caller: Caller, *, is_first: bool) -> None:
        """That somebody begins to read an answer is recorded, once for all its pages."""
        question = canonical_digest(details)
        if self._readings.begins(question, is_first=is_first, caller=caller.key, now=self._now()):
            await self._notes.note(caller, details)

    async def _note_reading(self, report: KeptReport, caller: Caller) -> None:
        """That a report is read is recorded before anything of it is given away."""
        is_open = report.space in self._spaces.open_to_all()
        await self._notes.tell(caller, report_readings(report, is_open=is_open))
