# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""One node -> why it runs what it runs, and why it does not run the rest.

Pure.  It says what was decided, and by the same functions: what holds of the node itself, which
deployments have places there and how these stand, and for every other one the first requirement
that keeps it out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain

from services.scheduler.audiences import Sight
from services.scheduler.chain_reasons import node_reasons
from services.scheduler.choosing import why_not_chosen
from services.scheduler.draining import Observation
from services.scheduler.fitness import interface_lack
from services.scheduler.placement import NodeView, candidate_places, no_interface
from services.scheduler.revision_facts import RevisionFacts, facts_of
from services.scheduler.rollout.assignment import Assignment, assignment
from services.scheduler.rollout.description import rollout_reason
from services.scheduler.selection import is_selected, probe_targets, selector_mismatch
from services.scheduler.status import each_place
from shared.contracts.cordons import Cordon, DrainWait
from shared.contracts.deployments import DeploymentRecord
from shared.contracts.node_reasons import DeploymentOnNode, ExplainedPlace, NodeExplained


def explain_node(
    node: NodeView,
    seen: Observation,
    sight: Sight,
    *,
    cordon: Cordon | None,
    waits: Iterable[DrainWait] = (),
) -> NodeExplained:
    """What is so of a node, and of every deployment in `sight` there.

    Args:
        node: One of the fleet.
        seen: What is known of it and of the others.
        sight: As far as is told.
        cordon: What operators said of it.
        waits: What its drain waits for.
    """
    deployments = [
        _on_node(record, now, node, seen, sight)
        for _, record in sorted(seen.fleet.deployments.items())
        if sight.sees(record.space) and (now := assignment(record)) is not None
    ]
    desired = seen.fleet.desired.get(node.name)
    running = chain.from_iterable(one.programs for one in (desired.chains if desired else ()))
    return NodeExplained(
        node=node.name,
        standing=(
            *_standing(node, seen),
            *(_cordoned(cordon, waits, sight) if cordon is not None else ()),
        ),
        deployments=tuple(sorted(deployments, key=lambda one: not one.places)),
        unseen=any(not sight.sees_deployment(one.deployment) for one in running),
    )


def _standing(node: NodeView, seen: Observation) -> Iterator[str]:
    silence = seen.silence(node.name)
    if silence.why:
        yield f"it {silence.why}: it keeps what it was told, and follows when it returns"
    elif silence.seconds is None:
        yield "nothing was heard of it yet by this scheduler"
    else:
        yield "it is there"
    if node.name in seen.fleet.lost:
        yield "it is lost: deployments for so many nodes go elsewhere"
    if node.is_forgotten:
        yield "it was forgotten: nothing is placed on it and nothing waits for it"


def _cordoned(cordon: Cordon, waits: Iterable[DrainWait], sight: Sight) -> Iterator[str]:
    why = f": {cordon.reason}" if cordon.reason else ""
    if not cordon.drains:
        yield f"it is cordoned since {cordon.at}, so nothing new is put on it{why}"
    elif cordon.drained_at:
        yield f"it was drained at {cordon.drained_at}{why}"
    else:
        yield f"it is being drained since {cordon.at}{why}"
    for one in waits if cordon.drains else ():
        if not one.deployment:
            yield one.why
        elif sight.sees_deployment(one.deployment):
            yield f"{one.deployment} does not leave yet: {one.why}"


def _on_node(
    record: DeploymentRecord, now: Assignment, node: NodeView, seen: Observation, sight: Sight
) -> DeploymentOnNode:
    views = each_place(
        record, seen.fleet, seen.observed, seen.conflicts, sight=sight, names=(node.name,)
    )
    had = now.facts_on(node) or now.newest
    places = []
    for view in views:
        facts = now.facts_on(node, view.interface) or now.newest
        spec = facts.revision.spec
        places.append(
            ExplainedPlace(
                place=view.interface,
                hook=spec.hook,
                state=view.state,
                revision=facts.revision.revision,
                why=view.why,
                target=probe_targets(spec).get(view.interface),
            )
        )
        had = facts
    return DeploymentOnNode(
        deployment=record.key,
        package=had.revision.spec.package,
        version=had.revision.version,
        places=tuple(places),
        because=tuple(node_reasons(had.revision.spec, node)) if places else (),
        rollout=rollout_reason(record, node),
        why_not="" if places else _why_not(record, now, node),
    )


def _why_not(record: DeploymentRecord, now: Assignment, node: NodeView) -> str:
    """The first requirement that fails; of one that meets all, what it waits for."""
    return _unmet(now.newest, node) or rollout_reason(record, node) or "it is not told yet"


def _unmet(newest: RevisionFacts, node: NodeView) -> str:
    facts = facts_of(newest.revision).on(node)
    spec = facts.revision.spec
    mismatch = selector_mismatch(spec, node)
    if mismatch is not None:
        return mismatch
    lack = facts.lack(node)
    if lack is not None:
        return lack
    meant = [one for one in candidate_places(spec, node) if is_selected(one, spec, node)]
    if not meant:
        return no_interface(spec, node)
    lacks = [interface_lack(facts.demand, node, one) for one in meant]
    if all(lacks):
        return lacks[0] or ""
    return why_not_chosen(newest.revision, node.name)
