# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The life of one deployment: revisions, their history, what a rollback brings back.

Rules:
 * Every accepted specification is a new revision; numbers only go up, also after a removal.
 * A rollback is a new revision with an earlier one's specification and its pinned version.
 * An instance begins anew, with empty maps and counters at 0, when a deployment is applied after it
   was removed, or with another package or hook.  A rollback brings the revision's own instance
   back, so that a node that still keeps its generation goes on with its maps and counters.
 * Only the newest KEPT_REVISIONS are kept, and only the newest of them holds what it resolved to
   and where it was placed: going back decides both anew, and the audit log has what was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

import msgspec

from services.scheduler.remarks import remarks
from services.scheduler.rollout.assignment import base_of, is_rolling
from shared.canonical import canonical_digest
from shared.contracts.catalog import PackageVersion
from shared.contracts.deployments import (
    KEPT_REVISIONS,
    PACKED_FROM,
    DeploymentRecord,
    DeploymentRevision,
    DeploymentSpec,
    Placement,
    ResolvedProgram,
)
from shared.contracts.desired import Cause
from shared.contracts.errors import ErrorCode
from shared.contracts.events import Actor, EventBody, Outcome
from shared.contracts.node_choice import NodeChoice
from shared.contracts.rollout_commands import RolloutCommand
from shared.contracts.scheduler import RemoveDeployment, RollBackDeployment
from shared.deployment_keys import deployment_key
from shared.errors import Reason, Refusal, RefusedError, VerificationError
from shared.packed_places import pack_places

REFUSAL_REASONS_IN_EVENT: Final = 50
SILENT_IN_EVENT: Final = 50
"""Nodes that were away; the count is always there."""
PLACES_IN_EVENT: Final = 200
"""More would not fit an audit entry; the count is always there."""


Named = DeploymentSpec | RollBackDeployment | RemoveDeployment | RolloutCommand
"""What a command says that names a deployment."""


class UnknownDeploymentError(RefusedError):
    """No deployment of this name holds a place."""

    code: ClassVar[ErrorCode] = "not_found"


class NoEarlierRevisionError(RefusedError):
    """There is nothing to go back to."""

    code: ClassVar[ErrorCode] = "not_found"


class GenerationConflictError(RefusedError):
    """Somebody else's command was accepted meanwhile."""

    code: ClassVar[ErrorCode] = "conflict"


@dataclass(frozen=True, slots=True)
class CommandFacts:
    """Who asked for a change, when, under which id and why."""

    command_id: str
    actor: Actor
    at: str
    """RFC 3339 UTC, microseconds."""
    reason: str = ""
    together: Mapping[str, int] = field(default_factory=dict)
    """All deployments that the command changes, with the generation of each after it; empty: it
    changes one."""

    @property
    def cause(self) -> Cause:
        """The part that the node repeats in what it reports."""
        return Cause(
            command_id=self.command_id,
            actor_key=self.actor.key,
            actor_role=self.actor.role,
            actor_address=self.actor.address,
        )


def next_record(
    previous: DeploymentRecord | None,
    *,
    spec: DeploymentSpec,
    package: PackageVersion,
    resolved: ResolvedProgram,
    placements: tuple[Placement, ...],
    choice: NodeChoice | None = None,
    facts: CommandFacts,
    rollback_of: DeploymentRevision | None = None,
) -> DeploymentRecord:
    """The deployment with `spec` as its next revision."""
    number = previous.revisions[-1].revision + 1 if previous and previous.revisions else 1
    is_long = len(placements) > PACKED_FROM
    places = ((one.node, one.interface, one.netns) for one in placements)
    revision = DeploymentRevision(
        revision=number,
        spec=spec,
        version=package.version,
        archive_sha256=package.signed.archive_sha256,
        placements=() if is_long else placements,
        packed_placements=pack_places(places) if is_long else "",
        command_id=facts.command_id,
        actor_key=facts.actor.key,
        actor_role=facts.actor.role,
        at=facts.at,
        reason=facts.reason,
        rollback_of=rollback_of.revision if rollback_of else 0,
        instance=rollback_of.instance if rollback_of else _instance(previous, spec, number),
        resolved=resolved,
        choice=choice,
        together=dict(facts.together),
    )
    return appended(previous, revision, facts)


