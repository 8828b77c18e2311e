# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""How far the emitters' clocks are from the auditor's, as far as events tell.

Pure.  An event is received after it happened: a smaller time of receipt means that the emitter's
clock is ahead.  A larger one may as well be a delay, so what counts is the least of several.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, NamedTuple

WINDOW: Final = timedelta(minutes=5)
"""What was seen in this window and the one before counts."""
LOOKS_TO_BE_BEHIND: Final = 3
"""In so many looks all events of an emitter must have come late before its clock is blamed."""


class ClockOffset(NamedTuple):
    """What is known of one emitter's clock."""

    emitter: str
    seconds: float
    """Least receipt less event."""
    looks: int

    def is_off(self, limit_seconds: float) -> bool:
        """Whether the clock must be wrong by so much."""
        is_behind = self.seconds >= limit_seconds and self.looks >= LOOKS_TO_BE_BEHIND
        return self.seconds <= -limit_seconds or is_behind


@dataclass(slots=True)
class ClockOffsets:
    """The least offsets of the last minutes."""

    _begun: datetime | None = None
    _now: dict[str, ClockOffset] = field(default_factory=dict)
    _before: dict[str, ClockOffset] = field(default_factory=dict)

    def note(self, samples: Iterable[tuple[str, float]], *, now: datetime) -> None:
        """One look saw events of these emitters, each so many seconds after it happened."""
        if self._begun is None or now - self._begun >= WINDOW:
            is_near = self._begun is not None and now - self._begun < 2 * WINDOW
            self._before = self._now if is_near else {}
            self._now, self._begun = {}, now
        least: dict[str, float] = {}
        for emitter, seconds in samples:
            least[emitter] = min(seconds, least.get(emitter, seconds))
        for emitter, seconds in least.items():
            self._now[emitter] = _joined(ClockOffset(emitter, seconds, 1), self._now.get(emitter))

    def offsets(self) -> list[ClockOffset]:
        """Of every emitter that was heard lately, the largest difference first."""
        found = [_joined(one, self._before.get(one.emitter)) for one in self._now.values()]
        found += [one for emitter, one in self._before.items() if emitter not in self._now]
        return sorted(found, key=lambda one: -abs(one.seconds))


def _joined(one: ClockOffset, other: ClockOffset | None) -> ClockOffset:
    if other is None:
        return one
    return ClockOffset(one.emitter, min(one.seconds, other.seconds), one.looks + other.looks)
