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

from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import msgspec

from services.scheduler.audiences import Audiences, Sight
from services.scheduler.chain_order import Entrant, LeftOut, Statement, merge
from services.scheduler.fitness import demand_of
from services.scheduler.link_options import Contradiction, SharedOptions
from services.scheduler.placement import NodeView, places_on
from services.scheduler.selection import probe_targets
from shared.contracts.deployments import (
    DeploymentRecord,
    DeploymentRevision,
    DeploymentSpec,
    Placement,
)
from shared.contracts.desired import DesiredNode, DesiredProgram
from shared.contracts.errors import ErrorCode
from shared.contracts.events import PUBLIC, Audience
from shared.contracts.link_options import LinkOptions, LinkWishes
from shared.contracts.probes import ProbeTarget
from shared.deployment_keys import space_of
from shared.errors import Reason, RefusedError
from shared.identifiers import Hook, HookPoint, render_hook_point


class ChainConflictError(RefusedError):
    """Two deployments claim one place in a chain; both are named."""

    code: ClassVar[ErrorCode] = "conflict"


@dataclass(frozen=True, slots=True)
class Claim:
    """One deployment's wish for one place of one chain."""

    program: DesiredProgram
    claimed_at: str
    """When the revision was accepted, RFC 3339 UTC."""
    wishes: LinkWishes
    entrant: Entrant


@dataclass(frozen=True, slots=True)
class PlaceConflict:
    """Two deployments that cannot be in one chain; one of them is."""

    node: str
    interface: str
    """With its network namespace, if that is a named one: `<netns>/<interface>`."""
    hook: Hook
    order: int
    holder: str
    """By its key, as `left_out`: who may be told of it is another question."""
    left_out: str
    contradiction: Contradiction | None = None
    """The link option that they want differently; null: they want the same place."""
    are_apart: bool = False
    """Whether it is their spaces that do not meet."""
    circle: tuple[Statement, ...] = ()
    """What is said of who runs before whom, and cannot all be so; empty: it is something else."""

    def told(self, sight: Sight, place: str) -> str:
        """Why they cannot both be there; `place` is how the hook point is called."""
        if self.are_apart:
            return f"{place} can have programs of one restricted space only"
        if self.contradiction is not None:
            agreed = self.contradiction.told(sight.named)
            return f"the deployments of {place} must agree on {agreed}"
        if self.circle:
            said = ", ".join(one.told(sight.named) for one in self.circle)
            return f"no order of {place} is as all say: {said}"
        claimants = " and ".join(sorted(map(sight.named, (self.holder, self.left_out))))
        return f"place {self.order} of {place} is claimed by {claimants}"


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


def current_revision(record: DeploymentRecord | None) -> DeploymentRevision | None:
    """The revision that shall run; None if the deployment was removed or never was."""
    if record is None or record.removed or not record.revisions:
        return None
    return record.revisions[-1]


def desired_program(revision: DeploymentRevision, platform: str) -> DesiredProgram:
    """The program that a revision puts into every chain of a node of this platform."""
    resolved = revision.resolved
    if resolved is None:
        raise AssertionError("unreachable: the newest revision is always resolved")
    spec = revision.spec
    path = resolved.on_platform(platform).object
    kept = resolved.kept.get(platform)
    return DesiredProgram(
        deployment=spec.key,
        revision=kept.revision if kept else revision.revision,
        package=spec.package,
        version=kept.version if kept else revision.version,
        program=resolved.program,
        function=resolved.function,
        object=path,
        order=revision.order,
        has_packages_order=revision.has_packages_order,
        proceed_on=resolved.proceed_on,
        config=spec.config if resolved.config is None else resolved.config,
        constants=resolved.constants,
        variables=resolved.variables,
        map_policies=resolved.map_policies,
        metrics=resolved.metrics,
        companions=resolved.companions,
        signed=kept.signed if kept else resolved.signed,
        licence=kept.licence if kept else resolved.licences.get(path),
        instance=revision.instance,
    )


def places_of(
    revision: DeploymentRevision, node: NodeView, current: DesiredNode | None
) -> list[str]:
    """The places of `node` that the revision runs on now, those away for a while included.

    A name that came back with another platform, for which there is no object, holds none.
    """
    spec = revision.spec
    resolved = revision.resolved
    if resolved is not None and not resolved.on_platform(node.platform).object:
        return []
    told, _ = revision.told_on(node.platform)
    key = spec.key
    held = set(_placed_on(revision.placements, node.name))
    held |= {
        chain.place
        for chain in (current.chains if current else ())
        if chain.hook == spec.hook
        for program in chain.programs
        if program.deployment == key and program.revision == told
    }
    return places_on(spec, node, held=held, wanted=demand_of(revision))


