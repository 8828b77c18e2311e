# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What everybody says in a year, by their own clocks, and when it arrives."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import NamedTuple

from shared.contracts.events import PUBLIC, Audience, Event, EventBody, draft_event
from shared.moments import render_time

START = datetime(2026, 1, 1, tzinfo=UTC)
END = datetime(2027, 1, 1, tzinfo=UTC)


class Outage(NamedTuple):
    """An emitter reaches nobody from one moment to the other."""

    since: datetime
    until: datetime
    is_shuffled: bool
    """Whether what it kept arrives in no order."""


class WrongClock(NamedTuple):
    """An emitter's clock is off from one moment to the other, and is then set right."""

    since: datetime
    until: datetime
    ahead: timedelta


@dataclass(slots=True)
class Habits:
    """What is the matter with one emitter."""

    outages: tuple[Outage, ...] = ()
    clock: tuple[WrongClock, ...] = ()

    @property
    def is_plain(self) -> bool:
        """Whether its clock is right all year."""
        return not self.clock

    def clock_at(self, moment: datetime) -> datetime:
        """What its clock shows."""
        for wrong in self.clock:
            if wrong.since <= moment < wrong.until:
                return moment + wrong.ahead
        return moment

    def arrival(self, moment: datetime, rng: Random) -> datetime:
        """When what it says then is in the stream."""
        for outage in self.outages:
            if outage.since <= moment < outage.until:
                late = rng.uniform(0, 3600) if outage.is_shuffled else 1.0
                return outage.until + timedelta(seconds=late)
        return moment


class Word(NamedTuple):
    """What an emitter comes to say."""

    at: datetime
    order: int
    emitter: str
    audience: Audience
    body: EventBody


class Said(NamedTuple):
    """One event on its way."""

    arrives: datetime
    order: int
    event: Event


@dataclass(slots=True)
class Emitters:
    """Everybody who says something; sequences have no gaps but those that outages make for a while.

    The same seed makes the same bytes.
    """

    rng: Random
    habits: dict[str, Habits] = field(default_factory=dict)
    words: list[Word] = field(default_factory=list)

    def say(
        self, emitter: str, body: EventBody, *, at: datetime, audience: Audience = PUBLIC
    ) -> None:
        """It is said then, whatever else is said before."""
        self.words.append(Word(at, len(self.words), emitter, audience, body))

    def said(self) -> list[Said]:
        """Every event in the order of arrival; each emitter counts in its own order."""
        sequences: dict[tuple[str, Audience], int] = {}
        found: list[Said] = []
        for at, order, emitter, audience, body in sorted(self.words):
            habits = self.habits.setdefault(emitter, Habits())
            number = sequences[emitter, audience] = sequences.get((emitter, audience), 0) + 1
            event = draft_event(
                body,
                event_id=f"{emitter.replace('/', '.')}.{audience}.{number}",
                emitter=emitter,
                sequence=number,
                time=render_time(habits.clock_at(at)),
                salt=self.rng.randbytes(16),
                audience=audience,
            )
            found.append(Said(habits.arrival(at, self.rng), order, event))
        return sorted(found)
