# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""SPDX licence expressions (SPDX 2.3 annex D): what one may choose from, and what comes together.

Pure.  An expression becomes its arms: each arm is one way to take the code, a set of licences that
all apply.  `A AND (B OR C)` has the arms {A, B} and {A, C}.  The grammar is license-expression's;
what it is given is bounded first.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache, lru_cache
from typing import Any, ClassVar, Final

from boolean import ParseError
from license_expression import (
    ExpressionError as GrammarError,
)
from license_expression import (
    LicenseSymbol,
    LicenseWithExceptionSymbol,
    Licensing,
    get_license_index,
)

from shared.contracts.errors import ErrorCode
from shared.errors import Reason, RefusedError

MAX_EXPRESSION_LENGTH: Final = 512
MAX_ARMS: Final = 64
MAX_DEPTH: Final = 16
"""Brackets within brackets."""
KEPT_EXPRESSIONS: Final = 1024

Arm = frozenset[str]
"""Licence identifiers that apply together; an exception (`WITH`) stays with its licence's name."""

_WORD: Final = re.compile(r"\(|\)|[A-Za-z0-9.:-]+\+?")
_TEXT: Final = re.compile(r"(?:\(|\)|[A-Za-z0-9.:-]+\+?(?![A-Za-z0-9.:+-])| )*")
_NAME: Final = re.compile(r"[A-Za-z0-9.-]+")
_STEPS: Final = {"(": 1, ")": -1}
_OPERATORS: Final = frozenset({"AND", "OR", "WITH"})
_OWN: Final = ("LicenseRef-", "DocumentRef-")
UNKNOWN_CATEGORY: Final = "Unknown"


class ExpressionError(RefusedError):
    """The text is no SPDX licence expression."""

    code: ClassVar[ErrorCode] = "invalid_request"


def parse_expression(text: str, *, path: str) -> frozenset[Arm]:
    """The arms of the expression, with identifiers as the SPDX list writes them today.

    `LicenseRef-…` is an identifier like any other, and so is a word that is in no list; `is_known`
    tells them apart.

    Raises:
        ExpressionError: It is empty, too long, has too many arms, or breaks the grammar.
    """
    found = _arms_or_rule(text)
    if isinstance(found, str):
        reason = Reason(path=path, rule=found, got=text, allowed="as GPL-2.0-only OR BSD-2-Clause")
        raise ExpressionError(f"{path}: {found}", [reason])
    return found


def bare(arm: Iterable[str]) -> frozenset[str]:
    """The licences of the arm without their exceptions, which only ever permit more."""
    return frozenset(licence.partition(" WITH ")[0] for licence in arm)


def render_arm(arm: Arm) -> str:
    """As an expression, its licences sorted."""
    return " AND ".join(sorted(arm))


def licences_named(expression: str) -> tuple[str, ...]:
    """Every licence and exception that an expression names, each once, without its `+`."""
    words = dict.fromkeys(_NAME.findall(expression))
    return tuple(word for word in words if word.upper() not in _OPERATORS)


def text_path(licence: str) -> str:
    """Where an archive has a licence's text (REUSE specification 3, licence files)."""
    return f"LICENSES/{licence}.txt"


def is_known(licence: str) -> bool:
    """Whether it is in the SPDX list, or a `LicenseRef-` that its author defines."""
    parts = licence.split(" WITH ")
    known = _index()
    return all(part.removesuffix("+") in known or part.startswith(_OWN) for part in parts)


def category(licence: str) -> str:
    """As `Permissive` or `Copyleft` (ScanCode LicenseDB); of what it does not list, `Unknown`."""
    return _index().get(licence.partition(" WITH ")[0].removesuffix("+"), UNKNOWN_CATEGORY)


@lru_cache(maxsize=KEPT_EXPRESSIONS)
def _arms_or_rule(text: str) -> frozenset[Arm] | str:
    """The arms, or the rule that the text breaks."""
    broken = _broken_bound(text)
    if broken:
        return broken
    try:
        return _arms(_grammar().parse(text))
    except _TooManyArmsError:
        return f"offers more than {MAX_ARMS} choices"
    except (GrammarError, ParseError) as error:
        return f"is no SPDX licence expression: {_first_sentence(error)}"


class _TooManyArmsError(Exception):
    """The expression offers more choices than anybody will look at."""


def _arms(node: Any) -> frozenset[Arm]:
    if isinstance(node, LicenseWithExceptionSymbol):
        name = f"{node.license_symbol.key} WITH {node.exception_symbol.key}"
        return frozenset({frozenset({name})})
    if isinstance(node, LicenseSymbol):
        return frozenset({frozenset({str(node.key)})})
    parts = [_arms(part) for part in node.args]
    if isinstance(node, _grammar().OR):
        return _bounded(frozenset().union(*parts))
    arms: frozenset[Arm] = frozenset({frozenset()})
    for part in parts:
        if len(arms) * len(part) > MAX_ARMS:
            raise _TooManyArmsError
        arms = frozenset(arm | other for arm in arms for other in part)
    return arms


def _bounded(arms: frozenset[Arm]) -> frozenset[Arm]:
    if len(arms) > MAX_ARMS:
        raise _TooManyArmsError
    return arms


def _broken_bound(text: str) -> str:
    """What keeps the text from the grammar's library, which is not made for hostile input."""
    if len(text) > MAX_EXPRESSION_LENGTH:
        return f"is longer than {MAX_EXPRESSION_LENGTH} characters"
    if not _TEXT.fullmatch(text):
        return "has a character that no SPDX expression has"
    return _broken_order(_WORD.findall(text))


def _broken_order(words: Iterable[str]) -> str:
    depth, takes_licence = 0, True
    for word in words:
        is_operator = word.upper() in _OPERATORS
        if takes_licence == (word == ")" or is_operator):
            return f"has '{word}' where it cannot stand"
        depth += _STEPS.get(word, 0)
        takes_licence = is_operator or word == "("
        if not 0 <= depth <= MAX_DEPTH:
            return f"has '{word}' without its bracket, or more than {MAX_DEPTH} brackets in others"
    if takes_licence:
        return "lacks a licence at its end"
    return "lacks a closing bracket" if depth else ""


def _first_sentence(error: Exception) -> str:
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__


@cache
def _index() -> dict[str, str]:
    """Category by identifier: licences and exceptions, those that SPDX renamed among them."""
    return {key: str(entry["category"]) for entry in get_license_index() for key in _keys(entry)}


@cache
def _grammar() -> Licensing:
    """Of the SPDX list alone: a `LicenseRef-` is its author's word, whatever a list makes of it."""
    symbols = []
    for entry in get_license_index():
        keys = _keys(entry)
        if keys:
            symbols.append(
                LicenseSymbol(
                    key=keys[0], aliases=tuple(keys[1:]), is_exception=entry["is_exception"]
                )
            )
    return Licensing(symbols)


def _keys(entry: dict[str, Any]) -> list[str]:
    first = entry.get("spdx_license_key") or ""
    if not first or first.startswith(_OWN) or entry["is_deprecated"]:
        return []
    others = entry.get("other_spdx_license_keys", ())
    return [first, *(key for key in others if not key.startswith(_OWN))]
