# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Versions of packages, and constraints that choose among them.

Pure.  Versions are SemVer 2.0.0 (semver.org).  A constraint is comma-separated terms that must all
hold: `1.2.3` or `=1.2.3` exactly; `>=1.2`, `>1`, `<2`, `<=1.4.0`; `^1.2` up to the next version
that may break; `~1.2` up to the next minor version; `*` any.

Rules:
 * Left-out parts mean the whole range: `<=1.2` allows 1.2.9, `>1` begins at 2.0.0.
 * A prerelease is chosen only if a term names a prerelease of the same major.minor.patch.
 * Build metadata is ignored in every comparison (SemVer 2.0.0 item 10), but for overlays: a
   private fork numbers its own versions of 1.4.2 as 1.4.2+acme.1, 1.4.2+acme.2, which come after
   1.4.2 and before anything that does.  A constraint names one of them exactly, or none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal, cast

from semver import Version

from shared.errors import Reason, RefusedError

MAX_VERSION_LENGTH: Final = 64
MAX_CONSTRAINT_LENGTH: Final = 256
GRAMMAR: Final = "1.2.3, ^1.2, ~1.2, >=1.2, >1, <2, <=1.4.0 or *, separated by commas"

Operator = Literal["=", ">=", ">", "<=", "<", "^", "~"]
Precedence = tuple[int, int, int, bool, tuple[tuple[int, int, str], ...], int, str]
"""Major, minor, patch, whether it is no prerelease, identifiers (numbers before words), and the
overlay's number and namespace, so that forks of one version by two are never taken for one."""
_OVERLAY: Final = re.compile(r"([a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?)\.([1-9][0-9]{0,8})")
_TERM: Final = re.compile(r"(?P<operator>>=|<=|[=><^~]?) *(?P<version>[0-9][0-9A-Za-z.+-]*)")
_ALL_PARTS: Final = 3


@dataclass(frozen=True, slots=True)
class Bound:
    """One comparison with a full version."""

    operator: Literal["=", ">=", ">", "<=", "<"]
    version: Version

    def allows(self, version: Version) -> bool:
        """Whether `version` stands on the right side, by precedence alone."""
        order = version.compare(self.version)
        if order == 0 and self.operator == "=" and overlay_of(str(self.version)) is not None:
            return version.build == self.version.build
        return _HOLDS[self.operator](order)


_HOLDS: Final[dict[str, Callable[[int], bool]]] = {
    "=": lambda order: order == 0,
    ">=": lambda order: order >= 0,
    ">": lambda order: order > 0,
    "<=": lambda order: order <= 0,
    "<": lambda order: order < 0,
}


@dataclass(frozen=True, slots=True)
class Constraint:
    """Which versions are wanted."""

    text: str
    """As it was written."""
    bounds: tuple[Bound, ...]
    """All must hold; none at all is `*`."""
    named_prereleases: tuple[Version, ...]
    """Prereleases that were written out, which lets others of their release in."""

    def allows(self, version: Version) -> bool:
        """Whether `version` meets every term, and was asked for if it is a prerelease."""
        return all(bound.allows(version) for bound in self.bounds) and (
            version.prerelease is None
            or any(_release(version) == _release(named) for named in self.named_prereleases)
        )


def parse_version(text: str, *, path: str) -> Version:
    """The SemVer 2.0.0 version that `text` is.

    Raises:
        RefusedError: It is none, or is longer than MAX_VERSION_LENGTH.
    """
    if len(text) <= MAX_VERSION_LENGTH and text.isascii() and not text.endswith("\n"):
        try:
            return Version.parse(text)
        except ValueError:
            pass
    raise _refused(path, "must be a version by SemVer 2.0.0", text, "as 1.2.3 or 2.0.0-rc.1")


def overlay_of(text: str) -> tuple[str, int] | None:
    """Namespace and number of an overlay's own version, as 1.4.2+acme.3; None: it is none.

    Args:
        text: A version that `parse_version` takes.
    """
    match = _OVERLAY.fullmatch(text.partition("+")[2])
    return (match[1], int(match[2])) if match else None


