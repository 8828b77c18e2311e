# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What is known of the fleet, as far as rollouts have to know it: how each of their nodes stands.

Pure.  Of a node of which something changed, the standing is worked out anew when it is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from services.scheduler.audiences import Audiences
from services.scheduler.desired_state import Fleet
from services.scheduler.place_conflicts import PlaceConflict
from services.scheduler.placement import NodeView
from services.scheduler.revision_facts import facts_of
from services.scheduler.rollout.assignment import is_rolling
from services.scheduler.rollout.standing import (
    GONE,
    SILENT,
    UNHEARD,
    Standing,
    has_settled,
    standing_of,
)
from services.scheduler.rollout.transitions import state_of
from services.scheduler.status import PlaceView, view_places
from services.scheduler.wanted_places import places_of
from shared.contracts.deployments import DeploymentRecord
from shared.contracts.desired import DesiredNode
from shared.contracts.node import ObservedNode


class Knowledge:
    """Of nodes, and of the rollouts that go on."""

    def __init__(self) -> None:
        """Nothing is known."""
        self.rolling: Final[dict[str, DeploymentRecord]] = {}
        """By key, the deployments whose rollout goes on."""
        self.nodes: Final[dict[str, NodeView]] = {}
        self.returned_at: Final[dict[str, datetime]] = {}
        """When nodes that were silent were heard again."""
        self._drained: Final[dict[str, set[str]]] = {}
        """By deployment, the nodes that a drain took it off."""
        self._desired: Final[dict[str, DesiredNode]] = {}
        self._observed: Final[dict[str, ObservedNode]] = {}
        self._silent: Final[dict[str, Standing]] = {}
        self._conflicts: tuple[PlaceConflict, ...] = ()
        self._audiences = Audiences()
        self._unsettled: Final[set[str]] = set()
        """Nodes that did not confirm what they were told, whatever deployment it is of."""
        self._views: Final[dict[str, dict[str, list[PlaceView]]]] = {}
        self._standings: Final[dict[str, dict[str, Standing]]] = {}
        self._unclear: Final[dict[str, set[str]]] = {}
        """By deployment, nodes of which something changed since their standing was worked out."""

    def see(self, view: NodeView) -> None:
        """A node is like this."""
        before = self.nodes.get(view.name)
        for key in before.left if before is not None else ():
            self._drained[key].discard(view.name)
        for key in view.left:
            self._drained.setdefault(key, set()).add(view.name)
        self.nodes[view.name] = view
        self._touch(view.name)

    def tell(self, desired: DesiredNode) -> None:
        """A node was told to run this."""
        self._desired[desired.node] = desired
        self._settle(desired.node)

    def observe(self, observed: ObservedNode) -> None:
        """A node read this back."""
        self._observed[observed.node] = observed
        self._settle(observed.node)

    def miss(self, node: str, *, is_known: bool) -> None:
        """A node is not heard; unless that is known, only because nobody listened for long."""
        self._silent[node] = SILENT if is_known else UNHEARD
        self._touch(node)

    def hear(self, node: str, now: datetime) -> None:
        """A node that was not heard is."""
        self._silent.pop(node, None)
        self.returned_at[node] = now
        self._touch(node)

    def contest(self, conflicts: tuple[PlaceConflict, ...]) -> None:
        """Deployments found these places taken, and no others."""
        for one in {*conflicts} ^ {*self._conflicts}:
            self._touch(one.node)
        self._conflicts = conflicts

    def show(self, audiences: Audiences) -> None:
        """This is who sees what; of a chain no more is known than those see who see the rollout."""
        self._audiences = audiences
        for key, record in self.rolling.items():
            self._unclear[key] |= _members(record)

    def store(self, record: DeploymentRecord) -> None:
        """The record of a deployment is this."""
        key = record.key
        before = self.rolling.pop(key, None)
        if not is_rolling(record):
            for known in (self._views, self._standings, self._unclear):
                known.pop(key, None)
            return
        self.rolling[key] = record
        if before is None or before.revisions[-1].revision != record.revisions[-1].revision:
            self._views[key], self._standings[key] = {}, {}
            self._unclear[key] = _members(record)
            return
        was, state = state_of(before), state_of(record)
        if len(was.waves) != len(state.waves):
            self._unclear[key] |= _members(record) - _members(before)
        if (was.wave, was.released) != (state.wave, state.released):
            first, last = sorted((was.wave, state.wave))
            self._unclear[key] |= {
                name for wave in state.waves[first : last + 1] for name in wave.names
            }

    def standings(self, record: DeploymentRecord) -> Mapping[str, Standing]:
        """How the nodes of a rollout stand, by name."""
        self._clear_up(record)
        return self._standings[record.key]

    def views(self, record: DeploymentRecord) -> Mapping[str, list[PlaceView]]:
        """The places of the nodes of a rollout, by name."""
        self._clear_up(record)
        return self._views[record.key]

    def unavailable(self) -> set[str]:
        """The nodes that are, whatever the reason; also those that will be told."""
        found = self._unsettled.union(self._silent)
        for record in self.rolling.values():
            state, standings = state_of(record), self.standings(record)
            names = state.waves[state.wave].names if state.waves else ()
            told = names[: state.released]
            found.update(one for one in told if standings.get(one, GONE).state == "pending")
        return found

    def latecomers(self, record: DeploymentRecord) -> list[str]:
        """The nodes that the newest revision is for and that are in no wave."""
        members = _members(record)
        return [name for name in self.nodes if name not in members and self._is_meant(record, name)]

    def drained(self, record: DeploymentRecord) -> frozenset[str]:
        """The nodes of the deployment that a drain took it off."""
        facts = facts_of(record.revisions[-1])
        return frozenset(
            name
            for name in self._drained.get(record.key, ())
            if facts.is_chosen(name) and not self.nodes[name].is_forgotten
        )

    def _settle(self, node: str) -> None:
        is_settled = has_settled(self._desired.get(node), self._observed.get(node))
        (self._unsettled.discard if is_settled else self._unsettled.add)(node)
        self._touch(node)

    def _touch(self, node: str) -> None:
        for unclear in self._unclear.values():
            unclear.add(node)

    def _clear_up(self, record: DeploymentRecord) -> None:
        unclear, views = self._unclear[record.key], self._views[record.key]
        if not unclear:
            return
        for name in unclear & _members(record):
            views[name] = self._view(record, name)
            self._standings[record.key][name] = standing_of(
                views[name],
                silence=self._silent.get(name),
                is_meant=bool(views[name]) or self._is_meant(record, name),
            )
        unclear.clear()

    def _view(self, record: DeploymentRecord, name: str) -> list[PlaceView]:
        node = self.nodes.get(name)
        if node is None:
            return []
        fleet = Fleet({record.key: record}, {name: node}, self._desired)
        sight = self._audiences.seen_in(record.space)
        return view_places(record, fleet, self._observed, self._conflicts, sight=sight)

    def _is_meant(self, record: DeploymentRecord, name: str) -> bool:
        node = self.nodes.get(name)
        if node is None or node.is_forgotten:
            return False
        return bool(places_of(record.revisions[-1], node, self._desired.get(name)))


def _members(record: DeploymentRecord) -> set[str]:
    return {name for wave in state_of(record).waves for name in wave.names}
