# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Questions to the log, and which of them are one reading."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from services.auditor.query import FOLLOW_LAPSE, Readings, parse_query, reading_details
from shared.contracts.audit import ListRecords
from shared.errors import RefusedError

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def test_every_filter_reaches_the_query() -> None:
    """Nothing of a question is ignored."""
    query = parse_query(
        ListRecords(
            since="2026-01-02T00:00:00Z",
            until="2026-01-03T00:00:00Z",
            actor="U1",
            action="chain.*",
            package="p",
            node="n",
            deployment="d",
            outcome="failed",
            correlation="c",
            event_id="e",
            licence="*GPL*",
            space="public",
            before_index=9,
            after_index=3,
            limit=7,
        ),
        audiences=frozenset({"public", "p_acme"}),
    )

    assert dict(query.equal) == {
        "actor": "U1",
        "package": "p",
        "node": "n",
        "deployment": "d",
        "outcome": "failed",
        "correlation": "c",
        "event_id": "e",
    }
    assert query.until_us is not None
    assert query.since_us is not None
    assert query.until_us - query.since_us == 86_400_000_000
    assert query.globs == (("action", "chain.*"), ("licence", "*GPL*"))
    assert (query.above, query.below, query.limit) == (3, 9, 7)
    assert query.audiences == frozenset({"public"})


def test_times_without_a_zone_are_refused() -> None:
    """Both are named."""
    with pytest.raises(RefusedError) as refused:
        parse_query(ListRecords(since="2026-01-02T00:00:00", until="soon"), audiences=frozenset())

    assert [reason.path for reason in refused.value.reasons] == ["since", "until"]


def test_a_follower_reads_once() -> None:
    """The same question for what came since is the same reading, for as long as it goes on."""
    readings = Readings()
    question = ListRecords(action="chain.*")

    assert readings.begins(question, caller="U1", tree_size=10, now=NOW)
    for second in range(1, 400, 3):
        later = ListRecords(action="chain.*", after_index=9 + second)
        assert not readings.begins(
            later, caller="U1", tree_size=10 + second, now=NOW + timedelta(seconds=second)
        )


@pytest.mark.parametrize(
    ("request_", "caller", "seconds"),
    [
        (ListRecords(action="chain.*"), "U1", 1),
        (ListRecords(action="chain.*", after_index=8), "U1", 1),
        (ListRecords(action="*", after_index=9), "U1", 1),
        (ListRecords(action="chain.*", after_index=9), "U2", 1),
        (ListRecords(action="chain.*", after_index=9), "U1", FOLLOW_LAPSE.total_seconds() + 1),
    ],
)
def test_anything_else_is_a_new_reading(request_: ListRecords, caller: str, seconds: float) -> None:
    """Another question, another caller, older records, or after a long silence."""
    readings = Readings()
    readings.begins(ListRecords(action="chain.*"), caller="U1", tree_size=10, now=NOW)

    assert readings.begins(
        request_, caller=caller, tree_size=20, now=NOW + timedelta(seconds=seconds)
    )


def test_a_reading_is_recorded_with_what_was_asked() -> None:
    """Filters that were not set are left out."""
    details = reading_details(ListRecords(node="n1", before_index=4))

    assert details == {"filters": {"node": "n1", "before_index": 4}, "limit": 100}
