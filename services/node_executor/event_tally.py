# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""How often the node said what since its executor started.

Pure.

Rules:
 * Counts are kept by what an event names; of more than MAX_KINDS, those that were longest not said
   lose what they name, and are still counted for the node.
 * Whoever asks for a deployment is told of events that everybody may see, and of its own space.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, NamedTuple

from services.node_executor.generations import Point
from shared.contracts.events import PUBLIC, Audience, Event, Outcome
from shared.contracts.node_health import EventCount
from shared.deployment_keys import space_of

MAX_KINDS: Final = 4096


class _Kind(NamedTuple):
    audience: Audience
    action: str
    outcome: Outcome
    deployment: str = ""
    interface: str = ""
    netns: str = ""
    hook: str = ""


_NAMED: Final = 3
"""From which field on a kind is of something that an event names."""


@dataclass(slots=True)
class _Said:
    count: int = 0
    newest: str = ""
    number: int = 0
    """Of the last one, among all."""


class EventTally:
    """Counts of one run of an executor."""

    def __init__(self, *, max_kinds: int = MAX_KINDS) -> None:
        """Nothing was said."""
        self._max_kinds = max_kinds
        self._kinds: dict[_Kind, _Said] = {}
        self._number = 0

    def note(self, event: Event) -> None:
        """The event was journaled."""
        body = event.data
        self._number += 1
        kind = _Kind(
            event.audience,
            body.action,
            body.outcome,
            body.deployment,
            body.interface,
            body.netns,
            body.hook,
        )
        said = self._kinds.pop(kind, _Said())
        said.count, said.newest, said.number = said.count + 1, event.id, self._number
        self._kinds[kind] = said
        if len(self._kinds) > self._max_kinds:
            self._forget()

    def counts(self, deployment: str, points: Collection[Point]) -> tuple[EventCount, ...]:
        """What was said that the deployment's readers may see, by action and outcome.

        Args:
            deployment: Its key.
            points: The hook points that it is on.
        """
        places = {(point.interface, point.netns, point.hook) for point in points}
        seen = {PUBLIC, space_of(deployment)}
        found: dict[tuple[str, Outcome, bool], _Said] = {}
        for kind, said in self._kinds.items():
            if kind.audience not in seen:
                continue
            is_here = (kind.interface, kind.netns, kind.hook) in places
            concerns = deployment == kind.deployment or (is_here and not kind.deployment)
            known = found.setdefault((kind.action, kind.outcome, concerns), _Said())
            known.count += said.count
            if said.number > known.number:
                known.newest, known.number = said.newest, said.number
        return tuple(
            EventCount(
                action=action,
                outcome=outcome,
                concerns=concerns,
                count=said.count,
                newest=said.newest,
            )
            for (action, outcome, concerns), said in sorted(found.items(), key=lambda one: one[0])
        )

    def _forget(self) -> None:
        """The kind that was not said for longest names nothing any more."""
        oldest = next((kind for kind in self._kinds if any(kind[_NAMED:])), None)
        if oldest is None:  # as many as there are actions in the spaces that are told of them
            return
        said = self._kinds.pop(oldest)
        kept = self._kinds.setdefault(_Kind(*oldest[:_NAMED]), _Said())
        kept.count += said.count
        if said.number > kept.number:
            kept.newest, kept.number = said.newest, said.number
