# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The expression language of audit queries: what is written is read, and means what it says."""

from __future__ import annotations

import re
from fnmatch import translate
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from services.auditor.expressions import (
    MAX_CHARACTERS,
    OPERATORS,
    TEXT_OPERATORS,
    Comparison,
    Conjunction,
    Disjunction,
    Expression,
    Membership,
    Negation,
    Presence,
    UnreadableExpressionError,
    parse_expression,
    render_expression,
)
from services.auditor.matching import matches

NAMES = st.sampled_from(["a", "b", "details", "and", "has", "in", "a b", 'qu"ote', "ü", "x-y", ""])
PATHS = st.tuples(NAMES, st.lists(st.one_of(NAMES, st.integers(0, 2)), max_size=3)).map(
    lambda parts: (parts[0], *parts[1])
)
TEXTS = st.one_of(
    st.sampled_from(["", "a", "GPL", "*GPL*", "[a-c]?", "\n", "\x00", "\u202e", '"', "\\"]),
    st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=6),
)
LITERALS = st.one_of(
    TEXTS,
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
    st.none(),
)
COMPARISONS = st.sampled_from(OPERATORS).flatmap(
    lambda operator: st.builds(
        Comparison,
        PATHS,
        st.just(operator),
        TEXTS if operator in TEXT_OPERATORS else LITERALS,
    )
)
LEAVES = st.one_of(
    COMPARISONS,
    st.builds(Presence, PATHS),
    st.builds(Membership, PATHS, st.lists(LITERALS, min_size=1, max_size=3).map(tuple)),
)
EXPRESSIONS: st.SearchStrategy[Expression] = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(Negation, inner),
        st.builds(Conjunction, st.lists(inner, min_size=2, max_size=3).map(tuple)),
        st.builds(Disjunction, st.lists(inner, min_size=2, max_size=3).map(tuple)),
    ),
    max_leaves=6,
)
VALUES = st.recursive(
    st.one_of(TEXTS, st.integers(-3, 3), st.floats(-3, 3), st.booleans(), st.none()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=3)),
    max_leaves=8,
)
DOCUMENTS = st.dictionaries(NAMES, VALUES, max_size=4)


@given(EXPRESSIONS)
def test_what_is_written_is_read_back(expression: Expression) -> None:
    """The text of a tree means that tree, whatever its names and values are."""
    text = render_expression(expression)

    if len(text) <= MAX_CHARACTERS:
        assert parse_expression(text) == expression


@given(EXPRESSIONS, DOCUMENTS)
def test_an_expression_is_true_exactly_where_a_plain_reading_says_so(
    expression: Expression, document: dict[str, Any]
) -> None:
    """The evaluator agrees with one that walks whole trees and knows nothing of it."""
    assert matches(expression, document) == plainly(expression, document)


@given(st.text(alphabet='ab."\\()[]=!<> ,0123andorti', max_size=30))
def test_any_text_is_read_or_refused_with_a_column(text: str) -> None:
    """Nothing else is raised, and the column lies in the text or just behind it."""
    try:
        expression = parse_expression(text)
    except UnreadableExpressionError as refused:
        (reason,) = refused.reasons
        found = re.match(r"column (\d+): .+ is expected", reason.rule)
        assert found is not None
        assert 1 <= int(found[1]) <= len(text) + 1
    else:
        assert parse_expression(render_expression(expression)) == expression


def plainly(expression: Expression, document: Any) -> bool:
    """Whether the expression is true, the slow way."""
    match expression:
        case Negation(inner):
            return not plainly(inner, document)
        case Conjunction(parts):
            return False not in [plainly(part, document) for part in parts]
        case Disjunction(parts):
            return True in [plainly(part, document) for part in parts]
        case Presence(path):
            return any(found is not None for found in reached(document, list(path)))
        case Membership(path, literals):
            wanted = tuple(Comparison(path, "==", literal) for literal in literals)
            return True in [plainly(one, document) for one in wanted]
        case Comparison(path, operator, literal):
            sign = "==" if operator == "!=" else operator
            found = [stands(one, sign, literal) for one in reached(document, list(path))]
            return (True in found) != (operator == "!=")


def reached(value: Any, path: list[str | int]) -> list[Any]:
    """Values at the end of the path, lists entered at every step and at the end."""
    if path and isinstance(path[0], int):
        if not isinstance(value, list):
            return []
        inside = value[path[0] : path[0] + 1]
        return [one for element in inside for one in reached(element, path[1:])]
    if isinstance(value, list):
        return [one for element in value for one in reached(element, path)]
    if not path:
        return [value]
    if isinstance(value, dict) and path[0] in value:
        return reached(value[path[0]], path[1:])
    return []


def stands(value: Any, operator: str, literal: Any) -> bool:
    """One value against the literal."""
    kinds = [
        "truth"
        if isinstance(one, bool)
        else "number"
        if isinstance(one, int | float)
        else type(one)
        for one in (value, literal)
    ]
    if kinds[0] != kinds[1]:
        return False
    if operator == "==":
        return bool(value == literal)
    if kinds[0] is str:
        tried: dict[str, bool] = {
            "contains": literal in value,
            "startswith": value[: len(literal)] == literal,
            "endswith": literal == "" or value[-len(literal) :] == literal,
            "matches": re.compile(translate(literal)).match(value) is not None,
        }
        if operator in tried:
            return tried[operator]
    elif kinds[0] != "number":
        return False
    ordered = {"<": value < literal, ">": value > literal}
    ordered |= {"<=": value <= literal, ">=": value >= literal}
    return bool(ordered[operator])
