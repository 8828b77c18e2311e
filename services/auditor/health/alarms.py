# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""When it is said that something about the log needs attention, and that it no longer does.

Pure.  What was said is in the log itself: a restarted auditor reads there what it said before.

Rules:
 * An occurrence is said to begin once and to end once, under ids of its own, alternately.
 * It begins when LOOKS looks in a row found it at its limit or beyond, and ends when LOOKS looks
   in a row found it clearly within; what moves about the limit is said once.
 * What could not be looked at changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from services.auditor.health.findings import Finding
from shared.contracts.events import Event, EventBody
from shared.contracts.log_health import CONDITIONS, Condition

ALARM: Final = "log.alarm"
RECOVER: Final = "log.recover"
LOOKS: Final = 2
CLEAR_RATIO: Final = 0.8
"""Of the limit: below it an occurrence ends."""


class Occurrence(NamedTuple):
    """The newest occurrence of a condition that was said; ordered as they follow one another."""

    number: int = 0
    """From 1; 0: there was none."""
    is_over: bool = True


class Said(NamedTuple):
    """What is to be said about a condition."""

    occurrence: Occurrence
    finding: Finding


@dataclass(frozen=True, slots=True)
class Alarms:
    """What was said, and what the last looks found."""

    said: Mapping[Condition, Occurrence] = field(default_factory=dict)
    against: Mapping[Condition, int] = field(default_factory=dict)
    """How many looks in a row contradicted what was said."""

    def stands(self, condition: Condition) -> bool:
        """Whether it was said to have begun and not to have ended."""
        return not self.said.get(condition, Occurrence()).is_over

    def recall(self, recorded: Mapping[Condition, Occurrence]) -> Alarms:
        """The same, knowing what the log has; whichever of the two knows more counts."""
        known = {
            condition: max(self.said.get(condition, Occurrence()), occurrence)
            for condition, occurrence in recorded.items()
        }
        return Alarms({**self.said, **known}, self.against)


def judge(alarms: Alarms, findings: Sequence[Finding]) -> tuple[Alarms, list[Said]]:
    """What follows from one look, and what is to be said of it, in this order."""
    said, against = dict(alarms.said), dict(alarms.against)
    news: list[Said] = []
    for finding in findings:
        if finding.ratio is None:
            continue
        last = said.get(finding.condition, Occurrence())
        is_contrary = finding.ratio >= 1 if last.is_over else finding.ratio < CLEAR_RATIO
        looks = against.get(finding.condition, 0) + 1 if is_contrary else 0
        if looks >= LOOKS:
            looks = 0
            next_one = Occurrence(last.number + last.is_over, not last.is_over)
            said[finding.condition] = next_one
            news.append(Said(next_one, finding))
        against[finding.condition] = looks
    return Alarms(said, against), news


def alarm_event(said: Said) -> tuple[EventBody, str]:
    """What is said, and the id under which it is said once."""
    (number, is_over), finding = said
    action = RECOVER if is_over else ALARM
    body = EventBody(
        action=action,
        outcome="observed",
        details={
            "condition": finding.condition,
            "number": number,
            "summary": finding.summary,
            "value": _shown(finding.value),
            "limit": _shown(finding.limit),
            "unit": finding.unit,
        },
    )
    return body, f"{action.replace('.', '-')}-{finding.condition}-{number}"


def recorded_occurrences(events: Iterable[Event]) -> dict[Condition, Occurrence]:
    """The newest occurrence of each condition in the auditor's own events."""
    found: dict[Condition, Occurrence] = {}
    for event in events:
        number = event.data.details.get("number")
        named = event.data.details.get("condition")
        for condition in CONDITIONS:
            if condition == named and isinstance(number, int):
                seen = Occurrence(number, event.data.action == RECOVER)
                found[condition] = max(found.get(condition, Occurrence()), seen)
    return found


def _shown(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