def appended(
    previous: DeploymentRecord | None, revision: DeploymentRevision, facts: CommandFacts
) -> DeploymentRecord:
    """The deployment with the revision as its newest, everywhere."""
    older = tuple(
        msgspec.structs.replace(
            one, resolved=None, placements=(), packed_placements="", choice=None
        )
        for one in (previous.revisions if previous else ())
    )
    return DeploymentRecord(
        name=revision.spec.name,
        space=revision.spec.space,
        revisions=(*older, revision)[-KEPT_REVISIONS:],
        command_id=facts.command_id,
        changed_by=facts.cause,
        changed_at=facts.at,
        unfinished=(*(previous.unfinished if previous else ()), facts.command_id),
        licence=previous.licence if previous else None,
        generation=generation_of(previous) + 1,
    )


def _instance(previous: DeploymentRecord | None, spec: DeploymentSpec, number: int) -> int:
    """What an application of `spec` as revision `number` has as instance."""
    if previous is None or not previous.revisions:
        return 0
    last = previous.revisions[-1]
    is_same = (last.spec.package, last.spec.hook) == (spec.package, spec.hook)
    return last.instance if is_same and not previous.removed else number


def generation_of(record: DeploymentRecord | None) -> int:
    """How many commands the deployment has seen; 0: there never was one of this name."""
    return record.generation_now if record is not None else 0


def check_generation(
    record: DeploymentRecord | None, *, name: str, if_generation: int | None
) -> None:
    """Nothing, if the deployment is as whoever gives the command believes.

    Args:
        record: As it is.
        name: Of the deployment.
        if_generation: What it is believed to be; None: whatever it is.

    Raises:
        GenerationConflictError: It is another one.
    """
    now = generation_of(record)
    if if_generation is None or if_generation == now:
        return
    reason = Reason(
        path="if_generation",
        rule="is not the deployment's generation",
        got=if_generation,
        allowed=now,
    )
    raise GenerationConflictError(
        f"{name}: its generation is {now} and not {if_generation}, so nothing was changed", [reason]
    )


def known_record(record: DeploymentRecord | None, *, name: str) -> DeploymentRecord:
    """The deployment, removed or not.

    Raises:
        UnknownDeploymentError: It never was.
    """
    if record is None or not record.revisions:
        reason = Reason(path="name", rule="no deployment of this name ever was", got=name)
        raise UnknownDeploymentError(f"{name}: there is no such deployment", [reason])
    return record


def removed_record(
    previous: DeploymentRecord | None, *, name: str, facts: CommandFacts
) -> DeploymentRecord:
    """The deployment without any place; its history stays.

    Raises:
        UnknownDeploymentError: It never was, or was removed already.
    """
    if previous is None or previous.removed:
        reason = Reason(path="name", rule="no deployment of this name runs", got=name)
        raise UnknownDeploymentError(f"{name}: there is no such deployment", [reason])
    return msgspec.structs.replace(
        previous,
        removed=True,
        written_by="",
        command_id=facts.command_id,
        changed_by=facts.cause,
        changed_at=facts.at,
        unfinished=(*previous.unfinished, facts.command_id),
        generation=previous.generation_now + 1,
        rollout=None,
        earlier=(),
    )


def rollback_target(
    record: DeploymentRecord | None, *, name: str, to_revision: int
) -> DeploymentRevision:
    """The revision to bring back: the one named, or for 0 the one that ran before the current.

    Of a removed deployment, the last revision is the one that ran before; while a rollout goes on,
    the last one that was everywhere.

    Raises:
        UnknownDeploymentError: The deployment never was.
        NoEarlierRevisionError: The revision is not kept, is the current one, or there is none.
    """
    record = known_record(record, name=name)
    candidates = record.revisions if record.removed else record.revisions[:-1]
    if not candidates:
        only = record.revisions[-1].revision
        reason = Reason(path="name", rule=f"revision {only} is the only one", got=name)
        raise NoEarlierRevisionError(f"{name}: there is no earlier revision", [reason])
    if to_revision == 0 and is_rolling(record):
        base = base_of(record)
        if base is None:
            rule = "no revision was everywhere yet; abort the rollout, or remove the deployment"
            reason = Reason(path="name", rule=rule, got=name)
            raise NoEarlierRevisionError(f"{name}: there is nothing to go back to", [reason])
        return base
    if to_revision == 0:
        return candidates[-1]
    for revision in candidates:
        if revision.revision == to_revision:
            return revision
    is_current = to_revision == record.revisions[-1].revision
    reason = Reason(
        path="to_revision",
        rule="is the current revision" if is_current else "is not a kept revision",
        got=to_revision,
        allowed=[revision.revision for revision in candidates],
    )
    raise NoEarlierRevisionError(f"{name}: cannot go back to revision {to_revision}", [reason])


