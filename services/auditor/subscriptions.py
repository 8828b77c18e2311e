# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Durable places in the event stream: who has one, what it shows, and where it begins.

Pure.  The log is the record of truth: a subscription exists because its creation is recorded and
its deletion is not, and the consumers of the stream are made to agree with that.

Rules:
 * A subscription belongs to the key that made it; the same name under another key is another one.
 * A filter shows only audiences that the caller may see; one that reaches beyond is refused.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from shared.canonical import canonical_digest
from shared.contracts.audit import CreateSubscription
from shared.contracts.base import EVENTS
from shared.contracts.events import PUBLIC, Audience, Event, EventBody
from shared.errors import Reason, RefusedError

VISIBLE_PREFIX: Final = f"{EVENTS}.{PUBLIC}."
"""What everybody may see."""
MAX_PER_KEY: Final = 16
MAX_SUBJECT_CHARACTERS: Final = 255
MAX_PENDING_MESSAGES: Final = 1_000
ACK_WAIT_SECONDS: Final = 30
CREATED: Final = "subscription.create"
DELETED: Final = "subscription.delete"
_NANOSECONDS: Final = 1_000_000_000
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]+")


class Subscription(msgspec.Struct, frozen=True, kw_only=True):
    """One durable place."""

    consumer: str
    """The stream's consumer that keeps it."""
    name: str
    subjects: tuple[str, ...]
    after: int
    """Stream sequence; it shows what comes after."""
    key: str = ""
    """Of the principal it belongs to."""

    @property
    def audience(self) -> Audience:
        """To whom it may be told that there is such a subscription."""
        return min(named_spaces(self.subjects), default=PUBLIC)


def consumer_name(key: str, name: str) -> str:
    """The consumer of a subscription: fits a subject token, and tells nothing of the key."""
    return f"sub-{hashlib.sha256(f'{key}|{name}'.encode()).hexdigest()[:16]}"


def consumer_settings(subscription: Subscription) -> dict[str, Any]:
    """The consumer's configuration."""
    return {
        "deliver_policy": "by_start_sequence",
        "opt_start_seq": subscription.after + 1,
        "filter_subjects": list(subscription.subjects),
        "ack_policy": "explicit",
        "ack_wait": ACK_WAIT_SECONDS * _NANOSECONDS,
        "max_ack_pending": MAX_PENDING_MESSAGES,
        "max_deliver": -1,
    }


def plan_subscription(
    request: CreateSubscription,
    *,
    key: str,
    audiences: frozenset[Audience],
    live: Iterable[Subscription],
    newest_sequence: int,
) -> Subscription:
    """The subscription that the request asks for, or the one there is already.

    Args:
        request: As it came.
        key: Of the caller.
        audiences: Those that the caller sees.
        live: All subscriptions there are.
        newest_sequence: The stream's last one.

    Raises:
        RefusedError: A filter cannot be had, the name is taken by another filter, or the caller
            has MAX_PER_KEY subscriptions.
    """
    subjects = parse_subjects(request.subjects, audiences=audiences)
    own = {subscription.name: subscription for subscription in live if subscription.key == key}
    existing = own.get(request.name)
    if existing is not None:
        if set(existing.subjects) == set(subjects):
            return existing
        # Neither list is repeated: each may name a space that the other's members do not see.
        rule = "the subscription exists with other filters; delete it first"
        reason = Reason(path="subjects", rule=rule)
        raise RefusedError(f"subscription {request.name} exists", [reason], code="conflict")
    if len(own) >= MAX_PER_KEY:
        reason = Reason(path="name", rule=f"one principal has at most {MAX_PER_KEY} subscriptions")
        raise RefusedError("too many subscriptions", [reason], code="conflict")
    return Subscription(
        consumer=consumer_name(key, request.name),
        name=request.name,
        subjects=subjects,
        after=newest_sequence if request.start == "now" else 0,
        key=key,
    )


def find_subscription(live: Iterable[Subscription], *, key: str, name: str) -> Subscription:
    """The caller's subscription of this name.

    Raises:
        RefusedError: There is none.
    """
    for subscription in live:
        if (subscription.key, subscription.name) == (key, name):
            return subscription
    reason = Reason(path="name", rule="the caller has no subscription of this name", got=name)
    raise RefusedError(f"there is no subscription {name}", [reason], code="not_found")


