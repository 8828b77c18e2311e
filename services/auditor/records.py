# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a message of the event stream becomes in the log: a leaf, a body, and what to find it by.

Pure.  The server lets a node publish under its own subject only, so the subject proves the emitter
and everything an event says about itself is compared with it.

Rules:
 * Whatever arrives is recorded.  What cannot be trusted is recorded as a problem, never dropped.
 * The leaf of a problem holds the message's digest and place, never the claims it makes: no proof
   can be had that somebody said what another published in their name.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final, NamedTuple, get_args

import msgspec
from msgspec import UNSET

from shared.canonical import canonical_bytes, sha256_hex
from shared.contracts.base import EVENTS, ServiceName
from shared.contracts.events import MAX_EVENT_BYTES, Envelope, Event, contents_problem
from shared.errors import RefusedError
from shared.identifiers import LABEL_PATTERN

SALT_BYTES: Final = 16
PROBLEM_KIND: Final = "l3af-problem/v1"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_ONE_MICROSECOND: Final = timedelta(microseconds=1)
_MICROSECONDS: Final = 1_000_000
_ENVELOPE_FIELDS: Final = frozenset(Envelope.__struct_fields__)
_EVENT_FIELDS: Final = frozenset(Event.__struct_fields__) - {"contents"}
_BODY_BEGINS: Final = b',"data":'
_BODY_ENDS: Final = b',"datacontenttype":'
_LABEL: Final = re.compile(LABEL_PATTERN)
_AUDIENCE: Final = re.compile(r"public|[pr]_[a-z0-9-]{1,63}")
_ACTION: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}\.[a-z0-9][a-z0-9_-]{0,62}")
_SALT: Final = re.compile(f"[0-9a-f]{{{2 * SALT_BYTES}}}")
_SERVICES: Final = frozenset(get_args(ServiceName)) - {"node"}
_EVENT: Final = msgspec.json.Decoder(Event)
_ANY: Final = msgspec.json.Decoder()
_UNENCODABLE: Final = (msgspec.MsgspecError, ValueError, OverflowError, RecursionError)
"""What msgspec raises for bytes and values that JSON has no room for."""


class StreamMessage(NamedTuple):
    """One message as the stream kept it."""

    sequence: int
    """Stream sequence, from 1."""
    subject: str
    message_id: str
    """`Nats-Msg-Id`; empty if there was none."""
    data: bytes


class StreamEnd(NamedTuple):
    """Which stream it is, and how far it goes."""

    stream_id: str
    """Names this stream among those of its name: when it was created."""
    sequence: int
    """Of the newest message; 0: none."""


class ProblemLeaf(msgspec.Struct, frozen=True, kw_only=True):
    """The leaf of a message that cannot be recorded as an event."""

    kind: str = PROBLEM_KIND
    problem: str
    sha256: str
    """Of the message's bytes."""
    stream_sequence: int
    subject: str
    """Where it was published, as the server saw it."""


class Origin(NamedTuple):
    """What a subject proves."""

    audience: str
    emitter: str
    action: str


class Draft(NamedTuple):
    """A message read; only its place in the log is not decided yet."""

    message: StreamMessage
    origin: Origin
    """By the subject; its fields are empty if the subject is no event's."""
    event: Event | None
    """None if the message cannot be read as one; with a `problem` it is only what it claims."""
    leaf: bytes
    problem: str
    """Empty: the event may be believed."""
    time_us: int
    """By the emitter's clock, microseconds since 1970; 0 if it says none."""


class UnbelievableError(RefusedError):
    """An event that is not what it claims to be."""


@lru_cache(maxsize=4096)
def parse_event_subject(subject: str) -> Origin | None:
    """Audience, emitter and action of `l3af.v1.evt.<audience>.<emitter>.<entity>.<verb>`.

    None if nobody who follows the contract publishes there.
    """
    prefix, _, rest = subject.partition(f"{EVENTS}.")
    if prefix or not rest:
        return None
    audience, _, rest = rest.partition(".")
    emitter, _, action = rest.partition(".")
    if emitter == "node":
        node, _, action = action.partition(".")
        emitter = f"node/{node}" if _LABEL.fullmatch(node) else ""
    elif emitter not in _SERVICES:
        emitter = ""
    if not emitter or not _AUDIENCE.fullmatch(audience) or not _ACTION.fullmatch(action):
        return None
    return Origin(audience, emitter, action)


