# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Change windows and freezes, against a slow look at every minute, clock changes included."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import example, given
from hypothesis import strategies as st

from shared.change_windows import (
    end_of_turn,
    hold_by_time,
    next_start,
    window_problems,
)
from shared.contracts.rollouts import ChangeWindow

MINUTE = timedelta(minutes=1)
CHANGES = (
    ("Europe/Berlin", datetime(2026, 3, 29, 1, tzinfo=UTC)),
    ("Europe/Berlin", datetime(2026, 10, 25, 1, tzinfo=UTC)),
    ("America/New_York", datetime(2026, 3, 8, 7, tzinfo=UTC)),
    ("America/New_York", datetime(2026, 11, 1, 6, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime(2026, 4, 4, 15, tzinfo=UTC)),
    ("Australia/Lord_Howe", datetime(2026, 10, 3, 15, 30, tzinfo=UTC)),
    ("America/Santiago", datetime(2026, 9, 6, 4, tzinfo=UTC)),
    ("Pacific/Apia", datetime(2011, 12, 30, 10, tzinfo=UTC)),
    ("Asia/Kolkata", datetime(2026, 3, 29, 1, tzinfo=UTC)),
    ("UTC", datetime(2026, 3, 29, 1, tzinfo=UTC)),
)
"""Time zones, and when their clocks are set: by an hour, half an hour, at midnight, by a day."""


@st.composite
def _window(draw: st.DrawFn, zone: str) -> ChangeWindow:
    minute = draw(st.sampled_from(("0", "30", "59", "*/15", "10,50", "*")))
    hour = draw(st.sampled_from(("0", "1", "2", "3", "23", "*", "*/2", "1-3", "0,12")))
    day = draw(st.sampled_from(("*", "*", "*", "29", "1", "4-8")))
    weekday = draw(st.sampled_from(("*", "*", "*", "0", "6,7", "1-5")))
    seconds = draw(st.sampled_from((60, 90, 1800, 3600, 5400, 7200, 86_400)))
    cron = f"{minute} {hour} {day} * {weekday}"
    return ChangeWindow(cron=cron, time_zone=zone, duration_seconds=seconds)


@st.composite
def _case(draw: st.DrawFn) -> tuple[ChangeWindow, datetime]:
    zone, change = draw(st.sampled_from(CHANGES))
    at = change + draw(st.integers(-26 * 60, 26 * 60)) * MINUTE
    return draw(_window(zone)), at + timedelta(seconds=draw(st.sampled_from((0, 0, 17))))


def _numbers(field: str, first: int, last: int) -> set[int]:
    found: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        low, _, high = span.partition("-") if span != "*" else (str(first), "-", str(last))
        found.update(range(int(low), int(high or low) + 1, int(step or 1)))
    return found


def _names(window: ChangeWindow, shown: datetime) -> bool:
    minute, hour, day, _, weekday = window.cron.split()
    if shown.minute not in _numbers(minute, 0, 59) or shown.hour not in _numbers(hour, 0, 23):
        return False
    by_day = shown.day in _numbers(day, 1, 31)
    by_weekday = shown.isoweekday() % 7 in {one % 7 for one in _numbers(weekday, 0, 6)}
    both = day.startswith("*") or weekday.startswith("*")
    return (by_day and by_weekday) if both else (by_day or by_weekday)


def _starts(window: ChangeWindow, first: datetime, last: datetime) -> list[datetime]:
    """Every minute looked at: which time the clocks show then, and which they skipped just now."""
    zone = ZoneInfo(window.time_zone)
    found = []
    minute = first.replace(second=0)
    before = minute.astimezone(zone).replace(tzinfo=None)
    twice = window.cron.split()[1].startswith("*")
    while minute <= last:
        local = minute.astimezone(zone)
        shown = local.replace(tzinfo=None, fold=0)
        skipped = before + MINUTE
        is_skipped = False
        while skipped < shown:
            is_skipped = is_skipped or _names(window, skipped)
            skipped += MINUTE
        if is_skipped or (_names(window, shown) and (twice or not local.fold)):
            found.append(minute)
        before, minute = shown, minute + MINUTE
    return found


@given(_case())
@example(
    (
        ChangeWindow(cron="30 2 * * *", time_zone="Europe/Berlin", duration_seconds=3600),
        datetime(2026, 10, 25, 1, 10, tzinfo=UTC),
    )
)
def test_a_turn_is_what_a_slow_look_at_the_clocks_says(case: tuple[ChangeWindow, datetime]) -> None:
    """Begin and end of turns are those of every minute looked at, whatever clocks are set by."""
    window, at = case
    lasting = timedelta(seconds=window.duration_seconds)
    starts = _starts(window, at - lasting - timedelta(hours=1), at + timedelta(hours=27))
    begun = [one for one in starts if one <= at < one + lasting]
    assert end_of_turn(window, at) == (max(begun) + lasting if begun else None)
    coming = next((one for one in starts if one > at), None)
    if coming is not None:
        assert next_start(window, at) == coming
    else:
        found = next_start(window, at)
        assert found is None or found > at + timedelta(hours=27)


@given(st.lists(_case(), max_size=3), st.lists(_case(), max_size=2), st.data())
def test_until_is_the_first_moment_at_which_a_wave_may_begin(
    open_in: list[tuple[ChangeWindow, datetime]],
    frozen_in: list[tuple[ChangeWindow, datetime]],
    data: st.DataObject,
) -> None:
    """Every minute before `until` is held, `until` is not, and what is not held is in a window."""
    windows, freezes = [one for one, _ in open_in], [one for one, _ in frozen_in]
    moments = [at for _, at in (*open_in, *frozen_in)] or [CHANGES[0][1]]
    at = data.draw(st.sampled_from(moments))
    hold = hold_by_time(windows, freezes, at)
    assert (hold is None) == _may_begin(windows, freezes, at)
    if hold is None or hold.until is None:
        return
    assert hold.until > at
    assert hold_by_time(windows, freezes, hold.until) is None
    last = hold.until - timedelta(seconds=1)
    assert hold_by_time(windows, freezes, last) is not None
    span = int((hold.until - at) / MINUTE)
    for minutes in data.draw(st.lists(st.integers(0, max(span - 1, 0)), max_size=5)):
        assert not _may_begin(windows, freezes, at + minutes * MINUTE)


def _may_begin(
    windows: Sequence[ChangeWindow], freezes: Sequence[ChangeWindow], at: datetime
) -> bool:
    is_open = not windows or any(end_of_turn(one, at) is not None for one in windows)
    return is_open and all(end_of_turn(one, at) is None for one in freezes)


@given(st.text("0123456789*/,-#LWMONJA ", max_size=40), st.text(max_size=30))
def test_whatever_is_written_is_taken_or_refused_by_its_path(cron: str, zone: str) -> None:
    """No text ends in a failure: it is a window that can be asked, or has a problem with a path."""
    window = ChangeWindow(cron=cron, time_zone=zone, duration_seconds=60)
    problems = window_problems([window], path="freezes")
    assert all(one.path.startswith("freezes[0]") for one in problems)
    if not problems:
        end_of_turn(window, CHANGES[0][1])
        assert next_start(window, CHANGES[0][1]) is not None


REFUSED: tuple[tuple[dict[str, Any], str, str], ...] = (
    ({}, "windows[0]", "names either"),
    ({"cron": "0 0 * * *", "start": "2026-01-01T00:00:00Z"}, "windows[0]", "names either"),
    ({"cron": "0 0 * *"}, "windows[0].cron", "five fields"),
    ({"cron": "0 0 0 * * *"}, "windows[0].cron", "five fields"),
    ({"cron": "@daily"}, "windows[0].cron", "five fields"),
    ({"cron": "0 24 * * *"}, "windows[0].cron", "hour"),
    ({"cron": "0 0 30 2 *"}, "windows[0].cron", "day-of-month"),
    ({"cron": "0 0 */31 * 1#5"}, "windows[0].cron", "never comes"),
    ({"cron": "0 0 * * *", "time_zone": "Mars/Olympus"}, "windows[0].time_zone", "tzdata"),
    ({"cron": "0 0 * * *", "time_zone": "right/UTC"}, "windows[0].time_zone", "tzdata"),
    ({"cron": "0 0 * * *", "time_zone": "../etc/passwd"}, "windows[0].time_zone", "tzdata"),
    ({"start": "2026-01-01T00:00:00"}, "windows[0].start", "time zone"),
    ({"start": "9999-12-31T23:59:59Z"}, "windows[0].start", "centuries"),
    ({"start": "2026-01-01T00:00:00Z", "time_zone": "Europe/Berlin"}, "windows[0].time_zone", "of"),
)


def test_what_is_no_window_is_refused_with_its_path_and_rule() -> None:
    """Each mistake has the path of its field and a rule that says what is wrong."""
    for fields, path, rule in REFUSED:
        (problem,) = window_problems([ChangeWindow(duration_seconds=60, **fields)], path="windows")
        assert (problem.path, rule in problem.rule) == (path, True), (fields, problem)


def test_a_time_that_comes_once_is_open_from_its_first_second_to_its_last() -> None:
    """The first second belongs to a turn, the one at which it ends does not."""
    once = ChangeWindow(start="2026-12-24T18:00:00+01:00", duration_seconds=3600)
    start = datetime(2026, 12, 24, 17, tzinfo=UTC)
    held = hold_by_time([], [once], start)
    assert held is not None
    assert held.until == start + timedelta(hours=1)
    assert "frozen" in held.why
    assert hold_by_time([], [once], start - timedelta(seconds=1)) is None
    assert hold_by_time([], [once], start + timedelta(hours=1)) is None
    past = hold_by_time([once], [], start + timedelta(hours=2))
    assert past is not None
    assert past.until is None


def test_a_moment_in_sight_is_looked_for_no_longer_with_many_windows() -> None:
    """Half a year ahead behind two; behind 64 nobody can say, and they hold all the same."""
    nightly = [ChangeWindow(cron="0 0 * * *", duration_seconds=60 + one) for one in range(32)]
    frozen = [ChangeWindow(cron="0 0 * 1-11 *", duration_seconds=3600 + one) for one in range(32)]
    at = datetime(2026, 6, 1, 12, tzinfo=UTC)

    few, many = hold_by_time(nightly[:1], frozen[:1], at), hold_by_time(nightly, frozen, at)

    assert few is not None
    assert few.until == datetime(2026, 12, 1, tzinfo=UTC)
    assert many is not None
    assert many.until is None


def test_a_zone_that_is_not_known_holds() -> None:
    """What was stored where the zone was known lets nothing through where it is not."""
    strange = ChangeWindow(cron="0 0 1 1 *", time_zone="Mars/Olympus", duration_seconds=60)
    for windows, freezes in (([strange], []), ([], [strange])):
        held = hold_by_time(windows, freezes, datetime(2026, 6, 1, tzinfo=UTC))
        assert held is not None
        assert "Mars/Olympus" in held.why
        assert held.until is None
