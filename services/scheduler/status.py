# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Wanted and observed -> what is so, and why where it is not.

Rules:
 * `running` is said of a place only if the node read back exactly the wanted revision and archive,
   and each companion is ready or has done its work.
 * A companion that the node gave up is a failure; one that is on its way there is not.
 * `failed` is said only once the node acted upon the newest desired generation; until then what it
   reports is about something older, and the place is `pending`.
 * What a node could not do because of a fault, it tries again: that place is `pending` too.
 * A forgotten node has no places.
 * What a silent node (`liveness`) reported is not the present.
 * Of a chain with a program that whoever is told does not see, no more is said than its state; of a
   probe, whose place is its deployment's, nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from operator import itemgetter

import msgspec

from services.scheduler.audiences import EVERYBODYS, Sight
from services.scheduler.companion_standing import Judgement, PlaceState, judge_companions
from services.scheduler.cordoning import cordon_status
from services.scheduler.desired_state import Fleet
from services.scheduler.licence_standing import violations
from services.scheduler.liveness import Silence
from services.scheduler.node_overlays import overlaid_nodes
from services.scheduler.place_conflicts import PlaceConflict
from services.scheduler.revocation import standing_alarm
from services.scheduler.rollout.assignment import Assignment, assignment
from services.scheduler.unfit import lack_at
from services.scheduler.wanted_places import wanted_from
from shared.contracts.cordons import Cordon, DrainWait
from shared.contracts.deployments import DeploymentRecord, DeploymentRevision
from shared.contracts.desired import DesiredNode
from shared.contracts.errors import RETRYABLE
from shared.contracts.node import (
    NodeRecord,
    ObservedChain,
    ObservedNode,
    ObservedProgram,
)
from shared.contracts.probes import ProbeTarget
from shared.contracts.scheduler import DeploymentPlaceStatus, DeploymentStatus, NodeStatus
from shared.errors import Reason
from shared.identifiers import Hook, is_probe, split_place
from shared.probe_targets import deployment_of


@dataclass(frozen=True, slots=True)
class PlaceView:
    """One place, by what the node reported last."""

    node: str
    interface: str
    """With its network namespace, if that is a named one: `<netns>/<interface>`."""
    state: PlaceState
    why: tuple[Reason, ...] = ()
    chain: ObservedChain | None = None
    observed_version: str = ""
    desired_generation: int = 0
    revision: int = 0
    """Of the deployment, that shall run there; 0: none, it is to be taken off."""


def view_places(
    record: DeploymentRecord,
    fleet: Fleet,
    observed: Mapping[str, ObservedNode],
    conflicts: Iterable[PlaceConflict] = (),
    *,
    sight: Sight = EVERYBODYS,
) -> list[PlaceView]:
    """Every place of the deployment, by node and interface, as far as `sight` goes.

    Of a removed one, the places where it still is.
    """
    names = sorted(fleet.nodes if assignment(record) is not None else observed)
    return list(each_place(record, fleet, observed, conflicts, sight=sight, names=names))


def each_place(
    record: DeploymentRecord,
    fleet: Fleet,
    observed: Mapping[str, ObservedNode],
    conflicts: Iterable[PlaceConflict] = (),
    *,
    sight: Sight = EVERYBODYS,
    names: Iterable[str],
) -> Iterator[PlaceView]:
    """The same of these nodes alone, one after another as they are asked for."""
    now = assignment(record)
    if now is None:
        yield from _places_left(record, fleet, observed, sight, names)
        return
    lost = {
        (one.node, one.interface, one.hook): one for one in conflicts if one.left_out == record.key
    }
    for name in names:
        node = fleet.nodes[name]
        wanted = wanted_from(now, node, fleet.desired.get(name))
        there = ((place, facts) for facts, places in wanted for place in places)
        for interface, facts in sorted(there, key=itemgetter(0)):
            yield _view_place(
                facts.revision,
                interface,
                node=name,
                fleet=fleet,
                observed=observed.get(name),
                conflict=lost.get((name, interface, facts.revision.spec.hook)),
                told=facts.revision.told_on(node.platform),
                sight=sight,
            )


