# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""When reports are due, what they cover, and which are kept, over any calendar and any order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import get_args
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.auditor.reporting.keeping import (
    kept_report,
    key_of,
    keys_that_go,
    no_longer_kept,
    part_keys,
    parts_of,
)
from services.auditor.reporting.kinds import MAKERS, format_of, kind_of
from services.auditor.reporting.schedules import (
    Covered,
    ScheduleError,
    ScheduleGenerationError,
    UnknownScheduleError,
    covered,
    last_due,
    next_due,
    next_record,
    removed_record,
    schedule_key,
)
from services.auditor.reporting.shown import report_page
from shared.contracts.events import Actor
from shared.contracts.reports import (
    MAX_REPORT_BYTES,
    MAX_SCHEDULES,
    PART_BYTES,
    Covers,
    DistributionOptions,
    KeptReport,
    ListReports,
    RemoveSchedule,
    ReportOptions,
    ReportSchedule,
    ReportScheduleRecord,
    SetSchedule,
)
from shared.moments import read_time, render_time

ADAM = Actor(key="U" + "A" * 55, role="administrator", attested=True)
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
COVERS: tuple[Covers, ...] = get_args(Covers)
ZONES = ["UTC", "Europe/Berlin", "America/Sao_Paulo", "Australia/Lord_Howe", "Asia/Kathmandu"]
MOMENTS = st.datetimes(
    datetime(2015, 1, 1),  # noqa: DTZ001 - hypothesis takes these
    datetime(2030, 1, 1),  # noqa: DTZ001
    timezones=st.just(UTC),
)


def a_schedule(**fields: object) -> ReportSchedule:
    """Of what was handed out, every month."""
    given = {"name": "monthly", "report": DistributionOptions(), "cron": "0 6 1 * *", **fields}
    return ReportSchedule(**given)  # type: ignore[arg-type]


def a_record(schedule: ReportSchedule | None = None, **fields: object) -> ReportScheduleRecord:
    """Of that schedule, set when the year began."""
    given = {
        "name": "monthly",
        "space": "public",
        "schedule": schedule,
        "generation": 1,
        "command_id": "c1",
        "actor_key": ADAM.key,
        "actor_role": ADAM.role,
        "at": render_time(BEGIN),
        **fields,
    }
    return ReportScheduleRecord(**given)  # type: ignore[arg-type]


def a_report(day: int, content: bytes = b"x", *, name: str = "monthly") -> KeptReport:
    """One that was due on a day."""
    return kept_report(
        a_record(a_schedule(name=name), name=name),
        a_schedule(name=name),
        due=BEGIN + timedelta(days=day),
        covers=Covered("", ""),
        content=content,
        tree_size=1,
        now=BEGIN,
    )


@given(MOMENTS, st.sampled_from(COVERS), st.sampled_from(ZONES))
def test_what_is_covered_is_whole_over_and_touches_the_one_before(
    due: datetime, covers: Covers, name: str
) -> None:
    """Its end is not after the due time, less than its length ago, and the ranges leave no gap."""
    zone = ZoneInfo(name)
    found = covered(covers, due, zone)
    since, until = read_time(found.since), read_time(found.until)

    before = covered(covers, until, zone)

    assert since < until <= due
    assert before.until == found.until
    assert covered(covers, since, zone).until == found.since
    longest = {"day": 2, "week": 8, "month": 32, "quarter": 93, "year": 367}[covers]
    assert due - until < timedelta(days=longest)
    for moment in (since, until):
        local = moment.astimezone(zone)
        just_before = (moment - timedelta(seconds=1)).astimezone(zone)
        assert local.date() > just_before.date(), "a range begins where a day does"


def test_calendars_are_those_of_the_zone() -> None:
    """A month in Berlin begins an hour before it does in UTC, and weeks begin on Monday."""
    due = datetime(2026, 3, 31, 22, 30, tzinfo=UTC)  # the first of April in Berlin
    assert covered("month", due, ZoneInfo("Europe/Berlin")) == Covered(
        "2026-02-28T23:00:00.000000Z", "2026-03-31T22:00:00.000000Z"
    )
    assert covered("month", due, ZoneInfo("UTC")).until == "2026-03-01T00:00:00.000000Z"
    assert covered("quarter", due, ZoneInfo("UTC")).since == "2025-10-01T00:00:00.000000Z"
    assert covered("week", due, ZoneInfo("UTC")).until == "2026-03-30T00:00:00.000000Z"


@given(st.lists(st.integers(1, 40 * 24), min_size=1, max_size=12))
def test_of_those_that_were_missed_the_last_is_due(hours: list[int]) -> None:
    """Looking at any moments, each due time is met at most once and the newest always."""
    schedule = a_schedule(cron="0 6 * * 1")
    record, now, met = a_record(schedule), BEGIN, list[datetime]()
    for step in hours:
        now += timedelta(hours=step)
        due = last_due(record, now)
        if due is not None and due not in met:
            met.append(due)
        expected = next_due(schedule, BEGIN)
        newest = None
        while expected is not None and expected <= now:
            newest, expected = expected, next_due(schedule, expected)
        assert due == newest

    assert met == sorted(met)


