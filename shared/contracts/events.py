# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Events: CloudEvents 1.0 in structured JSON, canonical bytes, on `l3af.v1.evt.<audience>.…`.

The audit log's leaf is the envelope's bytes: identity, time, type, audience, emitter, sequence and
the salted SHA-256 of the body.  The body lies beside it, so it can be erased without touching a
proof.  The emitter makes the salt and it travels with the event.

A text of more than LONGEST_TEXT_BYTES in reasons or details is not in the body but beside it, in
`contents`: the body has its digest in its place, and in the detail BY_DIGEST.  So it can be erased
without the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

import msgspec
from msgspec import UNSET, UnsetType

from shared.canonical import canonical_bytes, sha256_hex
from shared.contracts.base import EVENTS, Message
from shared.errors import Reason

Audience = str
"""`public`, `p_<namespace>` or `r_<embargo>`; the first subject token after the prefix."""
PUBLIC: Final = "public"

MAX_EVENT_BYTES: Final = 65_535
"""Largest event that the audit log takes: an entry of a C2SP tlog-tiles log has a uint16 length."""

LONGEST_TEXT_BYTES: Final = 16 * 1024
"""Of one text in a body, as UTF-8; a longer one is said by its digest."""
BY_DIGEST: Final = "by_digest"
"""The detail that names what is in `contents`: SHA-256 to the number of bytes."""
_WITH_LONG_TEXTS: Final = frozenset({"reason", "reasons", "details"})
"""The other fields are what records are found by."""

Outcome = Literal["accepted", "refused", "succeeded", "failed", "observed"]


class Actor(Message, frozen=True, kw_only=True):
    """Who asked, by key and never by name (a name can be looked up, and erased, elsewhere)."""

    key: str
    """Public nkey of the principal, service or node."""
    role: str
    attested: bool
    """Whether the server vouched for the key (`Nats-Request-Info` of a shared service import)."""
    address: str = ""
    """Keyed HMAC-SHA-256 of the client address, 32 hexadecimal digits; empty when not known."""
    through: str = ""
    """Who acted on this principal's behalf, as an emitter is named (`scheduler`, `node/<node>`);
    empty: the principal asked the emitter itself."""


class EventBody(Message, frozen=True, kw_only=True):
    """What happened.  The fields that audit queries filter by have one place in every event."""

    action: str
    """`<entity>.<verb>`, as `deployment.apply` or `chain.attach`."""
    outcome: Outcome
    correlation: str = ""
    """The command id that this follows from."""
    actor: Actor | None = None
    """Who asked; None when nobody did (drift, start-up)."""
    reason: str = ""
    """Why, in the caller's words."""
    node: str = ""
    interface: str = ""
    netns: str = ""
    """Network namespace of the interface; empty: the node executor's own."""
    hook: str = ""
    deployment: str = ""
    package: str = ""
    version: str = ""
    reasons: tuple[Reason, ...] = ()
    """Broken rules, for refused and failed."""
    before: str = ""
    """SHA-256 of the object before, empty if there was none."""
    after: str = ""
    """SHA-256 of the object after."""
    details: dict[str, Any] = {}
    """What only this kind of event has; documented with the action."""


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """The leaf of the audit log: everything but the body, which is bound by a salted hash."""

    id: str
    """Deterministic, so that republication cannot make a second event; also `Nats-Msg-Id`."""
    time: str
    """RFC 3339 UTC with microseconds, by the emitter's clock."""
    type: str
    """`org.l3af.v1.<action>.<outcome>`."""
    audience: Audience
    emitter: str
    """`catalog`, `scheduler`, `auditor` or `node/<node>`."""
    sequence: int
    """From 1, without gaps, for each emitter and audience."""
    bodyhash: str
    """SHA-256 of salt bytes followed by the body's canonical bytes, hexadecimal."""


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """A CloudEvent as it travels.  Extension names are lower-case letters, as CloudEvents asks."""

    specversion: str = "1.0"
    id: str
    source: str
    """`/l3af/<emitter>`."""
    type: str
    time: str
    subject: str
    """The NATS subject it was published on."""
    datacontenttype: str = "application/json"
    audience: Audience
    emitter: str
    sequence: int
    bodysalt: str
    """16 random bytes, hexadecimal."""
    contents: dict[str, str] | UnsetType = UNSET
    """Texts of the body that are said by their digests, by SHA-256 of their UTF-8; none: unset."""
    data: EventBody

    def body_bytes(self) -> bytes:
        """The canonical bytes that `bodyhash` binds: subject and data."""
        return canonical_bytes({"data": self.data, "subject": self.subject})

    def envelope(self, body: bytes | None = None) -> Envelope:
        """The part that enters the log's tree.

        Args:
            body: The `body_bytes`, where they are known already.
        """
        body = self.body_bytes() if body is None else body
        return Envelope(
            id=self.id,
            time=self.time,
            type=self.type,
            audience=self.audience,
            emitter=self.emitter,
            sequence=self.sequence,
            bodyhash=sha256_hex(bytes.fromhex(self.bodysalt) + body),
        )


