# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Change windows and freezes: when a wave may begin, and until when it may not.

Pure; the rules of time zones are those of the machine (`zoneinfo`).

Rules:
 * A turn of a window begins at a time of the zone's clocks that `cron` names, and lasts so many
   seconds that pass, whatever the clocks are set to meanwhile.
 * A time that clocks skip begins when they go on.  A time that they show twice counts the first
   time; both times if the hour field begins with `*`, as crontab(5) does.
 * Turns that touch or overlap are one.  The first second belongs to a turn, the one at which it
   ends does not; of a moment that begins one, parts of a second count for nothing.
 * A window whose time zone this machine does not know is never open, and a freeze holds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from shared.contracts.rollouts import ChangeWindow
from shared.errors import Reason
from shared.moments import read_time, render_time

CRON_FIELDS: Final = 5
MAX_LOOKS: Final = 1000
"""At one window after the other, for a moment when a rollout may go on: a tenth of a second."""
_YEARS: Final = (1980, 2400)
"""Of a time that comes once, and of what is computed with."""
_SECOND: Final = timedelta(seconds=1)
_DAY: Final = timedelta(hours=25)
"""No clock is set by more."""
_ZONE: Final = re.compile(r"(?!posix/|right/|localtime$)[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*")
_SETTLED: Final = datetime(2024, 1, 1)  # noqa: DTZ001 - a time of clocks, in no zone
"""From here a cron expression is tried: within fifty years it names a time, or never does."""


@dataclass(frozen=True, slots=True)
class Hold:
    """What a rollout waits for."""

    why: str
    """One sentence."""
    until: datetime | None = None
    """When that is over as far as time alone decides, in UTC; None: nobody can say."""


def window_problems(windows: Sequence[ChangeWindow], *, path: str) -> list[Reason]:
    """What is wrong with the windows, each at its path."""
    return [
        problem
        for index, one in enumerate(windows)
        for problem in _problems(one, f"{path}[{index}]")
    ]


def hold_by_time(
    windows: Sequence[ChangeWindow], freezes: Sequence[ChangeWindow], now: datetime
) -> Hold | None:
    """Why no wave may begin now, and until when; None: it may.

    Args:
        windows: In one of which it must be; none: it may at any time.
        freezes: In none of which it may be.
        now: Aware.
    """
    return _hold(tuple(windows), tuple(freezes), now.astimezone(UTC).replace(microsecond=0))


@lru_cache(maxsize=1024)
def _hold(
    windows: tuple[ChangeWindow, ...], freezes: tuple[ChangeWindow, ...], now: datetime
) -> Hold | None:
    """At a whole second, as all turns begin and end at one."""
    if (unknown := _unknown(freezes)) is not None:
        return Hold(f"the time zone {unknown} of a freeze is not known to this machine")
    frozen = [one for one in freezes if end_of_turn(one, now) is not None]
    is_outside = bool(windows) and all(end_of_turn(one, now) is None for one in windows)
    if not frozen and not is_outside:
        return None
    until = _first_opening(windows, freezes, now)
    when = "no end of which is in sight" if until is None else f"until {_written(until)}"
    if frozen:
        return Hold(f"changes are frozen ({window_text(frozen[0])}), {when}", until)
    if (unknown := _unknown(windows)) is not None and until is None:
        return Hold(f"the time zone {unknown} of a change window is not known to this machine")
    return Hold(f"it is outside the change windows, {when}", until)


def end_of_turn(window: ChangeWindow, at: datetime) -> datetime | None:
    """When the turn that goes on then ends; None: none does."""
    begun = last_start(window, at)
    if begun is None:
        return None
    end = begun + timedelta(seconds=window.duration_seconds)
    return end if end > at else None


def next_start(window: ChangeWindow, after: datetime) -> datetime | None:
    """When its next turn begins; None: it has none, or none within fifty years."""
    if not window.cron:
        start = _once(window)
        return start if start is not None and start > after else None
    zone = _zone(window.time_zone)
    if zone is None:
        return None
    shortest = min(_offset(after + shift, zone) for shift in (-_DAY, timedelta(), _DAY))
    clock = _naive(after + shortest) - timedelta(minutes=1)
    starts = (
        next((one for one in _moments(window, clock, zone, fold) if one > after), None)
        for fold in _folds(window)
    )
    return min((one for one in starts if one is not None), default=None)


def last_start(window: ChangeWindow, at: datetime) -> datetime | None:
    """When its newest turn up to then began; None: it had none, or none within fifty years."""
    if not window.cron:
        start = _once(window)
        return start if start is not None and start <= at else None
    zone = _zone(window.time_zone)
    if zone is None:
        return None
    longest = max(_offset(at + shift, zone) for shift in (-_DAY, timedelta(), _DAY))
    clock = _naive(at + longest) + _SECOND
    starts = (
        next((one for one in _moments(window, clock, zone, fold, back=True) if one <= at), None)
        for fold in _folds(window)
    )
    return max((one for one in starts if one is not None), default=None)


