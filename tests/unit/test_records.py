# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What becomes of a message: an event that may be believed, or a problem that says why not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from services.auditor.records import (
    ProblemLeaf,
    StreamMessage,
    body_bytes,
    parse_event_subject,
    parse_time_us,
    read_message,
    render_time_us,
)
from shared.canonical import canonical_bytes, sha256_hex
from shared.contracts.events import MAX_EVENT_BYTES
from tests.support.records import altered, an_event, message_of


def test_the_leaf_of_an_event_is_its_envelope() -> None:
    """Canonical bytes of the envelope, and nothing of the body but its salted hash."""
    event = an_event(7, package="rate-limit", reason="because")

    draft = read_message(message_of(event, 3))

    assert draft.problem == ""
    assert draft.leaf == canonical_bytes(event.envelope())
    assert b"rate-limit" not in draft.leaf
    assert draft.event == event


def test_a_field_of_a_later_release_is_kept_and_hashed() -> None:
    """Bytes that this release does not understand still count in the body's hash."""
    plain = json.loads(canonical_bytes(an_event()))
    plain["data"]["zone"] = {"new": [1, 2.5, None]}
    data = json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()

    draft = read_message(message_of(an_event(), 1)._replace(data=data))

    body = json.dumps(
        {"data": plain["data"], "subject": plain["subject"]}, sort_keys=True, separators=(",", ":")
    ).encode()
    assert draft.problem == ""
    assert body_bytes(data) == body
    expected = sha256_hex(bytes.fromhex(plain["bodysalt"]) + body)
    assert json.loads(draft.leaf)["bodyhash"] == expected


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"emitter": "scheduler"}, "audience, emitter and action"),
        ({"audience": "p_secret"}, "audience, emitter and action"),
        ({"subject": "l3af.v1.evt.public.catalog.package.yank"}, "another subject"),
        ({"id": "another"}, "Nats-Msg-Id"),
        ({"source": "/l3af/scheduler"}, "source"),
        ({"type": "org.l3af.v1.package.publish.refused"}, "type"),
        ({"specversion": "1.1"}, "CloudEvents"),
        ({"datacontenttype": "text/plain"}, "CloudEvents"),
        ({"sequence": 0}, "sequence"),
        ({"bodysalt": "00"}, "salt"),
        ({"bodysalt": "0G" * 16}, "salt"),
        ({"time": "yesterday"}, "time"),
        ({"time": "2026-01-02T03:04:05"}, "offset"),
        ({"time": "0001-01-01T00:00:00+00:01"}, "before or after"),
        ({"time": "9999-12-31T23:59:59-00:01"}, "before or after"),
    ],
)
def test_a_false_claim_makes_a_problem(fields: dict[str, Any], why: str) -> None:
    """What an event says about itself is compared with what the server knows."""
    message = altered(message_of(an_event(), 9), **fields)

    draft = read_message(message)

    assert why in draft.problem
    leaf = json.loads(draft.leaf)
    assert leaf["sha256"] == sha256_hex(message.data)
    assert leaf["stream_sequence"] == 9
    assert set(leaf) == set(ProblemLeaf.__struct_fields__)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"\xff\xfe",
        b'{"specversion":"1.0"}',
        b"[" * 100_000,
        canonical_bytes(an_event()) + b" ",
        canonical_bytes(an_event()).replace(b'{"audience"', b'{ "audience"'),
        canonical_bytes(an_event(reason="x" * MAX_EVENT_BYTES)),
    ],
)
def test_what_cannot_be_read_is_recorded_all_the_same(data: bytes) -> None:
    """Garbage, other spellings of JSON, and too much of it: each has a leaf and a reason."""
    draft = read_message(message_of(an_event(), 1)._replace(data=data))

    assert draft.problem
    assert json.loads(draft.leaf)["sha256"] == sha256_hex(data)


@pytest.mark.parametrize(
    ("subject", "origin"),
    [
        ("l3af.v1.evt.public.catalog.package.publish", ("public", "catalog", "package.publish")),
        ("l3af.v1.evt.public.node.n-1.chain.attach", ("public", "node/n-1", "chain.attach")),
        ("l3af.v1.evt.r_cve.node.n1.chain.attach", ("r_cve", "node/n1", "chain.attach")),
        ("l3af.v1.evt.public.node.chain.attach", None),
        ("l3af.v1.evt.public.node.N1.chain.attach", None),
        ("l3af.v1.evt.public.somebody.package.publish", None),
        ("l3af.v1.evt.public.catalog.package", None),
        ("l3af.v1.evt.public.catalog.package.publish.more", None),
        ("l3af.v1.evt.everybody.catalog.package.publish", None),
        ("l3af.v2.evt.public.catalog.package.publish", None),
        ("x.l3af.v1.evt.public.catalog.package.publish", None),
        ("", None),
    ],
)
def test_a_subject_names_its_emitter(subject: str, origin: tuple[str, str, str] | None) -> None:
    """Exactly the subjects of the contract are understood."""
    assert parse_event_subject(subject) == origin


def test_a_message_without_an_id_is_no_event() -> None:
    """The id that makes republication harmless must be there."""
    message = message_of(an_event(event_id=""), 1)

    assert read_message(message).problem == "it has no id"


def test_times_are_exact_to_the_microsecond() -> None:
    """Reading and writing a time are inverses; offsets are turned into UTC."""
    text = "2026-12-31T23:59:59.999999Z"

    assert render_time_us(parse_time_us(text)) == text
    assert parse_time_us("2027-01-01T00:59:59.999999+01:00") == parse_time_us(text)
    for edge in ("0001-01-01T00:00:00.000000Z", "9999-12-31T23:59:59.999999Z"):
        assert render_time_us(parse_time_us(edge)) == edge


def test_a_status_header_does_not_make_a_message_vanish() -> None:
    """An empty message is recorded like any other."""
    message = StreamMessage(4, "l3af.v1.evt.public.node.n1.chain.attach", "", b"")

    draft = read_message(message)

    assert (draft.origin.emitter, draft.event) == ("node/n1", None)
