# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The auditor's messages: records of the log, proofs, checkpoints, durable subscriptions."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta

from shared.contracts.base import API, Accepted, Command, Endpoint, Message, Request
from shared.contracts.events import Event, Outcome
from shared.contracts.log_heads import WitnessSeen
from shared.identifiers import Token

MAX_POSITION: Final = 2**53 - 1
"""The largest integer that every JSON reader holds exactly (RFC 8259 section 6)."""
Position = Annotated[int, Meta(ge=0, le=MAX_POSITION)]


class PrunedNote(Message, frozen=True, kw_only=True):
    """Why there is no more of a record."""

    record: int
    """Index of the record that says so."""
    rule: str
    """By which it was let go of."""
    at: str
    """When, RFC 3339 UTC."""
    segment: str = ""
    """Name of the archive that holds it; empty: none does."""


class AuditRecord(Message, frozen=True, kw_only=True):
    """One entry of the log."""

    index: int
    """Leaf index in the tree, from 0."""
    leaf: str
    """The leaf's exact bytes: the envelope in canonical JSON.  Empty: the record is restricted."""
    event: Event | None = None
    """The whole event; None if the body was erased or could not be read."""
    received_at: str
    """By the auditor's clock, RFC 3339 UTC."""
    stream_sequence: int
    problem: str = ""
    """Why the event could not be read, if it could not; it is recorded all the same."""
    erased: bool = False
    """Whether words of a person were erased from the event.  In their place stand texts that begin
    with `l3af-person:`; what else it says, but what the leaf says too, nothing proves any more."""
    leaf_hash: str = ""
    """Only of a restricted record, one of an audience that the caller does not see, and of a pruned
    one: the leaf's RFC 6962 hash, hexadecimal.  It and the index are all that is told."""
    pruned: PrunedNote | None = None
    """The record was pruned; None: it was not, or the caller does not see its audience."""


class RecordFilters(Request, frozen=True, kw_only=True):
    """Which records are asked for: those that match every filter given, all indexed."""

    since: str = ""
    """RFC 3339, inclusive."""
    until: str = ""
    """RFC 3339, exclusive."""
    actor: str = ""
    """Key of the principal."""
    action: str = ""
    """Glob, as `deployment.*`."""
    package: str = ""
    node: str = ""
    deployment: str = ""
    outcome: Outcome | Literal[""] = ""
    correlation: str = ""
    """Command id."""
    event_id: str = ""
    """Id of one event, whoever emitted it."""
    licence: str = ""
    """Glob of an SPDX expression as it was declared, as `*GPL-2.0*`."""
    space: str = ""
    """Audience, as `public` or `p_acme`; one that the caller does not see has no records."""
    before_index: Position | None = None
    """Only records with a smaller index: the next page starts at the last index seen."""
    after_index: Annotated[int, Meta(ge=-1, le=MAX_POSITION)] | None = None
    """Only records with a greater index: how a follower asks for what is new."""
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100


class ListRecords(RecordFilters, frozen=True, kw_only=True):
    """One page of records, newest first."""


class RecordList(Message, frozen=True, kw_only=True):
    """One page."""

    records: tuple[AuditRecord, ...]
    tree_size: int
    """Leaves in the log when this was read."""
    more: bool
    """Whether older records match too."""


class StreamRecords(RecordFilters, frozen=True, kw_only=True):
    """The next chunk of an answer of any size; all chunks of one question are one reading.

    The caller asks for each chunk when it has dealt with the one before: nobody is sent more than
    they take, and whoever was interrupted goes on where they were.
    """

    where: Annotated[str, Meta(max_length=2000)] = ""
    """An expression over the record's fields, as `details.phase == "requested"`."""
    text: Annotated[str, Meta(max_length=200)] = ""
    """Only records that hold this text in any field, whatever the case of its letters."""
    order: Literal["newest", "oldest"] = "newest"
    """Which come first."""
    scan_limit: Annotated[int, Meta(ge=1, le=100_000)] = 20_000
    """Records looked at for this chunk, at most; `where` and `text` have no index."""


class RecordChunk(Message, frozen=True, kw_only=True):
    """One chunk."""

    records: tuple[AuditRecord, ...]
    tree_size: int
    """Leaves in the log when this was read."""
    scanned: int
    """Records that were looked at for this chunk."""
    position: int | None = None
    """Where to go on: `before_index` of the next question if newest come first, else
    `after_index`.  None: this was the last chunk."""


class ProveRecord(Request, frozen=True, kw_only=True):
    """Prove that one record is in the log."""

    index: Position


