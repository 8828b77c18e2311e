# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which of several processes of one service leads, and by which token its writes are known."""

from __future__ import annotations

from typing import Final

from shared.contracts.base import API, EVENTS, FENCES, Bucket, Endpoint, Message, Request
from shared.contracts.events import PUBLIC


class Lease(Message, frozen=True, kw_only=True):
    """KV `leases`, key = service: who leads.  The leader writes it again and again.

    Whoever takes it counts the token up.  What a leader may still write is not decided here but by
    the fences (`Fence`), so this record may be late, wrong or deleted without harm.
    """

    token: int
    """Larger than every token before."""
    instance: str
    """Names the process: the same after a restart with the same state directory."""
    host: str = ""
    pid: int = 0
    at: str = ""
    """Since when, RFC 3339 UTC, by the leader's clock; nothing is decided by it."""
    renewals: int = 0
    released: bool = False
    """Whether the leader ended and has nothing more to write."""


class Standby(Message, frozen=True, kw_only=True):
    """KV `standbys`, key = `<service>.<instance>`: a process that would lead.  It expires."""

    instance: str
    host: str = ""
    pid: int = 0
    at: str = ""
    """Since when it runs, RFC 3339 UTC."""


class Fence(Message, frozen=True, kw_only=True):
    """`l3af.v1.fence.<bucket>`, beside the keys in the bucket's stream: who may write there.

    A leader names the stream's last sequence with each write, and learns it only by writing its
    fence; so the server refuses what an earlier leader still sends.
    """

    token: int
    instance: str


class GetLeader(Request, frozen=True, kw_only=True):
    """Which scheduler leads?"""


class Leader(Message, frozen=True, kw_only=True):
    """The scheduler that answered, and those that would take over from it."""

    token: int
    instance: str
    host: str
    pid: int
    at: str
    """Since when it leads."""
    standbys: tuple[Standby, ...] = ()


LEASES: Final = Bucket("leases", Lease, is_synced=False)
STANDBYS: Final = Bucket(
    "standbys", Standby, message_ttl=True, has_writer_per_key=True, is_synced=False
)
GET_LEADER: Final = Endpoint(f"{API}.scheduler.leader.get", GetLeader, Leader)

LEADER_TAKE: Final = "leader.take"
"""The event of a new leader, and the fence of the event stream: a leader's events are stored only
as long as no other has said this after it."""


def fence_subject(bucket: str) -> str:
    """Where the fence of a bucket is written."""
    return f"{FENCES}.{bucket}"


def take_subject(emitter: str) -> str:
    """Where LEADER_TAKE is said."""
    return f"{EVENTS}.{PUBLIC}.{emitter}.{LEADER_TAKE}"
