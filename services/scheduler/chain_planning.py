# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Deployments on one node -> one ordered chain for each hook point, or the two that claim a place.

Rules:
 * In which order programs run, and who finds no place, is decided in `chain_order`.
 * A node gets the object that was made for its platform, and never one made for another.
 * A new deployment that claims a taken place is refused, and both are named; so is one whose link
   options contradict those of another deployment in the chain.
 * When that comes about without anybody deploying (a node was labelled, or came with other
   interfaces), the one that is in the chain stays, else the older revision; the other is left out
   of that chain and its status says so.
 * Deployments of two spaces that are not open do not meet in a chain: whom its events go to, and
   who may look into it, is one question with one answer.  Everybody's deployments meet all.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Final

import msgspec

from services.scheduler.audiences import Audiences
from services.scheduler.chain_order import Entrant, LeftOut, merge
from services.scheduler.link_options import Contradiction, SharedOptions
from services.scheduler.place_conflicts import PlaceConflict
from services.scheduler.placement import NodeView
from services.scheduler.revision_facts import RevisionFacts
from services.scheduler.wanted_places import Wanted, assignments_of, wanted_on
from shared.contracts.deployments import (
    DeploymentRecord,
)
from shared.contracts.desired import DesiredNode, DesiredProgram
from shared.contracts.events import PUBLIC, Audience
from shared.contracts.link_options import LinkOptions, LinkWishes
from shared.contracts.probes import ProbeTarget
from shared.deployment_keys import space_of
from shared.identifiers import Hook, HookPoint, render_hook_point

_KEPT_POINTS: Final = 4096


@dataclass(frozen=True, slots=True)
class Claim:
    """One deployment's wish for one place of one chain."""

    program: DesiredProgram
    claimed_at: str
    """When the revision was accepted, RFC 3339 UTC."""
    wishes: LinkWishes
    entrant: Entrant


@dataclass(frozen=True, slots=True)
class NodeChains:
    """What one node shall run: a chain for every hook point that is claimed."""

    chains: Mapping[HookPoint, tuple[DesiredProgram, ...]]
    options: Mapping[HookPoint, LinkOptions]
    """How each chain is linked and attached."""
    audiences: Mapping[HookPoint, Audience]
    """Who is told what happens there; not named: everybody."""
    targets: Mapping[HookPoint, ProbeTarget]
    """What each probe is attached to."""
    conflicts: tuple[PlaceConflict, ...]


def plan_node(
    node: NodeView,
    deployments: Iterable[DeploymentRecord],
    current: DesiredNode | None,
    audiences: Audiences,
) -> NodeChains:
    """Every chain of `node`, and who was left out of one.

    `current` is what the node is told to run now; it says who holds a contested place.
    """
    wanted = wanted_on(node, assignments_of(deployments), current)
    return plan_wanted(node, wanted, current, audiences)


def plan_wanted(
    node: NodeView, wanted: Wanted, current: DesiredNode | None, audiences: Audiences
) -> NodeChains:
    """As `plan_node`, of who is known to be wanted where."""
    claims: dict[tuple[str, Hook], list[RevisionFacts]] = {}
    targets: dict[HookPoint, ProbeTarget] = {}
    for facts, places in wanted:
        hook = facts.revision.spec.hook
        for interface in places:
            claims.setdefault((interface, hook), []).append(facts)
            if interface in facts.probes:
                targets[render_hook_point(interface, hook)] = facts.probes[interface]
    holders = _holders(current)
    chains: dict[HookPoint, tuple[DesiredProgram, ...]] = {}
    options: dict[HookPoint, LinkOptions] = {}
    told: dict[HookPoint, Audience] = {}
    conflicts: list[PlaceConflict] = []
    for (interface, hook), claimed in sorted(claims.items(), key=itemgetter(0)):
        point = render_hook_point(interface, hook)
        present = holders.get(point, frozenset())
        planned = _planned(tuple(claimed), node.platform, present, audiences)
        chains[point], options[point], told[point] = planned.chain, planned.options, planned.told
        conflicts += [
            replace(one, node=node.name, interface=interface, hook=hook)
            for one in planned.conflicts
        ]
    return NodeChains(
        chains=chains,
        options=options,
        audiences=told,
        targets=targets,
        conflicts=tuple(conflicts),
    )


@dataclass(frozen=True, slots=True)
class _Point:
    """What becomes of those who meet at a hook point, wherever it is."""

    chain: tuple[DesiredProgram, ...]
    options: LinkOptions
    told: Audience
    conflicts: tuple[PlaceConflict, ...]


_POINTS: Final[dict[object, _Point]] = {}


