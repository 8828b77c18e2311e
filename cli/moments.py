# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Times as people write them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo
from difflib import get_close_matches
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from shared.errors import Reason, RefusedError
from shared.moments import render_time

_AGO: Final = re.compile(r"([0-9]{1,6})([smhdw])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def parse_zone(name: str) -> tzinfo:
    """The IANA time zone of this name; UTC if the name is empty.

    Raises:
        RefusedError: There is none of this name, or this machine does not know it.
    """
    if not name:
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        alike = get_close_matches(name, available_timezones(), n=3)
        reason = Reason(
            path="--zone",
            rule="is no time zone that this machine knows",
            got=name,
            allowed=alike or "an IANA name, as Europe/Berlin",
        )
        raise RefusedError(f"there is no time zone {name}", [reason]) from error


def parse_moment(text: str, *, now: datetime, path: str, zone: tzinfo = UTC) -> str:
    """RFC 3339 of `1h` (an hour before `now`), a date, or a time; in `zone` if it names none.

    Raises:
        RefusedError: It is none of them; or clocks in `zone` showed it twice, or never.
    """
    if not text:
        return ""
    ago = _AGO.fullmatch(text)
    try:
        if ago:
            moment = now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        else:
            moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError) as error:
        allowed = "30s, 15m, 1h, 7d, 2w, 2026-01-02, or 2026-01-02T03:04:05Z"
        reason = Reason(path=path, rule="is not a time", got=text, allowed=allowed)
        raise RefusedError(f"{path}: cannot be read", [reason]) from error
    try:
        if moment.tzinfo is not None:
            return render_time(moment)
        return render_time(_placed(moment, zone, text=text, path=path))
    except OverflowError as error:
        rule = "is in UTC before or after the years 1 to 9999"
        raise RefusedError(
            f"{path}: cannot be read", [Reason(path=path, rule=rule, got=text)]
        ) from error


def shown_moment(text: str) -> str:
    """Of an RFC 3339 time, what people read: to the minute, as `2026-01-02 03:04`."""
    return text[:16].replace("T", " ")


def _placed(wall: datetime, zone: tzinfo, *, text: str, path: str) -> datetime:
    """The one moment at which clocks in the zone showed this.

    Raises:
        RefusedError: There is none, or there are two.
    """
    first, second = (wall.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
    if first.utcoffset() == second.utcoffset():
        return first
    both = [one.astimezone(zone).isoformat() for one in (first, second)]
    is_shown = first.astimezone(UTC).astimezone(zone).replace(tzinfo=None) == wall
    rule = (
        f"clocks in {zone} showed this twice, because they were set back: say which"
        if is_shown
        else f"clocks in {zone} never showed this, because they were set forward over it"
    )
    allowed = both if is_shown else [one.astimezone(UTC).astimezone(zone).isoformat()
                                     for one in (second, first)]  # fmt: skip
    reason = Reason(path=path, rule=rule, got=text, allowed=allowed)
    raise RefusedError(f"{path}: cannot be read", [reason])
