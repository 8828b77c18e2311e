# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Times as people write them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from shared.errors import Reason, RefusedError
from shared.moments import render_time

_AGO: Final = re.compile(r"([0-9]{1,6})([smhdw])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def parse_moment(text: str, *, now: datetime, path: str) -> str:
    """RFC 3339 of `1h` (an hour before `now`), a date, or a time; UTC if no zone is given.

    Raises:
        RefusedError: It is none of them.
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
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return render_time(aware)
