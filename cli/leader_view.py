# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which scheduler leads, and which would take over, beside what it answers."""

from __future__ import annotations

from shared.adapters.bus import Bus
from shared.contracts.leadership import GET_LEADER, GetLeader, Leader
from shared.errors import FaultError, RefusedError


async def ask_leader(bus: Bus) -> Leader | None:
    """Who leads; None if whoever answers is of a release that does not say."""
    try:  # a remark beside an answer, which is no reason to refuse the answer
        return await bus.request(GET_LEADER, GetLeader())
    except (RefusedError, FaultError):
        return None


def leader_line(leader: Leader) -> str:
    """One line for people.

    >>> leader_line(Leader(token=3, instance="a1", host="h", pid=7, at="2026-11-23T12:00:01.5Z"))
    'scheduler: a1 on h (pid 7) leads since 2026-11-23 12:00:01, token 3; nobody stands by'
    """
    since = leader.at[:19].replace("T", " ")
    others = ", ".join(f"{one.instance} on {one.host} (pid {one.pid})" for one in leader.standbys)
    return (
        f"scheduler: {leader.instance} on {leader.host} (pid {leader.pid}) leads since {since}, "
        f"token {leader.token}; " + (f"standing by: {others}" if others else "nobody stands by")
    )
