# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A report as it is kept, what is said of it, and which are kept no longer.

Pure.

Rules:
 * A report that was made, or could not be, is one record and one event, under names that follow
   from schedule and due time: whoever makes it again makes nothing.
 * The newest `keep` of a schedule are kept; of a removed one all, or none if that was asked for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

from services.auditor.reporting.kinds import format_of, kind_of
from services.auditor.reporting.schedules import Covered, schedule_key
from shared.contracts.events import EventBody
from shared.contracts.reports import (
    MAKE,
    MAX_REPORT_BYTES,
    PART_BYTES,
    KeptReport,
    ReportPart,
    ReportSchedule,
    ReportScheduleRecord,
)
from shared.errors import Reason
from shared.moments import read_time, render_time

DRAFTS: Final = "draft."


def report_key(space: str, name: str, due: datetime) -> str:
    """Where a report is kept."""
    return f"{schedule_key(space, name)}.{due:%Y%m%dT%H%M%SZ}"


def key_of(report: KeptReport) -> str:
    """Where it is kept."""
    return report_key(report.space, report.name, read_time(report.due))


def step_id(report: KeptReport) -> str:
    """Names the one step that makes it."""
    identity = hashlib.sha256(key_of(report).encode()).hexdigest()[:32]
    return f"report-make-{identity}"


def kept_report(
    record: ReportScheduleRecord,
    schedule: ReportSchedule,
    *,
    due: datetime,
    covers: Covered,
    content: bytes | None,
    tree_size: int,
    now: datetime,
    problem: str = "",
) -> KeptReport:
    """What is kept of one report.

    Args:
        record: The schedule's.
        schedule: In force.
        due: When it was.
        covers: The range.
        content: The report; None: it could not be made.
        tree_size: Leaves of the log that it was made from.
        now: When it was made.
        problem: Why it could not be made.
    """
    if content is not None and len(content) > MAX_REPORT_BYTES:
        problem = f"it has {len(content)} bytes, and {MAX_REPORT_BYTES} are kept at most"
        content = None
    return KeptReport(
        name=record.name,
        space=record.space,
        due=render_time(due),
        since=covers.since,
        until=covers.until,
        kind=kind_of(schedule.report),
        format=format_of(schedule.report),
        sha256=hashlib.sha256(content).hexdigest() if content is not None else "",
        size_bytes=len(content) if content is not None else 0,
        tree_size=tree_size,
        made_at=render_time(now),
        problem=problem,
        generation=record.generation,
    )


def parts_of(report: KeptReport, content: bytes) -> dict[str, ReportPart]:
    """The pieces that it is kept in, by key; an empty report has one."""
    return {
        part_key(report, number): ReportPart(data=content[at : at + PART_BYTES])
        for number, at in enumerate(range(0, max(len(content), 1), PART_BYTES))
    }


def part_key(report: KeptReport, number: int) -> str:
    """Where one piece is."""
    return f"{report.sha256}.{number}"


def draft_key(sha256: str) -> str:
    """Where it is noted that pieces of a report of this digest are being kept."""
    return f"{DRAFTS}{sha256}"


def part_keys(report: KeptReport) -> list[str]:
    """Where all pieces are; none if it could not be made."""
    count = -(-max(report.size_bytes, 1) // PART_BYTES) if report.sha256 else 0
    return [part_key(report, number) for number in range(count)]


def make_event(report: KeptReport) -> EventBody:
    """What the audit log says of it.

    `details`: `name`, `space`, `kind`, `format`, `due`, `since`, `until`, `sha256`, `size_bytes`,
    `tree_size`, `generation` of the schedule.
    """
    details = {
        name: getattr(report, name)
        for name in (
            "name", "space", "kind", "format", "due", "since", "until", "sha256", "size_bytes",
            "tree_size", "generation",
        )
    }  # fmt: skip
    return EventBody(
        action=MAKE,
        outcome="failed" if report.problem else "succeeded",
        after=report.sha256,
        reasons=(Reason(path="report", rule=report.problem),) if report.problem else (),
        details=details,
    )


def no_longer_kept(
    reports: Iterable[KeptReport], records: Mapping[str, ReportScheduleRecord]
) -> list[KeptReport]:
    """Those that are to go, the oldest of each schedule first.

    Args:
        reports: All that there are.
        records: Schedules, by key.
    """
    by_schedule: dict[str, list[KeptReport]] = {}
    for report in reports:
        by_schedule.setdefault(schedule_key(report.space, report.name), []).append(report)
    found: list[KeptReport] = []
    for key, made in sorted(by_schedule.items()):
        record = records.get(key)
        oldest_first = sorted(made, key=lambda one: one.due)
        if record is None:
            continue
        if record.schedule is not None:
            found += oldest_first[: -record.schedule.keep]
        elif record.removes_reports:
            found += oldest_first
    return found


def keys_that_go(going: Sequence[KeptReport], staying: Iterable[KeptReport]) -> list[str]:
    """Pieces that belong to no report that stays."""
    still = {key for report in staying for key in part_keys(report)}
    return sorted({key for report in going for key in part_keys(report)} - still)
