# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Keeps work that is asked for all the time from taking the whole processor.

What comes while it rests is seen to all at once, so a thousand nodes that report within a second
are looked at some dozens of times, and one node at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Final

REST: Final = 4
"""So many times as long as it thought, it rests."""
MAX_REST_SECONDS: Final = 0.5


class Pace:
    """Of one kind of work."""

    def __init__(self) -> None:
        """It has not thought yet."""
        self._thought_seconds = 0.0

    @contextmanager
    def thinking(self) -> Iterator[None]:
        """A block without awaiting."""
        began = perf_counter()
        try:
            yield
        finally:
            self._thought_seconds += perf_counter() - began

    async def rest(self) -> None:
        """For as long as it thought since the last rest, times REST."""
        seconds, self._thought_seconds = self._thought_seconds, 0.0
        await asyncio.sleep(min(REST * seconds, MAX_REST_SECONDS))
