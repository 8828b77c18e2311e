# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""When a process may take the lead, and how long a leader may take itself for one.

Pure.  No two clocks are compared: whoever waits measures by its own how long the lease has not
changed.  If clocks lie or processes stand still, two may think that they lead; then the larger
token is the leader, and the server refuses the other's writes (`shared.adapters.fencing`).

Rules:
 * The leader renews the lease every RENEW_SECONDS; a lease that did not change for LAPSE_SECONDS,
   as far as it could be read all that time, has lapsed.
 * A lease is free at once if its leader released it, or was this process before it was started
   again, or if there is none when a process looks for the first time.
 * A lease that goes missing later is not free before LAPSE_SECONDS are over: its leader writes it
   again.
 * A leader answers while fewer than LAPSE_SECONDS have passed since it sent a renewal that was
   stored.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from shared.contracts.leadership import Lease

RENEW_SECONDS: Final = 0.75
LAPSE_SECONDS: Final = 3.0
LOOK_SECONDS: Final = 0.25
"""Between two looks of a process that waits."""

Why = Literal["first", "released", "restarted", "lapsed", "missing"]
"""How the lease became free."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What a process saw of the lease."""

    lease: Lease | None
    revision: int
    """Of the lease's key; 0 if there is none."""
    since: float
    """When it was first seen at this revision; it could be read ever since."""
    is_first: bool
    """Whether it is all that this process has ever seen of it."""


def look(before: Sight | None, lease: Lease | None, revision: int, *, now: float) -> Sight:
    """What is known after one more look.

    Args:
        before: What was known until now; None if nothing is, or not without a break.
        lease: What is stored; None if nothing is.
        revision: Its revision, or 0.
        now: In seconds, by a clock that does not go back.
    """
    if before is None:
        return Sight(lease, revision, now, is_first=True)
    if before.revision == revision:
        return Sight(lease, revision, before.since, is_first=before.is_first)
    return Sight(lease, revision, now, is_first=False)


def blurred(sight: Sight | None, *, now: float) -> Sight | None:
    """What is known after the lease could not be read: its silence counts anew."""
    return None if sight is None else Sight(sight.lease, sight.revision, now, is_first=False)


def free_because(sight: Sight, instance: str, *, now: float) -> Why | None:
    """Why `instance` may take the lease now; None if it may not."""
    lease = sight.lease
    if lease is None and sight.is_first:
        return "first"
    if lease is not None and lease.released:
        return "released"
    if lease is not None and lease.instance == instance:
        return "restarted"
    if now - sight.since >= LAPSE_SECONDS:
        return "missing" if lease is None else "lapsed"
    return None


def next_token(sight: Sight, fenced: int) -> int:
    """The token of whoever takes the lease.

    Args:
        sight: Of the lease.
        fenced: The largest token in a fence; counts if the lease was lost.
    """
    return max(sight.lease.token if sight.lease is not None else 0, fenced) + 1


def is_led_by(lease: Lease | None, token: int, instance: str) -> bool:
    """Whether the lease is still the one that `instance` took by `token`."""
    return lease is not None and (lease.token, lease.instance) == (token, instance)


def is_fresh(confirmed: float, *, now: float) -> bool:
    """Whether nobody else can have taken the lease.

    Args:
        confirmed: When the newest renewal that was stored had been sent.
        now: By the same clock.
    """
    return now - confirmed < LAPSE_SECONDS
