# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What goes on in several steps, told from what begins.

Pure.
"""

from __future__ import annotations

from collections.abc import Hashable
from datetime import datetime, timedelta
from typing import Final, Generic, TypeVar

KeyT = TypeVar("KeyT", bound=Hashable)


class Ongoing(Generic[KeyT]):
    """What was noted, and when its newest step was.

    Kept in memory: whoever starts anew knows of none.
    """

    def __init__(self, lapse: timedelta) -> None:
        """Nothing goes on.

        Args:
            lapse: What had no step for longer is over.
        """
        self._lapse: Final = lapse
        self._last: dict[KeyT, datetime] = {}

    def goes_on(self, key: KeyT, *, now: datetime) -> bool:
        """Whether it was noted and is not over; then this is its newest step."""
        self._last = {one: last for one, last in self._last.items() if now - last <= self._lapse}
        if key not in self._last:
            return False
        self._last[key] = now
        return True

    def note(self, key: KeyT, *, now: datetime) -> None:
        """It goes on from now."""
        self._last[key] = now
