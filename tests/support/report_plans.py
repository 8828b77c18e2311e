# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Plans of reports that have been in force for long."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from shared.adapters.bus import Bus
from shared.contracts.reports import (
    REPORT_SCHEDULES,
    ReportOptions,
    ReportSchedule,
    ReportScheduleRecord,
)

YEARLY = "0 0 1 1 *"
"""Due when the year began, whenever the tests are run."""
THIS_YEAR = datetime.now(UTC).year
LONG_AGO = "2024-01-01T00:00:00.000000Z"
MAY_2025 = "2025-05-05T05:05:05.000005Z"
LAST_YEAR = f"{THIS_YEAR - 1}-05-05T05:05:05.000005Z"
DETAILS = {"archive_sha256": "a" * 64, "licence": "MIT", "size_bytes": 7}


def a_schedule(name: str, report: ReportOptions, **fields: Any) -> ReportSchedule:
    """Of the year, on the first of January."""
    return ReportSchedule(
        **{"name": name, "report": report, "covers": "year", "cron": YEARLY, **fields}
    )


def set_long_ago(schedule: ReportSchedule, at: str = LONG_AGO) -> ReportScheduleRecord:
    """As an administrator's command stored it."""
    return ReportScheduleRecord(
        name=schedule.name,
        space=schedule.space,
        schedule=schedule,
        generation=1,
        command_id="c1",
        actor_key="U" + "A" * 55,
        actor_role="administrator",
        at=at,
    )


async def plan(bus: Bus, *schedules: ReportSchedule) -> None:
    """They have been in force for long."""
    for one in schedules:
        key = f"{one.space}.{one.name}"
        await bus.bucket(REPORT_SCHEDULES).put(key, set_long_ago(one))