def check_same_archive(target: DeploymentRevision, package: PackageVersion) -> None:
    """Nothing, if the catalog still means the archive that the revision ran.

    Raises:
        VerificationError: A version is immutable, so somebody tampered.
    """
    if package.signed.archive_sha256 == target.archive_sha256:
        return
    reason = Reason(
        path="archive_sha256",
        rule=f"revision {target.revision} ran another archive under this version",
        got=package.signed.archive_sha256,
        allowed=target.archive_sha256,
    )
    raise VerificationError(f"{target.spec.package} {target.version} is not what it was", [reason])


def accepted_event(
    action: str,
    record: DeploymentRecord,
    before: DeploymentRecord | None,
    facts: CommandFacts,
    *,
    silent: Sequence[str] = (),
) -> EventBody:
    """What the audit log says of an accepted apply, rollback or removal.

    `silent` are the nodes that were away and have not tried it.
    """
    revision = record.revisions[-1]
    details: dict[str, Any] = {
        "revision": revision.revision,
        "constraint": revision.spec.version,
        "order": revision.order,
        "archive_sha256": revision.archive_sha256,
        "generation": record.generation_now,
        "place_count": len(revision.accepted_for),
        "places": [[place.node, place.place] for place in revision.accepted_for[:PLACES_IN_EVENT]],
        **remarks(revision),
    }
    beside = {"before": revision.spec.before, "after": revision.spec.after}
    details |= {field: said for field, said in beside.items() if said}
    if silent:
        details |= {"silent_count": len(silent), "silent": list(silent[:SILENT_IN_EVENT])}
    if revision.spec.owner:
        details["owner"] = revision.spec.owner
    if revision.spec.expiry:
        details["expiry"] = revision.spec.expiry
    if revision.together and not record.removed:
        details["together"] = [key for key in revision.together if key != record.key]
    if record.rollout is not None and is_rolling(record):
        details["waves"] = [len(wave.names) for wave in record.rollout.waves]
        details["base_revision"] = record.rollout.base_revision
    if revision.rollback_of and not record.removed:
        details["rollback_of"] = revision.rollback_of
    return EventBody(
        action=action,
        outcome="accepted",
        correlation=facts.command_id,
        actor=facts.actor,
        reason=facts.reason if record.removed else revision.reason,
        hook=revision.spec.hook,
        deployment=record.key,
        package=revision.spec.package,
        version=revision.version,
        before=state_digest(before),
        after=state_digest(record),
        details=details,
    )


def refused_event(
    action: str,
    refusal: Refusal,
    facts: CommandFacts,
    *,
    node: str = "",
    named: Named | None = None,
) -> EventBody:
    """What the audit log says of a command that was refused."""
    outcome: Outcome = "refused"
    spec = named if isinstance(named, DeploymentSpec) else None
    return EventBody(
        action=action,
        outcome=outcome,
        correlation=facts.command_id,
        actor=facts.actor,
        reason=facts.reason,
        node=node,
        hook=spec.hook if spec else "",
        deployment=deployment_key(named.space, named.name) if named else "",
        package=spec.package if spec else "",
        reasons=refusal.reasons[:REFUSAL_REASONS_IN_EVENT],
        details={"code": refusal.code, "message": refusal.message},
    )


def state_digest(record: DeploymentRecord | None) -> str:
    """SHA-256 of what the deployment is; empty if it is not there."""
    if record is None or record.removed or not record.revisions:
        return ""
    revision = record.revisions[-1]
    return canonical_digest(
        {"spec": revision.spec, "version": revision.version, "archive": revision.archive_sha256}
    )