def window_text(window: ChangeWindow) -> str:
    """The window as one reads it."""
    lasting = str(timedelta(seconds=window.duration_seconds))
    if not window.cron:
        return f"from {window.start} for {lasting}"
    return f"{window.cron} {window.time_zone} for {lasting}"


def _first_opening(
    windows: Sequence[ChangeWindow], freezes: Sequence[ChangeWindow], now: datetime
) -> datetime | None:
    """The first moment from now on that is inside a window and in no freeze."""
    at: datetime | None = now
    for _ in range(MAX_LOOKS // max(1, len(windows) + len(freezes))):
        if at is None or at.year >= _YEARS[1]:
            return None
        ends = [end for one in freezes if (end := end_of_turn(one, at)) is not None]
        if ends:
            at = max(ends)
        elif windows and all(end_of_turn(one, at) is None for one in windows):
            starts = [start for one in windows if (start := next_start(one, at)) is not None]
            at = min(starts, default=None)
        else:
            return at
    return None


def _moments(
    window: ChangeWindow, clock: datetime, zone: ZoneInfo, fold: int, *, back: bool = False
) -> Iterator[datetime]:
    """When the window begins, as clocks show it from `clock` on, which itself is not looked at.

    Never descending, backwards never ascending: of a time that clocks show twice the first, with
    `fold` 1 the second.
    """
    try:
        for shown in CronSim(window.cron, clock, reverse=back):
            yield _moment(shown, zone, fold)
    except OverflowError:
        return


def _moment(shown: datetime, zone: ZoneInfo, fold: int) -> datetime:
    """When clocks of the zone show this; of a time that they skip, when they go on."""
    moment = shown.replace(tzinfo=zone, fold=fold).astimezone(UTC)
    if moment.astimezone(zone).replace(tzinfo=None, fold=0) == shown:
        return moment
    # Before clocks go on they are behind, so the later of the two is after that (PEP 495).
    high, low = (shown.replace(tzinfo=zone, fold=one).astimezone(UTC) for one in (0, 1))
    before = _offset(low, zone)
    while high - low > _SECOND:
        middle = low + (high - low) // _SECOND // 2 * _SECOND
        if _offset(middle, zone) == before:
            low = middle
        else:
            high = middle
    return high


def _folds(window: ChangeWindow) -> tuple[int, ...]:
    return (0, 1) if window.cron.split()[1].startswith("*") else (0,)


def _offset(moment: datetime, zone: ZoneInfo) -> timedelta:
    return moment.astimezone(zone).utcoffset() or timedelta()


def _naive(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(tzinfo=None, microsecond=0)


def _once(window: ChangeWindow) -> datetime | None:
    try:
        start = read_time(window.start)
    except ValueError:
        return None
    return start.replace(microsecond=0) if _YEARS[0] <= start.year < _YEARS[1] else None


def _zone(name: str) -> ZoneInfo | None:
    if _ZONE.fullmatch(name) is None:
        return None
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return None


def _unknown(windows: Iterable[ChangeWindow]) -> str | None:
    """The first time zone that this machine does not know."""
    zones = (one.time_zone for one in windows if one.cron)
    return next((one for one in zones if _zone(one) is None), None)


def _problems(window: ChangeWindow, path: str) -> Iterator[Reason]:
    if bool(window.cron) == bool(window.start):
        rule = "names either when it begins again and again (cron) or when it begins once (start)"
        yield Reason(path=path, rule=rule, allowed=["cron", "start"])
        return
    if window.start:
        if _once(window) is None:
            rule = "is no moment of these centuries with a time zone, as RFC 3339 writes it"
            yield Reason(path=f"{path}.start", rule=rule, got=window.start)
        if window.time_zone != "UTC":
            rule = "is of `cron` alone; `start` has its own"
            yield Reason(path=f"{path}.time_zone", rule=rule, got=window.time_zone)
        return
    if (why := _cron_problem(window.cron)) is not None:
        yield Reason(path=f"{path}.cron", rule=why, got=window.cron)
    if _zone(window.time_zone) is None:
        rule = (
            "is no time zone that this machine knows; if it is an IANA name, install the package "
            "tzdata (of the system, or Python's) where the scheduler runs"
        )
        yield Reason(path=f"{path}.time_zone", rule=rule, got=window.time_zone)


def _cron_problem(cron: str) -> str | None:
    if len(cron.split()) != CRON_FIELDS:
        return "has five fields: minute, hour, day of month, month, day of week"
    try:
        first = next(CronSim(cron, _SETTLED), None)
    except CronSimError as error:
        return f"is no time as crontab(5) writes it: {str(error).lower()}"
    return "names a time that never comes" if first is None else None


def _written(moment: datetime) -> str:
    return render_time(moment).replace(".000000Z", "Z")
