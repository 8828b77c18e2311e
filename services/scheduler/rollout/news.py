# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The fleet as it is known -> what the core of rollouts was not told of yet.

Pure.  What did not change is the object that it was, so that ten thousand nodes are looked through
in moments.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from services.scheduler.audiences import Audiences
from services.scheduler.desired_state import Fleet
from services.scheduler.place_conflicts import PlaceConflict
from services.scheduler.rollout.core import (
    DeploymentStored,
    Event,
    NodeHeard,
    NodeObserved,
    NodeSeen,
    NodeSilent,
    NodeTold,
    PlacesContested,
    PolicyStored,
    SpacesSeen,
)
from shared.contracts.node import ObservedNode
from shared.contracts.rollout_policy import NO_POLICY


class News:
    """What was told so far."""

    def __init__(self) -> None:
        """Nothing was."""
        self._deployments: Mapping[str, Any] = {}
        self._nodes: Mapping[str, Any] = {}
        self._desired: Mapping[str, Any] = {}
        self._observed: Mapping[str, Any] = {}
        self._silent: Mapping[str, bool] = {}
        self._conflicts: tuple[PlaceConflict, ...] = ()
        self._policy = NO_POLICY
        self._audiences = Audiences()

    def since(
        self,
        fleet: Fleet,
        observed: Mapping[str, ObservedNode],
        silent: Mapping[str, bool],
        conflicts: Collection[PlaceConflict],
    ) -> list[Event]:
        """What is not as it was told last.

        Args:
            fleet: As it is.
            observed: What the nodes read back, by node; it may change afterwards.
            silent: The nodes that are not heard, with whether that is known.
            conflicts: Deployments that find a place taken.
        """
        events: list[Event] = []
        events += (NodeSeen(one) for one in _changed(self._nodes, fleet.nodes))
        events += (NodeTold(one) for one in _changed(self._desired, fleet.desired))
        events += (NodeObserved(one) for one in _changed(self._observed, observed))
        events += (
            NodeSilent(node, is_known)
            for node, is_known in sorted(silent.items())
            if self._silent.get(node) is not is_known
        )
        events += (NodeHeard(one) for one in sorted(self._silent.keys() - silent.keys()))
        if tuple(conflicts) != self._conflicts:
            events.append(PlacesContested(tuple(conflicts)))
        if fleet.audiences != self._audiences:
            events.append(SpacesSeen(fleet.audiences))
        if fleet.policy is not self._policy:
            events.append(PolicyStored(fleet.policy))
        events += (DeploymentStored(one) for one in _changed(self._deployments, fleet.deployments))
        self._nodes, self._desired = fleet.nodes, fleet.desired
        self._observed, self._deployments = dict(observed), fleet.deployments
        self._silent = silent
        self._conflicts, self._policy = tuple(conflicts), fleet.policy
        self._audiences = fleet.audiences
        return events


def _changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Any]:
    known = before.get
    return (one for name, one in now.items() if known(name) is not one)
