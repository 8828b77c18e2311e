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

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import msgspec

from services.scheduler.audiences import Audiences
from services.scheduler.chain_planning import PlaceConflict, plan_node
from services.scheduler.placement import NodeView
from shared.contracts.deployments import DeploymentRecord
from shared.contracts.desired import Cause, DesiredChain, DesiredNode, DesiredProgram
from shared.contracts.events import PUBLIC, Audience
from shared.contracts.link_options import LinkOptions
from shared.identifiers import (
    Hook,
    HookPoint,
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


def derive_desired(fleet: Fleet) -> Derived:
    """The records that the fleet leads to; nodes that never registered keep what they have."""
    desired = dict(fleet.desired)
    changed: dict[str, DesiredNode] = {}
    conflicts: list[PlaceConflict] = []
    for name, node in sorted(fleet.nodes.items()):
        current = fleet.desired.get(name)
        derived, lost = derive_node(node, fleet.deployments, current, fleet.audiences)
        conflicts += lost
        if derived is not None and derived != current:
            desired[name] = changed[name] = derived
    return Derived(desired=desired, changed=changed, conflicts=tuple(conflicts))


def derive_node(
    node: NodeView,
    deployments: Mapping[str, DeploymentRecord],
    current: DesiredNode | None,
    audiences: Audiences,
) -> tuple[DesiredNode | None, tuple[PlaceConflict, ...]]:
    """What one node shall run; None if it runs nothing and never did."""
    if node.is_forgotten:
        return current, ()
    planned = plan_node(node, deployments.values(), current, audiences)
    before = {
        render_hook_point(chain.interface, chain.hook, chain.netns): chain
        for chain in (current.chains if current else ())
    }
    chains: list[DesiredChain] = []
    for point in sorted({*before, *planned.chains}):
        programs = planned.chains.get(point, ())
        interface, hook, netns = parse_hook_point(point, path="chains")
        has_place = is_probe(hook) or render_place(interface, netns) in node.interfaces
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
                    cause=_cause(old, programs, deployments, audiences),
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
    is_same = list(map(_what_runs, chains)) == list(map(_what_runs, current.chains))
    derived = msgspec.structs.replace(
        current,
        generation=current.generation + (not is_same),
        chains=tuple(chains),
        members=members,
    )
    return derived, planned.conflicts


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


def changed_chains(
    before: DesiredNode | None, after: DesiredNode | None
) -> dict[HookPoint, tuple[DesiredChain | None, DesiredChain | None]]:
    """The hook points that run something else, with the chain before and after."""
    olds, news = _by_point(before), _by_point(after)
    return {
        point: (olds.get(point), news.get(point))
        for point in sorted({*olds, *news})
        if _what_runs(olds.get(point)) != _what_runs(news.get(point))
    }


def takes_part(key: str, *chains: DesiredChain | None) -> bool:
    """Whether the deployment is in any of the chains."""
    return any(
        program.deployment == key
        for chain in chains
        if chain is not None
        for program in chain.programs
    )


def _by_point(node: DesiredNode | None) -> dict[HookPoint, DesiredChain]:
    return {
        render_hook_point(chain.interface, chain.hook, chain.netns): chain
        for chain in (node.chains if node else ())
    }


def _what_runs(chain: DesiredChain | None) -> DesiredChain | None:
    """The chain, whoever may see it."""
    if chain is None or (chain.audience, chain.cause.audience) == (PUBLIC, PUBLIC):
        return chain
    cause = msgspec.structs.replace(chain.cause, audience=PUBLIC)
    return msgspec.structs.replace(chain, audience=PUBLIC, cause=cause)


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
    deployments: Mapping[str, DeploymentRecord],
    audiences: Audiences,
) -> Cause:
    """The newest command of the deployments whose part in the chain is not what it was."""
    was = old.programs if old else ()
    differing = {one.deployment for one in (*was, *programs) if (one in was) != (one in programs)}
    newest = _newest(deployments[name] for name in differing if name in deployments)
    if newest is not None and newest.changed_by is not None:
        audience = audiences.of(newest.space)
        return msgspec.structs.replace(newest.changed_by, audience=audience)
    return old.cause if old else Cause(command_id="")


def _newest(records: Iterable[DeploymentRecord]) -> DeploymentRecord | None:
    return max(records, key=lambda record: (record.changed_at, record.key), default=None)
