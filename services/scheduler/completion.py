# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""How a command ended: the `deployment.complete` event that each accepted one leads to, once.

The record owes the events (`unfinished`), so whichever process dies, the next one knows.

Rules:
 * An apply or rollback succeeded when every place it was accepted for, and still wants, runs;
   it failed when some refuse and none is pending.
 * A removal succeeded when no node holds any part of the deployment.
 * A forgotten node is not waited for.
 * A command that a later one overtook before it ended failed, and the event names the later one.
 * While a rollout goes on, its command has not ended; if it went back, every command that it goes
   back behind failed, with what the rollout says of that.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec

from services.scheduler.deployment import state_digest
from services.scheduler.desired_state import Fleet
from services.scheduler.place_conflicts import PlaceConflict
from services.scheduler.remarks import remarks
from services.scheduler.revision_facts import facts_of
from services.scheduler.rollout.assignment import is_rolling
from services.scheduler.short_reasons import short_reason
from services.scheduler.status import PlaceView, each_place, view_places
from shared.contracts.deployments import DeploymentRecord, DeploymentRevision
from shared.contracts.events import Actor, EventBody
from shared.contracts.node import ObservedNode
from shared.errors import Reason

ACTION: Final = "deployment.complete"
PLACES_IN_ENDING: Final = 80
"""At most 300 bytes each; failed ones first, and the count is always there."""
REASONS_IN_ENDING: Final = 40


@dataclass(frozen=True, slots=True)
class Ending:
    """One command that is over."""

    command_id: str
    body: EventBody
    is_of_several: bool = False
    """Whether the command changed other deployments too, whose endings are events of their own."""

    @property
    def event_id(self) -> str:
        """The same whenever and wherever it is emitted."""
        of = f".{self.body.deployment}" if self.is_of_several else ""
        return f"{self.command_id}{of}.complete"


def endings(
    record: DeploymentRecord,
    fleet: Fleet,
    observed: Mapping[str, ObservedNode],
    conflicts: Collection[PlaceConflict] = (),
) -> list[Ending]:
    """The commands of a deployment that are over and whose event is still owed, oldest first."""
    over: list[Ending] = []
    for command_id in record.unfinished:
        if command_id != record.command_id:
            over.append(_overtaken(record, command_id))
        elif (ending := _current_ending(record, fleet, observed, conflicts)) is not None:
            over.append(ending)
    return over


def pending_node(
    record: DeploymentRecord,
    fleet: Fleet,
    observed: Mapping[str, ObservedNode],
    conflicts: Collection[PlaceConflict] = (),
    *,
    since: str = "",
) -> str:
    """A node that the newest command still waits for; empty: there is none, as far as nodes go.

    Looks at `since` first and goes on by name from there, so that asking again and again, while
    nodes come to their ends, looks at each of them about once.
    """
    names = sorted(observed if record.removed else fleet.nodes)
    first = bisect_left(names, since)
    accepted = facts_of(record.revisions[-1]).placed_on
    sight = fleet.audiences.seen_in(record.space)
    ordered = itertools.chain(names[first:], names[:first])
    views = each_place(record, fleet, observed, conflicts, sight=sight, names=ordered)
    return next(
        (
            view.node
            for view in views
            if view.state == "pending" and (record.removed or view.interface in accepted(view.node))
        ),
        "",
    )


def settle(record: DeploymentRecord, command_ids: Collection[str]) -> DeploymentRecord:
    """The record once the events of these commands are out."""
    left = tuple(one for one in record.unfinished if one not in command_ids)
    return msgspec.structs.replace(record, unfinished=left)


def _current_ending(
    record: DeploymentRecord,
    fleet: Fleet,
    observed: Mapping[str, ObservedNode],
    conflicts: Collection[PlaceConflict],
) -> Ending | None:
    if is_rolling(record):
        return None
    revision = record.revisions[-1]
    sight = fleet.audiences.seen_in(record.space)
    views = view_places(record, fleet, observed, conflicts, sight=sight)
    if record.removed:
        is_written = not any(
            program.deployment == record.key
            for name, node in fleet.desired.items()
            if not fleet.is_forgotten(name)
            for chain in node.chains
            for program in chain.programs
        )
        if not is_written:
            return None
    else:
        accepted = facts_of(revision).placed_on
        views = [view for view in views if view.interface in accepted(view.node)]
    if any(view.state == "pending" for view in views):
        return None
    failed = [view for view in views if view.state == "failed"]
    return _ending(
        record,
        record.command_id,
        revision,
        outcome="failed" if failed else "succeeded",
        reasons=tuple(reason for view in failed for reason in _located(view)),
        details={**_evidence(views), **_given_up(revision, fleet)},
    )


