# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What goes wrong on simulated nodes, and how long things take there: by seed, so that it repeats.

Pure.  What happens to a node follows from the seed and its name alone, whatever the others do.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Final

RESTARTING: Final = 0.5
"""Share of the nodes that go away whose executor starts anew meanwhile."""


@dataclass(frozen=True, slots=True)
class Absence:
    """One node is not there for a while."""

    seconds: float
    restarts: bool
    """Whether its executor starts anew meanwhile, over the same disk and kernel."""


@dataclass(frozen=True, slots=True)
class Troubles:
    """Of a whole fleet."""

    seed: int = 0
    failure_rate: float = 0.0
    """Share of the calls to the kernel that fail; each is tried again by the executor."""
    latency_ms: float = 0.0
    """How long a step that blocks takes on average, exponentially distributed."""

    vanish_rate: float = 0.0
    """Share of the nodes that go away once."""
    away_seconds: float = 0.0
    """For how long on average, from half of it to one and a half."""

    def rng(self, node: str, what: str) -> Random:
        """Of one node, for one purpose."""
        return Random(f"{self.seed}/{node}/{what}")  # noqa: S311 because it hides nothing

    def latency_seconds(self, rng: Random) -> float:
        """The next one."""
        return rng.expovariate(1000 / self.latency_ms) if self.latency_ms else 0.0

    def absence(self, node: str) -> Absence | None:
        """How long it is away when nodes are; None: it stays."""
        rng = self.rng(node, "absence")
        if rng.random() >= self.vanish_rate:
            return None
        return Absence(self.away_seconds * rng.uniform(0.5, 1.5), rng.random() < RESTARTING)