def deployment_status(
    record: DeploymentRecord,
    fleet: Fleet,
    observed: Mapping[str, ObservedNode],
    *,
    silences: Mapping[str, Silence],
    sight: Sight = EVERYBODYS,
    conflicts: Iterable[PlaceConflict] = (),
    with_history: bool = True,
) -> DeploymentStatus:
    """What is wanted of a deployment and what nodes observe of it, as far as `sight` goes."""
    revision = record.revisions[-1]
    now = assignment(record)
    had = now.revisions if now is not None else ()
    targets = {place: target for one in had for place, target in one.probes.items()}
    views = view_places(record, fleet, observed, conflicts, sight=sight)
    there = [
        fleet.nodes[name] for name in {view.node for view in views if view.node in fleet.nodes}
    ]
    return DeploymentStatus(
        name=record.name,
        space=record.space,
        revision=revision.revision,
        removed=record.removed,
        version=revision.version,
        package=revision.spec.package,
        hook=revision.spec.hook,
        order=revision.order,
        spec=revision.spec,
        places=tuple(
            _heard(_with_lack(view, now, fleet), silences.get(view.node), targets) for view in views
        ),
        alarm=standing_alarm(record),
        violations=violations(record, fleet),
        overlaid=overlaid_nodes(revision.spec, revision.resolved, there)
        if with_history and not record.removed
        else (),
        revisions=tuple(
            msgspec.structs.replace(one, resolved=None, packed_placements="")
            for one in (record.revisions if with_history else ())
        ),
        generation=record.generation_now,
        rollout=record.rollout,
    )


def in_a_list(status: NodeStatus) -> NodeStatus:
    """The status without what is long and nearly the same for every node: a list has many."""
    record = msgspec.structs.replace(status.record, capabilities=None, taken=())
    return msgspec.structs.replace(status, record=record)


def node_status(
    record: NodeRecord,
    fleet: Fleet,
    observed: ObservedNode | None,
    silence: Silence,
    sight: Sight = EVERYBODYS,
    *,
    cordon: Cordon | None = None,
    waits: Iterable[DrainWait] = (),
) -> NodeStatus:
    """One node: inventory, effective labels, liveness, chains as far as `sight` goes."""
    desired = fleet.desired.get(record.node)
    return NodeStatus(
        node=record.node,
        alive=silence.is_alive,
        silent_seconds=silence.seconds,
        labels=dict(fleet.nodes[record.node].labels),
        record=record,
        desired_generation=desired.generation if desired else 0,
        observed_generation=observed.desired_generation if observed else 0,
        chains=tuple(
            sight.chain(chain, fleet.chain_at(record.node, chain.place, chain.hook))
            for chain in (observed.chains if observed else ())
            if not is_probe(chain.hook) or sight.sees_deployment(deployment_of(chain.interface))
        ),
        forgotten=fleet.is_forgotten(record.node),
        away=silence.why,
        cordon=cordon_status(cordon, sight, waits),
    )


def _with_lack(view: PlaceView, now: Assignment | None, fleet: Fleet) -> PlaceView:
    """Of a place that stays although it could not be taken now, also why not."""
    node = fleet.nodes.get(view.node)
    revision = now.on(node, view.interface) if now and node else None
    lack = lack_at(revision, node, view.interface) if revision and node else None
    if lack is None:
        return view
    reason = Reason(path=f"nodes.{view.node}", rule=f"it stays here, although {lack}")
    return replace(view, why=(*view.why, reason))


def _heard(
    view: PlaceView, silence: Silence | None, targets: Mapping[str, ProbeTarget]
) -> DeploymentPlaceStatus:
    is_silent = silence is not None and silence.is_silent
    silent = Reason(path=f"nodes.{view.node}", rule=silence.why if silence is not None else "")
    interface, netns = split_place(view.interface)
    return DeploymentPlaceStatus(
        node=view.node,
        interface=interface,
        netns=netns,
        state="node-silent" if is_silent else view.state,
        observed_version=view.observed_version,
        why=(silent, *view.why) if is_silent else view.why,
        chain=view.chain,
        target=targets.get(view.interface),
        revision=view.revision,
    )


