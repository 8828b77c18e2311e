# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""How a new revision reaches its nodes, what must hold meanwhile, and how far it came."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Literal

from msgspec import Meta

from shared.contracts.base import Document, Message
from shared.contracts.node import LabelKey
from shared.errors import Reason
from shared.packed_places import unpack_names

Share = (
    Annotated[int, Meta(ge=1, le=1_000_000)]
    | Annotated[str, Meta(pattern=r"^([1-9]|[1-9]\d|100)%(?!\n)$", description="as 25%")]
)
"""So many nodes, or a percentage of them, rounded up."""

Strategy = Literal["all-at-once", "waves", "canary", "blue-green"]
Phase = Literal["waiting", "rolling-out", "baking", "paused", "complete", "rolled-back", "aborted"]
"""`waiting`: for what `RolloutState.why` says; `paused`: until somebody resumes or aborts it."""


class ChangeWindow(Document, frozen=True, kw_only=True):
    """A time that comes again and again, or once."""

    cron: Annotated[str, Meta(max_length=100)] = ""
    """When it begins, as crontab(5): minute, hour, day, month, day of week; empty: `start`."""
    start: Annotated[str, Meta(max_length=40)] = ""
    """RFC 3339; of a time that comes once."""
    duration_seconds: Annotated[int, Meta(ge=60, le=366 * 86_400)]
    time_zone: Annotated[str, Meta(max_length=64)] = "UTC"
    """Name of the IANA database that `cron` is read in."""


class RolloutSpec(Document, frozen=True, kw_only=True):
    """How a new revision reaches the nodes of a deployment."""

    strategy: Strategy = "all-at-once"
    canary: Share | None = None
    """Of `canary`, how many nodes are first; left out: 1."""
    waves: Annotated[tuple[Share, ...], Meta(max_length=50)] = ()
    """Of `waves`, and of `canary` after it: the nodes of each wave; the rest is one more."""
    failure_domain: LabelKey | None = None
    """Label of nodes that fail together."""
    across: Literal["each", "one-by-one"] = "each"
    """`each`: a wave takes its part of every failure domain; `one-by-one`: the waves go through one
    domain after the other."""
    blue: LabelKey | None = None
    """Of `blue-green`: the label whose value is the name of one interface of a node, which gets the
    new revision last."""
    green: LabelKey | None = None
    """The label of the interface that gets it first."""
    max_unavailable: Share = "100%"
    """How many nodes of the deployment may be changed and not confirmed, failed, silent or drained
    at a time, for a further one to be changed or drained."""
    bake_seconds: Annotated[int, Meta(ge=0, le=30 * 86_400)] = 0
    """How long a wave must be healthy before the next; the last one too."""
    timeout_seconds: Annotated[int, Meta(ge=10, le=7 * 86_400)] = 600
    """How long after a node was changed last every one that answers must be confirmed."""
    gate: Literal["automatic", "canary", "manual"] = "automatic"
    """Who lets the next wave begin: time and health; after the first wave, or after every one, an
    operator."""
    approvals: Annotated[int, Meta(ge=0, le=5)] = 0
    """How many others than who asked must approve before the first wave."""
    on_failure: Literal["roll-back", "roll-back-wave", "pause"] = "roll-back"
    """What happens when a wave fails: everything goes back, the wave goes back and the rollout
    pauses, or it pauses as it is."""
    windows: Annotated[tuple[ChangeWindow, ...], Meta(max_length=32)] = ()
    """When a wave may begin; none: at any time."""
    freezes: Annotated[tuple[ChangeWindow, ...], Meta(max_length=32)] = ()
    """When none may."""


class RolloutWave(Message, frozen=True, kw_only=True):
    """One step of a rollout, the same from its beginning to its end."""

    nodes: tuple[str, ...] = ()
    """In which order; packed if they are many."""
    packed_nodes: str = ""
    domain: str = ""
    """Of its nodes, if waves go through one failure domain after the other."""
    interface_label: str = ""
    """Of a blue/green rollout: only the interface that this label of a node names."""

    @property
    def names(self) -> tuple[str, ...]:
        """The nodes in their order, packed or not."""
        return _unpacked(self.packed_nodes) if self.packed_nodes else self.nodes


@lru_cache(maxsize=256)
def _unpacked(packed: str) -> tuple[str, ...]:
    return unpack_names(packed)


class PlannedWave(Message, frozen=True, kw_only=True):
    """One step of a rollout that is planned."""

    nodes: tuple[str, ...] = ()
    """In which order, as many as have room in a message; of a plan for one node, that one."""
    more_nodes: int = 0
    """That are in it, too, and are not listed."""
    domain: str = ""
    """Of its nodes, if waves go through one failure domain after the other."""
    interface_label: str = ""
    """Of a blue/green rollout: only the interface that this label of a node names."""


class PlannedRollout(Message, frozen=True, kw_only=True):
    """How a revision would reach its nodes."""

    deployment: str
    """By its key."""
    base_revision: int = 0
    """Which it would go back to; 0: it would be removed."""
    waves: tuple[PlannedWave, ...] = ()


class RolloutApproval(Message, frozen=True, kw_only=True):
    """Who let a rollout, or a wave of it, begin."""

    actor_key: str
    actor_role: str
    at: str
    wave: int
    """Counted from 0: before which."""
    reason: str = ""


class RolloutOverride(Message, frozen=True, kw_only=True):
    """Who let a rollout go on outside its change windows, or inside a freeze."""

    actor_key: str
    actor_role: str
    at: str
    reason: str


class RolloutState(Message, frozen=True, kw_only=True):
    """How far the newest revision of a deployment came."""

    revision: int
    phase: Phase
    base_revision: int = 0
    """The last one that was everywhere, which a failure goes back to; 0: there was none."""
    waves: tuple[RolloutWave, ...] = ()
    wave: int = 0
    """Counted from 0: the one that goes on; all before it are through."""
    released: int = 0
    """How many nodes of that wave were told the new revision."""
    started_at: str = ""
    wave_started_at: str = ""
    """Empty: it did not begin yet."""
    released_at: str = ""
    """When nodes of that wave were told last."""
    healthy_since: str = ""
    """Since when every node of the wave is confirmed and healthy; empty: not yet."""
    ended_at: str = ""
    bad_periods: int = 0
    """One after the other, up to now."""
    baseline: dict[str, float] = {}
    """What each metric that is looked at was before the wave."""
    approvals: tuple[RolloutApproval, ...] = ()
    override: RolloutOverride | None = None
    why: str = ""
    """What it waits for, or why it paused or went back; one sentence."""
    evidence: tuple[Reason, ...] = ()
    """What failed, by node and place."""
    step: int = 0
    """How often it was written: each time has an id of its own."""
