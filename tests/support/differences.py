# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Whether two kinds of request can be told apart: by their bytes, or by how long they take."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from shared.contracts.events import Event

OWN_FIELDS = ("id", "time", "sequence", "bodysalt")
"""Of an event: what no two events share, whatever they are about."""
TERMS = 100


def without(text: str, names: Mapping[str, str]) -> str:
    """The text with each secret replaced by what it stands for.

    Args:
        text: Of a reply or an event.
        names: What is replaced by what; both kinds of request have one for each placeholder.
    """
    for secret, placeholder in sorted(names.items(), key=lambda one: -len(one[0])):
        text = text.replace(secret, placeholder)
    return text


def told(event: Event, names: Mapping[str, str]) -> str:
    """What an event says, without what no two events share."""
    plain: dict[str, Any] = msgspec.to_builtins(event)
    return without(
        msgspec.json.encode(
            {key: value for key, value in plain.items() if key not in OWN_FIELDS}
        ).decode(),
        names,
    )


def kolmogorov_smirnov(first: Sequence[float], second: Sequence[float]) -> float:
    """The p-value that both come from one distribution (two-sample test, asymptotic).

    Stephens' approximation, as in Numerical Recipes 14.3.3; good from 20 values on.
    """
    ordered = sorted([(value, 0) for value in first] + [(value, 1) for value in second])
    steps = (1 / len(first), -1 / len(second))
    apart = largest = 0.0
    for place, (value, whose) in enumerate(ordered):
        apart += steps[whose]
        is_last_of_equals = place + 1 == len(ordered) or ordered[place + 1][0] != value
        if is_last_of_equals:
            largest = max(largest, abs(apart))
    root = math.sqrt(len(first) * len(second) / (len(first) + len(second)))
    argument = (root + 0.12 + 0.11 / root) * largest
    if argument < 0.2:
        return 1.0
    terms: list[float] = [
        (-1) ** (index - 1) * math.exp(-2 * (index * argument) ** 2)
        for index in range(1, TERMS + 1)
    ]
    return min(1.0, max(0.0, 2 * sum(terms)))
