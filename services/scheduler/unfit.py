# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Deployments that mean a node which is known to lack what they require.

What runs there already stays, since it was loaded when the node could; nothing new is put there.
Either is said: of the node, of the place, and in the log when it comes to be so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from services.scheduler.audiences import EVERYBODYS, Sight
from services.scheduler.desired_state import Fleet
from services.scheduler.fitness import interface_lack, node_lack
from services.scheduler.placement import NodeView
from services.scheduler.revision_facts import RevisionFacts, facts_of
from services.scheduler.rollout.assignment import Assignment, assignment
from services.scheduler.selection import is_selected, selector_mismatch
from services.scheduler.wanted_places import wanted_from
from shared.contracts.deployments import DeploymentRevision
from shared.contracts.scheduler import UnfitDeployment


class Stay(NamedTuple):
    """A deployment that runs on a node which could not take it now."""

    deployment: str
    node: str
    why: str


def unfit_deployments(
    node: NodeView, fleet: Fleet, sight: Sight = EVERYBODYS
) -> tuple[UnfitDeployment, ...]:
    """Every deployment in `sight` that the node's name and labels attract, and it cannot take."""
    found: list[UnfitDeployment] = []
    for name, record in sorted(fleet.deployments.items()):
        now = assignment(record)
        if now is not None and sight.sees(record.space):
            for facts in now.had_by(node) or (now.newest,):
                found += _unfit(name, now, facts, node, fleet)
    return tuple(found)


def stays(fleet: Fleet, *, nodes: Iterable[NodeView] | None = None) -> Iterator[Stay]:
    """Everything that runs where it could not be put now, on all nodes or on these."""
    looked_at = tuple(fleet.nodes.values() if nodes is None else nodes)
    for name, record in fleet.deployments.items():
        now = assignment(record)
        if now is None:
            continue
        everywhere = (now.newest,) if now.is_whole else None
        for node in looked_at:
            for facts in everywhere or now.had_by(node):
                there = facts.on(node)
                if there.lack(node) is None and not there.demand.is_about_drivers:
                    continue
                for one in _unfit(name, now, facts, node, fleet):
                    if one.stays:
                        yield Stay(name, node.name, one.why)


def lack_at(revision: DeploymentRevision, node: NodeView, place: str) -> str | None:
    """What the node, or this interface of it, lacks."""
    wanted = facts_of(revision).on(node).demand
    return node_lack(wanted, node) or interface_lack(wanted, node, place)


def _unfit(
    name: str, now: Assignment, facts: RevisionFacts, node: NodeView, fleet: Fleet
) -> Iterator[UnfitDeployment]:
    """What is to be said of the deployment on the node, and on each of its interfaces."""
    facts = facts.on(node)
    revision, wanted = facts.revision, facts.demand
    lack = node_lack(wanted, node)
    if lack is None and not wanted.is_about_drivers:
        return
    if selector_mismatch(revision.spec, node) is not None:
        return
    there = wanted_from(now, node, fleet.desired.get(node.name))
    held = [place for one, places in there if one is facts for place in places]
    if lack is not None:
        yield UnfitDeployment(deployment=name, why=lack, stays=bool(held))
        return
    for place in node.interfaces:
        why = interface_lack(wanted, node, place)
        is_held = place in held
        if why is not None and is_selected(place, revision.spec, node, is_held=is_held):
            yield UnfitDeployment(deployment=name, why=why, stays=is_held)