def event_subject(*, audience: Audience, emitter: str, body: EventBody) -> str:
    """`l3af.v1.evt.<audience>.<service>.<entity>.<verb>`, or `….node.<node>.<entity>.<verb>`."""
    return f"{EVENTS}.{audience}.{emitter.replace('/', '.')}.{body.action}"


def draft_event(
    body: EventBody,
    *,
    event_id: str,
    emitter: str,
    sequence: int,
    time: str,
    salt: bytes,
    audience: Audience = PUBLIC,
) -> Event:
    """The event that says `body`; every part that is not decided here is an argument."""
    body, contents = with_contents(body)
    return Event(
        id=event_id,
        source=f"/l3af/{emitter}",
        type=f"org.l3af.v1.{body.action}.{body.outcome}",
        time=time,
        subject=event_subject(audience=audience, emitter=emitter, body=body),
        audience=audience,
        emitter=emitter,
        sequence=sequence,
        bodysalt=salt.hex(),
        contents=contents or UNSET,
        data=body,
    )


def with_contents(body: EventBody) -> tuple[EventBody, dict[str, str]]:
    """The body with digests in the place of its longest texts, and those texts by digest."""
    if len(canonical_bytes(body)) <= LONGEST_TEXT_BYTES:
        return body, {}
    found: dict[str, str] = {}

    def aside(text: str) -> str:
        data = text.encode()
        if len(data) <= LONGEST_TEXT_BYTES:
            return text
        found[sha256_hex(data)] = text
        return digest_mark(data)

    plain = msgspec.to_builtins(body)
    changed = {name: map_texts(plain[name], aside) for name in _WITH_LONG_TEXTS & plain.keys()}
    said = msgspec.convert({**plain, **changed}, EventBody)
    if not found:
        return body, {}
    named = {digest: len(text.encode()) for digest, text in found.items()}
    return msgspec.structs.replace(said, details={**said.details, BY_DIGEST: named}), found


def digest_mark(data: bytes) -> str:
    """What stands in a body in the place of a text."""
    return f"sha256:{sha256_hex(data)} ({len(data)} bytes)"


def contents_problem(event: Event) -> str:
    """Why the texts beside the body are not those that it names; empty: they are."""
    named = event.data.details.get(BY_DIGEST)
    if named is None and event.contents is UNSET:
        return ""  # nearly always
    contents: Mapping[str, str] = {} if event.contents is UNSET else event.contents
    found = {sha256_hex(text.encode()): len(text.encode()) for text in contents.values()}
    if not named or named != found or found.keys() != contents.keys():
        return "its contents are not the texts that its body names by their digests"
    return ""


def with_texts(said: Any, contents: Mapping[str, str]) -> Any:
    """A body in plain types, with the texts themselves in the place of their digests."""
    marks = {digest_mark(text.encode()): text for text in contents.values()}
    return map_texts(said, lambda text: marks.get(text, text))


def map_texts(value: Any, change: Callable[[str], str]) -> Any:
    """Every text in a value of plain types changed; the names of fields stay."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {name: map_texts(one, change) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [map_texts(one, change) for one in value]
    return value
