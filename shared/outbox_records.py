# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What one decision becomes: an outbox record that holds every effect before any of them happens.

Rules:
 * A command has either a reply or a refusal.
 * What it changes are one key, or several: the first says whether the state moved since the
   decision, and once that one is written all others are.
 * What an accepted command changes, one of its events says by the digests before and after.
 * Who asked is kept by name only until the command is done, so that it can be decided again.
 * Event ids follow from the service, the command id and the place in the decision, so that a
   repetition after a crash makes the same events.
 * Each audience's sequence goes on from the heads, without gaps, in the order of the decision.
 * Every event fits into the audit log; a decision whose other effects have no room is refused.
 * The same command id means the same request by the same key, or it is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Final, Generic, TypeVar

import msgspec

from shared.canonical import canonical_digest
from shared.contracts.base import Bucket, Command, CommandOutcome, Endpoint, Message
from shared.contracts.errors import ErrorCode
from shared.contracts.events import (
    MAX_EVENT_BYTES,
    PUBLIC,
    Actor,
    Audience,
    EventBody,
    draft_event,
)
from shared.contracts.storage import OutboxRecord, StateChange
from shared.errors import Reason, Refusal, RefusedError
from shared.event_size import fit_event_body
from shared.moments import render_time

ReplyT = TypeVar("ReplyT", bound=Message)

SALT_BYTES: Final = 16
HEADS_KEY: Final = "heads.heads"
PENDING: Final = "pending."
DONE: Final = "done."


class CommandReusedError(RefusedError):
    """A command id was used before, for something else or by somebody else."""

    code: ClassVar[ErrorCode] = "conflict"


class EffectTooLargeError(RefusedError):
    """What the command would lead to is over a stated limit."""

    code: ClassVar[ErrorCode] = "too_large"


@dataclass(frozen=True, slots=True)
class Change:
    """One write that a command leads to."""

    bucket: Bucket[Any]
    key: str
    value: msgspec.Struct
    """Is marked with the command's id (`mark_of`)."""
    bucket_sequence: int = 0
    """`Snapshot.sequence` when the decision was made."""
    revision: int | None = None
    """`Entry.revision`, 0 if there was none, of a decision that looked at this key alone; None: it
    looked at the bucket."""