def named_spaces(subjects: Iterable[str]) -> frozenset[Audience]:
    """The audiences in the filters, other than `public`; whether there are such or not."""
    named = (subject.removeprefix(f"{EVENTS}.").partition(".")[0] for subject in subjects)
    return frozenset(named) - {PUBLIC}


def parse_subjects(subjects: Sequence[str], *, audiences: frozenset[Audience]) -> tuple[str, ...]:
    """The filters, without those that another one of them contains.

    Raises:
        RefusedError: Naming every filter that is no subject or reaches beyond what may be seen; or
            two spaces are named, so nobody but the caller could be told of it.
    """
    if len(named_spaces(subjects) & audiences) > 1:
        rule = "name one space beside public at most; have a subscription for each"
        raise RefusedError(
            "these subjects cannot be subscribed to", [Reason(path="subjects", rule=rule)]
        )
    reasons = [
        Reason(path=f"subjects[{position}]", rule=problem, got=subject, allowed=VISIBLE_PREFIX)
        for position, subject in enumerate(subjects)
        if (problem := _problem(subject, audiences))
    ]
    if reasons:
        raise RefusedError("these subjects cannot be subscribed to", reasons)
    different = list(dict.fromkeys(subjects))
    return tuple(
        subject
        for subject in different
        if not any(contains(other, subject) for other in different if other != subject)
    )


def contains(outer: str, inner: str) -> bool:
    """Whether every subject that `inner` matches is matched by `outer` (NATS wildcards)."""
    outer_parts, inner_parts = outer.split("."), inner.split(".")
    for position, part in enumerate(outer_parts):
        if part == ">":
            return len(inner_parts) > position
        if position >= len(inner_parts) or inner_parts[position] == ">":
            return False
        if part not in {"*", inner_parts[position]}:
            return False
    return len(outer_parts) == len(inner_parts)


def created_event(subscription: Subscription) -> EventBody:
    """What is recorded; `live_subscriptions` reads it again."""
    return EventBody(
        action=CREATED,
        outcome="accepted",
        after=_digest(subscription),
        details={
            "consumer": subscription.consumer,
            "name": subscription.name,
            "subjects": list(subscription.subjects),
            "after": subscription.after,
        },
    )


def deleted_event(subscription: Subscription) -> EventBody:
    """What is recorded."""
    return EventBody(
        action=DELETED,
        outcome="accepted",
        before=_digest(subscription),
        details={"consumer": subscription.consumer, "name": subscription.name},
    )


def _digest(subscription: Subscription) -> str:
    """SHA-256 of what the subscription is."""
    kept = (subscription.consumer, subscription.name, subscription.subjects, subscription.after)
    return canonical_digest(kept)


def live_subscriptions(events: Iterable[Event]) -> tuple[dict[str, Subscription], list[str]]:
    """The subscriptions that exist, by consumer, and the consumers given up, newest last.

    Args:
        events: The auditor's own, of CREATED and DELETED, oldest first.
    """
    live: dict[str, Subscription] = {}
    gone: dict[str, None] = {}
    for event in events:
        body = event.data
        if body.outcome != "accepted" or body.actor is None:
            continue
        consumer = body.details["consumer"]
        if body.action == DELETED:
            live.pop(consumer, None)
            gone[consumer] = None
        else:
            plain = {**body.details, "key": body.actor.key}
            live.setdefault(consumer, msgspec.convert(plain, Subscription))
            gone.pop(consumer, None)
    return live, list(gone)


def _problem(subject: str, audiences: frozenset[Audience]) -> str:
    """Why the caller cannot subscribe to this; empty if it can."""
    parts = subject.split(".")
    if len(subject) > MAX_SUBJECT_CHARACTERS:
        return f"must have at most {MAX_SUBJECT_CHARACTERS} characters"
    for position, part in enumerate(parts):
        is_wildcard = part == "*" or (part == ">" and position == len(parts) - 1)
        if not is_wildcard and not _TOKEN.fullmatch(part):
            return "is not a subject: tokens of letters, digits, '_', '-', or '*', or a last '>'"
    if not any(subject.startswith(f"{EVENTS}.{audience}.") for audience in audiences):
        return "reaches beyond the audiences that the caller may see"
    return ""
