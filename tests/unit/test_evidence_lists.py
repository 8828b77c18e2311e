# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Checklists of standards: every question can be asked, and what is found is judged."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from services.auditor.expressions import parse_expression
from services.auditor.reporting.evidence import Found, LogFacts, judged
from services.auditor.reporting.evidence_lists import STANDARDS, Item
from shared.contracts.audit import StreamRecords
from shared.contracts.log_health import CONDITIONS, ConditionSeen, LogHealth
from shared.moments import render_time
from shared.validation import convert_document

NOW = datetime(2026, 6, 1, tzinfo=UTC)
ITEMS = [
    pytest.param(item, id=f"{name} {item.number}")
    for name, standard in STANDARDS.items()
    for item in standard.items
]


def facts(*, unwell: str = "") -> LogFacts:
    """Of a log that is 100 days old, with one condition that needs attention."""
    conditions = tuple(
        ConditionSeen(condition=one, needs_attention=one == unwell, summary=f"{one} is so")
        for one in CONDITIONS
    )
    health = LogHealth(at="2026-06-01T00:00:00Z", tree_size=9, conditions=conditions)
    return LogFacts(health, NOW - timedelta(days=100), NOW)


@pytest.mark.parametrize("item", ITEMS)
def test_every_question_can_be_asked_and_every_item_says_who_shows_it(item: Item) -> None:
    """Its filters are those of the log; without one, either the log or people show it."""
    fields = {"action": item.action, "outcome": item.outcome, "where": item.expression}
    convert_document(fields, StreamRecords, what="question")
    parse_expression(item.expression)
    assert item.asks
    assert item.shows
    assert (item.expects == "any") or item.command


def test_numbers_are_used_once_and_ascend() -> None:
    """In the order of the standard."""
    for standard in STANDARDS.values():
        numbers = [tuple(map(int, item.number.split("."))) for item in standard.items]
        assert numbers == sorted(set(numbers))


@pytest.mark.parametrize(
    ("expects", "count", "verdict"),
    [
        ("some", 1, "shown"),
        ("some", 0, "look"),
        ("none", 0, "shown"),
        ("none", 1, "look"),
        ("any", 1, "shown"),
        ("any", 0, "nothing"),
    ],
)
def test_what_is_found_is_judged(expects: str, count: int, verdict: str) -> None:
    """By whether there should be some, none, or either."""
    item = Item("1", "asks", "shows", action="a.b", expects=expects)  # type: ignore[arg-type]
    found = Found(count, more=False, newest=7 if count else None)

    said = judged(item, found, facts())

    assert (said.verdict, said.records) == (verdict, count)
    assert said.command == "l3af audit log --action 'a.b' --where 'problem == \"\"'"


def test_a_condition_of_the_log_counts_whatever_was_found() -> None:
    """What needs attention is to be looked at, and its summary is why."""
    item = Item("1", "asks", "shows", action="a.b", conditions=("lag",))
    found = Found(3, more=True, newest=7)

    assert judged(item, found, facts()).verdict == "shown"
    said = judged(item, found, facts(unwell="lag"))
    assert (said.verdict, said.why, said.more) == ("look", "lag is so", True)
    assert judged(item, found, facts(unwell="disk")).verdict == "shown"


def test_what_nothing_can_show_is_left_to_people() -> None:
    """No question, no condition: the list says whose it is; ages of the log it can say."""
    assert judged(Item("1", "asks", "people's"), None, facts()).verdict == "people"
    kept = judged(Item("1", "asks", "shows", days_kept=365), None, facts())
    assert (kept.verdict, "100 days" in kept.why) == ("shown", True)


def test_what_was_pruned_too_young_is_to_be_looked_at() -> None:
    """Twelve months are kept unless something younger was pruned; both are said."""
    item = Item("1", "asks", "shows", days_kept=365)

    def kept(days: int) -> tuple[str, str]:
        through = render_time(NOW - timedelta(days=days))
        pruned = LogFacts(facts().health, NOW - timedelta(days=900), NOW, through)
        said = judged(item, None, pruned)
        assert through in said.why
        return said.verdict, said.why

    assert kept(364)[0] == "look"
    assert kept(365)[0] == "shown"
    assert "nothing was pruned" in judged(item, None, facts()).why
