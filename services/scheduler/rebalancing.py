# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Deployments for so many nodes, when some of these are gone -> which others take their place.

Pure.

Rules:
 * Who is replaced: a node that was lost and did not come back for LOST_SECONDS, was forgotten or
   drained, or is not meant or not able any more.  A node that is only silent is not.
 * So is one that refuses the revision; it is not chosen again for REFUSED_SECONDS, twice as long
   with each further time, and MOST_REFUSED_SECONDS at most.  If MOST_REFUSING nodes refused it of
   late, no further one is tried: it is not the nodes' fault.  While a rollout goes on, what a
   refusal leads to is the rollout's to say.
 * Of nodes that run nothing of it yet, no more are on their way at a time than `max_unavailable`.
 * Without another node that could, everything stays as it is: who returns goes on.
 * A node that was replaced and returns takes what it has off again.
 * What nodes have of a rollout that goes on moves along.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from services.scheduler.choosing import Wish, choice_of, choose_more, is_sound, wish_of
from services.scheduler.draining import Observation
from services.scheduler.fitness import demand_of, node_lack
from services.scheduler.rollout.assignment import is_rolling
from services.scheduler.rollout.waves import share_of
from services.scheduler.selection import selector_mismatch
from services.scheduler.status import PlaceView, each_place
from services.scheduler.wanted_places import current_revision, places_of
from shared.canonical import canonical_digest
from shared.contracts.deployments import DeploymentRecord, DeploymentRevision
from shared.contracts.events import EventBody
from shared.contracts.node_choice import NodeChoice, NodeRefusal
from shared.moments import read_time, render_time

ACTION: Final = "deployment.rebalance"
REFUSED_SECONDS: Final = 600
MOST_REFUSED_SECONDS: Final = 24 * 3600
MOST_REFUSING: Final = 3
_WHY_CHARACTERS: Final = 300
NODES_IN_EVENT: Final = 100


@dataclass(frozen=True, slots=True)
class Rebalance:
    """Some nodes of a deployment are others now."""

    before: DeploymentRecord
    after: DeploymentRecord
    added: tuple[str, ...]
    removed: Mapping[str, str]
    """By node: why."""

    @property
    def step_id(self) -> str:
        """The same for the same step, and for no other."""
        return self.after.written_by

    @property
    def event(self) -> EventBody:
        """What the audit log says of it.

        `details`: revision, added, removed (why, by node), and how many each.
        """
        revision = self.after.revisions[-1]
        removed = dict(list(self.removed.items())[:NODES_IN_EVENT])
        details: dict[str, Any] = {
            "revision": revision.revision,
            "added_count": len(self.added),
            "added": list(self.added[:NODES_IN_EVENT]),
            "removed_count": len(self.removed),
            "removed": removed,
        }
        gone = ", ".join(f"{node} {why}" for node, why in list(removed.items())[:5])
        return EventBody(
            action=ACTION,
            outcome="observed",
            deployment=self.before.key,
            package=revision.spec.package,
            version=revision.version,
            hook=revision.spec.hook,
            reason=gone or "there was room for more nodes",
            before=_digest(self.before),
            after=_digest(self.after),
            details=details,
        )


def rebalance(record: DeploymentRecord, seen: Observation, *, now: datetime) -> Rebalance | None:
    """What is to be moved now; None: nothing."""
    revision = current_revision(record)
    wish = wish_of(revision.spec) if revision is not None else None
    if revision is None or wish is None or revision.choice is None:
        return None
    chosen = revision.choice.names
    open_refusals = [one for one in revision.choice.refusals if read_time(one.until) > now]
    refusing = _refusing(record, seen) if len(open_refusals) < MOST_REFUSING else {}
    gone = {name: why for name in chosen if (why := _why_gone(revision, name, seen))}
    gone |= {name: f"refuses it: {why}" for name, why in refusing.items() if name not in gone}
    vacant = max(0, wish.count - len(chosen))
    if not gone and not vacant:
        return None
    room = share_of(revision.spec.rollout.max_unavailable, wish.count)
    room -= len(_on_their_way(record, seen) - gone.keys())
    kept_off = {one.node for one in open_refusals}
    number = min(room, len(gone) + vacant)
    added = _added(revision, wish, seen, gone, kept_off=kept_off, number=number)
    if not added:
        return None
    removed = dict(sorted(gone.items())[: max(0, len(added) - vacant)])
    refused = {name: why for name, why in refusing.items() if name in removed}
    moved = _moved(revision, removed, added, refused, now=now)
    after = msgspec.structs.replace(
        record,
        revisions=(*record.revisions[:-1], moved),
        written_by=f"{record.key}.choice.{moved.revision}.{_choice(moved).changes}",
        earlier=tuple(
            msgspec.structs.replace(
                one, revision=_moved(one.revision, removed, added, refused, now=now)
            )
            for one in record.earlier
        ),
    )
    return Rebalance(record, after, tuple(sorted(added)), removed)


