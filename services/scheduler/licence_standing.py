# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Deployments of versions that break a licence rule by the grace of waivers, and when none is left.

Pure.

Rules:
 * What runs stays when its waiver has ended, unless somebody said otherwise (`waiver_end`):
   stopping a filter is an operator's decision.  Nothing new is put there (`fitness`).
 * A deployment that comes to violate rules, other rules, or none again has one event for each such
   change; the record says what was said last.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import msgspec

from services.scheduler.desired_state import Fleet
from services.scheduler.fitness import Excuses
from services.scheduler.placement import NodeView
from services.scheduler.remarks import remarks
from services.scheduler.rollout.assignment import assignment, at_end
from services.scheduler.wanted_places import wanted_from
from shared.contracts.deployments import DeploymentRecord, LicenceStanding
from shared.contracts.events import EventBody
from shared.contracts.scheduler import LicenceViolation
from shared.licensing.waivers import excuses, uncovered

NODES_IN_EVENT: Final = 80


@dataclass(frozen=True, slots=True)
class StandingChange:
    """What is to be said of a deployment, and its record once it was said."""

    event_id: str
    body: EventBody
    record: DeploymentRecord


def violations(record: DeploymentRecord, fleet: Fleet) -> tuple[LicenceViolation, ...]:
    """Each rule that the deployment breaks on a node without a waiver in force, by node."""
    return tuple(
        LicenceViolation(node=node.name, rule=rule)
        for node, needed in _excused_nodes(record, fleet)
        for rule in uncovered(
            needed.rules, needed.subject, node.waivers, node=node.name, labels=node.labels
        )
    )


def standing_change(record: DeploymentRecord, fleet: Fleet) -> StandingChange | None:
    """What is to be said; None if it was said already.

    `licence.violate`, or `licence.comply` when no rule is left; `details`: rules, the rules said
    before, nodes (the first NODES_IN_EVENT), and waivers by whose grace it runs elsewhere.
    """
    found = violations(record, fleet)
    rules = tuple(sorted({one.rule for one in found}))
    before = record.licence or LicenceStanding()
    if rules == before.rules:
        return None
    revision = record.revisions[-1]
    nodes = sorted({one.node for one in found})
    changes = before.changes + 1
    body = EventBody(
        action="licence.violate" if rules else "licence.comply",
        outcome="observed",
        deployment=record.key,
        package=revision.spec.package,
        version=revision.version,
        hook=revision.spec.hook,
        details={
            "rules": list(rules),
            "before": list(before.rules),
            "nodes": nodes[:NODES_IN_EVENT],
            "node_count": len(nodes),
            "waivers": sorted(_used(record, fleet)),
            **remarks(revision),
        },
    )
    standing = LicenceStanding(rules=rules, changes=changes)
    return StandingChange(
        event_id=f"{record.key}.licence.{changes}",
        body=body,
        record=msgspec.structs.replace(record, licence=standing),
    )


def use_events(record: DeploymentRecord, fleet: Fleet) -> tuple[EventBody, ...]:
    """`waiver.use` for each waiver by whose grace the newest revision is to run somewhere.

    `details`: waiver (its id), rules, and nodes (the first NODES_IN_EVENT).
    """
    revision = record.revisions[-1]
    return tuple(
        EventBody(
            action="waiver.use",
            outcome="observed",
            deployment=record.key,
            package=revision.spec.package,
            version=revision.version,
            details={
                "waiver": waiver,
                "rules": sorted(rules),
                "nodes": sorted(nodes)[:NODES_IN_EVENT],
                "node_count": len(nodes),
                **remarks(revision),
            },
        )
        for waiver, (rules, nodes) in sorted(_used(at_end(record), fleet).items())
    )


def _used(record: DeploymentRecord, fleet: Fleet) -> dict[str, tuple[set[str], set[str]]]:
    """Each waiver that excuses the deployment, with the rules and the nodes."""
    used: dict[str, tuple[set[str], set[str]]] = {}
    for node, needed in _excused_nodes(record, fleet):
        for rule in needed.rules:
            for waiver in node.waivers:
                if excuses(waiver, rule, needed.subject, node=node.name, labels=node.labels):
                    rules, nodes = used.setdefault(waiver.id, (set(), set()))
                    rules.add(rule)
                    nodes.add(node.name)
    return used


def _excused_nodes(record: DeploymentRecord, fleet: Fleet) -> Iterator[tuple[NodeView, Excuses]]:
    """Every node that the deployment runs on, if the version there needs waivers."""
    now = assignment(record)
    if now is None or all(one.demand.excuses is None for one in now.revisions):
        return
    for name, node in sorted(fleet.nodes.items()):
        if not node.is_forgotten:
            for facts, _ in wanted_from(now, node, fleet.desired.get(name)):
                if facts.demand.excuses is not None:
                    yield node, facts.demand.excuses