def _view_place(
    revision: DeploymentRevision,
    interface: str,
    *,
    node: str,
    fleet: Fleet,
    observed: ObservedNode | None,
    conflict: PlaceConflict | None,
    told: tuple[int, str],
    sight: Sight,
) -> PlaceView:
    desired = fleet.desired.get(node)
    chain = _seen(node, _chain_at(observed, interface, revision.spec.hook), fleet, sight)
    program = _program_of(chain, revision.spec.key)
    generation = desired.generation if desired else 0
    if _runs(told, chain, program):
        state, why = judge_companions(revision, told[0], chain)
    elif not _is_told(revision, told[0], interface, desired):
        state, why = "pending", (Reason(path="", rule="the node is not told yet"),)
    else:
        state, why = _judge_told(chain, generation, observed)
    if conflict is not None and state != "running":
        state, why = "failed", (_conflict_reason(conflict, sight),)
    return PlaceView(
        node=node,
        interface=interface,
        state=state,
        why=why,
        chain=chain,
        observed_version=program.version if program else "",
        desired_generation=generation,
        revision=revision.revision,
    )


def _runs(
    told: tuple[int, str], chain: ObservedChain | None, program: ObservedProgram | None
) -> bool:
    return (
        chain is not None
        and chain.state == "attached"
        and program is not None
        and (program.revision, program.archive_sha256) == told
    )


def _is_told(
    revision: DeploymentRevision, number: int, interface: str, desired: DesiredNode | None
) -> bool:
    return any(
        program.deployment == revision.spec.key and program.revision == number
        for chain in (desired.chains if desired else ())
        if chain.place == interface and chain.hook == revision.spec.hook
        for program in chain.programs
    )


def _judge_told(
    chain: ObservedChain | None, generation: int, observed: ObservedNode | None
) -> Judgement:
    if observed is None or observed.desired_generation < generation:
        return "pending", (Reason(path="", rule="the node has not acted upon it yet"),)
    if chain is not None and (chain.refusal is not None or chain.state == "failed"):
        return _failed_or_retried(chain), _refusal_reasons(chain)
    if chain is not None and chain.state == "waiting-for-interface":
        return "pending", (Reason(path="", rule="the interface is away", got=chain.place),)
    return "pending", (Reason(path="", rule="the node has not read it back yet"),)


def _failed_or_retried(chain: ObservedChain) -> PlaceState:
    """A fault is no refusal: the node tries again, so the place is pending."""
    is_fault = chain.refusal is not None and chain.refusal.code in RETRYABLE
    return "pending" if is_fault else "failed"


def _refusal_reasons(chain: ObservedChain) -> tuple[Reason, ...]:
    if chain.refusal is None:
        return (Reason(path="", rule="the node does not say why"),)
    return (Reason(path="", rule=chain.refusal.message), *chain.refusal.reasons)


def _conflict_reason(conflict: PlaceConflict, sight: Sight) -> Reason:
    holder = sight.named(conflict.holder)
    rule = f"place {conflict.order} of this chain is held by {holder}"
    if conflict.contradiction is not None or conflict.are_apart or conflict.circle:
        rule = conflict.told(sight, "this chain")
    return Reason(path="order", rule=rule, got=conflict.order)


def _places_left(
    record: DeploymentRecord,
    fleet: Fleet,
    observed: Mapping[str, ObservedNode],
    sight: Sight,
    names: Iterable[str],
) -> Iterator[PlaceView]:
    for name in names:
        node = observed.get(name)
        if node is None or fleet.is_forgotten(name):
            continue
        desired = fleet.desired.get(name)
        generation = desired.generation if desired else 0
        for reported in node.chains:
            chain = sight.chain(reported, fleet.chain_at(name, reported.place, reported.hook))
            program = _program_of(chain, record.key)
            if program is None or chain.state == "absent":
                continue
            has_failed = node.desired_generation >= generation and chain.refusal is not None
            yield PlaceView(
                node=name,
                interface=chain.place,
                state=_failed_or_retried(chain) if has_failed else "pending",
                why=_refusal_reasons(chain) if has_failed else (),
                chain=chain,
                observed_version=program.version,
                desired_generation=generation,
            )


def _seen(
    node: str, chain: ObservedChain | None, fleet: Fleet, sight: Sight
) -> ObservedChain | None:
    if chain is None:
        return None
    return sight.chain(chain, fleet.chain_at(node, chain.place, chain.hook))


def _chain_at(observed: ObservedNode | None, interface: str, hook: Hook) -> ObservedChain | None:
    for chain in observed.chains if observed else ():
        if chain.place == interface and chain.hook == hook:
            return chain
    return None


def _program_of(chain: ObservedChain | None, deployment: str) -> ObservedProgram | None:
    for program in chain.programs if chain else ():
        if program.deployment == deployment:
            return program
    return None
