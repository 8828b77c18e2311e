# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a map of a running program has counted."""

from __future__ import annotations

from typing import Protocol

from shared.contracts.metrics import MetricSource


class ReadsSeries(Protocol):
    """The part of a kernel that reads numbers."""

    def read_series(self, map_id: int, source: MetricSource) -> dict[str, int]:
        """By key."""


def total_in(kernel: ReadsSeries, map_id: int, key: str = "*") -> int:
    """The sum of all entries of the map, or of one."""
    return sum(kernel.read_series(map_id, MetricSource(map="", key=key)).values())
