# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Expressions as people write them: what they find, and what is said of those that are wrong."""

from __future__ import annotations

import pytest

from services.auditor.expressions import (
    MAX_CHARACTERS,
    MAX_COMPARISONS,
    MAX_DEPTH,
    Comparison,
    Conjunction,
    Negation,
    UnreadableExpressionError,
    parse_expression,
)
from services.auditor.matching import has_text, matches, record_document
from shared.canonical import canonical_bytes
from shared.errors import Reason
from tests.support.records import an_event

EVENT = an_event(
    7,
    emitter="node/n1",
    action="chain.attach",
    node="n1",
    reasons=(Reason(path="licence", rule="GPL-2.0-only is not allowed", got=3),),
    details={"phase": "requested", "generation": 12, "gpl": True, "maps": [{"ids": [4, 5]}]},
)
DOCUMENT = record_document(
    index=3,
    body=canonical_bytes(EVENT),
    received_at="2026-01-02T03:04:05.000000Z",
    stream_sequence=9,
    problem="",
)


def test_not_binds_closer_than_and() -> None:
    """The example of the documentation is the tree that a reader takes it for."""
    text = 'details.phase == "requested" and not reasons.rule contains "GPL"'

    assert parse_expression(text) == Conjunction(
        (
            Comparison(("details", "phase"), "==", "requested"),
            Negation(Comparison(("reasons", "rule"), "contains", "GPL")),
        )
    )


@pytest.mark.parametrize(
    "text",
    [
        'details.phase == "requested"',
        'reasons.rule contains "GPL"',
        'reasons.path in ["hook", "licence"]',
        "details.generation >= 12 and details.generation < 13",
        "details.gpl == true",
        "details.maps.ids == 5",
        "details.maps[0].ids[1] == 5",
        'action matches "chain.*" and emitter == "node/n1"',
        'time startswith "2026-01-02" and sequence == 7 and index == 3',
        'not has deployment and has details."phase"',
        'deployment != "edge"',
        'problem == "" and not details.generation == "12"',
        '(node == "n2" or node == "n1") and outcome == "succeeded"',
    ],
)
def test_any_field_of_body_envelope_and_record_can_be_asked_for(text: str) -> None:
    """Each of these is true of the event, and its opposite is not."""
    assert matches(parse_expression(text), DOCUMENT)
    assert not matches(parse_expression(f"not ({text})"), DOCUMENT)


@pytest.mark.parametrize(
    ("text", "column", "expected"),
    [
        ("", 1, "a field"),
        ("node", 5, "an operator"),
        ("node =", 6, "a field, a value or an operator"),
        ("node == 'n1'", 9, "double quotes"),
        ('node == "n1', 9, "the end of the string"),
        ("node == n1", 9, "text in double quotes"),
        ("node contains 3", 15, "text in double quotes after 'contains'"),
        ('node == "n1" node', 14, "'and', 'or' or the end"),
        ('(node == "n1"', 14, "')'"),
        ("node in 3", 9, "'['"),
        ("node in [3", 11, "',' or ']'"),
        ("a[x] == 1", 3, "a place in a list"),
        ("a == 007", 6, "a number as JSON writes it"),
        ("not " * (MAX_DEPTH + 1) + "has a", 4 * (MAX_DEPTH + 1) + 1, "in one another"),
        (" or ".join(["a<1"] * (MAX_COMPARISONS + 1)), 7 * MAX_COMPARISONS + 1, "comparisons"),
        ("a" * (MAX_CHARACTERS + 1), MAX_CHARACTERS + 1, "at most"),
        (".".join("a" * 17) + " == 1", 35, "steps deep"),
    ],
)
def test_what_cannot_be_read_is_refused_where_it_goes_wrong(
    text: str, column: int, expected: str
) -> None:
    """With the column and what should stand there."""
    with pytest.raises(UnreadableExpressionError) as refused:
        parse_expression(text)

    (reason,) = refused.value.reasons
    assert reason.path == "where"
    assert reason.rule.startswith(f"column {column}: ")
    assert expected in reason.rule


def test_text_is_found_in_any_field_whatever_its_case() -> None:
    """Also in lists, and as it reads, not as JSON writes it."""
    document = {"details": {"names": ["Größe\n5"]}, "index": 3}

    assert has_text(document, "GRÖSSE\n")
    assert not has_text(document, "\\n")
    assert not has_text(document, "names")


@pytest.mark.parametrize("body", [None, b"no JSON", b"[1]", b"[" * 100_000, b"\xff"])
def test_records_without_a_readable_body_are_asked_about_all_the_same(body: bytes | None) -> None:
    """What the record itself says is there."""
    document = record_document(
        index=1, body=body, received_at="2026", stream_sequence=2, problem="it is not an event"
    )

    assert matches(parse_expression('problem contains "not an event"'), document)
    assert not matches(parse_expression("has action"), document)
