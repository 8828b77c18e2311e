# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The small language in which any field of a record can be asked for: text, tree, text again.

Pure.  `details.phase == "requested" and not reasons.rule contains "GPL"`

    expression  = conjunction { "or" conjunction }
    conjunction = negation { "and" negation }
    negation    = "not" negation | "(" expression ")" | "has" path | comparison
    comparison  = path operator literal | path "in" "[" literal { "," literal } "]"
    operator    = "==" | "!=" | "<" | "<=" | ">" | ">=" |
                  "contains" | "startswith" | "endswith" | "matches"
    path        = step { "." step | "[" digits "]" }
    step        = name | string                 (name: letters, digits, "_" and "-")
    literal     = string | number | "true" | "false" | "null"
    string      = JSON string in double quotes

Rules:
 * What cannot be read is refused with its column and with what was expected there.
 * Length, depth, comparisons and steps are bounded, so nothing that is asked costs without end.
 * What `render_expression` writes is read back as the same tree.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, NamedTuple, NoReturn, cast

import msgspec

from shared.errors import Reason, RefusedError

MAX_CHARACTERS: Final = 2_000
MAX_DEPTH: Final = 32
MAX_COMPARISONS: Final = 64
MAX_STEPS: Final = 16
COMPARED: Final = ("==", "!=", "<", "<=", ">", ">=")
TEXT_OPERATORS: Final = ("contains", "startswith", "endswith", "matches")
OPERATORS: Final = (*COMPARED, *TEXT_OPERATORS)
WORDS: Final = frozenset({"and", "or", "not", "has", "in", "true", "false", "null"})

Literal = str | int | float | bool | None
Step = str | int
"""A field's name, or a place in a list from 0."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Whether any value at the path stands so to the literal."""

    path: tuple[Step, ...]
    operator: str
    """One of OPERATORS."""
    literal: Literal


@dataclass(frozen=True, slots=True)
class Membership:
    """Whether any value at the path is one of the literals."""

    path: tuple[Step, ...]
    literals: tuple[Literal, ...]


@dataclass(frozen=True, slots=True)
class Presence:
    """Whether there is anything but null at the path."""

    path: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Negation:
    """The opposite."""

    inner: Expression


@dataclass(frozen=True, slots=True)
class Conjunction:
    """All of two or more."""

    parts: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Disjunction:
    """Any of two or more."""

    parts: tuple[Expression, ...]


Expression = Comparison | Membership | Presence | Negation | Conjunction | Disjunction


class UnreadableExpressionError(RefusedError):
    """The text is no expression."""


class _Lexeme(NamedTuple):
    kind: str
    """`name`, `string`, `number`, `sign` or `end`."""
    text: str
    column: int
    """From 1."""


_LEXEME: Final = re.compile(
    r"(?P<string>\"(?:[^\"\\\x00-\x1f]|\\.)*\")"
    r"|(?P<number>-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?(?![A-Za-z0-9_]))"
    r"|(?P<name>[A-Za-z0-9_][A-Za-z0-9_-]*)"
    r"|(?P<sign>==|!=|<=|>=|<|>|\(|\)|\[|\]|,|\.)"
)
_SPACE: Final = re.compile(r"[ \t\r\n]*")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


def parse_expression(text: str, *, path: str = "where") -> Expression:
    """The tree that the text means.

    Args:
        text: As a person wrote it.
        path: Under which name a refusal speaks of it.

    Raises:
        UnreadableExpressionError: With the column and what was expected there.
    """
    if len(text) > MAX_CHARACTERS:
        _refuse(path, MAX_CHARACTERS + 1, f"an expression of at most {MAX_CHARACTERS} characters")
    parser = _Parser(_read_lexemes(text, path), path)
    expression = parser.disjunction(0)
    parser.expect_end()
    return expression


def render_expression(expression: Expression) -> str:
    """The text that means the tree, with no bracket that is not needed."""
    match expression:
        case Comparison(path, operator, literal):
            return f"{_path_text(path)} {operator} {_literal_text(literal)}"
        case Membership(path, literals):
            return f"{_path_text(path)} in [{', '.join(map(_literal_text, literals))}]"
        case Presence(path):
            return f"has {_path_text(path)}"
        case Negation(inner):
            return f"not {_bracketed(inner, (Conjunction, Disjunction))}"
        case Conjunction(parts):
            kinds = (Conjunction, Disjunction)
            return " and ".join(_bracketed(part, kinds) for part in parts)
        case Disjunction(parts):
            return " or ".join(_bracketed(part, (Disjunction,)) for part in parts)


def _bracketed(expression: Expression, kinds: tuple[type, ...]) -> str:
    text = render_expression(expression)
    return f"({text})" if isinstance(expression, kinds) else text


def _path_text(path: tuple[Step, ...]) -> str:
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
            continue
        is_plain = _NAME.fullmatch(step) and step not in WORDS
        text += ("." if text else "") + (step if is_plain else _literal_text(step))
    return text


def _literal_text(literal: Literal) -> str:
    is_integer = isinstance(literal, int) and not isinstance(literal, bool)
    return str(literal) if is_integer else msgspec.json.encode(literal).decode()


