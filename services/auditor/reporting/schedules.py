# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""When a report is due and what time it covers; schedules as they are set and removed.

Pure; the rules of time zones are those of the machine (`zoneinfo`).

Rules:
 * What is wrong with a schedule is said at once, each at its path.
 * A report is due when a turn of its cron expression begins, as of change windows; of several that
   were missed the last one is.  What was due before the schedule was set never is.
 * A report covers the last whole day, week, month, quarter or year of the zone's calendar that was
   over when it was due; days that clocks make longer or shorter are as long as they are.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import ClassVar, Final, NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from shared.canonical import canonical_digest
from shared.change_windows import last_start, next_start, window_problems
from shared.contracts.errors import ErrorCode
from shared.contracts.events import Actor, Audience, EventBody
from shared.contracts.reports import (
    MAX_SCHEDULES,
    SCHEDULE_REMOVED,
    SCHEDULE_SET,
    Covers,
    RemoveSchedule,
    ReportSchedule,
    ReportScheduleRecord,
    SetSchedule,
)
from shared.contracts.rollouts import ChangeWindow
from shared.errors import Reason, RefusedError
from shared.moments import read_time, render_time

_TURN_SECONDS: Final = 60
_MONTHS: Final[dict[Covers, int]] = {"month": 1, "quarter": 3, "year": 12}


class ScheduleError(RefusedError):
    """The schedule can mean nothing."""

    code: ClassVar[ErrorCode] = "invalid_request"


class ScheduleGenerationError(RefusedError):
    """Somebody else changed the schedule meanwhile."""

    code: ClassVar[ErrorCode] = "conflict"


class UnknownScheduleError(RefusedError):
    """The asker sees no schedule or report of this name."""

    code: ClassVar[ErrorCode] = "not_found"


class Covered(NamedTuple):
    """A range of time, RFC 3339 UTC."""

    since: str
    until: str
    """The first moment behind it."""


def schedule_key(space: Audience, name: str) -> str:
    """Where a schedule is kept; neither has a `.`."""
    return f"{space}.{name}"


def unknown_schedule(name: str) -> UnknownScheduleError:
    """The refusal for what does not exist, and for what is not seen: the same."""
    reason = Reason(path="name", rule="is no report of this space", got=name)
    return UnknownScheduleError(f"there is no report {name}", [reason])


def last_due(record: ReportScheduleRecord, now: datetime) -> datetime | None:
    """The newest moment up to now at which it was due; None: it never was."""
    if record.schedule is None:
        return None
    begun = last_start(_window(record.schedule), now)
    return begun if begun is not None and begun > read_time(record.at) else None


def next_due(schedule: ReportSchedule, after: datetime) -> datetime | None:
    """When it is due next; None: not within fifty years."""
    return next_start(_window(schedule), after)