def _added(
    revision: DeploymentRevision,
    wish: Wish,
    seen: Observation,
    gone: Mapping[str, str],
    *,
    kept_off: Collection[str],
    number: int,
) -> list[str]:
    fleet, chosen = seen.fleet, _choice(revision).names
    if number < 1:
        return []
    known = frozenset((*chosen, *kept_off))
    possible = {
        name: wish.domain(node)
        for name, node in fleet.nodes.items()
        if name not in known
        and is_sound(fleet, name)
        and not seen.silence(name).is_silent
        and places_of(revision, node, fleet.desired.get(name), only_chosen=False)
    }
    beside = [
        wish.domain(fleet.nodes[name])
        for name in chosen
        if name not in gone and name in fleet.nodes
    ]
    return choose_more(wish, possible, number=number, beside=beside)


def _why_gone(revision: DeploymentRevision, name: str, seen: Observation) -> str:
    """Why another node is to take this one's place; empty: none is."""
    fleet = seen.fleet
    node = fleet.nodes.get(name)
    if node is None:
        return "never registered"
    if name in fleet.lost:
        return seen.silence(name).why or "was lost"
    if places_of(revision, node, fleet.desired.get(name)):
        return ""
    mismatch = selector_mismatch(revision.spec, node)
    return mismatch or node_lack(demand_of(revision), node) or "has no interface for it any more"


def _refusing(record: DeploymentRecord, seen: Observation) -> dict[str, str]:
    """By node, why it refuses the revision; nothing while a rollout goes on."""
    if is_rolling(record):
        return {}
    return {
        one.node: one.why[0].rule[:_WHY_CHARACTERS] if one.why else "it does not say why"
        for one in _views(record, seen)
        if one.state == "failed"
    }


def _on_their_way(record: DeploymentRecord, seen: Observation) -> set[str]:
    """Nodes that do not run it yet, whatever the reason."""
    return {one.node for one in _views(record, seen) if one.state != "running"}


def _views(record: DeploymentRecord, seen: Observation) -> Iterator[PlaceView]:
    chosen = [name for name in _choice(record.revisions[-1]).names if name in seen.fleet.nodes]
    return each_place(record, seen.fleet, seen.observed, seen.conflicts, names=chosen)


def _moved(
    revision: DeploymentRevision,
    removed: Mapping[str, str],
    added: list[str],
    refused: Mapping[str, str],
    *,
    now: datetime,
) -> DeploymentRevision:
    """The revision on the other nodes, if it is for so many."""
    choice = revision.choice
    if choice is None:
        return revision
    names = ({*choice.names} - removed.keys()) | {*added}
    refusals = {one.node: one for one in choice.refusals}
    for name, why in refused.items():
        times = refusals[name].times + 1 if name in refusals else 1
        refusals[name] = NodeRefusal(
            node=name, times=times, until=render_time(now + _kept_off_for(times)), why=why
        )
    changed = msgspec.structs.replace(
        choice_of(names, changes=choice.changes + 1),
        refusals=tuple(one for _, one in sorted(refusals.items())),
    )
    return msgspec.structs.replace(revision, choice=changed)


def _kept_off_for(times: int) -> timedelta:
    doubled = REFUSED_SECONDS * 2 ** min(times - 1, 20)
    return timedelta(seconds=min(doubled, MOST_REFUSED_SECONDS))


def _digest(record: DeploymentRecord) -> str:
    """SHA-256 of the nodes that the deployment is for."""
    return canonical_digest(sorted(_choice(record.revisions[-1]).names))


def _choice(revision: DeploymentRevision) -> NodeChoice:
    if revision.choice is None:
        raise AssertionError("unreachable: what is for so many nodes has a choice")
    return revision.choice
