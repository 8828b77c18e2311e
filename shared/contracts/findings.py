# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Findings of compliance: what is not as the licence policy wants it, since when, how it ended."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta

from shared.contracts.audit import Position
from shared.contracts.base import API, Accepted, Command, Endpoint, Message, Request
from shared.contracts.events import PUBLIC, Audience

RESOLVE: Final = "finding.resolve"
ANNOTATE: Final = "finding.annotate"
MAX_EVIDENCE: Final = 64
MAX_HISTORY: Final = 500
"""Changes of one finding that are told, the newest."""
LISTED_HISTORY: Final = 12
"""The same where many findings are listed."""

FindingState = Literal["open", "waived", "resolved"]
FindingKind = Literal["version-rule", "deployment-rule", "revoked-runs"]
"""`version-rule`: a version breaks a rule of the policy.  `deployment-rule`: a deployment runs by
the grace of a waiver, or without one.  `revoked-runs`: a deployment runs what was revoked."""
FindingCause = Literal[
    "publication",
    "waiver",
    "waiver-end",
    "violation",
    "compliance",
    "removal",
    "other-version",
    "deployment",
    "revocation",
    "person",
]
FindingId = Annotated[str, Meta(pattern=r"^f-[0-9a-f]{16}(?!\n)$")]
Evidence = Annotated[tuple[Position, ...], Meta(max_length=MAX_EVIDENCE)]


class FindingChange(Message, frozen=True, kw_only=True):
    """One change of a finding's state, and the records that prove it."""

    state: FindingState
    """From then on."""
    cause: FindingCause
    at: str
    """By the clock of who said it, RFC 3339 UTC."""
    records: tuple[int, ...]
    """Numbers of the records that prove it."""
    waivers: tuple[str, ...] = ()
    """`waived`: by whose grace.  `waiver-end`: which of them ended."""
    until: str = ""
    """`waived`: when the last of those waivers expires; empty: the log does not say."""
    actor_key: str = ""
    """Of who granted the waiver, asked for the change or closed the finding."""
    actor_role: str = ""
    reason: str = ""
    """In the words of that person."""
    evidence: tuple[int, ...] = ()
    """`person`: records that they named."""


class FindingNote(Message, frozen=True, kw_only=True):
    """What somebody said of a finding without changing its state."""

    at: str
    record: int
    actor_key: str
    actor_role: str
    reason: str
    evidence: tuple[int, ...] = ()


class Finding(Message, frozen=True, kw_only=True):
    """One finding, as it was at the moment that was asked for."""

    id: str
    """Follows from what it is about: the same whoever asks, whenever."""
    kind: FindingKind
    rule: str = ""
    """Of the licence policy; empty of `revoked-runs`."""
    outcome: str = ""
    """What the policy says of the broken rule: `review` or `refused`; empty: no record says."""
    package: str = ""
    version: str = ""
    archive_sha256: str = ""
    deployment: str = ""
    audience: Audience = PUBLIC
    """To whom it was told."""
    nodes: tuple[str, ...] = ()
    """Where it was found; of many nodes the first."""
    node_count: int = 0
    paths: tuple[str, ...] = ()
    """Places in the package that break the rule."""
    state: FindingState
    opened_at: str
    """For the first time."""
    state_since: str
    open_seconds: float
    """How long it was open, all times together, up to that moment."""
    waived_seconds: float = 0.0
    times_opened: int = 1
    history: tuple[FindingChange, ...]
    """Oldest first."""
    more_history: int = 0
    """Older changes that are left out."""
    notes: tuple[FindingNote, ...] = ()


class ListFindings(Request, frozen=True, kw_only=True):
    """Findings that match every filter given, oldest first."""

    at: str = ""
    """As they were then, by the emitters' clocks, RFC 3339; empty: now."""
    since: str = ""
    """Only those that were open or waived at some time from then on, or changed."""
    state: FindingState | Literal[""] = ""
    kind: FindingKind | Literal[""] = ""
    rule: str = ""
    package: str = ""
    version: str = ""
    deployment: str = ""
    node: str = ""
    space: str = ""
    after: FindingId | Literal[""] = ""
    """Only those behind this one: `next` of the page before."""
    limit: Annotated[int, Meta(ge=1, le=500)] = 200


class FindingsShown(Message, frozen=True, kw_only=True):
    """One page."""

    at: str
    findings: tuple[Finding, ...]
    tree_size: int
    """Leaves in the log when this was read."""
    unread: int = 0
    """Records that would count and cannot be read: gone, or without all details."""
    next: str = ""
    """Where the next page begins; empty: this is the last."""


class GetFinding(Request, frozen=True, kw_only=True):
    """One finding, with its whole history."""

    finding: FindingId
    at: str = ""
    """As it was then, RFC 3339; empty: now."""


class FindingShown(Message, frozen=True, kw_only=True):
    """One finding."""

    at: str
    finding: Finding
    tree_size: int
    unread: int = 0


class ResolveFinding(Command, frozen=True, kw_only=True):
    """Close a finding that no event closes; it opens again if it happens again."""

    finding: FindingId
    evidence: Evidence = ()
    """Numbers of records that show that it is mended."""


class FindingResolved(Accepted, frozen=True, kw_only=True):
    """It is closed as soon as the event is recorded."""

    finding: str


class AnnotateFinding(Command, frozen=True, kw_only=True):
    """Say something of a finding; its state stays."""

    finding: FindingId
    evidence: Evidence = ()


class FindingAnnotated(Accepted, frozen=True, kw_only=True):
    """It is said."""

    finding: str


LIST_FINDINGS: Final = Endpoint(f"{API}.auditor.finding.list", ListFindings, FindingsShown)
GET_FINDING: Final = Endpoint(f"{API}.auditor.finding.get", GetFinding, FindingShown)
RESOLVE_FINDING: Final = Endpoint(f"{API}.auditor.{RESOLVE}", ResolveFinding, FindingResolved)
ANNOTATE_FINDING: Final = Endpoint(f"{API}.auditor.{ANNOTATE}", AnnotateFinding, FindingAnnotated)