class ProofBundle(Message, frozen=True, kw_only=True):
    """All that is needed to verify one record offline, given the log's public key."""

    kind: str = "l3af-proof-bundle/v1"
    index: int
    leaf: str
    """The leaf's exact bytes: the envelope in canonical JSON.  Empty: the record is restricted."""
    event: Event | None = None
    """Whose body hashes to the envelope's `bodyhash`; None if erased."""
    body: str = ""
    """The exact bytes that follow the salt in `bodyhash`: canonical JSON of data and subject.  Of a
    message that was not believed: its bytes, if they are text.  Empty if erased."""
    inclusion: tuple[str, ...]
    """RFC 6962 audit path, hexadecimal SHA-256, leaf's sibling first."""
    checkpoint: str
    """C2SP signed note: origin, tree size, root hash, signature."""
    verifier_key: str
    """C2SP verifier key of the log; compare it with the one you trust."""
    key_chain: tuple[str, ...] = ()
    """Statements, each signed by an older key of the log and the next, up to `verifier_key`."""
    leaf_hash: str = ""
    """Only of a restricted record, one of an audience that the caller does not see: the leaf's
    RFC 6962 hash, hexadecimal.  That it is the log's is all that is shown."""


class GetCheckpoint(Request, frozen=True, kw_only=True):
    """The newest signed tree head, and its consistency with an older one."""

    consistent_with_size: Position = 0
    """An older tree size to prove consistency with; 0: no proof wanted."""


class Checkpoint(Message, frozen=True, kw_only=True):
    """A signed tree head."""

    checkpoint: str
    tree_size: int
    root: str
    verifier_key: str
    signed_at: str = ""
    """By the auditor's clock; an idle log is signed anew every minute."""
    consistency: tuple[str, ...] = ()
    """RFC 6962 consistency path, hexadecimal."""
    key_chain: tuple[str, ...] = ()
    """Statements, each signed by an older key of the log and the next, up to `verifier_key`."""
    witnesses: tuple[WitnessSeen, ...] = ()
    """The witnesses that the auditor was told of; what they said is in `checkpoint`."""


class CreateSubscription(Command, frozen=True, kw_only=True):
    """A durable place in the event stream for the caller: offline for an hour, nothing missed."""

    name: Token
    subjects: Annotated[tuple[str, ...], Meta(min_length=1, max_length=8)] = (
        "l3af.v1.evt.public.>",
    )
    """Filters; only audiences that the caller sees: `public`, and one other at most."""
    start: Literal["now", "beginning"] = "now"


class SubscriptionCreated(Accepted, frozen=True, kw_only=True):
    """Fetch from it by its name."""

    name: str
    subjects: tuple[str, ...]
    position: int = 0
    """It shows what comes after this position."""


class FetchEvents(Request, frozen=True, kw_only=True):
    """The next events, oldest first; events come again until they are acknowledged."""

    name: Token
    acknowledge: Position = 0
    """Position up to which the caller has dealt with everything."""
    limit: Annotated[int, Meta(ge=1, le=500)] = 100
    wait_seconds: Annotated[float, Meta(ge=0, le=30)] = 5.0
    """How long to wait for a first event."""


class PositionedEvent(Message, frozen=True, kw_only=True):
    """One event and where it stands."""

    position: int
    event: Event


class FetchedEvents(Message, frozen=True, kw_only=True):
    """What came."""

    events: tuple[PositionedEvent, ...]


class DeleteSubscription(Command, frozen=True, kw_only=True):
    """Give the place up."""

    name: Token


class SubscriptionDeleted(Accepted, frozen=True, kw_only=True):
    """It is gone."""

    name: str


LIST_RECORDS: Final = Endpoint(f"{API}.auditor.record.list", ListRecords, RecordList)
STREAM_RECORDS: Final = Endpoint(f"{API}.auditor.record.stream", StreamRecords, RecordChunk)
PROVE_RECORD: Final = Endpoint(f"{API}.auditor.record.prove", ProveRecord, ProofBundle)
GET_CHECKPOINT: Final = Endpoint(f"{API}.auditor.checkpoint.get", GetCheckpoint, Checkpoint)
CREATE_SUBSCRIPTION: Final = Endpoint(
    f"{API}.events.subscription.create", CreateSubscription, SubscriptionCreated
)
FETCH_EVENTS: Final = Endpoint(f"{API}.events.subscription.fetch", FetchEvents, FetchedEvents)
DELETE_SUBSCRIPTION: Final = Endpoint(
    f"{API}.events.subscription.delete", DeleteSubscription, SubscriptionDeleted
)
