# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The health of every rollout that goes on: what to ask, what was said, what follows.

Pure.

Rules:
 * A rollout whose deployment asks nothing of health costs nothing.
 * What follows is worked out when something was said, and once a second: not with each of a
   thousand nodes that read back what they were told, and the less often the more nodes there are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from services.scheduler.rollout.health import GateAnswer
from services.scheduler.rollout.health_watch import HealthWatch, Known
from services.scheduler.rollout.standing import GONE, Standing
from services.scheduler.status import PlaceView
from shared.contracts.deployments import DeploymentRecord, DeploymentRevision
from shared.contracts.gates import NODES_ASKED_ABOUT, AskGate
from shared.contracts.health import ExternalGate
from shared.contracts.node import ObservedProgram
from shared.contracts.node_health import NodeHealth
from shared.contracts.rollouts import RolloutState

LOOKED_AT_EVERY: Final = timedelta(seconds=1)
PAUSE_FOR_EACH: Final = timedelta(microseconds=200)
"""Node, that passes at least before a wave is judged again, which takes less than half of it."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be asked for the sake of one rollout."""

    deployment: str
    """Its key."""
    revision: int
    nodes: tuple[str, ...]
    """Whose numbers are wanted."""
    metrics: tuple[str, ...]
    wave: int
    """Counted from 0: which is asked about."""
    gate: ExternalGate | None = None
    """That is to be asked; None: none."""
    about: AskGate | None = None
    """What it is asked."""


@dataclass(frozen=True, slots=True)
class NodeMeasured:
    """A node gave its numbers when it was asked for a revision's sake."""

    deployment: str
    revision: int
    reading: NodeHealth


@dataclass(frozen=True, slots=True)
class GateAnswered:
    """The gate of a deployment said this of a wave, or nothing in time."""

    deployment: str
    revision: int
    wave: int
    answer: GateAnswer


@dataclass(slots=True)
class _Held:
    """A watch, and what it made of everything."""

    watch: HealthWatch
    revision: int
    known: Known | None = None
    of: RolloutState | None = None
    """The state that `known` is about."""
    at: datetime | None = None
    is_stale: bool = False
    """Whether somebody said something since."""

    def is_due(self, now: datetime) -> bool:
        """Whether what follows is to be worked out again."""
        if self.at is None or self.of is None:
            return True
        pause = PAUSE_FOR_EACH * len(_names(self.of))
        return now - self.at >= (pause if self.is_stale else max(pause, LOOKED_AT_EVERY))


class Watches:
    """By deployment."""

    def __init__(self) -> None:
        """No rollout goes on."""
        self._held: Final[dict[str, _Held]] = {}

    def store(self, record: DeploymentRecord) -> None:
        """A rollout goes on with this record."""
        revision = record.revisions[-1]
        held = self._held.get(record.key)
        if _is_watched(revision) and (held is None or held.revision != revision.revision):
            self._held[record.key] = _Held(HealthWatch(revision), revision.revision)

    def drop(self, key: str) -> None:
        """No rollout of the deployment goes on."""
        self._held.pop(key, None)

    def note(self, event: NodeMeasured | GateAnswered, now: datetime) -> None:
        """Somebody said something; of another revision or wave it is of no use any more."""
        held = self._held.get(event.deployment)
        if held is None or held.revision != event.revision:
            return
        if isinstance(event, NodeMeasured):
            held.watch.note(event.reading, now)
        elif held.of is not None and held.of.wave == event.wave:
            held.watch.note_gate(event.answer)
        held.is_stale = True

    def known(
        self,
        record: DeploymentRecord,
        state: RolloutState,
        views: Mapping[str, Sequence[PlaceView]],
        standings: Mapping[str, Standing],
        now: datetime,
    ) -> Known:
        """What the health of a rollout says to its next step.

        Args:
            record: That goes on.
            state: Of its rollout.
            views: The places of the newest revision, by node.
            standings: Of the nodes.
            now: Aware.
        """
        held = self._held.get(record.key)
        if held is None:
            return Known(bad_periods=state.bad_periods)
        if held.known is None or held.of is not state or held.is_due(now):
            names = _names(state)
            places = _places(record, state, views)
            answering = [name for name in names if standings.get(name, GONE).answers]
            held.known = held.watch.known(state, places, answering, now)
            held.of, held.at, held.is_stale = state, now, False
        return held.known

    def question(
        self,
        record: DeploymentRecord,
        state: RolloutState,
        views: Mapping[str, Sequence[PlaceView]],
        standings: Mapping[str, Standing],
        now: datetime,
    ) -> Question | None:
        """What is to be asked now; it is held to be asked from then on.  As `known`."""
        held = self._held.get(record.key)
        if held is None or not state.waves:
            return None
        names = _names(state)
        places = _places(record, state, views)
        answering = [name for name in names if standings.get(name, GONE).answers]
        nodes = held.watch.ask(state, places, answering, now)
        asks_gate = held.watch.ask_gate(state, places, now)
        if not nodes and not asks_gate:
            return None
        revision = record.revisions[-1]
        return Question(
            deployment=record.key,
            revision=held.revision,
            nodes=nodes,
            metrics=held.watch.metrics,
            wave=state.wave,
            gate=revision.spec.health.gate if asks_gate else None,
            about=_about(record.key, revision, state) if asks_gate else None,
        )

    def due(self, key: str, state: RolloutState, now: datetime) -> datetime | None:
        """When the deployment is to be looked at again; None: its health asks for nothing."""
        held = self._held.get(key)
        if held is None:
            return None
        return min(held.watch.due(state, now), now + LOOKED_AT_EVERY)


def _is_watched(revision: DeploymentRevision) -> bool:
    return not revision.spec.health.is_plain


def _names(state: RolloutState) -> list[str]:
    """The nodes of the wave and of later ones, which it is compared with."""
    return list(dict.fromkeys(name for wave in state.waves[state.wave :] for name in wave.names))


def _places(
    record: DeploymentRecord, state: RolloutState, views: Mapping[str, Sequence[PlaceView]]
) -> list[PlaceView]:
    """The places that the wave is about; of a blue/green one not those of the other interface."""
    found = [view for name in _names(state) for view in views.get(name, ())]
    if not state.waves[state.wave].interface_label:
        return found
    newest = record.revisions[-1].revision
    return [
        view
        for view in found
        if view.state != "running" or newest in {one.revision for one in _own(view, record.key)}
    ]


def _own(view: PlaceView, key: str) -> list[ObservedProgram]:
    programs = view.chain.programs if view.chain is not None else ()
    return [one for one in programs if one.deployment == key]


def _about(key: str, revision: DeploymentRevision, state: RolloutState) -> AskGate:
    names = state.waves[state.wave].names
    return AskGate(
        deployment=key,
        revision=revision.revision,
        package=revision.spec.package,
        version=revision.version,
        wave=state.wave + 1,
        waves=len(state.waves),
        nodes=names[:NODES_ASKED_ABOUT],
        node_count=len(names),
    )
