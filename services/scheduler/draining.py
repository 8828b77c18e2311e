# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Nodes that are emptied: which deployment may leave which of them now, and what others wait for.

Pure.

Rules:
 * A deployment leaves a node while fewer of its nodes are away than its `max_unavailable`.  Away is
   one that is silent, one where it failed or is not confirmed, and one that a drain took it off,
   for as long as that node is not uncordoned.
 * Leaving a node that is away, or where it has no place, takes nothing and is always allowed.
 * Who was told to drain first goes first.
 * A node is drained when nothing stays on it and it was read back to run nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import msgspec

from services.scheduler.desired_state import Fleet
from services.scheduler.liveness import Silence
from services.scheduler.place_conflicts import PlaceConflict
from services.scheduler.revision_facts import facts_of
from services.scheduler.rollout.waves import share_of
from services.scheduler.status import view_places
from shared.contracts.cordons import Cordon, DrainWait
from shared.contracts.deployments import DeploymentRecord
from shared.contracts.events import Actor, EventBody
from shared.contracts.node import ObservedNode
from shared.contracts.scheduler import NodeLabels

NAMED: Final = 5
"""Nodes in one sentence."""
_EVERY_NODE: Final = "100%"


@dataclass(frozen=True, slots=True)
class Observation:
    """What is known of the nodes at one moment."""

    fleet: Fleet
    observed: Mapping[str, ObservedNode]
    silence: Callable[[str], Silence]
    conflicts: Collection[PlaceConflict] = ()


@dataclass(frozen=True, slots=True)
class DrainStep:
    """What is to be done about one node that is drained."""

    leaves: tuple[str, ...] = ()
    """Keys of the deployments that may leave it now, ascending."""
    waits: tuple[DrainWait, ...] = ()
    """What the others wait for, and what the drain does when none is left."""


def drain_steps(nodes: Iterable[NodeLabels], seen: Observation) -> dict[str, DrainStep]:
    """By node, what is to be done about those that are drained and not empty yet."""
    draining = {one.node: one.cordon for one in nodes if one.cordon and _is_going_on(one.cordon)}
    order = sorted(draining, key=lambda node: (draining[node].at, node))
    leaves: dict[str, list[str]] = {node: [] for node in order}
    waits: dict[str, list[DrainWait]] = {node: [] for node in order}
    for key in sorted({key for cordon in draining.values() for key in cordon.stays}):
        budget = _Budget(key, seen)
        for node in (one for one in order if key in draining[one].stays):
            why = budget.take(node)
            if why:
                waits[node].append(DrainWait(deployment=key, why=why))
            else:
                leaves[node].append(key)
    for node in order:
        if not draining[node].stays and (why := _not_empty(node, seen)):
            waits[node].append(DrainWait(why=why))
    return {node: DrainStep(tuple(leaves[node]), tuple(waits[node])) for node in order}


def after_step(record: NodeLabels, step: DrainStep) -> NodeLabels:
    """The node's record once these deployments left it."""
    if record.cordon is None:
        return record
    cordon = msgspec.structs.replace(
        record.cordon,
        stays=tuple(one for one in record.cordon.stays if one not in step.leaves),
        left=tuple(sorted({*record.cordon.left, *step.leaves})),
    )
    return msgspec.structs.replace(record, cordon=cordon)


def is_drained(record: NodeLabels, seen: Observation) -> bool:
    """Whether the drain is over and nobody said so yet."""
    cordon = record.cordon
    return (
        cordon is not None
        and _is_going_on(cordon)
        and not cordon.stays
        and not _not_empty(record.node, seen)
    )


def drained(record: NodeLabels, *, at: str) -> NodeLabels:
    """The node's record once it is said that the drain is over."""
    if record.cordon is None:
        return record
    cordon = msgspec.structs.replace(record.cordon, drained_at=at)
    return msgspec.structs.replace(record, cordon=cordon)


def drained_event(record: NodeLabels) -> tuple[str, EventBody]:
    """The event that says so, and the id under which it is said once."""
    cordon = record.cordon
    if cordon is None:
        raise AssertionError("unreachable: a node that is not cordoned is not drained")
    actor = Actor(key=cordon.actor_key, role=cordon.actor_role, attested=True, through="scheduler")
    body = EventBody(
        action="node.drain",
        outcome="succeeded",
        correlation=cordon.command_id,
        actor=actor,
        reason=cordon.reason,
        node=record.node,
    )
    return f"{cordon.command_id}.complete", body


class _Budget:
    """How many nodes of one deployment are away, and how many may be."""

    def __init__(self, key: str, seen: Observation) -> None:
        record = seen.fleet.deployments.get(key)
        self._is_free: Final = record is None or record.removed or _share(record) == _EVERY_NODE
        self._nodes: Final[set[str]] = set()
        self._away: Final[dict[str, str]] = {}
        self._allowed = 0
        if record is not None and not self._is_free:
            self._look(record, seen)
            self._allowed = share_of(_share(record), len(self._nodes))

    def take(self, node: str) -> str:
        """Why the deployment cannot leave the node now; empty: it does."""
        if self._is_free or node not in self._nodes or node in self._away:
            return ""
        if len(self._away) < self._allowed:
            self._away[node] = "is drained"
            return ""
        away = [f"{name} {why}" for name, why in sorted(self._away.items())]
        rest = len(away) - NAMED
        named = ", ".join(away[:NAMED]) + (f" and {rest} more" if rest > 0 else "")
        return (
            f"{len(away)} of its {len(self._nodes)} nodes are away and no more than "
            f"{self._allowed} may be: {named}"
        )

    def _look(self, record: DeploymentRecord, seen: Observation) -> None:
        for view in view_places(record, seen.fleet, seen.observed, seen.conflicts):
            self._nodes.add(view.node)
            if view.state == "failed":
                self._away[view.node] = "refuses it"
            elif view.state == "pending":
                self._away.setdefault(view.node, "is not confirmed")
        silent = {node for node in self._nodes if seen.silence(node).is_silent}
        self._away.update(dict.fromkeys(silent, "is silent"))
        facts = facts_of(record.revisions[-1])
        for name, node in seen.fleet.nodes.items():
            if record.key in node.left and not node.is_forgotten and facts.is_chosen(name):
                self._nodes.add(name)
                self._away[name] = "is drained"


def _share(record: DeploymentRecord) -> int | str:
    return record.revisions[-1].spec.rollout.max_unavailable


def _is_going_on(cordon: Cordon) -> bool:
    return cordon.drains and not cordon.drained_at


def _not_empty(node: str, seen: Observation) -> str:
    """What keeps a node that nothing stays on from being drained; empty: nothing."""
    desired, observed = seen.fleet.desired.get(node), seen.observed.get(node)
    if desired is None:
        return ""
    if any(chain.programs for chain in desired.chains):
        return "it is not told yet"
    if observed is None or observed.desired_generation < desired.generation:
        is_silent = seen.silence(node).is_silent
        return "it is silent" if is_silent else "it has not acted upon it yet"
    left = [one for one in observed.chains if one.programs and one.state != "absent"]
    if not left:
        return ""
    refusals = (one.refusal.message for one in left if one.refusal is not None)
    return next((f"it refuses: {one}" for one in refusals), "it has not read it back yet")
