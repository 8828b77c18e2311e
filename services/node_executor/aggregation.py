# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The last numbers of one series, and what they are taken together.

Pure.  A number that falls counts from zero again, as a map that was made anew does: what was
counted between the last look and that is lost, and nothing is counted twice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Final

from shared.contracts.metrics import Aggregation, HistogramBucket

MAX_BUCKETS: Final = 64
"""A 64-bit number has no more."""


class Window:
    """The numbers of the last seconds."""

    def __init__(self, samples: int) -> None:
        """None was taken yet.

        Args:
            samples: How many seconds are looked back, at least 1.
        """
        self._samples: Final = samples
        self._taken: Final[deque[tuple[float, int]]] = deque(maxlen=samples + 1)

    def add(self, at_seconds: float, value: int) -> None:
        """One more number; what is older than the window is forgotten.

        Args:
            at_seconds: When, by a clock that never goes back.
            value: The number.
        """
        self._taken.append((at_seconds, value))

    def aggregated(self, aggregation: Aggregation) -> float | int | None:
        """What the numbers are together; None: too few were taken.

        A rate needs two; the others speak of the last `samples` numbers.
        """
        values = [value for _, value in self._taken][-self._samples :]
        if not values:
            return None
        found: float | int | None = values[-1]
        match aggregation:
            case "rate":
                found = self._rate()
            case "max-rate":
                found = max(self._rates(), default=None)
            case "average":
                found = sum(values) / len(values)
            case "minimum":
                found = min(values)
            case "maximum":
                found = max(values)
        return found

    def _rate(self) -> float | None:
        if len(self._taken) < 2:  # noqa: PLR2004 because two numbers have one difference
            return None
        elapsed = self._taken[-1][0] - self._taken[0][0]
        gained = sum(_gained(one, other) for (_, one), (_, other) in pairwise(self._taken))
        return gained / elapsed if elapsed > 0 else None

    def _rates(self) -> Iterable[float]:
        for (earlier, before), (later, after) in pairwise(self._taken):
            if later > earlier:
                yield _gained(before, after) / (later - earlier)


class Tally:
    """What counters gained together; one that is there no more takes nothing with it."""

    def __init__(self) -> None:
        """No counter was seen yet."""
        self._total = 0
        self._before: Mapping[str, int] | None = None

    def add(self, numbers: Mapping[str, int]) -> int:
        """What they gained since the first look; each began at zero.

        Args:
            numbers: Of all counters that there are now, by key.
        """
        if self._before is not None:
            before = self._before
            self._total += sum(_gained(before.get(key, 0), one) for key, one in numbers.items())
        self._before = numbers
        return self._total


def log2_buckets(counts: Mapping[int, int]) -> tuple[HistogramBucket, ...]:
    """A map whose entry i counts the values below 2^i that are not below 2^(i-1), as a histogram.

    So writes bcc's `bpf_log2l`; its entry 0 holds zeros.  Empty buckets behind the last are left
    out.
    """
    last = max((slot for slot, count in counts.items() if count), default=-1)
    buckets: list[HistogramBucket] = []
    total = 0
    for slot in range(min(last, MAX_BUCKETS) + 1):
        total += counts.get(slot, 0)
        buckets.append(HistogramBucket(upper_bound=2**slot - 1, count=total))
    return tuple(buckets)


def _gained(before: int, after: int) -> int:
    return after - before if after >= before else after
