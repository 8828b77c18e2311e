# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""How long records are kept, and what removes those that are old enough."""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta

from shared.contracts.audit import MAX_POSITION, Position
from shared.contracts.base import (
    API,
    Accepted,
    Bucket,
    Command,
    Document,
    Endpoint,
    Message,
    Request,
)
from shared.contracts.watching import ActionGlob
from shared.identifiers import Token

MAX_RULES: Final = 100
RETENTION_KEY: Final = "rules"


class RetentionRule(Document, frozen=True, kw_only=True):
    """How long some records are kept."""

    name: Token
    actions: Annotated[tuple[ActionGlob, ...], Meta(min_length=1, max_length=32)] = ("*",)
    """What happened: one of these, or globs."""
    where: Annotated[str, Meta(max_length=2000)] = ""
    """An expression over the record's fields, as the audit log is asked with."""
    keep_days: Annotated[int, Meta(ge=1, le=36_500)] | None = None
    """Days since the log received it; null: for ever."""
    archive: bool = False
    """Whether what is removed is kept in the auditor's archive."""


class RetentionRules(Document, frozen=True, kw_only=True):
    """The first rule that a record matches decides; what matches none is kept for ever."""

    rules: Annotated[tuple[RetentionRule, ...], Meta(max_length=MAX_RULES)] = ()
    daily: bool = False
    """Whether the auditor prunes once a day; else only when somebody asks for it."""


class RetentionRecord(Message, frozen=True, kw_only=True):
    """KV `retention`, key `rules`."""

    retention: RetentionRules
    generation: int
    """Up by one with every accepted command."""
    command_id: str
    actor_key: str
    actor_role: str
    at: str
    reason: str = ""


RETENTION: Final = Bucket("retention", RetentionRecord)


class GetRetention(Request, frozen=True, kw_only=True):
    """How long records are kept."""


class RetentionShown(Message, frozen=True, kw_only=True):
    """The rules in force, and who set them."""

    retention: RetentionRules
    generation: int = 0
    """0: nobody ever set any, and everything is kept for ever."""
    actor_key: str = ""
    actor_role: str = ""
    at: str = ""
    reason: str = ""


class SetRetention(Command, frozen=True, kw_only=True):
    """Keep records for so long from now on; nothing is removed by this alone."""

    retention: RetentionRules
    if_generation: Annotated[int, Meta(ge=0, le=2**31)] | None = None
    """What the generation must be, so that nobody's change is overwritten unseen; null: any."""


class RetentionSet(Accepted, frozen=True, kw_only=True):
    """In force."""

    generation: int


class PruneRecords(Request, frozen=True, kw_only=True):
    """Remove the next records that the rules in force let go of; the caller asks again for more."""

    dry_run: bool = False
    """Say what would be removed, and remove nothing."""
    position: Position = 0
    """Where to go on: the `position` of the answer before."""
    reason: Annotated[str, Meta(max_length=1000)] = ""
    """Why; goes into the audit log."""


class RecordsPruned(Message, frozen=True, kw_only=True):
    """What was removed, or would be, of the audiences that the caller sees."""

    by_rule: dict[str, int] = {}
    """Records, by the rule that lets go of them."""
    held: int = 0
    """Old enough, and under a legal hold."""
    examined: int = 0
    """Records that were looked at."""
    tree_size: int
    position: int | None = None
    """Ask again with this; None: there are no more."""


class ListSegments(Request, frozen=True, kw_only=True):
    """What was archived, of the audiences that the caller sees."""

    after: Annotated[int, Meta(ge=-1, le=MAX_POSITION)] = -1
    """Only segments that a later record speaks of: the `next` of the page before."""


class SegmentShown(Message, frozen=True, kw_only=True):
    """One archived segment."""

    name: str
    """Of the file in the auditor's archive."""
    sha256: str
    """Of the file, as the log has it."""
    rule: str
    record: int
    """That says what was pruned, and that it is there."""
    at: str
    records: int
    first: int
    last: int
    """Numbers of records."""
    problem: str = ""
    """Why the file is not the one that was archived; empty: it is."""


class SegmentsShown(Message, frozen=True, kw_only=True):
    """A page, oldest first."""

    segments: tuple[SegmentShown, ...]
    next: int | None = None
    """Where to go on; None: there are no more."""


LIST_SEGMENTS: Final = Endpoint(f"{API}.auditor.segment.list", ListSegments, SegmentsShown)
GET_RETENTION: Final = Endpoint(f"{API}.auditor.retention.get", GetRetention, RetentionShown)
SET_RETENTION: Final = Endpoint(f"{API}.auditor.retention.set", SetRetention, RetentionSet)
PRUNE_RECORDS: Final = Endpoint(f"{API}.auditor.record.prune", PruneRecords, RecordsPruned)