def test_nothing_that_was_due_before_it_was_set_is_made() -> None:
    """Nor anything of a schedule that was removed."""
    schedule = a_schedule()
    set_at = a_record(schedule, at="2026-03-01T06:00:00.000000Z")

    assert last_due(set_at, datetime(2026, 3, 31, tzinfo=UTC)) is None
    due = datetime(2026, 4, 1, 6, tzinfo=UTC)
    assert last_due(set_at, due) == due
    assert last_due(a_record(None), due) is None


@given(st.lists(st.integers(0, 400), unique=True, max_size=20), st.integers(1, 8))
def test_the_newest_are_kept_whatever_the_order(days: list[int], keep: int) -> None:
    """So many of each schedule; of one that nobody knows any more, all."""
    schedule = a_schedule(keep=keep)
    records = {schedule_key("public", "monthly"): a_record(schedule)}
    reports = [a_report(day) for day in days] + [a_report(day, name="other") for day in days]

    going = no_longer_kept(reports, records)

    staying = {key_of(one) for one in reports} - {key_of(one) for one in going}
    newest = sorted(days)[-keep:]
    assert staying == {key_of(a_report(day)) for day in newest} | {
        key_of(a_report(day, name="other")) for day in days
    }
    assert going == sorted(going, key=lambda one: one.due)


def test_those_of_a_removed_schedule_stay_unless_they_go_with_it() -> None:
    """And a piece that another report has too stays."""
    reports = [a_report(1, b"same"), a_report(2, b"other")]
    key = schedule_key("public", "monthly")
    assert no_longer_kept(reports, {key: a_record(None)}) == []
    assert no_longer_kept(reports, {key: a_record(None, removes_reports=True)}) == reports

    elsewhere = a_report(3, b"same", name="other")
    assert keys_that_go(reports, [elsewhere]) == part_keys(reports[1])


@pytest.mark.parametrize("size_bytes", [0, 1, PART_BYTES, PART_BYTES + 1])
def test_the_pieces_are_the_report(size_bytes: int) -> None:
    """Under the keys that its record leads to, none too large; an empty one has one."""
    content = bytes(size_bytes)
    report = a_report(1, content)

    parts = parts_of(report, content)

    assert list(parts) == part_keys(report)
    assert b"".join(part.data for part in parts.values()) == content
    assert max(len(part.data) for part in parts.values()) <= PART_BYTES


def test_a_report_that_is_too_large_is_none() -> None:
    """Its record says so, and it has no pieces."""
    report = a_report(1, bytes(MAX_REPORT_BYTES + 1))

    assert report.sha256 == ""
    assert str(MAX_REPORT_BYTES) in report.problem
    assert part_keys(report) == []


def test_what_is_wrong_with_a_schedule_is_said_at_once() -> None:
    """With places that the one who wrote it knows."""
    wrong = a_schedule(cron="0 25 * * *", time_zone="Mars/Olympus")

    with pytest.raises(ScheduleError) as caught:
        next_record(
            None, SetSchedule(schedule=wrong), others=MAX_SCHEDULES, command_id="c1", actor=ADAM,
            at=render_time(BEGIN),
        )  # fmt: skip

    paths = [one.path for one in caught.value.reasons]
    assert paths == ["schedule.cron", "schedule.time_zone", "schedule"]


def test_nobody_overwrites_what_they_have_not_seen() -> None:
    """A new schedule is of generation 0 to who sets it, also where one was removed."""
    command = SetSchedule(schedule=a_schedule(), if_generation=0)

    def set_over(before: ReportScheduleRecord | None) -> int:
        return next_record(
            before, command, others=0, command_id="c2", actor=ADAM, at=render_time(BEGIN)
        ).generation

    assert set_over(None) == 1
    assert set_over(a_record(None, generation=4)) == 5
    with pytest.raises(ScheduleGenerationError):
        set_over(a_record(a_schedule()))


def test_what_does_not_exist_is_not_removed() -> None:
    """But the reports of a removed one can be removed later."""

    def removed(
        before: ReportScheduleRecord | None, *, with_reports: bool = False
    ) -> ReportScheduleRecord:
        return removed_record(
            before,
            RemoveSchedule(name="monthly", with_reports=with_reports),
            has_reports=True,
            command_id="c3",
            actor=ADAM,
            at=render_time(BEGIN),
        )

    assert removed(a_record(a_schedule())).schedule is None
    assert removed(a_record(None), with_reports=True).removes_reports
    for before in (None, a_record(None)):
        with pytest.raises(UnknownScheduleError):
            removed(before)


def test_every_kind_of_report_can_be_made() -> None:
    """Whatever a schedule may name has a maker, a name and a form."""
    kinds = get_args(ReportOptions)
    assert set(kinds) == set(MAKERS)
    assert len({kind.__struct_config__.tag for kind in kinds}) == len(kinds)
    assert kind_of(DistributionOptions()) == "distribution"
    assert format_of(DistributionOptions(format="csv")) == "csv"


def test_pages_of_reports_have_each_once() -> None:
    """The newest of each schedule first."""
    reports = [a_report(day, name=name) for day in range(150) for name in ("b", "a")]
    found, after = list[KeptReport](), ""
    while True:
        page = report_page(reports, ListReports(after=after))
        found += page.reports
        after = page.next
        if not after:
            break

    assert [key_of(one) for one in found] == [
        key_of(a_report(day, name=name)) for name in ("a", "b") for day in reversed(range(150))
    ]
    assert all(one.due > other.due for one, other in pairwise(found[:150]))
