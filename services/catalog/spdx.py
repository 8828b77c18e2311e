# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""SPDX licence expressions (SPDX 2.3 annex D): what one may choose from, and what comes together.

Pure.  An expression becomes its arms: each arm is one way to take the code, a set of licences that
all apply.  `A AND (B OR C)` has the arms {A, B} and {A, C}.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import ClassVar, Final

from shared.contracts.errors import ErrorCode
from shared.errors import Reason, RefusedError

MAX_EXPRESSION_LENGTH: Final = 512
MAX_ARMS: Final = 64
MAX_DEPTH: Final = 16
"""Brackets within brackets."""

Arm = frozenset[str]
"""Licence identifiers that apply together; an exception (`WITH`) stays with its licence's name."""

_TOKEN: Final = re.compile(r" *(\(|\)|[A-Za-z0-9.:-]+\+?)")
_OPERATORS: Final = frozenset({"AND", "OR", "WITH"})
_RENAMED: Final = {
    "GPL-2.0": "GPL-2.0-only",
    "GPL-2.0+": "GPL-2.0-or-later",
    "GPL-3.0": "GPL-3.0-only",
    "GPL-3.0+": "GPL-3.0-or-later",
    "LGPL-2.1": "LGPL-2.1-only",
    "LGPL-2.1+": "LGPL-2.1-or-later",
}
"""Identifiers that SPDX licence list 3.0 replaced."""


class ExpressionError(RefusedError):
    """The text is no SPDX licence expression."""

    code: ClassVar[ErrorCode] = "invalid_request"


def parse_expression(text: str, *, path: str) -> frozenset[Arm]:
    """The arms of the expression.

    Identifiers are not looked up in the SPDX list; `LicenseRef-…` is an identifier like any other.

    Raises:
        ExpressionError: It is empty, too long, has too many arms, or breaks the grammar.
    """
    parser = _Parser(text, path)
    arms = parser.disjunction()
    parser.expect_end()
    return arms


class _Parser:
    """Recursive descent; AND binds more tightly than OR (annex D.4)."""

    def __init__(self, text: str, path: str) -> None:
        self._text: Final = text
        self._path: Final = path
        self._tokens: Final = self._tokenise()
        self._next = 0
        self._depth = 0

    def disjunction(self) -> frozenset[Arm]:
        arms = self._conjunction()
        while self._takes("OR"):
            arms = arms | self._conjunction()
        return arms

    def expect_end(self) -> None:
        if self._next < len(self._tokens):
            raise self._error(f"has '{self._tokens[self._next]}' where the expression should end")

    def _conjunction(self) -> frozenset[Arm]:
        arms = self._licence()
        while self._takes("AND"):
            others = self._licence()
            if len(arms) * len(others) > MAX_ARMS:
                raise self._error(f"offers more than {MAX_ARMS} choices")
            arms = frozenset(arm | other for arm in arms for other in others)
        return arms

    def _licence(self) -> frozenset[Arm]:
        if self._takes("("):
            self._depth += 1
            if self._depth > MAX_DEPTH:
                raise self._error(f"has more than {MAX_DEPTH} brackets within brackets")
            arms = self.disjunction()
            if not self._takes(")"):
                raise self._error("lacks a closing bracket")
            self._depth -= 1
            return arms
        licence = self._identifier("a licence")
        licence = _RENAMED.get(licence, licence)
        if self._takes("WITH"):
            licence = f"{licence} WITH {self._identifier('an exception')}"
        return frozenset({frozenset({licence})})

    def _identifier(self, what: str) -> str:
        token = self._tokens[self._next] if self._next < len(self._tokens) else ""
        if not token or token in _OPERATORS or token in {"(", ")"}:
            raise self._error(f"lacks {what} " + (f"before '{token}'" if token else "at its end"))
        self._next += 1
        return token

    def _takes(self, token: str) -> bool:
        if self._next < len(self._tokens) and self._tokens[self._next] == token:
            self._next += 1
            return True
        return False

    def _tokenise(self) -> list[str]:
        if len(self._text) > MAX_EXPRESSION_LENGTH:
            raise self._error(f"is longer than {MAX_EXPRESSION_LENGTH} characters")
        tokens: list[str] = []
        position, end = 0, len(self._text.rstrip(" "))
        while position < end:
            match = _TOKEN.match(self._text, position)
            if match is None:
                raise self._error("has a character that no SPDX expression has")
            tokens.append(match[1])
            position = match.end()
        return tokens

    def _error(self, rule: str) -> ExpressionError:
        reason = Reason(
            path=self._path, rule=rule, got=self._text, allowed="as GPL-2.0-only OR BSD-2-Clause"
        )
        return ExpressionError(f"{self._path}: {rule}", [reason])


def has_arm(arms: frozenset[Arm], *, holds: Callable[[Arm], bool]) -> bool:
    """Whether one may take the code under an arm for which `holds` is true."""
    return any(holds(arm) for arm in arms)
