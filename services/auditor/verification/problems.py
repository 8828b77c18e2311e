# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What is wrong with a log, to the place.  Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal, NamedTuple

Part = Literal[
    "log", "record", "tile", "entries", "checkpoint", "receipt", "channel", "gap", "export",
    "span", "pruning", "inventory", "hook point", "sighting", "digest", "event id", "chain",
    "chain span", "person", "words",
]  # fmt: skip
SHOWN_CHARACTERS: Final = 60


class Problem(NamedTuple):
    """One place that is not as it must be."""

    part: Part
    at: str
    """Which one: a record's index, a tile's level/offset, a checkpoint's size, an emitter and its
    audience, the number of a gap, receipt, person or hook point, a line of an export; empty for the
    log or the export as a whole."""
    field: str
    """Which column or line of it; empty: all of it."""
    why: str

    def __str__(self) -> str:
        place = f"{self.part} {self.at}".strip()
        return f"{place}: {self.field + ': ' if self.field else ''}{self.why}"


class Problems:
    """As many as are asked for, and how many there are."""

    def __init__(self, limit: int) -> None:
        self._limit: Final = limit
        self.kept: list[Problem] = []
        self.count = 0

    def add(self, *problems: Problem) -> None:
        """Each of these."""
        self.extend(problems)

    def extend(self, problems: Iterable[Problem], *, uncounted: int = 0) -> None:
        """Each of these, and some that were counted elsewhere and are not known."""
        for problem in problems:
            self.count += 1
            if len(self.kept) < self._limit:
                self.kept.append(problem)
        self.count += uncounted


def shown(value: object) -> str:
    """A value in a sentence: quoted, escaped, and no longer than a line."""
    text = ascii(value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}..."
