# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Deployments, nodes and what they were told before -> what each node is told now.

Level-triggered: the same input always gives the same answer, and once the answer is written it
gives no other.

Rules:
 * The generation goes up by one if, and only if, what some chain runs changed.
 * Who may see a chain is kept as it is now; that touches no chain.
 * A chain that did not change keeps its cause; one that did has as cause the newest command among
   the deployments that it differs by.
 * A forgotten node's record stays as it is: should the node be alive, it keeps filtering.
 * An emptied chain stays, empty, while its interface exists: it tells the node to detach, and why.
   Of probes, which have none, the EMPTY_PROBES that were taken off last stay.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from operator import itemgetter
from typing import Final

import msgspec

from services.scheduler.audiences import Audiences
from services.scheduler.chain_changes import takes_part, what_runs
from services.scheduler.chain_planning import plan_wanted
from services.scheduler.place_conflicts import PlaceConflict
from services.scheduler.placement import NodeView
from services.scheduler.rollout.assignment import Assignment, assignment, command_of
from services.scheduler.wanted_places import Wanted, assignments_of, wanted_from, wanted_on
from shared.contracts.deployments import DeploymentRecord
from shared.contracts.desired import Cause, DesiredChain, DesiredNode, DesiredProgram
from shared.contracts.events import PUBLIC, Audience
from shared.contracts.link_options import LinkOptions
from shared.contracts.rollout_policy import NO_POLICY, RolloutPolicy
from shared.identifiers import (
    Hook,
    is_probe,
    parse_hook_point,
    render_hook_point,
    render_place,
)
from shared.probe_targets import deployment_of