def _placed_on(placements: Sequence[Placement], node: str) -> Iterator[str]:
    """The places on one node, of placements that are in order of their nodes' names."""
    first = bisect_left(placements, node, key=lambda one: one.node)
    for index in range(first, len(placements)):
        if placements[index].node != node:
            return
        yield placements[index].place


def plan_node(
    node: NodeView,
    deployments: Iterable[DeploymentRecord],
    current: DesiredNode | None,
    audiences: Audiences,
) -> NodeChains:
    """Every chain of `node`, and who was left out of one.

    `current` is what the node is told to run now; it says who holds a contested place.
    """
    claims: dict[tuple[str, Hook], list[Claim]] = {}
    targets: dict[HookPoint, ProbeTarget] = {}
    for record in deployments:
        revision = current_revision(record)
        if revision is None:
            continue
        probes = probe_targets(revision.spec)
        for interface in places_of(revision, node, current):
            if interface in probes:
                targets[render_hook_point(interface, revision.spec.hook)] = probes[interface]
            program = desired_program(revision, node.platform)
            claim = Claim(program, revision.at, revision.spec.link, entrant_of(revision))
            claims.setdefault((interface, revision.spec.hook), []).append(claim)
    holders = _holders(current)
    chains: dict[HookPoint, tuple[DesiredProgram, ...]] = {}
    options: dict[HookPoint, LinkOptions] = {}
    told: dict[HookPoint, Audience] = {}
    conflicts: list[PlaceConflict] = []
    for (interface, hook), claimed in sorted(claims.items()):
        point = render_hook_point(interface, hook)
        present = holders.get(point, frozenset())
        wanted, told[point], apart = keep_apart(claimed, audiences, holders=present)
        conflicts += [
            PlaceConflict(
                node=node.name,
                interface=interface,
                hook=hook,
                order=claim.program.order,
                holder=holder,
                left_out=claim.program.deployment,
                are_apart=True,
            )
            for claim, holder in apart
        ]
        agreeing, options[point], contradictions = agree_on_options(wanted, holders=present)
        conflicts += [
            PlaceConflict(
                node=node.name,
                interface=interface,
                hook=hook,
                order=claim.program.order,
                holder=found.holder,
                left_out=found.other,
                contradiction=found,
            )
            for claim, found in contradictions
        ]
        chain, left_out = order_chain(agreeing, holders=present)
        chains[point] = chain
        conflicts += [
            PlaceConflict(
                node=node.name,
                interface=interface,
                hook=hook,
                order=claim.program.order,
                holder=found.holder,
                left_out=found.key,
                circle=found.circle,
            )
            for claim, found in left_out
        ]
    return NodeChains(
        chains=chains,
        options=options,
        audiences=told,
        targets=targets,
        conflicts=tuple(conflicts),
    )


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


def entrant_of(revision: DeploymentRevision) -> Entrant:
    """What decides its place in a chain."""
    spec = revision.spec
    return Entrant(
        key=spec.key,
        package=spec.package,
        number=revision.order,
        has_number=revision.has_number,
        before=spec.before,
        after=spec.after,
    )


def refuse_conflicts(
    spec: DeploymentSpec, conflicts: Iterable[PlaceConflict], sight: Sight
) -> None:
    """Nothing, if `spec` claims no place that another deployment has, and contradicts none.

    Raises:
        ChainConflictError: Naming both deployments, as far as `sight` goes, and the hook point of
            every such place.
    """
    mine = [one for one in conflicts if spec.key in (one.holder, one.left_out)]
    if not mine:
        return
    others = (one.holder if one.left_out == spec.key else one.left_out for one in mine)
    reasons = [_conflict_reason(one, sight) for one in mine]
    named = ", ".join(sight.listed(others))
    sentence = f"claims a place in a chain that {named} already has"
    if all(one.contradiction for one in mine):
        sentence = f"wants a chain linked or attached in another way than {named}"
    if all(one.circle for one in mine):
        sentence = f"and {named} cannot be in one chain in the order that is asked for"
    if all(one.are_apart for one in mine):
        sentence = "cannot be where programs of another restricted space are"
    raise ChainConflictError(f"{spec.key} {sentence}", reasons)


def _conflict_reason(one: PlaceConflict, sight: Sight) -> Reason:
    rule = one.told(sight, f"{one.interface}/{one.hook} on {one.node}")
    if one.are_apart:
        return Reason(path="space", rule=rule)
    if one.contradiction:
        return Reason(path="link", rule=rule)
    if one.circle:
        fields = [said.word for said in one.circle if said.by == one.left_out]
        field = fields[0] if fields and fields[0] != "number" else "order"
        return Reason(path=field, rule=rule, allowed="what can be so with all that others say")
    return Reason(
        path="order",
        rule=rule,
        got=one.order,
        allowed="an order of its own, stated in the deployment",
    )


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
