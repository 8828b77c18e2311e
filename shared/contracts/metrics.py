# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What of a map is a metric, and how numbers that were read become the one that is shown."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta

from shared.contracts.base import Document, Message

Aggregation = Literal["scalar", "rate", "max-rate", "average", "minimum", "maximum", "histogram"]
WINDOWED: Final[frozenset[Aggregation]] = frozenset(
    ("rate", "max-rate", "average", "minimum", "maximum")
)
"""Those that look at the last samples, taken once a second."""
MAX_SAMPLES: Final = 3600
MAX_SERIES: Final = 1000
"""Keys of one metric that are shown each by itself."""


class MetricSource(Document, frozen=True, kw_only=True):
    """Numbers read from a map, once a second where the aggregation asks for it.

    | aggregation | value |
    |---|---|
    | scalar | the number now |
    | rate | its increase per second over the last `samples` seconds |
    | max-rate | the largest increase within one second of the last `samples` |
    | average, minimum, maximum | of the last `samples` numbers |
    | histogram | entry i counts values below 2^i that are not below 2^(i-1) |

    A number that falls, as after a map was made anew, counts from zero again.
    """

    map: str
    key: str = "0"
    """In the configuration's text form; `*`: all; `80..443`: integers from the first to the last.
    """
    member: str = ""
    """Of values that are structs: which member, as `bytes` or `tcp.packets`."""
    aggregation: Aggregation = "scalar"
    samples: Annotated[int, Meta(ge=1, le=MAX_SAMPLES)] = 60
    """Seconds that the aggregation looks back."""
    each_key: bool = False
    """Whether every key is a series of its own; else the numbers are added."""


class HistogramBucket(Message, frozen=True, kw_only=True):
    """How many values were at most `upper_bound`, the smaller ones included."""

    upper_bound: int
    count: int