def covered(covers: Covers, due: datetime, zone: ZoneInfo) -> Covered:
    """The last whole one of these that was over at `due`, which is aware."""
    today = due.astimezone(zone).date()
    match covers:
        case "day":
            until = today
            since = until - timedelta(days=1)
        case "week":
            until = today - timedelta(days=today.weekday())
            since = until - timedelta(days=7)
        case _:
            months = _MONTHS[covers]
            until = date(today.year, (today.month - 1) // months * months + 1, 1)
            first = until.year * 12 + until.month - 1 - months
            since = date(first // 12, first % 12 + 1, 1)
    return Covered(_midnight(since, zone), _midnight(until, zone))


def covered_by(schedule: ReportSchedule, due: datetime) -> Covered:
    """What the report that was due then covers."""
    return covered(schedule.covers, due, ZoneInfo(schedule.time_zone))


def next_record(
    before: ReportScheduleRecord | None,
    command: SetSchedule,
    *,
    others: int,
    command_id: str,
    actor: Actor,
    at: str,
) -> ReportScheduleRecord:
    """The schedule as it is to be stored.

    Args:
        before: As it was; None: there never was one of this name.
        command: What is wanted.
        others: How many others the space has.
        command_id: Of the command.
        actor: Who gave it.
        at: When, RFC 3339.

    Raises:
        ScheduleError: It can mean nothing, or the space has too many.
        ScheduleGenerationError: It is not of the generation that whoever sets it believes.
    """
    schedule = command.schedule
    problems = _problems(schedule)
    if others >= MAX_SCHEDULES:
        rule = "is one more than a space may have"
        problems.append(Reason(path="schedule", rule=rule, allowed=MAX_SCHEDULES))
    if problems:
        raise ScheduleError(f"the report {schedule.name} cannot be planned so", problems)
    now = before.generation if before is not None and before.schedule is not None else 0
    if command.if_generation not in (None, now):
        rule = "is not the generation of the schedule"
        reason = Reason(path="if_generation", rule=rule, got=command.if_generation, allowed=now)
        message = f"the schedule is of generation {now} and not {command.if_generation}"
        raise ScheduleGenerationError(message, [reason])
    return ReportScheduleRecord(
        name=schedule.name,
        space=schedule.space,
        schedule=schedule,
        generation=_generation(before),
        command_id=command_id,
        actor_key=actor.key,
        actor_role=actor.role,
        at=at,
        reason=command.reason,
    )


def removed_record(
    before: ReportScheduleRecord | None,
    command: RemoveSchedule,
    *,
    has_reports: bool,
    command_id: str,
    actor: Actor,
    at: str,
) -> ReportScheduleRecord:
    """What is stored in the place of a schedule that is removed.

    Args:
        before: As it was.
        command: What is wanted.
        has_reports: Whether any was made; they can be removed after the schedule was.
        command_id: Of the command.
        actor: Who gave it.
        at: When, RFC 3339.

    Raises:
        UnknownScheduleError: There is none.
    """
    if before is None or (before.schedule is None and not (command.with_reports and has_reports)):
        raise unknown_schedule(command.name)
    return ReportScheduleRecord(
        name=command.name,
        space=command.space,
        removes_reports=command.with_reports,
        generation=_generation(before),
        command_id=command_id,
        actor_key=actor.key,
        actor_role=actor.role,
        at=at,
        reason=command.reason,
    )


def schedule_event(
    record: ReportScheduleRecord, before: ReportScheduleRecord | None, *, actor: Actor
) -> EventBody:
    """What the audit log says: `name`, `space`, `generation`; the plan, or `removes_reports`."""
    details = {"name": record.name, "space": record.space, "generation": record.generation}
    if record.schedule is not None:
        details["schedule"] = msgspec.to_builtins(record.schedule)
    else:
        details["removes_reports"] = record.removes_reports
    return EventBody(
        action=SCHEDULE_SET if record.schedule is not None else SCHEDULE_REMOVED,
        outcome="accepted",
        correlation=record.command_id,
        actor=actor,
        reason=record.reason,
        before=_digest(before),
        after=_digest(record),
        details=details,
    )


def _digest(record: ReportScheduleRecord | None) -> str:
    if record is None or record.schedule is None:
        return ""
    return canonical_digest(msgspec.to_builtins(record.schedule))


def _generation(before: ReportScheduleRecord | None) -> int:
    return (before.generation if before is not None else 0) + 1


def _problems(schedule: ReportSchedule) -> list[Reason]:
    return [
        msgspec.structs.replace(one, path=one.path.replace("schedule[0]", "schedule"))
        for one in window_problems([_window(schedule)], path="schedule")
    ]


def _window(schedule: ReportSchedule) -> ChangeWindow:
    return ChangeWindow(
        cron=schedule.cron, time_zone=schedule.time_zone, duration_seconds=_TURN_SECONDS
    )


def _midnight(day: date, zone: ZoneInfo) -> str:
    """When the day begins; if clocks skip midnight, when they go on (PEP 495, fold 0)."""
    return render_time(datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC))
