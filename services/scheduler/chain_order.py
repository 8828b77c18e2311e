# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""In which order the programs of one hook point run, and who cannot be among them.

Pure.

Rules:
 * Who states `before` or `after` and no number of its own has none; everybody else has the number
   that it states, else its package's, else 500.  Numbers ascend, and nobody shares one.
 * What `before` and `after` say holds for every program that is there: of a package all, of a
   deployment the one.  Of what is not there they say nothing.
 * Where that leaves a choice, the lower number comes first; who has none counts with its package's,
   else 500, behind those who have it; then the lower key.
 * Whoever cannot be added is left out, those who come first in precedence being there already: its
   number is taken, or what is said would make a circle.  The circle is told as who says what.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Final, Literal

from shared.contracts.deployments import DeploymentSpec
from shared.contracts.errors import ErrorCode
from shared.errors import Reason, RefusedError

_KEPT_ANSWERS: Final = 4096


class OrderError(RefusedError):
    """What a deployment says of its neighbours contradicts itself."""

    code: ClassVar[ErrorCode] = "invalid_request"


@dataclass(frozen=True, slots=True)
class Entrant:
    """One deployment that wants to be in a chain, by what decides its place."""

    key: str
    package: str
    number: int
    """Its own, or what it counts with if it has none."""
    has_number: bool = True
    before: tuple[str, ...] = ()
    """`package:<name>` or `deployment:<key>`, as `after`."""
    after: tuple[str, ...] = ()

    def is_named(self, neighbour: str) -> bool:
        """Whether it is the one, or one of those, that are meant."""
        return neighbour in (f"deployment:{self.key}", f"package:{self.package}")


@dataclass(frozen=True, slots=True)
class Statement:
    """Why `first` has to run before `second`."""

    first: str
    second: str
    by: str = ""
    """Who says so; empty: their numbers do."""
    word: Literal["before", "after", "number"] = "number"
    neighbour: str = ""
    numbers: tuple[int, int] = (0, 0)

    def told(self, named: Callable[[str], str]) -> str:
        """As in `edge says before package:limit`; `named` is what a deployment is called."""
        if self.word == "number":
            first, second = self.numbers
            return f"{named(self.first)} has place {first} and {named(self.second)} place {second}"
        if named(self.by) != self.by:
            return f"{named(self.by)} says otherwise"
        return f"{self.by} says {self.word} {self.neighbour}"


@dataclass(frozen=True, slots=True)
class LeftOut:
    """One that cannot be in the chain."""

    key: str
    holder: str
    """Who is there already, and with whom it cannot be."""
    circle: tuple[Statement, ...] = ()
    """What is said, each beginning where the one before ends; empty: the number is taken."""


@dataclass(frozen=True, slots=True)
class Merged:
    """The chain by keys, first to run first, and who is not in it."""

    keys: tuple[str, ...]
    left_out: tuple[LeftOut, ...]


def check_order(spec: DeploymentSpec) -> None:
    """Nothing, if the deployment does not contradict itself.

    Raises:
        OrderError: It names itself, or wants to be before and after the same.
    """
    problems = [
        Reason(path=f"{field}[{index}]", rule=rule, got=one)
        for field, said in (("before", spec.before), ("after", spec.after))
        for index, one in enumerate(said)
        for rule in _problems(spec, field, one)
    ]
    if problems:
        raise OrderError(f"{spec.key}: what it says of its neighbours contradicts itself", problems)


@lru_cache(maxsize=_KEPT_ANSWERS)
def merge(entrants: tuple[Entrant, ...]) -> Merged:
    """The chain of those who can be in it.

    Args:
        entrants: Those with precedence first; no two have one key.
    """
    there: list[Entrant] = []
    left_out: list[LeftOut] = []
    for one in entrants:
        problem = _problem(one, there)
        if problem is None:
            there.append(one)
        else:
            left_out.append(problem)
    return Merged(tuple(_sorted(there)), tuple(left_out))


def _problems(spec: DeploymentSpec, field: str, one: str) -> Iterator[str]:
    if one == f"deployment:{spec.key}":
        yield "is the deployment itself"
    if field == "after" and one in spec.before:
        yield "is named in before, too"


def _problem(one: Entrant, there: Sequence[Entrant]) -> LeftOut | None:
    """Why it cannot be added to those who are there; None: it can."""
    for other in there:
        if one.has_number and other.has_number and one.number == other.number:
            return LeftOut(one.key, other.key)
    is_said = one.before or one.after or any(other.before or other.after for other in there)
    circle = _circle(one, there) if is_said else ()
    if not circle:
        return None
    holder = next(key for said in circle for key in (said.first, said.second) if key != one.key)
    return LeftOut(one.key, holder, circle)


def _circle(one: Entrant, there: Sequence[Entrant]) -> tuple[Statement, ...]:
    """A shortest way of statements from the entrant to itself; empty: there is none."""
    following = _following((*there, one))
    reached: dict[str, Statement] = {}
    edge = [one.key]
    while edge:
        ahead: list[str] = []
        for key in edge:
            for statement in following[key]:
                if statement.second == one.key:
                    return (*_way(reached, key, one.key), statement)
                if statement.second not in reached:
                    reached[statement.second] = statement
                    ahead.append(statement.second)
        edge = ahead
    return ()


def _way(reached: Mapping[str, Statement], to: str, start: str) -> tuple[Statement, ...]:
    way: list[Statement] = []
    while to != start:
        way.append(reached[to])
        to = reached[to].first
    return tuple(reversed(way))


def _following(entrants: Sequence[Entrant]) -> dict[str, list[Statement]]:
    """Key to everything that says who has to run behind it."""
    following: dict[str, list[Statement]] = {one.key: [] for one in entrants}
    for statement in _statements(sorted(entrants, key=lambda one: one.key)):
        following[statement.first].append(statement)
    return following


def _statements(entrants: Sequence[Entrant]) -> Iterator[Statement]:
    for one in entrants:
        for other in entrants:
            if other.key == one.key:
                continue
            for said in one.before:
                if other.is_named(said):
                    yield Statement(one.key, other.key, one.key, "before", said)
            for said in one.after:
                if other.is_named(said):
                    yield Statement(other.key, one.key, one.key, "after", said)
            if one.has_number and other.has_number and one.number < other.number:
                yield Statement(one.key, other.key, numbers=(one.number, other.number))


def _sorted(entrants: Sequence[Entrant]) -> Iterator[str]:
    """Everybody behind those that have to run before; of several, as the rules say."""
    waiting = sorted(entrants, key=lambda one: (one.number, not one.has_number, one.key))
    if not any(one.before or one.after for one in entrants):
        yield from (one.key for one in waiting)
        return
    ahead: dict[str, set[str]] = {one.key: set() for one in entrants}
    for statement in _statements(entrants):
        ahead[statement.second].add(statement.first)
    gone: set[str] = set()
    while waiting:
        following = next(one for one in waiting if ahead[one.key] <= gone)
        waiting.remove(following)
        gone.add(following.key)
        yield following.key
