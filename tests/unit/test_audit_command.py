# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Times and names as people write them, and records as people see them."""

from __future__ import annotations

from datetime import UTC, datetime
from io import StringIO

import pytest
from rich.console import Console

from cli.audit_view import render_list
from cli.moments import parse_moment
from cli.people import keys_of, render_actor
from services.auditor.query import StoredRecord, render_record
from services.auditor.records import read_message
from shared.contracts.audit import RecordList
from shared.contracts.events import Actor
from shared.errors import RefusedError
from tests.support.records import altered, an_event, message_of

NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)
ANN = "U" + "A" * 55
NAMES = {ANN: "ann", "U" + "B" * 55: "ann", "U" + "C" * 55: "eve"}


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("", ""),
        ("1h", "2026-01-02T11:00:00.000000Z"),
        ("90s", "2026-01-02T11:58:30.000000Z"),
        ("2w", "2025-12-19T12:00:00.000000Z"),
        ("2026-01-01", "2026-01-01T00:00:00.000000Z"),
        ("2026-01-01T01:00:00+01:00", "2026-01-01T00:00:00.000000Z"),
        ("2026-01-01T00:00:00.5Z", "2026-01-01T00:00:00.500000Z"),
    ],
)
def test_times_are_read_as_people_write_them(text: str, moment: str) -> None:
    """Ago, a date, a time; UTC unless said otherwise."""
    assert parse_moment(text, now=NOW, path="--since") == moment


@pytest.mark.parametrize(
    "text",
    [
        "yesterday",
        "1",
        "h",
        "1y",
        "-1h",
        "999999w",
        "2026-13-01",
        "9999-12-31T23:59:59-00:01",
        "0001-01-01T00:00:00+00:01",
    ],
)
def test_what_is_no_time_is_refused(text: str) -> None:
    """With what would be accepted."""
    with pytest.raises(RefusedError) as refused:
        parse_moment(text, now=NOW, path="--since")

    assert refused.value.reasons[0].path == "--since"


def test_a_name_means_every_key_it_had() -> None:
    """A rotated key's records are still somebody's."""
    assert keys_of("ann", NAMES) == (ANN, "U" + "B" * 55)
    assert keys_of(ANN, {}) == (ANN,)
    with pytest.raises(RefusedError):
        keys_of("bob", NAMES)


def test_what_the_server_did_not_vouch_for_is_marked() -> None:
    """A role that somebody claims has a question mark."""
    assert render_actor(Actor(key=ANN, role="viewer", attested=True), NAMES) == "ann (viewer)"
    assert render_actor(Actor(key=ANN, role="viewer", attested=False), {}) == "UAAAAAAA… (viewer?)"


def test_problems_cannot_be_overlooked_or_write_to_the_terminal() -> None:
    """A forged record says so first, and control characters do not reach the screen."""
    message = message_of(an_event(1, reason="\x1b[2Jgone", package="rate-limit"), 1)
    stored = []
    for place, one in enumerate((message, altered(message, emitter="scheduler"))):
        draft = read_message(one)
        stored.append(StoredRecord(place, draft.leaf, one.data, 0, place, draft.problem))
    records = tuple(render_record(one) for one in stored)
    listed = RecordList(records=records, tree_size=2, more=False)
    console = Console(width=200, record=True, file=StringIO())

    console.print(render_list(listed, {}))

    text = console.export_text()
    assert "PROBLEM" in text
    assert "claims to be package.publish by scheduler" in text
    assert "\x1b" not in text
    assert "\\x1b[2Jgone" in text