def base_of(text: str) -> str:
    """The version without its build metadata: what an overlay's own version stands on."""
    return text.partition("+")[0]


@lru_cache(maxsize=8192)
def precedence(text: str) -> Precedence:
    """What versions are ordered by (SemVer 2.0.0 item 11, and overlays after what they stand on).

    Far quicker than comparing them parsed.

    Args:
        text: A version that `parse_version` takes.
    """
    numbers, dash, prerelease = text.partition("+")[0].partition("-")
    major, minor, patch = numbers.split(".")
    identifiers = (
        (0, int(one), "") if one.isdecimal() else (1, 0, one) for one in prerelease.split(".")
    )
    namespace, number = overlay_of(text) or ("", 0)
    found = tuple(identifiers) if dash else ()
    return int(major), int(minor), int(patch), not dash, found, number, namespace


def parse_constraint(text: str, *, path: str) -> Constraint:
    """The constraint that `text` is.

    Raises:
        RefusedError: A term is not in the grammar; all such terms are named.
    """
    if len(text) > MAX_CONSTRAINT_LENGTH:
        raise _refused(path, "is too long", len(text), MAX_CONSTRAINT_LENGTH)
    bounds: list[Bound] = []
    named: list[Version] = []
    reasons: list[Reason] = []
    for term in text.split(","):
        if term.strip() == "*":
            continue
        parsed = _parse_term(term.strip())
        if parsed is None:
            reasons.append(
                Reason(path=path, rule="is not a version constraint", got=term, allowed=GRAMMAR)
            )
            continue
        operator, version, parts = parsed
        bounds += _bounds(operator, version, parts)
        named += [version] if version.prerelease is not None else []
    if reasons:
        raise RefusedError(f"{path}: not a version constraint", reasons)
    return Constraint(text=text, bounds=tuple(bounds), named_prereleases=tuple(named))


def _parse_term(term: str) -> tuple[Operator, Version, int] | None:
    """Operator, version with left-out parts as zero, and how many parts were written."""
    match = _TERM.fullmatch(term)
    if match is None:
        return None
    operator, text = match["operator"] or "=", match["version"]
    parts = len(re.split(r"[-+]", text, maxsplit=1)[0].split("."))
    is_shortened = parts < _ALL_PARTS
    if is_shortened and (operator == "=" or not re.fullmatch(r"[0-9.]+", text)):
        return None
    try:
        version = Version.parse(text, optional_minor_and_patch=True)
    except ValueError:
        return None
    return cast("Operator", operator), version, parts


def _bounds(operator: Operator, version: Version, parts: int) -> Iterator[Bound]:
    match operator:
        case ">" if parts < _ALL_PARTS:
            yield Bound(">=", _raised(version, parts))
        case "<=" if parts < _ALL_PARTS:
            yield Bound("<", _raised(version, parts))
        case "^":
            yield Bound(">=", version)
            yield Bound("<", _next_breaking(version, parts))
        case "~":
            yield Bound(">=", version)
            yield Bound("<", _raised(version, min(parts, 2)))
        case _:
            yield Bound(operator, version)


def _next_breaking(version: Version, parts: int) -> Version:
    """The first version after `version` that may break: the leftmost non-zero part goes up.

    SemVer 2.0.0 items 4 and 8; before 1.0.0 the minor version is taken for the major one.
    """
    numbers = (version.major, version.minor, version.patch)[:parts]
    significant = next((place for place, number in enumerate(numbers, 1) if number), parts)
    return _raised(version, significant)


def _raised(version: Version, parts: int) -> Version:
    """The release whose part number `parts` (from 1) is one higher and the rest zero."""
    return (version.bump_major, version.bump_minor, version.bump_patch)[parts - 1]()


def _release(version: Version) -> tuple[int, int, int]:
    return version.major, version.minor, version.patch


def _refused(path: str, rule: str, got: object, allowed: object) -> RefusedError:
    reason = Reason(path=path, rule=rule, got=got, allowed=allowed)
    return RefusedError(f"{path}: {rule}", [reason])
