# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Laws of the outbox record that hold for every decision."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.canonical import canonical_bytes
from shared.contracts.events import MAX_EVENT_BYTES, Actor, EventBody
from shared.contracts.scheduler import LABEL_NODE, NODE_LABELS, LabelNode, NodeLabelled, NodeLabels
from shared.contracts.storage import OutboxRecord, StateChange
from shared.errors import Reason, RefusedError
from shared.outbox_records import (
    Change,
    CommandReusedError,
    Decision,
    EffectTooLargeError,
    Origin,
    check_repeat,
    check_sizes,
    done_record,
    draft_emission,
    draft_record,
    draft_refused,
    draft_too_large,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
COMMAND_IDS = st.from_regex(r"[A-Za-z0-9_-]{8,64}", fullmatch=True)
ACTORS = st.builds(
    Actor, key=st.sampled_from(["UA", "UB"]), role=st.just("operator"), attested=st.just(True)
)
REQUESTS = st.builds(
    LabelNode,
    node=st.sampled_from(["n1", "n2"]),
    reason=st.sampled_from(["", "why"]),
    set=st.dictionaries(st.sampled_from(["a", "b"]), st.sampled_from(["1", "2"])),
)
ORIGINS = st.builds(
    Origin,
    service=st.just("scheduler"),
    command_id=COMMAND_IDS,
    subject=st.just(LABEL_NODE.subject),
    request=REQUESTS,
    actor=ACTORS,
)
BODIES = st.lists(
    st.builds(
        EventBody,
        action=st.sampled_from(["node.label", "x.y"]),
        outcome=st.just("accepted"),
        after=st.just("a" * 64),
    ),
    max_size=4,
).map(tuple)
AN_ORIGIN = Origin(
    "scheduler",
    "command-1",
    LABEL_NODE.subject,
    LabelNode(node="n1"),
    Actor(key="UA", role="operator", attested=True),
)
HEADS = st.dictionaries(st.sampled_from(["public", "r_a"]), st.integers(0, 1000))
AUDIENCES = st.sampled_from(["public", "r_a", "p_b"])


def drafted(
    origin: Origin, bodies: tuple[EventBody, ...], heads: dict[str, int], audience: str
) -> OutboxRecord:
    """The record of an accepted command with those events."""
    reply = NodeLabelled(command_id=origin.command_id, node="n1", labels={})
    decision = Decision(reply=reply, events=bodies, audience=audience)
    salts = [bytes([place]) * 16 for place in range(len(bodies))]
    return draft_record(origin, decision, heads=heads, salts=salts, now=NOW)


@given(ORIGINS, BODIES, HEADS, AUDIENCES)
def test_sequences_go_on_without_gaps(
    origin: Origin, bodies: tuple[EventBody, ...], heads: dict[str, int], audience: str
) -> None:
    """Each audience counts for itself, and the record's heads are where the next one starts."""
    record = drafted(origin, bodies, heads, audience)

    first = heads.get(audience, 0) + 1
    assert [event.sequence for event in record.events] == list(range(first, first + len(bodies)))
    assert record.heads == heads | {audience: heads.get(audience, 0) + len(bodies)}


@given(ORIGINS, BODIES, HEADS, AUDIENCES)
def test_repetition_makes_the_same_events(
    origin: Origin, bodies: tuple[EventBody, ...], heads: dict[str, int], audience: str
) -> None:
    """Ids are distinct, follow from the command, and every event names who asked and why."""
    record = drafted(origin, bodies, heads, audience)

    ids = [event.id for event in record.events]
    assert ids == [event.id for event in drafted(origin, bodies, {}, audience).events]
    assert len(set(ids)) == len(ids)
    assert all(origin.command_id in event_id for event_id in ids)
    for event in record.events:
        assert event.data.actor == origin.actor
        assert event.data.correlation == origin.command_id
        assert event.data.reason == origin.request.reason


@given(ORIGINS, BODIES, HEADS, AUDIENCES)
def test_record_survives_being_stored(
    origin: Origin, bodies: tuple[EventBody, ...], heads: dict[str, int], audience: str
) -> None:
    """What another process reads is what was decided, events and their hashes included."""
    record = drafted(origin, bodies, heads, audience)

    read = msgspec.json.decode(msgspec.json.encode(record), type=OutboxRecord)

    assert read == record
    assert [event.envelope() for event in read.events] == [
        event.envelope() for event in record.events
    ]


@given(ORIGINS, ORIGINS)
def test_repeat_is_known_by_request_and_key(first: Origin, second: Origin) -> None:
    """The same id with the same request by the same key is a repeat, and nothing else is."""
    done = done_record(drafted(first, (), {}, "public"))
    again = Origin(second.service, first.command_id, second.subject, second.request, second.actor)

    if (again.request, again.actor) == (first.request, first.actor):
        check_repeat(done, again)
    else:
        with pytest.raises(CommandReusedError):
            check_repeat(done, again)


@given(ORIGINS)
def test_command_id_in_the_request_or_made_for_it_is_the_same_command(origin: Origin) -> None:
    """A caller that repeats under the id it was given repeats the command."""
    done = done_record(drafted(origin, (), {}, "public"))
    named = msgspec.structs.replace(origin.request, command_id=origin.command_id)

    check_repeat(
        done, Origin(origin.service, origin.command_id, origin.subject, named, origin.actor)
    )


@given(ORIGINS, st.sampled_from(["", "alice"]), st.booleans())
def test_a_name_is_kept_only_until_the_command_is_done(
    origin: Origin, name: str, changes: bool
) -> None:
    """Only what may be decided again needs to know who asked."""
    labels = NodeLabels(node="n1", labels={}, command_id=origin.command_id)
    said = EventBody(action="node.label", outcome="accepted", after="a" * 64)
    decision = Decision(
        reply=NodeLabelled(command_id=origin.command_id, node="n1", labels={}),
        change=Change(NODE_LABELS, "n1", labels) if changes else None,
        events=(said,),
    )

    record = draft_record(
        replace(origin, name=name), decision, heads={}, salts=[bytes(16)], now=NOW
    )

    assert record.name == (name if changes else "")
    assert done_record(record).name == ""


@given(ORIGINS, st.lists(st.sampled_from(["n1", "n2", "n3", "n4"]), min_size=1, unique=True))
def test_all_keys_of_a_command_are_in_its_record(origin: Origin, nodes: list[str]) -> None:
    """Each with its bytes, marked as the command's, and all are forgotten together."""

    def change(node: str) -> Change:
        labels = NodeLabels(node=node, labels={}, command_id=origin.command_id)
        return Change(NODE_LABELS, node, labels, 7, None if node == nodes[0] else 3)

    first, *rest = map(change, nodes)
    decision = Decision(
        reply=NodeLabelled(command_id=origin.command_id, node="n1", labels={}),
        change=first,
        also=tuple(rest),
        events=(EventBody(action="node.label", outcome="accepted", after="a" * 64),),
    )

    record = draft_record(origin, decision, heads={}, salts=[bytes(16)], now=NOW)

    assert record.change is not None
    written = (record.change, *record.also)
    assert [one.key for one in written] == nodes
    assert all(origin.command_id in bytes(one.value).decode() for one in written)
    assert [one.expected_revision for one in written] == [None] + [3] * len(rest)
    assert msgspec.json.decode(msgspec.json.encode(record), type=OutboxRecord) == record
    assert (done_record(record).change, done_record(record).also) == (None, ())


def test_what_changes_beside_another_says_what_it_was() -> None:
    """Without its own revision, or without a first change, nothing is decided."""
    labels = NodeLabels(node="n2", labels={}, command_id="command-1")
    reply = NodeLabelled(command_id="command-1", node="n1", labels={})
    events = (EventBody(action="node.label", outcome="accepted", after="a" * 64),)
    change = Change(NODE_LABELS, "n2", labels)

    with pytest.raises(AssertionError, match="beside"):
        Decision(reply=reply, events=events, also=(replace(change, revision=1),))
    with pytest.raises(AssertionError, match="own revision"):
        Decision(reply=reply, events=events, change=change, also=(change,))


@given(st.sampled_from(["not_found", "conflict", "too_large"]), st.text(max_size=20))
def test_refusal_becomes_one_event_of_the_endpoints_name(code: str, message: str) -> None:
    """The audit log learns what was refused and why."""
    decision = draft_refused(LABEL_NODE, RefusedError(message, code=code))  # type: ignore[arg-type]

    (event,) = decision.events
    assert (event.action, event.outcome) == ("node.label", "refused")
    assert event.details == {"code": code, "message": message}


@given(st.booleans(), st.booleans())
def test_effects_that_do_not_fit_are_named_before_any_happens(
    record_is_large: bool, change_is_large: bool
) -> None:
    """Record and change that are over their limits are in the refusal, and no other."""
    record = msgspec.structs.replace(
        drafted(AN_ORIGIN, (), {}, "public"),
        change=StateChange(
            bucket="node_labels", key="n1", value=msgspec.Raw(b"12345"), expected_bucket_sequence=1
        ),
    )
    limit = len(msgspec.json.encode(record)) - record_is_large
    large = {"record": record_is_large, "change": change_is_large}

    def check() -> None:
        check_sizes(record, record_limit_bytes=limit, change_limit_bytes=5 - change_is_large)

    if any(large.values()):
        with pytest.raises(EffectTooLargeError) as refused:
            check()
        assert {reason.path for reason in refused.value.reasons} == {
            name for name, is_large in large.items() if is_large
        }
    else:
        check()


@given(st.integers(0, 200_000), st.integers(0, 5000))
def test_every_event_fits_into_the_audit_log(characters: int, reason_count: int) -> None:
    """Whatever was decided or seen: its event has at most MAX_EVENT_BYTES."""
    body = EventBody(
        action="x.y",
        outcome="failed",
        after="a" * 64,
        reasons=(Reason(path="a", rule="b" * 20),) * reason_count,
        details={"text": "x" * characters},
    )
    actor = AN_ORIGIN.actor
    emission = draft_emission(
        body, event_id="e", service="scheduler", actor=actor, heads={}, salt=bytes(16), now=NOW
    )

    for record in (drafted(AN_ORIGIN, (body, body), {}, "public"), emission):
        for event in record.events:
            assert len(canonical_bytes(event)) <= MAX_EVENT_BYTES


def test_refusal_for_size_is_told_to_whom_the_decision_would_have_been() -> None:
    """What concerns a closed audience is not told to the public because it is large."""
    decision = draft_too_large(LABEL_NODE, EffectTooLargeError("too large"), audience="r_a")

    record = draft_record(AN_ORIGIN, decision, heads={"r_a": 4}, salts=[bytes(16)], now=NOW)

    (event,) = record.events
    assert (event.audience, event.sequence, event.data.outcome) == ("r_a", 5, "refused")
    assert record.outcome.refusal is not None
    assert record.outcome.refusal.code == "too_large"
    assert record.request is None
