# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""One package in the spaces that somebody sees: its parts, and what they are together.

Pure.

Rules:
 * A version is in one space for ever, and each space has one record of a package.
 * Where more than one space has a version, the one that comes first is meant.
 * What is written is a part; what a version is compared with is all that its own audience sees.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from shared.contracts.events import PUBLIC, Audience
from shared.contracts.package_records import PackageRecord, VersionEntry
from shared.errors import RefusedError
from shared.versions import parse_version, precedence


class VersionPlace(NamedTuple):
    """One version, wherever it is."""

    space: Audience
    name: str
    version: str


@dataclass(frozen=True, slots=True)
class Part:
    """One package in one space; without versions if it has none there."""

    space: Audience
    record: PackageRecord
    revision: int = 0
    """Of its key; 0: it was never written."""

    @property
    def key(self) -> str:
        """In the bucket."""
        return key_of(self.space, self.record.name)


@dataclass(frozen=True, slots=True)
class Held:
    """One package as somebody sees it."""

    record: PackageRecord
    """Every version that is seen, the one that was published last at the end."""
    parts: tuple[Part, ...] = ()

    def part(self, space: Audience) -> Part:
        """What is in one space."""
        found = (one for one in self.parts if one.space == space)
        return next(found, Part(space, PackageRecord(name=self.record.name)))


@dataclass(frozen=True, slots=True)
class Meant:
    """What a command about one version is about."""

    held: Held
    """The package as the version's own audience sees it."""
    record: PackageRecord
    """Where the version is looked for."""
    audience: Audience
    """To whom it is told that there is none."""


def key_of(space: Audience, name: str) -> str:
    """Where the package of a space is kept."""
    return name if space == PUBLIC else f"{space}.{name}"


def place_of(key: str) -> tuple[Audience, str]:
    """Space and name of what is kept under a key; neither has a `.`."""
    space, _, name = key.rpartition(".")
    return space or PUBLIC, name


def has_version(record: PackageRecord, version: str) -> bool:
    """Whether the record has it; what is no version is in none."""
    try:
        parse_version(version, path="version")
    except RefusedError:
        return False
    wanted = precedence(version)
    return any(precedence(one.version) == wanted for one in record.versions)


def in_order(
    spaces: Collection[Audience], *, first: Audience, closed: Collection[Audience]
) -> list[Audience]:
    """The spaces as their versions are meant where several have one of a number.

    Args:
        spaces: That are looked at.
        first: Goes before all others, `public` goes next.
        closed: What not everybody sees goes last.
    """
    return sorted(spaces, key=lambda one: (one != first, one != PUBLIC, one in closed, one))


def held_of(name: str, parts: Sequence[Part]) -> Held:
    """The package that has these parts.

    Args:
        name: Of the package.
        parts: Those whose versions are meant first come first.
    """
    found = tuple(parts)
    if len(found) == 1:
        return Held(found[0].record, found)
    versions: dict[object, VersionEntry] = {}
    for part in found:
        for one in part.record.versions:
            versions.setdefault(precedence(one.version), one)
    ordered = sorted(versions.values(), key=lambda one: one.published_at)
    return Held(PackageRecord(name=name, versions=tuple(ordered)), found)
