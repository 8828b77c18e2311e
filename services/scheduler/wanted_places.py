# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which revisions of which deployments are to be where on a node, whoever else is there.

Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final

from services.scheduler.placement import NodeView, places_on
from services.scheduler.revision_facts import RevisionFacts, facts_of
from services.scheduler.rollout.assignment import Assignment, assignment
from services.scheduler.selection import is_selected, selector_mismatch
from shared.contracts.deployments import DeploymentRecord, DeploymentRevision
from shared.contracts.desired import DesiredNode
from shared.identifiers import Hook

Holdings = Mapping[tuple[str, int, Hook], Sequence[str]]
"""Deployment, revision and hook to places."""
Wanted = tuple[tuple[RevisionFacts, tuple[str, ...]], ...]
"""Revisions, each with at least one place of a node."""
_FEW: Final = 2
"""Deployments of which it is quicker to look for each than to know of all who holds what."""


def current_revision(record: DeploymentRecord | None) -> DeploymentRevision | None:
    """The revision that shall run; None if the deployment was removed or never was."""
    if record is None or record.removed or not record.revisions:
        return None
    return record.revisions[-1]


def places_of(
    revision: DeploymentRevision,
    node: NodeView,
    current: DesiredNode | None,
    *,
    held: Holdings | None = None,
    only_chosen: bool = True,
) -> list[str]:
    """The places of `node` that the revision runs on now, those away for a while included.

    A name that came back with another platform, for which there is no object, holds none.

    Args:
        revision: Of a deployment.
        node: Where.
        current: What the node is told to run.
        held: That by who holds what, if it is known already.
        only_chosen: Whether one for so many nodes has none on others; else where it could be.
    """
    facts = facts_of(revision)
    if facts.chosen is not None and only_chosen and node.name not in facts.chosen:
        return []
    if facts.has_overlays:
        facts = facts.on(node)
    told = revision.revision
    if revision.resolved is not None:
        program = facts.program(node.platform)
        if not program.object:
            return []
        told = program.revision
    spec = facts.revision.spec
    if held is None:
        there: Sequence[str] = tuple(_held(current, facts.key, told, spec.hook))
    else:
        there = held.get((facts.key, told, spec.hook), ())
    placed = facts.placed_on(node.name)
    if not facts.is_by_name:
        holds = {*placed, *there}
        return places_on(spec, node, held=holds, wanted=facts.demand, lack=facts.lack)
    if selector_mismatch(spec, node) is not None:
        return []
    free = () if facts.lack(node) else facts.selected(node)
    if placed in ((), free) and (not there or tuple(there) == free):
        return list(free)
    holds = {*placed, *there}
    away = [one for one in holds.difference(free) if is_selected(one, spec, node, is_held=True)]
    return sorted((*free, *away)) if away else list(free)


def _held(current: DesiredNode | None, key: str, told: int, hook: Hook) -> Iterator[str]:
    """Where the node is told to run the revision."""
    for chain in current.chains if current else ():
        if chain.hook == hook and any(
            one.deployment == key and one.revision == told for one in chain.programs
        ):
            yield chain.place


def holdings(current: DesiredNode | None) -> Holdings:
    """Which revision of which deployment a node is told to run, and where."""
    found: dict[tuple[str, int, Hook], list[str]] = {}
    for chain in current.chains if current else ():
        place, hook = chain.place, chain.hook
        for one in chain.programs:
            found.setdefault((one.deployment, one.revision, hook), []).append(place)
    return found


def wanted_from(
    one: Assignment,
    node: NodeView,
    current: DesiredNode | None,
    *,
    held: Holdings | None = None,
) -> Wanted:
    """What of the deployment is to be where on the node: more than one revision if it is split."""
    if not one.is_split(node):
        facts = one.facts_on(node)
        places = places_of(facts.revision, node, current, held=held) if facts is not None else ()
        return ((facts.on(node), tuple(places)),) if facts is not None and places else ()
    found = (
        (
            facts.on(node),
            tuple(
                place
                for place in places_of(facts.revision, node, current, held=held)
                if one.facts_on(node, place) is facts
            ),
        )
        for facts in one.revisions
    )
    return tuple((facts, places) for facts, places in found if places)


def wanted_on(
    node: NodeView, assignments: Collection[Assignment], current: DesiredNode | None
) -> Wanted:
    """What of the deployments is to be where on the node."""
    held = holdings(current) if len(assignments) > _FEW else None
    found: list[tuple[RevisionFacts, tuple[str, ...]]] = []
    for one in assignments:
        if one.is_whole:
            places = places_of(one.newest.revision, node, current, held=held)
            if places:
                there = one.newest.on(node) if one.newest.has_overlays else one.newest
                found.append((there, tuple(places)))
        else:
            found += wanted_from(one, node, current, held=held)
    return tuple(found)


def assignments_of(deployments: Iterable[DeploymentRecord]) -> list[Assignment]:
    """Who shall have what of each; what was removed is not there."""
    return list(filter(None, map(assignment, deployments)))