@dataclass(frozen=True, slots=True)
class Decision(Generic[ReplyT]):
    """What a command leads to: exactly one of reply and refusal, and what follows from it."""

    reply: ReplyT | None = None
    refusal: Refusal | None = None
    change: Change | None = None
    also: tuple[Change, ...] = ()
    """Further keys of its bucket that change with it, each with its revision."""
    events: tuple[EventBody, ...] = ()
    """Actor, reason and correlation are filled in where they are empty."""
    audience: Audience = PUBLIC

    def __post_init__(self) -> None:
        if (self.reply is None) == (self.refusal is None):
            raise AssertionError("a decision is either a reply or a refusal")
        is_said = any(event.before or event.after for event in self.events)
        if self.reply is not None and not is_said and (self.change or self.events):
            raise AssertionError("an accepted command says by digests what it changed")
        if self.also and self.change is None:
            raise AssertionError("what changes beside something has something to change beside")
        if any(one.revision is None for one in self.also):
            raise AssertionError("what changes beside something names its own revision")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a command came from."""

    service: str
    command_id: str
    subject: str
    request: Command
    actor: Actor
    name: str = ""
    """Of who asked, as the server vouches for it."""


class Marked(msgspec.Struct, frozen=True):
    """What a record says of who wrote it."""

    command_id: str = ""
    """The command that made it what it is."""
    written_by: str = ""
    """What else wrote it last, a command or a step; empty: nothing did."""


def mark_of(value: object) -> str:
    """What wrote a record, or a part of one, last."""
    return getattr(value, "written_by", "") or getattr(value, "command_id", "")


def request_digest(origin: Origin) -> str:
    """Equal for equal requests at one endpoint."""
    request = msgspec.structs.replace(origin.request, command_id=origin.command_id)
    return canonical_digest([origin.subject, request])


def draft_refused(
    endpoint: Endpoint[Any, Any], error: RefusedError, *, audience: Audience = PUBLIC
) -> Decision[Message]:
    """The decision that a raised refusal is: recorded, and told to the audit log."""
    event = refused_body(endpoint, error, None)
    return Decision(refusal=error.refusal(), events=(event,), audience=audience)


def refused_body(
    endpoint: Endpoint[Any, Any], error: RefusedError, actor: Actor | None
) -> EventBody:
    """What the audit log is told of a refused command."""
    refusal = error.refusal()
    return EventBody(
        action=".".join(endpoint.subject.split(".")[-2:]),
        outcome="refused",
        actor=actor,
        reasons=refusal.reasons,
        details={"code": refusal.code, "message": refusal.message},
    )


def draft_too_large(
    endpoint: Endpoint[Any, Any], error: EffectTooLargeError, *, audience: Audience
) -> Decision[Message]:
    """The refusal of a decision whose effects have no room, told to whom the decision would be."""
    return draft_refused(endpoint, error, audience=audience)


def draft_record(
    origin: Origin,
    decision: Decision[Any],
    *,
    heads: Mapping[Audience, int],
    salts: Sequence[bytes],
    now: datetime,
    event_limit_bytes: int = MAX_EVENT_BYTES,
) -> OutboxRecord:
    """Everything that the decision leads to, in one record.

    Args:
        origin: Where the command came from.
        decision: What was decided.
        heads: Last sequence used for each audience.
        salts: SALT_BYTES of randomness for each event.
        now: Aware.
        event_limit_bytes: What an event may have; a larger one says how much it leaves out.
    """
    at = render_time(now)
    first = heads.get(decision.audience, 0) + 1
    events = tuple(
        draft_event(
            fit_event_body(_completed(body, origin), event_limit_bytes=event_limit_bytes),
            event_id=f"{origin.service}.{origin.command_id}.{place}",
            emitter=origin.service,
            sequence=first + place,
            time=at,
            salt=salts[place],
            audience=decision.audience,
        )
        for place, body in enumerate(decision.events)
    )
    return OutboxRecord(
        command_id=origin.command_id,
        subject=origin.subject,
        request_sha256=request_digest(origin),
        # A request is kept to be decided again, which happens only if there is a change.
        request=None if decision.change is None else msgspec.to_builtins(origin.request),
        name="" if decision.change is None else origin.name,
        actor=origin.actor,
        outcome=CommandOutcome(
            reply=None if decision.reply is None else msgspec.to_builtins(decision.reply),
            refusal=decision.refusal,
        ),
        change=None
        if decision.change is None
        else _drafted_change(decision.change, origin.command_id),
        also=tuple(_drafted_change(one, origin.command_id) for one in decision.also),
        events=events,
        heads={**heads, decision.audience: first - 1 + len(events)},
        at=at,
    )


def draft_emission(
    body: EventBody,
    *,
    event_id: str,
    service: str,
    actor: Actor,
    heads: Mapping[Audience, int],
    salt: bytes,
    now: datetime,
    audience: Audience = PUBLIC,
    event_limit_bytes: int = MAX_EVENT_BYTES,
) -> OutboxRecord:
    """The record of one event that no command asked for."""
    at = render_time(now)
    sequence = heads.get(audience, 0) + 1
    event = draft_event(
        fit_event_body(body, event_limit_bytes=event_limit_bytes),
        event_id=event_id,
        emitter=service,
        sequence=sequence,
        time=at,
        salt=salt,
        audience=audience,
    )
    return OutboxRecord(
        command_id=event_id,
        subject="",
        request_sha256="",
        actor=actor,
        outcome=CommandOutcome(),
        events=(event,),
        heads={**heads, audience: sequence},
        at=at,
    )


def draft_heads(heads: Mapping[Audience, int], *, actor: Actor, now: datetime) -> OutboxRecord:
    """The record under HEADS_KEY."""
    return OutboxRecord(
        command_id="heads",
        subject="",
        request_sha256="",
        actor=actor,
        outcome=CommandOutcome(),
        heads=dict(heads),
        at=render_time(now),
    )


def done_record(record: OutboxRecord) -> OutboxRecord:
    """What is remembered of a command whose effects are all done: enough to answer a repeat."""
    return msgspec.structs.replace(
        record, request=None, name="", change=None, also=(), events=(), heads={}
    )


def check_repeat(remembered: OutboxRecord, origin: Origin) -> None:
    """The repeat is the command that is remembered.

    Raises:
        CommandReusedError: It is another request, or another key's.
    """
    if remembered.request_sha256 != request_digest(origin):
        raise _reused("was used for another request", origin)
    if (remembered.actor.key, remembered.actor.role) != (origin.actor.key, origin.actor.role):
        raise _reused("was used by somebody else", origin)


def check_sizes(record: OutboxRecord, *, record_limit_bytes: int, change_limit_bytes: int) -> None:
    """Record and changes fit where they go, so that none fails after an effect has happened.

    Raises:
        EffectTooLargeError: Naming each that does not.
    """
    sizes = [("record", len(msgspec.json.encode(record)), record_limit_bytes)]
    if record.change is not None:
        sizes.append(("change", len(bytes(record.change.value)), change_limit_bytes))
    sizes += [(f"also.{one.key}", len(bytes(one.value)), change_limit_bytes) for one in record.also]
    reasons = [
        Reason(path=path, rule="is too large", got=f"{size} bytes", allowed=f"{limit} bytes")
        for path, size, limit in sizes
        if size > limit
    ]
    if reasons:
        raise EffectTooLargeError("the command's effects are too large to be recorded", reasons)


def _completed(body: EventBody, origin: Origin) -> EventBody:
    return msgspec.structs.replace(
        body,
        actor=body.actor or origin.actor,
        correlation=body.correlation or origin.command_id,
        reason=body.reason or origin.request.reason,
    )


def _drafted_change(change: Change, command_id: str) -> StateChange:
    if mark_of(change.value) != command_id:
        raise AssertionError(f"{change.bucket.name}/{change.key}: not marked with its command")
    return StateChange(
        bucket=change.bucket.name,
        key=change.key,
        value=msgspec.Raw(msgspec.json.encode(change.value)),
        expected_bucket_sequence=change.bucket_sequence,
        expected_revision=change.revision,
    )


def _reused(why: str, origin: Origin) -> CommandReusedError:
    reason = Reason(path="command_id", rule=why, got=origin.command_id)
    return CommandReusedError(f"command id {origin.command_id} {why}", [reason])