EMPTY_PROBES: Final = 32
"""Of one node; more would make its record grow with every deployment that ever was."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """What the scheduler knows at one moment."""

    deployments: Mapping[str, DeploymentRecord]
    """By key."""
    nodes: Mapping[str, NodeView]
    desired: Mapping[str, DesiredNode]
    audiences: Audiences = field(default_factory=Audiences)
    """Who sees which deployment."""
    policy: RolloutPolicy = NO_POLICY
    """What holds of every rollout."""
    lost: frozenset[str] = frozenset()
    """Nodes that were silent for so long that others may take their place."""
    known: Derivation | None = field(default=None, compare=False, repr=False)
    """What was derived before, of this or another moment: it saves work and decides nothing."""

    def is_forgotten(self, node: str) -> bool:
        """Whether an operator gave the node up."""
        return node in self.nodes and self.nodes[node].is_forgotten

    def with_deployment(self, record: DeploymentRecord) -> Fleet:
        """The same moment, had the deployment been this."""
        return replace(self, deployments={**self.deployments, record.key: record})

    def chain_at(self, node: str, place: str, hook: Hook) -> DesiredChain | None:
        """What the node is told to run there."""
        desired = self.desired.get(node)
        for chain in desired.chains if desired else ():
            if chain.place == place and chain.hook == hook:
                return chain
        return None


@dataclass(frozen=True, slots=True)
class Derived:
    """What all nodes shall run."""

    desired: Mapping[str, DesiredNode]
    """Every node that runs or ran something."""
    changed: Mapping[str, DesiredNode]
    """Those whose record differs from what they were told before."""
    conflicts: tuple[PlaceConflict, ...]
    known: Derivation = field(compare=False, repr=False)
    """For the next time."""


@dataclass(frozen=True, slots=True)
class NodeDerivation:
    """What was derived for one node, and from what."""

    node: NodeView
    current: DesiredNode | None
    derived: DesiredNode | None
    wanted: Wanted
    conflicts: tuple[PlaceConflict, ...]


@dataclass(frozen=True, slots=True)
class Derivation:
    """What was derived for each node, so that only what changed is derived anew."""

    assignments: Mapping[str, Assignment]
    """By key; what was removed is not there."""
    audiences: Audiences
    nodes: Mapping[str, NodeDerivation]
    open: frozenset[str] = frozenset()
    """Nodes that are to be told something, or where somebody found no place."""
    renewed: frozenset[str] = frozenset()
    """Nodes that are not as they were in the derivation before."""


def derive_desired(fleet: Fleet) -> Derived:
    """The records that the fleet leads to; nodes that never registered keep what they have.

    A node is derived anew only if it, what it was told, who sees what, or a deployment that is or
    was on it changed; all else would lead to what it led to before.
    """
    known = fleet.known
    assignments = _assignments(fleet.deployments, known)
    before: Mapping[str, NodeDerivation] = {}
    differing: dict[str, Assignment | None] = {}
    if known is not None and known.audiences == fleet.audiences:
        before = known.nodes
        differing = {
            key: known.assignments.get(key)
            for key in {*assignments, *known.assignments}
            if assignments.get(key) is not known.assignments.get(key)
        }
    change = _Change(fleet, assignments, differing)
    kept = dict(before)
    renewed = _not_as_before(fleet, before)
    for name in renewed:
        kept[name] = change.derived(fleet.nodes[name], fleet.desired.get(name))
    if differing and before:
        anew = frozenset(renewed)
        for name, node in fleet.nodes.items():
            current = fleet.desired.get(name)
            if name not in anew and change.concerns(before[name], current):
                kept[name] = change.derived(node, current, before[name])
                renewed.append(name)
    if len(kept) != len(fleet.nodes):
        kept = {name: one for name, one in kept.items() if name in fleet.nodes}
    still_open = known.open if known is not None and before else ()
    looked_at = sorted(name for name in {*still_open, *renewed} if name in kept)
    changed = {
        name: derived
        for name in looked_at
        if (derived := kept[name].derived) is not None and derived != fleet.desired.get(name)
    }
    lost = [name for name in looked_at if kept[name].conflicts]
    return Derived(
        desired={**fleet.desired, **changed} if changed else fleet.desired,
        changed=changed,
        conflicts=tuple(one for name in lost for one in kept[name].conflicts),
        known=Derivation(
            assignments, fleet.audiences, kept, frozenset((*changed, *lost)), frozenset(renewed)
        ),
    )


def _not_as_before(fleet: Fleet, before: Mapping[str, NodeDerivation]) -> list[str]:
    """Nodes that are otherwise, or were told otherwise, than what was derived of them says.

    The one loop over all nodes that a change of one of them costs.
    """
    current_of, old_of = fleet.desired.get, before.get
    return [
        name
        for name, node in fleet.nodes.items()
        if (old := old_of(name)) is None
        or old.node is not node
        or ((current := current_of(name)) is not old.derived and current is not old.current)
    ]


class _Change:
    """What is not as it was when everything was derived last."""

    def __init__(
        self,
        fleet: Fleet,
        assignments: Mapping[str, Assignment],
        differing: Mapping[str, Assignment | None],
    ) -> None:
        self._fleet: Final = fleet
        self._assignments: Final = assignments
        self._differing: Final = differing
        self._arrived: Final = [assignments[key] for key in differing if key in assignments]
        self._changes: Final = [(key, was, assignments.get(key)) for key, was in differing.items()]

    def concerns(self, old: NodeDerivation, current: DesiredNode | None) -> bool:
        """Whether the node's share of a deployment differs, and it is there or is to be."""
        node = old.node
        for key, was, now in self._changes:
            if was is not None and now is not None and was.share(node) == now.share(node):
                continue
            if any(facts.key == key for facts, _ in old.wanted):
                return True
            if old.derived is not current and _is_told(key, current):
                return True
            if now is not None and wanted_from(now, node, current):
                return True
        return False

    def derived(
        self, node: NodeView, current: DesiredNode | None, old: NodeDerivation | None = None
    ) -> NodeDerivation:
        """The node derived; of `old`, if given, the places of what does not differ are taken."""
        fleet = self._fleet
        if node.is_forgotten:
            return NodeDerivation(node, current, current, (), ())
        if old is None:
            wanted = wanted_on(node, self._assignments.values(), current)
        else:
            stays = [one for one in old.wanted if one[0].key not in self._differing]
            wanted = (*stays, *wanted_on(node, self._arrived, current))
        derived, conflicts = _derive(node, wanted, fleet.deployments, current, fleet.audiences)
        return NodeDerivation(node, current, derived, wanted, conflicts)


def _assignments(
    deployments: Mapping[str, DeploymentRecord], known: Derivation | None
) -> dict[str, Assignment]:
    """Who shall have what, by key; of what is as it was, the object that is known."""
    found: dict[str, Assignment] = {}
    for key, record in deployments.items():
        one = assignment(record, known.assignments.get(key) if known is not None else None)
        if one is not None:
            found[key] = one
    return found


def derive_node(
    node: NodeView,
    deployments: Mapping[str, DeploymentRecord],
    current: DesiredNode | None,
    audiences: Audiences,
) -> tuple[DesiredNode | None, tuple[PlaceConflict, ...]]:
    """What one node shall run; None if it runs nothing and never did."""
    if node.is_forgotten:
        return current, ()
    wanted = wanted_on(node, assignments_of(deployments.values()), current)
    return _derive(node, wanted, deployments, current, audiences)


