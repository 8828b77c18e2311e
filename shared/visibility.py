# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Who sees a space, and since when everybody does.

Pure; the present is an argument, so that a space opens at its moment whoever is asked and whatever
was written down meanwhile.

Rules:
 * `public` is open.  A space opens when it is lifted or its time has come, and never closes again.
 * A space that is not known is seen by nobody.
 * A member is named; no role makes one, not even administrator's.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from shared.contracts.events import PUBLIC, Audience
from shared.contracts.spaces import SpaceRecord

Spaces = Mapping[Audience, SpaceRecord]


def opening_of(space: SpaceRecord) -> datetime | None:
    """From which moment on everybody sees what is in it; None: none is known."""
    known = [datetime.fromisoformat(at) for at in (space.lifted_at, space.lifts_at) if at]
    return min(known, default=None)


def is_lifted(space: SpaceRecord, *, now: datetime) -> bool:
    """Whether everybody sees what is in it."""
    opening = opening_of(space)
    return opening is not None and opening <= now


def is_open(audience: Audience, spaces: Spaces, *, now: datetime) -> bool:
    """Whether everybody sees what is told to this audience."""
    if audience == PUBLIC:
        return True
    space = spaces.get(audience)
    return space is not None and is_lifted(space, now=now)


def is_visible(audience: Audience, spaces: Spaces, name: str, *, now: datetime) -> bool:
    """Whether the principal of that name sees what is told to this audience."""
    if is_open(audience, spaces, now=now):
        return True
    space = spaces.get(audience)
    return space is not None and name in space.members


def visible_spaces(spaces: Spaces, name: str, *, now: datetime) -> frozenset[Audience]:
    """Every audience that the principal of that name sees, `public` among them."""
    seen = {audience for audience in spaces if is_visible(audience, spaces, name, now=now)}
    return frozenset(seen | {PUBLIC})


class Sight:
    """`visible_spaces` of the same spaces again and again, without looking at each of them.

    What it takes depends on what somebody sees, and not on what there is beside that.
    """

    def __init__(self, spaces: Spaces) -> None:
        known = [(opening_of(space), audience) for audience, space in spaces.items()]
        self._openings: Final = sorted((at, one) for at, one in known if at is not None)
        self._moments: Final = [at for at, _ in self._openings]
        self._open: frozenset[Audience] = frozenset({PUBLIC})
        self._open_count = 0
        members: dict[str, set[Audience]] = {}
        for audience, space in spaces.items():
            for name in space.members:
                members.setdefault(name, set()).add(audience)
        self._of_members: Final = {name: frozenset(seen) for name, seen in members.items()}

    def of(self, name: str, *, now: datetime) -> frozenset[Audience]:
        """Every audience that the principal of that name sees, `public` among them."""
        count = bisect_right(self._moments, now)
        if count != self._open_count:
            self._open_count = count
            self._open = frozenset({PUBLIC, *(one for _, one in self._openings[:count])})
        return self._open | self._of_members.get(name, frozenset())

    def next_opening(self, *, now: datetime) -> datetime | None:
        """When the next space opens by its time; None: none will."""
        ahead = bisect_right(self._moments, now)
        return self._moments[ahead] if ahead < len(self._moments) else None


def current_audience(audience: Audience, spaces: Spaces, *, now: datetime) -> Audience:
    """To whom that is told from now on which was told to `audience` before."""
    return PUBLIC if is_open(audience, spaces, now=now) else audience
