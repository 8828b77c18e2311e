# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What is kept in JetStream: every stream and bucket, and who owns it.

Created by the provisioner alone (`installation.provision`); no service may create or delete one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import msgspec

from shared.contracts.base import ARTIFACTS, EVENTS, Bucket, CommandOutcome, Message
from shared.contracts.deployments import DEPLOYMENTS
from shared.contracts.desired import DESIRED
from shared.contracts.events import Actor, Event
from shared.contracts.leadership import LEASES, STANDBYS
from shared.contracts.log_heads import CHECKPOINTS
from shared.contracts.node import NODES, OBSERVED
from shared.contracts.package_records import CATALOG
from shared.contracts.policy_replay import LICENCE_POLICY
from shared.contracts.ratings import PACKAGE_RATINGS
from shared.contracts.reports import REPORT_PARTS, REPORT_SCHEDULES, REPORTS
from shared.contracts.retention import RETENTION
from shared.contracts.reviews import CODE_OWNERS
from shared.contracts.rollout_policy import ROLLOUT_POLICY
from shared.contracts.scheduler import NODE_LABELS
from shared.contracts.spaces import SPACES
from shared.contracts.trust import TRUST
from shared.contracts.verification import VERIFICATIONS
from shared.contracts.waivers import LICENCE_WAIVERS
from shared.contracts.watching import WATCH_RULES, WATCH_STATE

DUPLICATE_WINDOW_SECONDS: Final = 600
EVENT_RETENTION_SECONDS: Final = 30 * 24 * 3600
COMMAND_MEMORY_SECONDS: Final = 7 * 24 * 3600
"""How long a finished command id keeps giving the same answer."""

EVENT_STREAM: Final = "EVT"
ARTIFACT_STREAM: Final = "ARTIFACTS"
AUDITOR_CONSUMER: Final = "auditor"


@dataclass(frozen=True, slots=True)
class Stream:
    """One JetStream stream that is not a bucket.  File storage, one replica embedded."""

    name: str
    subjects: tuple[str, ...]
    max_age_seconds: int = 0
    """0: for ever."""
    deny_delete: bool = True
    deny_purge: bool = True
    max_messages_per_subject: int = -1
    discard_new_per_subject: bool = False
    """With a limit of 1 message a subject: what was written once cannot be written again."""


EVENTS_STREAM: Final = Stream(
    EVENT_STREAM, (f"{EVENTS}.>",), max_age_seconds=EVENT_RETENTION_SECONDS
)
ARTIFACTS_STREAM: Final = Stream(
    ARTIFACT_STREAM, (f"{ARTIFACTS}.>",), max_messages_per_subject=1, discard_new_per_subject=True
)
STREAMS: Final = (EVENTS_STREAM, ARTIFACTS_STREAM)


class StateChange(Message, frozen=True, kw_only=True):
    """One KV write that a command leads to."""

    bucket: str
    key: str
    value: msgspec.Raw
    """The record; its `command_id` is the command's, so that a repeat recognises itself."""
    expected_bucket_sequence: int = 0
    """Last sequence of the whole bucket when the decision was made: one change at a time."""
    expected_revision: int | None = None
    """Of the key when the decision was made, which looked at no other; None: the above counts."""


class OutboxRecord(Message, frozen=True, kw_only=True):
    """KV `outbox_<service>`.

    Keys: `pending.<command_id>` until every effect is done, then `done.<command_id>` for
    COMMAND_MEMORY_SECONDS; `heads.heads` holds the last sequence used for each audience.
    """

    command_id: str
    subject: str
    """Where the request came in."""
    request_sha256: str
    """Another request under the same id is refused."""
    request: Any = None
    actor: Actor
    name: str = ""
    """Of who asked, as the server vouches for it; empty once the command is done."""
    outcome: CommandOutcome
    change: StateChange | None = None
    also: tuple[StateChange, ...] = ()
    """Further keys of the same bucket: once `change` is written, each of them will be."""
    events: tuple[Event, ...] = ()
    heads: dict[str, int] = {}
    """Audience to the last event sequence used, this command's events included."""
    at: str


MAX_OUTBOX_BYTES: Final = 8 * 1024 * 1024
"""Of one command with all that it changes; what a message of the bus takes is less."""


def outbox_bucket(service: str) -> Bucket[OutboxRecord]:
    """The outbox of one service."""
    return Bucket(
        f"outbox_{service}",
        OutboxRecord,
        message_ttl=True,
        max_value_bytes=MAX_OUTBOX_BYTES,
        is_fenced=service in LED_SERVICES,
    )


OUTBOX_SERVICES: Final = ("catalog", "scheduler", "auditor")
LED_SERVICES: Final = ("scheduler",)
"""Of which several processes may run; one of them leads."""
BUCKETS: Final[tuple[Bucket[Any], ...]] = (
    CATALOG,
    LICENCE_WAIVERS,
    LICENCE_POLICY,
    CODE_OWNERS,
    PACKAGE_RATINGS,
    SPACES,
    TRUST,
    DEPLOYMENTS,
    NODE_LABELS,
    ROLLOUT_POLICY,
    NODES,
    DESIRED,
    OBSERVED,
    VERIFICATIONS,
    CHECKPOINTS,
    WATCH_RULES,
    WATCH_STATE,
    REPORT_SCHEDULES,
    REPORTS,
    REPORT_PARTS,
    RETENTION,
    LEASES,
    STANDBYS,
    *(outbox_bucket(service) for service in OUTBOX_SERVICES),
)


FENCED_BUCKETS: Final[tuple[Bucket[Any], ...]] = (
    *map(outbox_bucket, LED_SERVICES),
    DEPLOYMENTS,
    NODE_LABELS,
    ROLLOUT_POLICY,
    DESIRED,
)
"""Those that only a leader writes, its outbox first: what is not recorded there has no effects."""


def kv_subject(bucket: str, key: str) -> str:
    """The subject a key's revisions are published on."""
    return f"$KV.{bucket}.{key}"


def kv_stream(bucket: str) -> str:
    """The stream behind a bucket."""
    return f"KV_{bucket}"


def artifact_subject(sha256: str, chunk: int) -> str:
    """Where chunk number `chunk` of an artifact is kept."""
    return f"{ARTIFACTS}.{sha256}.{chunk}"