def _planned(
    claimed: tuple[RevisionFacts, ...],
    platform: str,
    present: frozenset[str],
    audiences: Audiences,
) -> _Point:
    """The plan of a hook point; the same question is answered once for all nodes."""
    restricted = [facts.space for facts in claimed if facts.space != PUBLIC]
    told = tuple(map(audiences.of, restricted))
    question = (claimed, platform, present, told)
    known = _POINTS.get(question)
    if known is None:
        if len(_POINTS) >= _KEPT_POINTS:
            _POINTS.clear()
        known = _POINTS[question] = _plan_point(claimed, platform, present, audiences)
    return known


def _plan_point(
    claimed: tuple[RevisionFacts, ...],
    platform: str,
    present: frozenset[str],
    audiences: Audiences,
) -> _Point:
    claims = [
        Claim(facts.program(platform), facts.revision.at, facts.revision.spec.link, facts.entrant)
        for facts in claimed
    ]
    wanted, told, apart = keep_apart(claims, audiences, holders=present)
    agreeing, options, contradictions = agree_on_options(wanted, holders=present)
    chain, left_out = order_chain(agreeing, holders=present)
    nowhere = PlaceConflict("", "", "xdp", 0, "", "")
    conflicts = [
        *(
            replace(
                nowhere,
                order=claim.program.order,
                holder=holder,
                left_out=claim.program.deployment,
                are_apart=True,
            )
            for claim, holder in apart
        ),
        *(
            replace(
                nowhere,
                order=claim.program.order,
                holder=found.holder,
                left_out=found.other,
                contradiction=found,
            )
            for claim, found in contradictions
        ),
        *(
            replace(
                nowhere,
                order=claim.program.order,
                holder=found.holder,
                left_out=found.key,
                circle=found.circle,
            )
            for claim, found in left_out
        ),
    ]
    return _Point(chain, options, told, tuple(conflicts))


def keep_apart(
    claims: Collection[Claim], audiences: Audiences, *, holders: Collection[str] = ()
) -> tuple[list[Claim], Audience, list[tuple[Claim, str]]]:
    """The claims that may meet, who is told of them, and the others, each with who keeps it out.

    `holders` are the deployments that are in this chain already; their space comes first.
    """

    def audience(claim: Claim) -> Audience:
        return audiences.of(space_of(claim.program.deployment))

    restricted = [one for one in claims if audience(one) != PUBLIC]
    if not restricted:
        return list(claims), PUBLIC, []
    first = min(restricted, key=lambda one: _precedence(one, holders))
    told = audience(first)
    meeting = [one for one in claims if audience(one) in (PUBLIC, told)]
    apart = [one for one in restricted if audience(one) != told]
    return meeting, told, [(one, first.program.deployment) for one in apart]


def agree_on_options(
    claims: Collection[Claim], *, holders: Collection[str] = ()
) -> tuple[list[Claim], LinkOptions, list[tuple[Claim, Contradiction]]]:
    """The claims that can be in one chain, its link options, and who contradicts them.

    `holders` are the deployments that are in this chain already; what they want comes first.
    """
    shared = SharedOptions()
    agreeing: list[Claim] = []
    found: list[tuple[Claim, Contradiction]] = []

    for claim in sorted(claims, key=lambda one: _precedence(one, holders)):
        contradictions = shared.join(claim.program.deployment, claim.wishes)
        found += [(claim, one) for one in contradictions]
        if not contradictions:
            agreeing.append(claim)
    return agreeing, shared.settled(), found


def order_chain(
    claims: Collection[Claim], *, holders: Collection[str] = ()
) -> tuple[tuple[DesiredProgram, ...], tuple[tuple[Claim, LeftOut], ...]]:
    """The chain, first program first, and the claims that found no place, by their numbers.

    `holders` are the deployments that are in this chain already; they keep their place.
    """
    ordered = sorted(claims, key=lambda one: _precedence(one, holders))
    merged = merge(tuple(claim.entrant for claim in ordered))
    by_key = {claim.program.deployment: claim for claim in claims}
    chain: list[DesiredProgram] = []
    number = 0
    for key in merged.keys:
        claim = by_key[key]
        if claim.entrant.has_number:
            number = claim.program.order
            chain.append(claim.program)
        else:
            chain.append(msgspec.structs.replace(claim.program, order=number))
    left_out = sorted(
        ((by_key[one.key], one) for one in merged.left_out),
        key=lambda pair: (pair[0].program.order, *_precedence(pair[0], holders)),
    )
    return tuple(chain), tuple(left_out)


def _precedence(claim: Claim, holders: Collection[str]) -> tuple[bool, str, str]:
    """Who is in the chain already comes first, then the older revision."""
    key = claim.program.deployment
    return key not in holders, claim.claimed_at, key


def _holders(current: DesiredNode | None) -> dict[HookPoint, frozenset[str]]:
    return {
        render_hook_point(chain.interface, chain.hook, chain.netns): frozenset(
            program.deployment for program in chain.programs
        )
        for chain in (current.chains if current else ())
    }
