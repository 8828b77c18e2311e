# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Whether a record is what an expression or a text asks for.

Pure.  A record's document is the event's body with the envelope's fields and the record's own
beside it, so that `details.phase`, `emitter` and `index` are all asked for in the same way.

Rules:
 * A path meets lists by meeting each of their elements: `reasons.rule contains "x"` is true if
   any reason's rule does.
 * Numbers are compared with numbers and texts with texts; anything else is equal or not.
 * `!=` is `not ... ==`, also where there is no such field.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from fnmatch import fnmatchcase
from operator import ge, gt, le, lt
from typing import Any, Final

import msgspec

from services.auditor.expressions import (
    Comparison,
    Conjunction,
    Disjunction,
    Expression,
    Literal,
    Membership,
    Negation,
    Presence,
    Step,
)
from services.auditor.query import StoredRecord, received_at
from shared.contracts.events import with_texts

Document = Mapping[str, Any]
_ANY: Final = msgspec.json.Decoder()
_ORDERS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {"<": lt, "<=": le, ">": gt, ">=": ge}
_TEXTS: Final[Mapping[str, Callable[[str, str], bool]]] = {
    "contains": str.__contains__,
    "startswith": str.startswith,
    "endswith": str.endswith,
    "matches": fnmatchcase,
}


def stored_document(stored: StoredRecord) -> Document:
    """The same of a record as it is kept."""
    return record_document(
        index=stored.index,
        body=stored.body,
        received_at=received_at(stored.received_us),
        stream_sequence=stored.stream_sequence,
        problem=stored.problem,
    )


def record_document(
    *, index: int, body: bytes | None, received_at: str, stream_sequence: int, problem: str
) -> Document:
    """What expressions and texts are asked about.

    Args:
        index: Of the leaf.
        body: The message's bytes; None if erased.
        received_at: By the auditor's clock.
        stream_sequence: Of the message.
        problem: Why it was not believed; what it says is only claimed then.
    """
    own = {
        "index": index,
        "received_at": received_at,
        "stream_sequence": stream_sequence,
        "problem": problem,
    }
    try:
        event = _ANY.decode(body) if body is not None else None
    except (msgspec.DecodeError, ValueError, RecursionError):
        event = None
    if not isinstance(event, dict):
        return own
    data, contents = event.pop("data", None), event.get("contents")
    if isinstance(contents, dict):
        data = with_texts(data, {at: one for at, one in contents.items() if isinstance(one, str)})
    return {**event, **(data if isinstance(data, dict) else {}), **own}


def matches(expression: Expression, document: Document) -> bool:
    """Whether the expression is true of the document."""
    match expression:
        case Comparison(path, operator, literal):
            is_opposite = operator == "!="
            sign = "==" if is_opposite else operator
            holds = any(_holds(value, sign, literal) for value in values_at(document, path))
            return holds != is_opposite
        case Membership(path, literals):
            return any(
                _is_equal(value, literal)
                for value in values_at(document, path)
                for literal in literals
            )
        case Presence(path):
            return any(value is not None for value in values_at(document, path))
        case Negation(inner):
            return not matches(inner, document)
        case Conjunction(parts):
            return all(matches(part, document) for part in parts)
        case Disjunction(parts):
            return any(matches(part, document) for part in parts)


def values_at(document: Document, path: tuple[Step, ...]) -> Iterator[Any]:
    """Every value at the path: lists are gone through, and are not values themselves."""
    found: list[Any] = [document]
    for step in path:
        if isinstance(step, int):
            found = [one[step] for one in found if isinstance(one, list) and step < len(one)]
        else:
            found = [one[step] for one in _flat(found) if isinstance(one, dict) and step in one]
    return _flat(found)


def has_text(document: Document, text: str) -> bool:
    """Whether any text in the document holds `text`, whatever the case of its letters."""
    wanted = text.casefold()
    waiting: list[Any] = [document]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            if wanted in one.casefold():
                return True
        elif isinstance(one, Mapping):
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
    return False


def _flat(values: list[Any]) -> Iterator[Any]:
    waiting = values[::-1]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting += value[::-1]
        else:
            yield value


def _holds(value: Any, operator: str, literal: Literal) -> bool:
    if operator == "==":
        return _is_equal(value, literal)
    if operator in _TEXTS:
        return (
            isinstance(value, str) and isinstance(literal, str) and _TEXTS[operator](value, literal)
        )
    is_comparable = (_is_number(value) and _is_number(literal)) or (
        isinstance(value, str) and isinstance(literal, str)
    )
    return is_comparable and _ORDERS[operator](value, literal)


def _is_equal(value: Any, literal: Literal) -> bool:
    if isinstance(value, bool) or isinstance(literal, bool):
        return value is literal
    return bool(value == literal)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
