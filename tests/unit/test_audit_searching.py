# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Answers in chunks: nothing is left out or doubled, and what is a new reading."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.auditor.query import MAX_PAGE_BYTES, RecordQuery, StoredRecord
from services.auditor.records import read_message
from services.auditor.searching import (
    READING_LAPSE,
    Chunk,
    StreamReadings,
    parse_search,
    search_details,
)
from shared.contracts.audit import RecordChunk, StreamRecords
from shared.errors import RefusedError
from tests.support.records import an_event, message_of

NOW = datetime(2026, 1, 2, tzinfo=UTC)
SEEN = frozenset({"public"})


def stored_record(index: int, **fields: Any) -> StoredRecord:
    """A record as the store gives it."""
    message = message_of(an_event(index + 1, **fields), index + 1)
    return StoredRecord(index, read_message(message).leaf, message.data, 0, index + 1, "")


LOG = [stored_record(index, node=f"n{index % 3}") for index in range(60)]


def page_of(
    log: list[StoredRecord], query: RecordQuery, most: int
) -> tuple[list[StoredRecord], bool]:
    """What a store would give that never gives more than `most` records."""
    below = len(log) if query.below is None else query.below
    found = [stored for stored in log if query.above < stored.index < below]
    found = found if query.is_ascending else found[::-1]
    taken = found[: min(query.limit, most)]
    return taken, len(found) > len(taken)


def ask(log: list[StoredRecord], request: StreamRecords, *, most: int = 1000) -> RecordChunk:
    """One chunk, as the service makes it."""
    chunk = Chunk(parse_search(request, audiences=SEEN))
    while (query := chunk.next_page()) is not None:
        page, more = page_of(log, query, most)
        chunk.take(page, len(log), more=more)
    rendered = chunk.render()
    assert msgspec.json.decode(msgspec.json.encode(chunk.spell()), type=RecordChunk) == rendered
    return rendered


def ask_all(log: list[StoredRecord], request: StreamRecords, *, most: int = 1000) -> list[int]:
    """The indexes of every chunk, one after another."""
    indexes: list[int] = []
    while True:
        chunk = ask(log, request, most=most)
        indexes += [record.index for record in chunk.records]
        if chunk.position is None:
            return indexes
        name = "before_index" if request.order == "newest" else "after_index"
        request = msgspec.structs.replace(request, **{name: chunk.position})


@given(
    shape=st.fixed_dictionaries(
        {
            "limit": st.integers(1, 70),
            "scan_limit": st.integers(1, 70),
            "order": st.sampled_from(["newest", "oldest"]),
            "text": st.sampled_from(["", "N1"]),
        }
    ),
    most=st.integers(1, 70),
    where=st.sampled_from(["", 'node == "n1"', "index < 3", "index == 59", "has nothing"]),
)
def test_chunks_together_are_the_answer(shape: dict[str, Any], most: int, where: str) -> None:
    """Each record once and in order, however small chunks, scans and the store's pages are."""
    request = StreamRecords(where=where, **shape)
    kept = {"": range(60), 'node == "n1"': range(1, 60, 3), "index < 3": range(3),
            "index == 59": [59], "has nothing": []}[where]  # fmt: skip
    wanted = [index for index in kept if not request.text or index % 3 == 1]

    assert ask_all(LOG, request, most=most) == (
        wanted if request.order == "oldest" else wanted[::-1]
    )


def test_a_scan_stops_at_its_limit_and_says_where() -> None:
    """Nothing was found, the end was not reached, and the caller can go on."""
    chunk = ask(LOG, StreamRecords(where="index == 0", scan_limit=25))

    assert (chunk.records, chunk.scanned, chunk.position) == ((), 25, 35)
    assert chunk.tree_size == 60


def test_a_chunk_fits_into_a_message() -> None:
    """Whatever the records weigh, a chunk holds about as much as one page, and one at least."""
    log = [stored_record(index, reason="x" * 60_000) for index in range(20)]
    chunk = ask(log, StreamRecords(where="has reason", order="oldest"), most=4)

    size_bytes = sum(len(log[record.index].body or b"") for record in chunk.records)
    assert 0 < size_bytes <= MAX_PAGE_BYTES
    assert chunk.position == len(chunk.records) - 1


def test_every_problem_of_a_question_is_named() -> None:
    """Times and expression together."""
    with pytest.raises(RefusedError) as refused:
        parse_search(StreamRecords(since="soon", until="later", where="a ="), audiences=SEEN)

    assert [reason.path for reason in refused.value.reasons] == ["since", "until", "where"]


def test_the_chunks_of_a_question_are_one_reading() -> None:
    """Further back, further on, or what came since: what the first question was about."""
    readings = StreamReadings()
    question = StreamRecords(where="has node", node="n1")

    assert readings.begins(question, caller="U1", now=NOW)
    for minute, bounds in enumerate(
        ({"before_index": 50}, {"before_index": 20}, {"after_index": 59}, {"after_index": 80})
    ):
        later = msgspec.structs.replace(question, limit=7, **bounds)
        assert not readings.begins(later, caller="U1", now=NOW + timedelta(minutes=4 * minute))


@pytest.mark.parametrize(
    ("changes", "caller", "lapse"),
    [
        ({}, "U1", timedelta(0)),
        ({"after_index": 10}, "U2", timedelta(0)),
        ({"after_index": 10, "where": "has actor"}, "U1", timedelta(0)),
        ({"after_index": 10, "text": "x"}, "U1", timedelta(0)),
        ({"after_index": 10, "licence": "MIT"}, "U1", timedelta(0)),
        ({"after_index": 10, "since": "2026-01-01T00:00:00Z"}, "U1", timedelta(0)),
        ({"after_index": 4}, "U1", timedelta(0)),
        ({"after_index": 5, "before_index": 100}, "U1", timedelta(0)),
        ({"after_index": 10}, "U1", READING_LAPSE + timedelta(seconds=1)),
    ],
)
def test_anything_beyond_what_was_recorded_is_a_new_reading(
    changes: dict[str, Any], caller: str, lapse: timedelta
) -> None:
    """The same again, somebody else, another question, other records, or after long silence."""
    readings = StreamReadings()
    question = StreamRecords(after_index=5, before_index=90)
    assert readings.begins(question, caller="U1", now=NOW)

    later = msgspec.structs.replace(question, **changes)
    assert readings.begins(later, caller=caller, now=NOW + lapse)


def test_a_reading_is_recorded_with_everything_that_was_asked() -> None:
    """Also what has no index, and from where."""
    request = StreamRecords(
        node="n1", licence="MIT", where="has a", text="x", after_index=3, order="oldest"
    )

    assert search_details(request) == {
        "filters": {
            "node": "n1",
            "licence": "MIT",
            "where": "has a",
            "text": "x",
            "after_index": 3,
        },
        "limit": 100,
        "order": "oldest",
    }