def read_message(message: StreamMessage) -> Draft:
    """The message as it can be recorded; never refuses, never raises."""
    try:
        event = _decode(message.data)
    except UnbelievableError as error:
        origin = parse_event_subject(message.subject)
        return _problem_draft(message, origin, event=None, time_us=0, problem=error.message)
    return _read_event(event, message)


def read_kept(data: bytes, *, sequence: int) -> Draft | None:
    """The draft that led to a record that was believed, read from the record's message alone.

    None if the bytes are no event.  If it comes with a problem, it was never believed as it is.
    """
    event = try_event(data)
    if event is None:
        return None
    return _read_event(event, StreamMessage(sequence, event.subject, event.id, data))


def read_erased(data: bytes, leaf: bytes, *, sequence: int) -> Draft | None:
    """The draft of a record that was believed, from its leaf and what is left of its message.

    None if they are not of one event.  What the leaf does not say itself nothing shows any more.
    """
    event = try_event(data)
    try:
        envelope = msgspec.json.decode(leaf, type=Envelope)
        time_us = parse_time_us(envelope.time)
    except (msgspec.MsgspecError, UnicodeDecodeError, UnbelievableError):
        return None
    if event is None:
        return None
    named = _ENVELOPE_FIELDS - {"bodyhash"}
    if any(getattr(event, name) != getattr(envelope, name) for name in named):
        return None
    message = StreamMessage(sequence, event.subject, event.id, data)
    origin = parse_event_subject(event.subject)
    try:
        _check_claims(event, message, origin)
    except UnbelievableError:
        return None
    assert origin is not None
    return Draft(message, origin, event, leaf, "", time_us)


def as_problem(draft: Draft, problem: str) -> Draft:
    """The same message, recorded as a problem after all."""
    return _problem_draft(
        draft.message,
        draft.origin,
        event=draft.event,
        time_us=draft.time_us,
        problem=problem,
    )


