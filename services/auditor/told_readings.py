# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""To whom it is told what somebody asked the log.

Pure.

Rules:
 * That somebody reads everybody is told, always: no space hides it.
 * Who sees a space may name what is in it.  So long as the space is not open, what they ask for by
   name is told to the space alone, if it is certain which one that is; everybody is told which
   filters were set, not to what.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from shared.contracts.events import PUBLIC, Audience

NAMING: Final = frozenset(
    {"package", "deployment", "correlation", "event_id", "licence", "space", "where", "text"}
)
"""Filters whose values may be names that a space has."""
_WITHHELD: Final = NAMING | {"finding"}
"""The id of a finding follows from names."""
DIGEST: Final = "runs_of"


def told_readings(
    details: Mapping[str, Any], *, spaces: frozenset[Audience]
) -> list[tuple[dict[str, Any], Audience]]:
    """What is recorded of a reading, and for which audience.

    Args:
        details: All of it.
        spaces: Those that the reader sees and not everybody does.
    """
    filters = dict(details.get("filters", {}))
    withheld = sorted({*(_WITHHELD & filters.keys()), *({DIGEST} & details.keys())})
    if not spaces or not withheld:
        return [(dict(details), PUBLIC)]
    told = {name: value for name, value in details.items() if name not in {DIGEST, "filters"}}
    if filters:
        told["filters"] = {name: value for name, value in filters.items() if name not in _WITHHELD}
    named = filters.get("space", "")
    readers = [named] if named in spaces else sorted(spaces)
    whole = [(dict(details), readers[0])] if len(readers) == 1 else []
    return [({**told, "withheld": withheld}, PUBLIC), *whole]