def _derive(
    node: NodeView,
    wanted: Wanted,
    deployments: Mapping[str, DeploymentRecord],
    current: DesiredNode | None,
    audiences: Audiences,
) -> tuple[DesiredNode | None, tuple[PlaceConflict, ...]]:
    planned = plan_wanted(node, wanted, current, audiences)
    before = {
        render_hook_point(chain.interface, chain.hook, chain.netns): chain
        for chain in (current.chains if current else ())
    }
    chains: list[DesiredChain] = []
    for point in sorted({*before, *planned.chains}):
        programs = planned.chains.get(point, ())
        interface, hook, netns = parse_hook_point(point, path="chains")
        place = render_place(interface, netns)
        has_place = is_probe(hook) or place in node.interfaces
        if not programs and not has_place:
            continue
        old = before.get(point)
        target = planned.targets.get(point)
        link = planned.options.get(point, LinkOptions())
        audience = planned.audiences.get(point, PUBLIC)
        if old is not None and (old.programs, old.link, old.target) == (programs, link, target):
            chains.append(_told_to(old, audience, audiences))
        else:
            chains.append(
                DesiredChain(
                    interface=interface,
                    hook=hook,
                    netns=netns,
                    programs=programs,
                    cause=_cause(
                        old,
                        programs,
                        place=place,
                        wanted=wanted,
                        deployments=deployments,
                        audiences=audiences,
                    ),
                    link=link,
                    audience=audience,
                    target=target,
                )
            )
    chains = _without_old_probes(chains, deployments)
    restricted = sorted({chain.audience for chain in chains} - {PUBLIC})
    members = {one: audiences.members.get(one, ()) for one in restricted}
    if current is None:
        derived = DesiredNode(node=node.name, generation=1, chains=tuple(chains), members=members)
        return (derived if chains else None), planned.conflicts
    if (tuple(chains), members) == (current.chains, current.members):
        return current, planned.conflicts
    is_same = list(map(what_runs, chains)) == list(map(what_runs, current.chains))
    derived = msgspec.structs.replace(
        current,
        generation=current.generation + (not is_same),
        chains=tuple(chains),
        members=members,
    )
    return derived, planned.conflicts


def _is_told(key: str, current: DesiredNode | None) -> bool:
    return current is not None and any(takes_part(key, chain) for chain in current.chains)


def _without_old_probes(
    chains: list[DesiredChain], deployments: Mapping[str, DeploymentRecord]
) -> list[DesiredChain]:
    """The chains; of emptied probes those whose deployments changed last."""
    emptied = [one for one in chains if is_probe(one.hook) and not one.programs]
    if len(emptied) <= EMPTY_PROBES:
        return chains

    def changed_at(one: DesiredChain) -> tuple[str, str, Hook]:
        record = deployments.get(deployment_of(one.interface))
        return (record.changed_at if record else ""), one.interface, one.hook

    old = sorted(emptied, key=changed_at)[: len(emptied) - EMPTY_PROBES]
    return [one for one in chains if one not in old]


def _told_to(chain: DesiredChain, audience: Audience, audiences: Audiences) -> DesiredChain:
    """The chain as it is, for those who may see it, and know of its cause, now."""
    about = audiences.of(chain.cause.audience)
    if (chain.audience, chain.cause.audience) == (audience, about):
        return chain
    cause = msgspec.structs.replace(chain.cause, audience=about)
    return msgspec.structs.replace(chain, audience=audience, cause=cause)


def _cause(
    old: DesiredChain | None,
    programs: Collection[DesiredProgram],
    *,
    place: str,
    wanted: Wanted,
    deployments: Mapping[str, DeploymentRecord],
    audiences: Audiences,
) -> Cause:
    """The newest command of the deployments whose part in the chain is not what it was."""
    was = old.programs if old else ()
    differing = {one.deployment for one in (*was, *programs) if (one in was) != (one in programs)}
    said: list[tuple[str, str, Cause | None]] = []
    for key in differing:
        record = deployments.get(key)
        if record is not None and record.earlier:
            there = (one.revision for one, places in wanted if one.key == key and place in places)
            at, cause = command_of(record, next(there, None))
            said.append((at, key, cause))
        elif record is not None:
            said.append((record.changed_at, key, record.changed_by))
    _, newest, cause = max(said, key=itemgetter(0, 1), default=("", "", None))
    if cause is None:
        return old.cause if old else Cause(command_id="")
    return msgspec.structs.replace(cause, audience=audiences.of(deployments[newest].space))