def parse_time_us(text: str) -> int:
    """Microseconds since 1970 of an RFC 3339 time.

    Raises:
        UnbelievableError: It is no such time, or has no offset from UTC.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise UnbelievableError("its time is not RFC 3339") from error
    if moment.tzinfo is None:
        raise UnbelievableError("its time has no offset from UTC")
    try:
        return time_us_of(moment.astimezone(UTC))
    except OverflowError as error:
        raise UnbelievableError("its time in UTC is before or after the years 1 to 9999") from error


def time_us_of(moment: datetime) -> int:
    """Microseconds since 1970, exact."""
    return (moment - _EPOCH) // _ONE_MICROSECOND


def render_time_us(time_us: int) -> str:
    """RFC 3339 UTC with microseconds."""
    seconds, microseconds = divmod(time_us, _MICROSECONDS)
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{moment.replace(tzinfo=None).isoformat()}.{microseconds:06d}Z"


def body_bytes(event_text: bytes) -> bytes:
    """The bytes that `bodyhash` binds, from an event's canonical bytes.

    Unlike `Event.body_bytes` it keeps fields that this release does not know.
    """
    raw = _ANY.decode(event_text)
    return canonical_bytes({"data": raw["data"], "subject": raw["subject"]})


def _known_body_bytes(event: Event, data: bytes) -> bytes:
    """`Event.body_bytes` of an event whose canonical bytes are `data`, cut out of them.

    Before its body an event has texts alone, but for `contents`, and behind it texts and numbers;
    in a text of JSON a quotation mark is never without a backslash.
    """
    if event.contents is not UNSET:
        return event.body_bytes()
    start, end = data.index(_BODY_BEGINS) + 1, data.rindex(_BODY_ENDS)
    return b'{%b,"subject":%b}' % (data[start:end], canonical_bytes(event.subject))


def try_event(data: bytes) -> Event | None:
    """The event, if the bytes are one at all."""
    try:
        return _decode(data)
    except UnbelievableError:
        return None


def _read_event(event: Event, message: StreamMessage) -> Draft:
    """The event as it can be recorded, believed or not."""
    origin = parse_event_subject(message.subject)
    time_us = 0
    try:
        time_us = parse_time_us(event.time)
        envelope = _envelope(event, message.data)
        _check_claims(event, message, origin)
        if problem := contents_problem(event):
            raise UnbelievableError(problem)
    except UnbelievableError as error:
        return _problem_draft(message, origin, event=event, time_us=time_us, problem=error.message)
    if origin is None:
        raise AssertionError("an event was believed whose subject proves nothing")
    return Draft(message, origin, event, canonical_bytes(envelope), "", time_us)


def _decode(data: bytes) -> Event:
    if len(data) > MAX_EVENT_BYTES:
        raise UnbelievableError(f"it is larger than {MAX_EVENT_BYTES} bytes")
    try:
        return _EVENT.decode(data)
    except _UNENCODABLE as error:
        raise UnbelievableError(f"it is not an event: {error}") from error


def _envelope(event: Event, data: bytes) -> Envelope:
    """The envelope, once the bytes are known to be the one canonical form."""
    if not _SALT.fullmatch(event.bodysalt):
        raise UnbelievableError(f"its salt is not {SALT_BYTES} bytes in hexadecimal")
    try:
        if canonical_bytes(event) == data:
            return event.envelope(_known_body_bytes(event, data))
        # A later release may have put fields into it that this one does not know.
        raw = _ANY.decode(data)
        is_canonical = canonical_bytes(raw) == data and raw.keys() >= _EVENT_FIELDS
    except _UNENCODABLE as error:
        raise UnbelievableError("it has no canonical form") from error
    if not is_canonical:
        raise UnbelievableError("it is not in canonical form")
    fields: dict[str, Any] = {
        name: value
        for name, value in msgspec.to_builtins(event).items()
        if name in _ENVELOPE_FIELDS
    }
    return Envelope(**fields, bodyhash=sha256_hex(bytes.fromhex(event.bodysalt) + body_bytes(data)))


def _check_claims(event: Event, message: StreamMessage, origin: Origin | None) -> None:
    """Raise at the first thing the event says about itself that is not so."""
    if origin is None:
        raise UnbelievableError("its subject is not one that events are published on")
    if event.subject != message.subject:
        raise UnbelievableError("it says it was published on another subject")
    if (event.audience, event.emitter, event.data.action) != origin:
        raise UnbelievableError("its subject is not that of its audience, emitter and action")
    if event.id != message.message_id:
        raise UnbelievableError("its id is not its Nats-Msg-Id")
    if not event.id:
        raise UnbelievableError("it has no id")
    if (event.specversion, event.datacontenttype) != ("1.0", "application/json"):
        raise UnbelievableError("it is not CloudEvents 1.0 with a JSON body")
    if event.source != f"/l3af/{event.emitter}":
        raise UnbelievableError("its source is not its emitter")
    if event.type != f"org.l3af.v1.{event.data.action}.{event.data.outcome}":
        raise UnbelievableError("its type is not that of its action and outcome")
    if event.sequence < 1:
        raise UnbelievableError("its sequence is not positive")


def _problem_draft(
    message: StreamMessage,
    origin: Origin | None,
    *,
    event: Event | None,
    time_us: int,
    problem: str,
) -> Draft:
    leaf = ProblemLeaf(
        problem=problem,
        sha256=sha256_hex(message.data),
        stream_sequence=message.sequence,
        subject=message.subject,
    )
    return Draft(
        message,
        origin or Origin("", "", ""),
        event,
        canonical_bytes(leaf),
        problem,
        time_us,
    )
