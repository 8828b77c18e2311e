# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What of a record is shown to whom, and what is said about gaps."""

from __future__ import annotations

import pytest

from services.auditor.admission import Channel, Gap, gap_event
from services.auditor.disclosure import audience_of, gap_events, is_public, shown
from services.auditor.merkle import leaf_hash
from services.auditor.query import StoredRecord, render_record
from services.auditor.records import StreamMessage, read_message
from shared.contracts.audit import AuditRecord
from shared.contracts.events import PUBLIC
from tests.support.records import an_event, message_of

SPACE = "r_0123456789abcdef"


def leaf_on(subject: str, data: bytes = b"no event") -> bytes:
    """Of a message there."""
    return read_message(StreamMessage(1, subject, "", data)).leaf


def test_an_event_is_of_the_audience_that_its_envelope_says() -> None:
    """The auditor compared it with the subject before it believed the event."""
    leaf = read_message(message_of(an_event(1, audience=SPACE), 1)).leaf

    assert (audience_of(leaf), is_public(leaf)) == (SPACE, False)


@pytest.mark.parametrize(
    ("subject", "audience"),
    [
        (f"l3af.v1.evt.{SPACE}.catalog.package.publish", SPACE),
        ("l3af.v1.evt.public.catalog.package.publish", PUBLIC),
        (f"l3af.v1.evt.{SPACE}.x", SPACE),
        ('l3af.v1.evt.p_a"audience":"public.catalog.x.y', 'p_a"audience":"public'),
        ("l3af.v1.evt", ""),
        ("another.public.catalog", ""),
    ],
)
def test_what_was_not_believed_is_of_the_audience_in_its_subject(
    subject: str, audience: str
) -> None:
    """What it says itself is only claimed."""
    claimed = message_of(an_event(1), 1).data

    assert audience_of(leaf_on(subject)) == audience
    assert audience_of(leaf_on(subject, claimed + b" ")) == audience


def test_of_a_hidden_record_nothing_is_left_but_its_number_and_hash() -> None:
    """Neither when it was received nor its place in the stream, nor that nobody believed it."""
    draft = read_message(message_of(an_event(1, audience=SPACE, package="secret"), 9))
    stored = StoredRecord(4, draft.leaf, draft.message.data, 1_767_323_045_000_006, 9, "why")
    hidden = shown(stored, frozenset({PUBLIC}))

    assert render_record(hidden) == AuditRecord(
        index=4,
        leaf="",
        received_at="",
        stream_sequence=0,
        leaf_hash=leaf_hash(draft.leaf).hex(),
    )
    assert shown(stored, frozenset({SPACE})) == stored
    assert shown(stored, None) == stored


def test_a_gap_of_a_public_channel_or_of_the_stream_is_told_to_everybody() -> None:
    """As it is."""
    for channel in (Channel("catalog", PUBLIC), Channel("stream", "")):
        gap = Gap("missing", channel, 2, 4, 7)
        assert gap_events(gap) == [(*gap_event(gap), PUBLIC)]


def test_of_a_gap_in_a_space_everybody_is_told_that_it_is_there() -> None:
    """Its members are told the rest; neither words nor id tell the others."""
    gap = Gap("missing", Channel("node/n7", SPACE), 2, 4, 7)
    (told, told_id, everybody), whole = gap_events(gap)

    assert whole == (*gap_event(gap), SPACE)
    assert (everybody, told.node, told.action) == (PUBLIC, "", "log.gap")
    assert told.details == {"audience": "restricted", "kind": "missing", "found_at_index": 7}
    other = Gap("missing", Channel("catalog", "p_acme"), 200, 400, 7)
    assert gap_events(other)[0] == (told, told_id, everybody)
    assert gap_events(Gap("missing", gap.channel, 2, 4, 8))[0][1] != told_id