def _read_lexemes(text: str, path: str) -> list[_Lexeme]:
    found: list[_Lexeme] = []
    position = cast("re.Match[str]", _SPACE.match(text)).end()
    while position < len(text):
        matched = _LEXEME.match(text, position)
        if matched is None:
            if text[position] == '"':
                wanted = "the end of the string that begins here, without line ends in it"
                _refuse(path, position + 1, wanted, got=text[position:])
            if text[position] == "'":
                _refuse(path, position + 1, 'text in double quotes (")', got=text[position:])
            _refuse(path, position + 1, "a field, a value or an operator", got=text[position:])
        kind = cast("str", matched.lastgroup)
        found.append(_Lexeme(kind, matched[0], position + 1))
        position = cast("re.Match[str]", _SPACE.match(text, matched.end())).end()
    found.append(_Lexeme("end", "", len(text) + 1))
    return found


class _Parser:
    """Reads lexemes from first to last."""

    def __init__(self, lexemes: list[_Lexeme], path: str) -> None:
        self._lexemes = lexemes
        self._path = path
        self._place = 0
        self._comparisons = 0

    def disjunction(self, depth: int) -> Expression:
        parts = [self._conjunction(depth)]
        while self._takes("or"):
            parts.append(self._conjunction(depth))
        return parts[0] if len(parts) == 1 else Disjunction(tuple(parts))

    def expect_end(self) -> None:
        if self._next.kind != "end":
            self._fail("'and', 'or' or the end")

    @property
    def _next(self) -> _Lexeme:
        return self._lexemes[self._place]

    def _conjunction(self, depth: int) -> Expression:
        parts = [self._negation(depth)]
        while self._takes("and"):
            parts.append(self._negation(depth))
        return parts[0] if len(parts) == 1 else Conjunction(tuple(parts))

    def _negation(self, depth: int) -> Expression:
        if depth > MAX_DEPTH:
            self._fail(f"no more than {MAX_DEPTH} 'not's and brackets in one another")
        if self._takes("not"):
            return Negation(self._negation(depth + 1))
        if self._takes("("):
            inner = self.disjunction(depth + 1)
            if not self._takes(")"):
                self._fail("'and', 'or' or ')'")
            return inner
        self._comparisons += 1
        if self._comparisons > MAX_COMPARISONS:
            self._fail(f"no more than {MAX_COMPARISONS} comparisons")
        if self._takes("has"):
            return Presence(self._steps())
        return self._comparison()

    def _comparison(self) -> Expression:
        path = self._steps()
        if self._takes("in"):
            return Membership(path, self._list())
        operator = self._next
        if operator.kind == "string" or operator.text not in OPERATORS:
            self._fail(f"an operator ({' '.join(OPERATORS)} in)")
        self._place += 1
        column = self._next.column
        literal = self._literal()
        if operator.text in TEXT_OPERATORS and not isinstance(literal, str):
            wanted = f"text in double quotes after '{operator.text}'"
            _refuse(self._path, column, wanted, got=_literal_text(literal))
        return Comparison(path, operator.text, literal)

    def _steps(self) -> tuple[Step, ...]:
        steps: list[Step] = [self._step()]
        while True:
            if self._takes("."):
                steps.append(self._step())
            elif self._takes("["):
                number = self._next
                if number.kind != "number" or not number.text.isdecimal():
                    self._fail("a place in a list, from 0")
                self._place += 1
                steps.append(int(number.text))
                if not self._takes("]"):
                    self._fail("']'")
            else:
                return tuple(steps)
            if len(steps) > MAX_STEPS:
                self._fail(f"a field at most {MAX_STEPS} steps deep")

    def _step(self) -> str:
        lexeme = self._next
        if lexeme.kind == "string":
            self._place += 1
            return cast("str", self._decoded(lexeme))
        if lexeme.kind != "name" or lexeme.text in WORDS or not _NAME.fullmatch(lexeme.text):
            self._fail("a field, as details.phase")
        self._place += 1
        return lexeme.text

    def _list(self) -> tuple[Literal, ...]:
        if not self._takes("["):
            self._fail("'['")
        literals = [self._literal()]
        while self._takes(","):
            literals.append(self._literal())
        if not self._takes("]"):
            self._fail("',' or ']'")
        return tuple(literals)

    def _literal(self) -> Literal:
        lexeme = self._next
        is_value = lexeme.kind in {"string", "number"} or lexeme.text in {"true", "false", "null"}
        if not is_value:
            self._fail("a value: text in double quotes, a number, true, false or null")
        self._place += 1
        return self._decoded(lexeme)

    def _decoded(self, lexeme: _Lexeme) -> Literal:
        try:
            return cast("Literal", msgspec.json.decode(lexeme.text))
        except msgspec.DecodeError:
            wanted = "text" if lexeme.kind == "string" else "a number"
            _refuse(self._path, lexeme.column, f"{wanted} as JSON writes it", got=lexeme.text)

    def _takes(self, text: str) -> bool:
        lexeme = self._next
        if lexeme.kind not in {"name", "sign"} or lexeme.text != text:
            return False
        self._place += 1
        return True

    def _fail(self, wanted: str) -> NoReturn:
        lexeme = self._next
        _refuse(self._path, lexeme.column, wanted, got=lexeme.text or "the end")


def _refuse(path: str, column: int, wanted: str, *, got: str | None = None) -> NoReturn:
    shown = got if got is None or len(got) <= 40 else f"{got[:39]}…"  # noqa: PLR2004 # one line
    reason = Reason(path=path, rule=f"column {column}: {wanted} is expected", got=shown)
    raise UnreadableExpressionError("the expression cannot be read", [reason])
