# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What goes wrong on simulated nodes, and how long things take there: by seed, so that it repeats.

Pure.  What happens to a node follows from the seed and its name alone, whatever the others do.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random


@dataclass(frozen=True, slots=True)
class Troubles:
    """Of a whole fleet."""

    seed: int = 0
    failure_rate: float = 0.0
    """Share of the calls to the kernel that fail; each is tried again by the executor."""
    latency_ms: float = 0.0
    """How long a step that blocks takes on average, exponentially distributed."""

    def rng(self, node: str, what: str) -> Random:
        """Of one node, for one purpose."""
        return Random(f"{self.seed}/{node}/{what}")  # noqa: S311 because it hides nothing

    def latency_seconds(self, rng: Random) -> float:
        """The next one."""
        return rng.expovariate(1000 / self.latency_ms) if self.latency_ms else 0.0
