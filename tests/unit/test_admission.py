# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which messages become records, in which order, and which gaps are found."""

from __future__ import annotations

from services.auditor.admission import (
    EMPTY_LOG,
    Admission,
    Channel,
    EventKey,
    Gap,
    LogState,
    admit,
    gap_event,
    rewind,
    usable,
)
from services.auditor.records import StreamMessage, read_message
from tests.support.records import altered, an_event, message_of, messages

CATALOG = Channel("catalog", "public")


def taken(
    *batch: StreamMessage, state: LogState = EMPTY_LOG, known: dict[EventKey, bytes] | None = None
) -> Admission:
    """What follows from a batch."""
    drafts = [read_message(message) for message in batch]
    return admit(state, drafts, known or {}, received_us=1_000_000)


def indexes(admission: Admission) -> list[tuple[int, int]]:
    """Leaf index and stream sequence of the records."""
    return [(record.index, record.draft.message.sequence) for record in admission.records]


def test_records_are_numbered_in_stream_order() -> None:
    """The first batch begins at 0, the next where that ended."""
    first = taken(*messages(3))
    second = taken(*messages(2, first=4), state=first.state)

    assert indexes(first) == [(0, 1), (1, 2), (2, 3)]
    assert indexes(second) == [(3, 4), (4, 5)]
    assert second.state.frontier.size == 5
    assert not first.gaps + second.gaps


def test_a_message_that_was_taken_before_changes_nothing() -> None:
    """Stream sequences up to the state's are passed over."""
    state = taken(*messages(3)).state

    again = taken(*messages(4), state=state)

    assert indexes(again) == [(3, 4)]


def test_an_event_that_comes_again_is_one_record() -> None:
    """In one batch or in a later one, wherever in the stream it stands."""
    event = an_event(1)
    first = taken(message_of(event, 1), message_of(event, 2))
    known = {EventKey("catalog", event.id): first.records[0].draft.leaf}

    later = taken(message_of(event, 3), state=first.state, known=known)

    assert indexes(first) == [(0, 1)]
    assert indexes(later) == []
    assert later.state.stream_sequence == 3


def test_an_id_with_other_bytes_is_a_problem_of_its_own() -> None:
    """The record that was there stays; the other one is flagged and holds no claim."""
    event = an_event(1)
    other = altered(message_of(event, 2), bodysalt="ff" * 16)

    admission = taken(message_of(event, 1), other)

    assert [record.draft.problem for record in admission.records] == [
        "",
        "its id was used before for another event",
    ]
    assert b"emitter" not in admission.records[1].draft.leaf
    assert admission.state.heads == {CATALOG: 1}


def test_one_emitter_cannot_take_another_ones_id() -> None:
    """An event is the same only if id and emitter are."""
    ours = an_event(1, event_id="shared")
    theirs = an_event(1, emitter="node/n1", event_id="shared")

    admission = taken(message_of(theirs, 1), message_of(ours, 2))

    assert [record.draft.problem for record in admission.records] == ["", ""]


def test_a_gap_is_found_once_and_closed_by_a_late_event() -> None:
    """Sequences that were left out are said; one that comes late is an ordinary record."""
    first = taken(message_of(an_event(1), 1), message_of(an_event(5), 2))
    second = taken(message_of(an_event(6), 3), message_of(an_event(3), 4), state=first.state)

    assert first.gaps == (Gap("missing", CATALOG, 2, 4, 1),)
    assert second.gaps == ()
    assert second.state.missing == {CATALOG: ((2, 2), (4, 4))}
    assert second.state.heads == {CATALOG: 6}
    assert len(second.records) == 2


def test_a_first_event_that_is_not_the_first_shows_a_gap() -> None:
    """Sequences begin at 1."""
    assert taken(message_of(an_event(3), 1)).gaps == (Gap("missing", CATALOG, 1, 2, 0),)


def test_a_sequence_that_comes_again_is_said_and_counted_from() -> None:
    """An emitter that lost its memory is noticed once, and not at every event after."""
    state = taken(*messages(5)).state
    again = [
        message_of(an_event(number, event_id=f"again.{number}"), 5 + number) for number in (1, 2, 3)
    ]

    admission = taken(*again, state=state)

    assert admission.gaps == (Gap("repeated", CATALOG, 1, 1, 5),)
    assert len(admission.records) == 3


def test_messages_that_the_stream_dropped_are_a_gap_of_the_stream() -> None:
    """A hole in the stream's own sequence is said with what is missing."""
    admission = taken(message_of(an_event(1), 11))

    assert admission.gaps == (Gap("expired", Channel("stream", ""), 1, 10, 0),)


def test_problems_do_not_move_an_emitters_sequence() -> None:
    """Who is not believed cannot make somebody else's events look out of order."""
    forged = altered(message_of(an_event(1), 1), sequence=99, id="x")

    admission = taken(forged, message_of(an_event(1), 2))

    assert admission.state.heads == {CATALOG: 1}
    assert not admission.gaps


def test_another_stream_is_read_from_its_beginning() -> None:
    """What was recorded stays; the break is a gap."""
    state = taken(*messages(4)).state

    admission = rewind(state, stream_id="later", last_sequence=2)

    assert (admission.state.stream_id, admission.state.stream_sequence) == ("later", 0)
    assert admission.state.frontier == state.frontier
    assert [gap.kind for gap in admission.gaps] == ["rewound"]
    assert not rewind(EMPTY_LOG, stream_id="first", last_sequence=9).gaps


def test_a_gap_is_said_under_an_id_of_its_own() -> None:
    """The same gap gives the same id, another one another."""
    gap = Gap("missing", Channel("node/n1", "public"), 2, 4, 1)

    body, event_id = gap_event(gap)

    assert gap_event(gap) == (body, event_id)
    assert gap_event(Gap("missing", gap.channel, 2, 5, 1))[1] != event_id
    assert (body.action, body.outcome, body.node) == ("log.gap", "observed", "n1")


def test_only_what_goes_on_without_a_hole_is_used() -> None:
    """A hole in the middle is sought anew; right after a seek it is one of the stream itself."""
    batch = [message for message in messages(9, first=4) if message.sequence not in {7, 8}]

    used, is_torn = usable(batch, after=3, is_sought=False)
    assert ([message.sequence for message in used], is_torn) == ([4, 5, 6], True)
    assert usable(batch, after=1, is_sought=False) == ([], True)
    used, is_torn = usable(batch, after=1, is_sought=True)
    assert ([message.sequence for message in used], is_torn) == ([4, 5, 6], True)
    used, is_torn = usable(batch[:3], after=5, is_sought=False)
    assert ([message.sequence for message in used], is_torn) == ([6], False)
    assert usable([], after=5, is_sought=False) == ([], False)