def _is_service(role: str) -> bool:
    """Whether nobody asked: the scheduler followed a revocation."""
    return role.startswith("service-")


def _overtaken(record: DeploymentRecord, command_id: str) -> Ending:
    revision = next(
        (one for one in record.revisions if one.command_id == command_id), record.revisions[-1]
    )
    reason = Reason(path="", rule="a later command came before it ended", got=record.command_id)
    reasons: tuple[Reason, ...] = (reason,)
    details: dict[str, Any] = {}
    state = record.rollout
    if state is not None and _went_back_behind(record, revision):
        reasons = (Reason(path="", rule=state.why, got=record.command_id), *state.evidence)
        details = {"rollout": state.phase, "base_revision": state.base_revision}
    return _ending(record, command_id, revision, outcome="failed", reasons=reasons, details=details)


def _went_back_behind(record: DeploymentRecord, revision: DeploymentRevision) -> bool:
    """Whether the revision was on its way, or had been, when the rollout went back."""
    state = record.rollout
    if state is None or state.phase not in ("rolled-back", "aborted"):
        return False
    return state.base_revision < revision.revision <= state.revision


def _ending(
    record: DeploymentRecord,
    command_id: str,
    revision: DeploymentRevision,
    *,
    outcome: Literal["succeeded", "failed"],
    reasons: tuple[Reason, ...],
    details: dict[str, Any],
) -> Ending:
    is_latest = command_id == record.command_id
    cause = record.changed_by if is_latest else None
    return Ending(
        command_id=command_id,
        is_of_several=revision.command_id == command_id and bool(revision.together),
        body=EventBody(
            action=ACTION,
            outcome=outcome,
            correlation=command_id,
            # Whoever is no service was attested, or could not have given the command.
            actor=Actor(
                key=cause.actor_key if cause else revision.actor_key,
                role=cause.actor_role if cause else revision.actor_role,
                attested=not _is_service(cause.actor_role if cause else revision.actor_role),
                address=cause.actor_address if cause else "",
                through="scheduler",
            ),
            hook=revision.spec.hook,
            deployment=record.key,
            package=revision.spec.package,
            version=revision.version,
            reasons=tuple(map(short_reason, reasons[:REASONS_IN_ENDING])),
            after=state_digest(record) if is_latest else "",
            details={
                "revision": revision.revision,
                "reason_count": len(reasons),
                **remarks(revision),
                **details,
            },
        ),
    )


def _located(view: PlaceView) -> list[Reason]:
    return [
        msgspec.structs.replace(
            reason,
            path=_path_at(view, reason.path),
            rule=reason.rule.removeprefix(f"{reason.path}: "),
        )
        for reason in view.why
    ]


def _path_at(view: PlaceView, path: str) -> str:
    """Where on which node; a path that names its place already does not name it twice."""
    node = f"nodes.{view.node}"
    if path == view.interface or path.startswith(f"{view.interface}/"):
        return f"{node}.{path}"
    return f"{node}.{view.interface}.{path}" if path else f"{node}.{view.interface}"


def _given_up(revision: DeploymentRevision, fleet: Fleet) -> dict[str, Any]:
    """The nodes that it was accepted for and that were forgotten meanwhile."""
    nodes = {place.node for place in revision.accepted_for if fleet.is_forgotten(place.node)}
    return {"forgotten": sorted(nodes)[:PLACES_IN_ENDING]} if nodes else {}


def _evidence(views: Sequence[PlaceView]) -> dict[str, Any]:
    """What the kernels were read back to hold."""
    shown = sorted(views, key=lambda view: view.state == "running")[:PLACES_IN_ENDING]
    places = [
        {
            "node": view.node,
            "interface": view.interface,
            "state": view.state,
            "desired_generation": view.desired_generation,
            "generation": view.chain.generation if view.chain else 0,
            "program_id": view.chain.program_id if view.chain else 0,
            "program_tag": view.chain.program_tag if view.chain else "",
        }
        for view in shown
    ]
    return {"place_count": len(views), "places": places}
