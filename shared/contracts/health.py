# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What must hold on the nodes of a wave, beside that they run what they were told.

That each place is read back with the new revision, and that its companions do their work, holds of
every rollout.  The rest is asked for here.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta

from shared.contracts.base import Document
from shared.identifiers import Token

COUNTED: Final = (
    "l3af.packets_in",
    "l3af.went_on",
    "l3af.dropped",
    "l3af.drop_share",
    "l3af.nanoseconds",
    "l3af.cpu_share",
)
"""Numbers that a condition can name beside the deployment's metrics: packets that reached the
program, that the chain went on with, that it dropped, all three per second; dropped of those that
reached it, 0 to 1; time for a packet; processors of the node at work, 0 to 1."""

OF_NODES: Final = frozenset({"l3af.cpu_share"})
"""Those of COUNTED that are no numbers of packets."""
METRIC_PATTERN: Final = r"^(l3af\.[a-z_]{1,32}|[a-z0-9][a-z0-9_.-]{0,63})(?!\n)$"
EVENT_PATTERN: Final = r"^[a-z][a-z-]{0,31}\.[a-z][a-z-]{0,31}(?!\n)$"

Fraction = Annotated[float, Meta(ge=0, le=1)]
"""Of everything, 0 to 1."""
Number = Annotated[float, Meta(ge=-1e18, le=1e18)]


class DropGuard(Document, frozen=True, kw_only=True):
    """How many packets the program may end: XDP `drop` and `aborted`, TC `shot`."""

    max_share: Fraction | None = None
    """Of those that reach it within a period, on each place."""
    max_increase: Fraction | None = None
    """By how much the share of the wave may be above what it was before the wave."""
    min_packets: Annotated[int, Meta(ge=1, le=1_000_000_000)] = 100
    """Fewer within a period are not judged."""


class CpuGuard(Document, frozen=True, kw_only=True):
    """How much time the program, and its nodes, may need."""

    max_nanoseconds: Annotated[int, Meta(ge=1, le=1_000_000_000)] | None = None
    """For a packet, on each place; of the packets whose time is taken (`link.time_sample_period`).
    """
    max_factor: Annotated[float, Meta(ge=1, le=1000)] | None = None
    """How many times the time before the wave a packet may take, on average of the wave."""
    max_share: Fraction | None = None
    """Of the processors of a node, at work within a period; on each node."""
    max_increase: Fraction | None = None
    """By how much the share of the wave may be above what it was before the wave."""


class VerifierBounds(Document, frozen=True, kw_only=True):
    """What the kernel may say of the chains that the program is part of."""

    max_instructions: Annotated[int, Meta(ge=1, le=1_000_000_000)] | None = None
    """Walked by the verifier, all programs of a chain together."""
    max_jited_bytes: Annotated[int, Meta(ge=1, le=1 << 32)] | None = None


class MetricCondition(Document, frozen=True, kw_only=True):
    """Where a number must be; at least one bound."""

    metric: Annotated[str, Meta(pattern=METRIC_PATTERN)]
    """Of the deployment or its package, or one of COUNTED."""
    key: Annotated[str, Meta(max_length=256)] = ""
    """Of a metric with `each_key`: which; empty: their sum."""
    per_second: bool = False
    """Whether its increase per second within a period is meant, and not the number."""
    against: Literal["nothing", "before", "rest"] = "nothing"
    """`nothing`: the number itself, on each place.  `before`: the average of the wave, against
    what it was before the wave.  `rest`: against the average now of places that still have the
    earlier revision; where there are none, nothing is asked."""
    compare: Literal["difference", "factor"] = "difference"
    """`difference`: how much more it is; `factor`: how many times as much."""
    minimum: Number | None = None
    maximum: Number | None = None


class AbsentEvent(Document, frozen=True, kw_only=True):
    """What nodes of the wave must not say."""

    action: Annotated[str, Meta(pattern=EVENT_PATTERN)]
    """Of a node's events, as `chain.drift` or `companion.oom`."""
    outcome: Literal["", "succeeded", "failed", "refused", "observed"] = ""
    """Empty: whichever."""
    scope: Literal["deployment", "node"] = "deployment"
    """`deployment`: events that name it, or a hook point that it is on; `node`: every one that
    its readers may see."""


class ExternalGate(Document, frozen=True, kw_only=True):
    """Somebody else who has to say that a wave is well."""

    name: Token
    """Of the principal that answers."""
    timeout_seconds: Annotated[int, Meta(ge=1, le=60)] = 5
    silence: Literal["wait", "fail"] = "wait"
    """What no answer means: it is asked again in the next period, or the wave is not well."""


class HealthSpec(Document, frozen=True, kw_only=True):
    """What must hold of a wave until it is through."""

    period_seconds: Annotated[int, Meta(ge=1, le=3600)] = 10
    """How often it is judged, by what happened since."""
    bad_periods: Annotated[int, Meta(ge=1, le=1000)] = 1
    """How many one after the other are a failure."""
    drops: DropGuard | None = None
    cpu: CpuGuard | None = None
    verifier: VerifierBounds | None = None
    metrics: Annotated[tuple[MetricCondition, ...], Meta(max_length=64)] = ()
    absent: Annotated[tuple[AbsentEvent, ...], Meta(max_length=32)] = ()
    gate: ExternalGate | None = None

    @property
    def asks_nodes(self) -> bool:
        """Whether nodes have to say more than what they observe."""
        return bool(self.drops or self.cpu or self.metrics or self.absent)

    @property
    def needs_counters(self) -> bool:
        """Whether packets have to be counted on every place."""
        counted = {one.metric for one in self.metrics} & (set(COUNTED) - OF_NODES)
        return self.drops is not None or bool(counted)

    @property
    def is_plain(self) -> bool:
        """Whether nothing is asked beside what holds of every rollout."""
        return not (self.asks_nodes or self.verifier or self.gate)
