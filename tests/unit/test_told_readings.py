# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What is recorded of a reading names nothing of a space to those who do not see it."""

from __future__ import annotations

from typing import Any

import pytest

from services.auditor.searching import search_details
from services.auditor.told_readings import told_readings
from shared.contracts.audit import StreamRecords
from shared.contracts.events import PUBLIC

ACME, OTHER = "p_acme", "r_0123456789abcdef"
ASKED = search_details(
    StreamRecords(
        since="2026-01-02T00:00:00Z",
        action="package.*",
        node="n1",
        package="secret-fix",
        correlation="secret-command",
        text="secret",
        where='deployment == "secret"',
    )
)


def test_who_sees_no_space_is_told_of_as_they_asked() -> None:
    """Whatever they name, they name by guessing."""
    assert told_readings(ASKED, spaces=frozenset()) == [(ASKED, PUBLIC)]


@pytest.mark.parametrize(
    "details", [{"proved_index": 7}, {"inventory_at": "2026-01-02T00:00:00Z", "node": "n1"}]
)
def test_what_names_nothing_is_told_to_everybody(details: dict[str, Any]) -> None:
    """Numbers, times and nodes are nobody's secret."""
    assert told_readings(details, spaces=frozenset({ACME})) == [(details, PUBLIC)]


def test_names_are_told_to_the_space_and_the_reading_to_everybody() -> None:
    """Who, when and which filters is public; the values are the members'."""
    (public, audience), whole = told_readings(ASKED, spaces=frozenset({ACME}))

    assert audience == PUBLIC
    assert "secret" not in repr(public)
    assert public["withheld"] == ["correlation", "package", "text", "where"]
    assert public["filters"] == {
        "since": "2026-01-02T00:00:00Z",
        "action": "package.*",
        "node": "n1",
    }
    assert public["limit"] == ASKED["limit"]
    assert whole == (ASKED, ACME)


def test_of_several_spaces_none_is_told_what_another_may_be_named_in() -> None:
    """Unless the question says which one it is about."""
    both = frozenset({ACME, OTHER})
    ((public, audience),) = told_readings(ASKED, spaces=both)
    assert (audience, "secret" in repr(public)) == (PUBLIC, False)

    about = {**ASKED, "filters": {**ASKED["filters"], "space": OTHER}}
    (public, _), whole = told_readings(about, spaces=both)
    assert whole == (about, OTHER)
    assert OTHER not in repr(public)


def test_a_digest_that_is_looked_for_is_told_to_the_space() -> None:
    """It may be that of a version that nobody else knows."""
    asked = {"runs_of": "ab" * 32}
    told = told_readings(asked, spaces=frozenset({ACME}))

    assert told == [({"withheld": ["runs_of"]}, PUBLIC), (asked, ACME)]
