# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Heartbeats as they were received -> whether a node is there, gone, or comes and goes.

Pure; all moments are seconds of one monotonic clock.

Rules:
 * A node is lost after three missed heartbeats, and back with the next one.
 * One that was lost more than once in the last ten minutes is back only after heartbeats without a
   gap for a while, which doubles with each further loss: who comes and goes is not lost and found
   each time.
 * Once back, it stays so until three heartbeats are missed again.
 * One that does not come back for LOST_SECONDS is given up for a while: others take its place.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from shared.contracts.node import HEARTBEAT_SECONDS

SILENT_AFTER_SECONDS: Final = 3 * HEARTBEAT_SECONDS
RECENT_SECONDS: Final = 600.0
"""How long a loss counts."""
STEADY_SECONDS: Final = 6.0 * HEARTBEAT_SECONDS
"""How long a node must be heard without a gap after its second loss to be back."""
LOST_SECONDS: Final = 120.0
"""After a node fell silent."""
_MOST_LOSSES: Final = 5
"""That are kept: after as many, eight minutes of heartbeats are asked for."""


@dataclass(frozen=True, slots=True)
class Hearing:
    """What was heard of one node."""

    last_at: float
    """When the last heartbeat came."""
    since_at: float
    """When the first of the heartbeats came that end with it and have no gap."""
    lost_at: tuple[float, ...] = ()
    """When it was lost, oldest first; only what may still count."""
    silent_since: float | None = None
    """Since when it counts as silent, in spite of the last heartbeat; None: it did not then."""


@dataclass(frozen=True, slots=True)
class Silence:
    """How long nothing was heard of a node, and whether it counts as away."""

    seconds: float | None
    """Since the last heartbeat received here; None if there was none yet."""
    is_silent: bool
    """Whether three heartbeats were missed, or would have been had it ever run, or it comes and
    goes."""
    losses: int = 0
    """How often it was lost in the last ten minutes, this time included."""
    steady_seconds: float = 0.0
    """How long it must be heard without a gap to be back; 0: the next heartbeat is enough."""
    lasts_seconds: float = 0.0
    """How long it has been silent."""

    @property
    def is_alive(self) -> bool:
        """Whether a heartbeat was received within three intervals."""
        return self.seconds is not None and self.seconds <= SILENT_AFTER_SECONDS

    @property
    def is_unsteady(self) -> bool:
        """Whether it is heard, and was lost too often of late to count as back."""
        return self.is_silent and self.is_alive

    @property
    def is_lost(self) -> bool:
        """Whether it has been silent for so long that others take its place."""
        return self.is_silent and self.lasts_seconds >= LOST_SECONDS

    @property
    def why(self) -> str:
        """What is to be said of a node that is away; empty: it is not."""
        if self.is_unsteady:
            return (
                f"comes and goes: it was lost {self.losses} times in {RECENT_SECONDS / 60:.0f} "
                f"minutes, and counts as back after {self.steady_seconds:.0f} s of heartbeats "
                "without a gap"
            )
        return "has missed three heartbeats" if self.is_silent else ""


def heard(hearing: Hearing | None, *, at: float) -> Hearing:
    """What is known of the node once a heartbeat came."""
    if hearing is None:
        return Hearing(last_at=at, since_at=at)
    since = hearing.silent_since
    if at - hearing.last_at <= SILENT_AFTER_SECONDS:
        now = Hearing(max(at, hearing.last_at), hearing.since_at, hearing.lost_at, since)
    else:
        lost_at = hearing.last_at + SILENT_AFTER_SECONDS
        losses = (*_recent(hearing, now=at), lost_at)[-_MOST_LOSSES:]
        now = Hearing(at, at, losses, lost_at if since is None else since)
    if now.silent_since is not None and not judge_silence(now, started_at=at, now=at).is_silent:
        return replace(now, silent_since=None)
    return now


def judge_silence(hearing: Hearing | None, *, started_at: float, now: float) -> Silence:
    """How silent a node is.

    A node that was never heard is silent only when this process has listened long enough.

    Args:
        hearing: What was heard of it; None: nothing yet.
        started_at: Since when heartbeats are listened to.
        now: The moment.
    """
    if hearing is None:
        lasts_seconds = now - started_at - SILENT_AFTER_SECONDS
        return Silence(None, is_silent=lasts_seconds > 0, lasts_seconds=max(0.0, lasts_seconds))
    seconds = now - hearing.last_at
    is_lost = seconds > SILENT_AFTER_SECONDS
    losses = len(_recent(hearing, now=now))
    steady_seconds = STEADY_SECONDS * 2 ** (losses - 2) if losses > 1 else 0.0
    is_unsteady = hearing.last_at - hearing.since_at < steady_seconds
    since = hearing.silent_since
    if since is None:
        since = hearing.last_at + SILENT_AFTER_SECONDS if is_lost else now
    return Silence(
        seconds=seconds,
        is_silent=is_lost or is_unsteady,
        losses=losses + is_lost,
        steady_seconds=steady_seconds,
        lasts_seconds=now - since if is_lost or is_unsteady else 0.0,
    )


def _recent(hearing: Hearing, *, now: float) -> tuple[float, ...]:
    return tuple(one for one in hearing.lost_at if now - one <= RECENT_SECONDS)
