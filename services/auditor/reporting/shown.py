# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Schedules and reports as they are shown, and what is recorded of who reads one.

Pure.

Rules:
 * Of a space that somebody does not see there are no schedules and no reports.
 * That somebody reads a report everybody is told; which one, if it is a space's, that space alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

from services.auditor.reporting.keeping import key_of
from services.auditor.reporting.schedules import next_due
from shared.contracts.events import PUBLIC, Audience
from shared.contracts.reports import (
    KeptReport,
    ListReports,
    ReportList,
    ReportScheduleRecord,
    ScheduleView,
)
from shared.moments import render_time

PAGE_REPORTS: Final = 200


def schedule_view(record: ReportScheduleRecord, *, now: datetime) -> ScheduleView | None:
    """What is shown of a schedule; None: it was removed."""
    schedule = record.schedule
    if schedule is None:
        return None
    due = next_due(schedule, now)
    return ScheduleView(
        schedule=schedule,
        generation=record.generation,
        actor_key=record.actor_key,
        actor_role=record.actor_role,
        at=record.at,
        reason=record.reason,
        next_due=render_time(due) if due is not None else "",
    )


def report_page(reports: Iterable[KeptReport], request: ListReports) -> ReportList:
    """One page of those that are asked for.

    Args:
        reports: All that the caller sees.
        request: What was asked.
    """
    wanted = [
        one
        for one in reports
        if request.name in ("", one.name) and request.space in ("", one.space)
    ]
    # Stable: the newest of each first, then by space and name.
    wanted.sort(key=lambda one: one.due, reverse=True)
    wanted.sort(key=lambda one: (one.space, one.name))
    keys = [key_of(one) for one in wanted]
    start = keys.index(request.after) + 1 if request.after in keys else 0
    page = wanted[start : start + PAGE_REPORTS]
    has_more = start + PAGE_REPORTS < len(wanted)
    return ReportList(reports=tuple(page), next=key_of(page[-1]) if has_more else "")


def newest_made(reports: Iterable[KeptReport]) -> KeptReport | None:
    """The newest that could be made; None: none could."""
    return max((one for one in reports if one.sha256), key=lambda one: one.due, default=None)


def report_readings(report: KeptReport, *, is_open: bool) -> list[tuple[dict[str, Any], Audience]]:
    """What is recorded of a reading, and for which audience.

    Args:
        report: Which one is read.
        is_open: Whether everybody sees its space.
    """
    said = {"name": report.name, "space": report.space, "due": report.due, "sha256": report.sha256}
    whole: dict[str, Any] = {"made_report": said}
    if is_open:
        return [(whole, PUBLIC)]
    return [({"withheld": ["made_report"]}, PUBLIC), (whole, report.space)]
