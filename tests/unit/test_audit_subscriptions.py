# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Durable places: filters, names, and what the log says about them."""

from __future__ import annotations

import pytest

from services.auditor.subscriptions import (
    MAX_PER_KEY,
    Subscription,
    consumer_name,
    contains,
    created_event,
    deleted_event,
    live_subscriptions,
    parse_subjects,
    plan_subscription,
)
from shared.contracts.audit import CreateSubscription
from shared.contracts.events import Actor, Event, EventBody, draft_event
from shared.errors import RefusedError
from tests.support.records import TIME

ANN = Actor(key="U" + "A" * 55, role="viewer", attested=True)
PUBLIC = "l3af.v1.evt.public.>"
SEEN = frozenset({"public", "p_acme", "r_0123456789abcdef"})


def planned(
    name: str = "billing", *, live: tuple[Subscription, ...] = (), **fields: object
) -> Subscription:
    """A subscription as Ann would get it."""
    request = CreateSubscription(name=name, **fields)  # type: ignore[arg-type]
    return plan_subscription(request, key=ANN.key, audiences=SEEN, live=live, newest_sequence=41)


def recorded(*bodies: EventBody) -> list[Event]:
    """The events of these bodies, by Ann."""
    return [
        draft_event(
            EventBody(action=body.action, outcome=body.outcome, actor=ANN, details=body.details),
            event_id=f"e{number}",
            emitter="auditor",
            sequence=number,
            time=TIME,
            salt=bytes(16),
        )
        for number, body in enumerate(bodies, 1)
    ]


def test_a_subscription_begins_now_or_at_the_beginning() -> None:
    """Its place is a stream sequence, decided when it is made."""
    assert planned().after == 41
    assert planned(start="beginning").after == 0


def test_names_of_different_keys_do_not_meet() -> None:
    """The consumer's name depends on key and name and tells neither."""
    name = consumer_name(ANN.key, "billing")

    assert name != consumer_name("U" + "B" * 55, "billing")
    assert len(name) == len("sub-") + 16


def test_what_the_log_says_is_what_exists() -> None:
    """Creations less deletions; made again, it exists again, where it began then."""
    first = planned()
    second = planned(start="beginning")

    live, gone = live_subscriptions(recorded(created_event(first)))
    assert (live, gone) == ({first.consumer: first}, [])
    live, gone = live_subscriptions(recorded(created_event(first), deleted_event(first)))
    assert (live, gone) == ({}, [first.consumer])
    live, gone = live_subscriptions(
        recorded(created_event(first), deleted_event(first), created_event(second))
    )
    assert (live, gone) == ({first.consumer: second}, [])


def test_a_subscription_has_a_digest_before_it_ends_and_after_it_begins() -> None:
    """The same one for the same subscription."""
    created, deleted = created_event(planned()), deleted_event(planned())

    assert (created.before, deleted.after) == ("", "")
    assert created.after == deleted.before != created_event(planned(start="beginning")).after


def test_a_refused_creation_makes_nothing() -> None:
    """Only what was accepted counts."""
    refused = EventBody(action="subscription.create", outcome="refused")

    assert live_subscriptions(recorded(refused)) == ({}, [])


def test_the_number_of_subscriptions_is_limited() -> None:
    """One key cannot fill the stream with consumers."""
    live = tuple(planned(f"s{number}") for number in range(MAX_PER_KEY))

    with pytest.raises(RefusedError) as refused:
        planned("one-more", live=live)

    assert refused.value.refusal_code == "conflict"
    assert planned("s0", live=live) == live[0]


def test_filters_inside_others_are_left_out() -> None:
    """The server refuses overlapping filters; what they show is the same without."""
    narrow = "l3af.v1.evt.public.catalog.package.*"

    assert parse_subjects([narrow, PUBLIC, PUBLIC], audiences=SEEN) == (PUBLIC,)
    assert parse_subjects([narrow], audiences=SEEN) == (narrow,)


@pytest.mark.parametrize(
    ("outer", "inner", "is_inside"),
    [
        ("a.>", "a.b", True),
        ("a.>", "a.b.c", True),
        ("a.>", "a.>", True),
        ("a.>", "a", False),
        ("a.*", "a.b", True),
        ("a.*", "a.*", True),
        ("a.*", "a.>", False),
        ("a.*", "a.b.c", False),
        ("a.b", "a.*", False),
        ("a.*.c", "a.b.c", True),
        ("a.*.c", "a.b.d", False),
        ("a.b.c", "a.b", False),
    ],
)
def test_wildcards_contain_what_they_match(outer: str, inner: str, is_inside: bool) -> None:
    """As NATS matches subjects."""
    assert contains(outer, inner) is is_inside


@pytest.mark.parametrize(
    "subject",
    [
        "",
        ">",
        "l3af.v1.evt.>",
        "l3af.v1.evt.*.>",
        "l3af.v1.evt.public",
        "l3af.v1.evt.publicity.>",
        "l3af.v1.evt.p_other.>",
        "l3af.v1.evt.p_acme",
        "l3af.v1.evt.p_acm*.>",
        "l3af.v1.evt.public..x",
        "l3af.v1.evt.public.a>",
        "l3af.v1.evt.public.>.a",
        "l3af.v1.evt.public.a b",
        "l3af.v1.evt.public." + "a" * 255,
        "$JS.API.>",
    ],
)
def test_what_may_not_be_seen_is_refused(subject: str) -> None:
    """Other audiences, other subjects, and what is no subject at all."""
    with pytest.raises(RefusedError) as refused:
        parse_subjects([subject], audiences=SEEN)

    assert refused.value.reasons[0].path == "subjects[0]"
