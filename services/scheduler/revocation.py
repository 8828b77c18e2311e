# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What becomes of deployments whose version was revoked.

Pure.

Rules:
 * The deployment says what, and the rollout policy what at least: stop, replace by what a
   constraint means, or alarm, which is the default: stopping a filter unasked could be worse than
   what it was revoked for.
 * What cannot be done (nothing meets the constraint, a node refuses the replacement) becomes an
   alarm too, and is tried again.
 * While a newer revision replaces the revoked version everywhere, nothing else does, but what is to
   stop stops.
 * What was revoked while its rollout goes on reaches no further node, whatever the deployment says.
 * An alarm is given once for each revision and version that was revoked.
 * What was revoked in a space says nothing to those who do not see it: it concerns deployments of
   that space, and once it is open all.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import msgspec

from services.scheduler.desired_state import Fleet
from services.scheduler.remarks import remarks
from services.scheduler.rollout.assignment import assignment, is_rolling
from services.scheduler.rollout.consequences import Way, consequences, way_of
from services.scheduler.wanted_places import current_revision
from shared.canonical import canonical_digest
from shared.contracts.deployments import (
    DeploymentRecord,
    DeploymentRevision,
    DeploymentSpec,
    RevocationAlarm,
)
from shared.contracts.events import EventBody
from shared.contracts.reviews import RevokedVersion
from shared.errors import Reason, RefusedError
from shared.versions import parse_constraint

ACTION: Final = "deployment.alarm"
AGAIN_SECONDS: Final = 600
"""How long a refused replacement is not asked for again with the same answer."""
_ID_DIGITS: Final = 40


@dataclass(frozen=True, slots=True)
class Affected:
    """A deployment that runs what was revoked."""

    record: DeploymentRecord
    spec: DeploymentSpec
    revoked: RevokedVersion
    way: Way
    constraint: str = ""
    """Of a replacement."""
    on_revoked: str = "alarm"
    """As it and the rollout policy say together."""
    rules: tuple[str, ...] = ()
    """Of the policy: those that ask for more than the deployment."""

    @property
    def why(self) -> str:
        """In the words of who revoked it."""
        by = f" (rules {', '.join(self.rules)} of the rollout policy)" if self.rules else ""
        return f"{self.revoked.package} {self.revoked.version} was revoked: {self.revoked.why}{by}"

    @property
    def replacement(self) -> DeploymentSpec:
        """The deployment with another version."""
        return msgspec.structs.replace(self.spec, version=self.constraint)

    @property
    def is_alarmed(self) -> bool:
        """Whether the alarm was given."""
        alarm = self.record.alarm
        return alarm is not None and alarm.archive_sha256 == self.revoked.archive_sha256

    def command_id(self, now: datetime) -> str:
        """The same for the same deed, so that a scheduler that died does it once."""
        revision = self.record.revisions[-1].revision
        window = int(now.timestamp()) // AGAIN_SECONDS
        parts = [self.record.key, revision, self.revoked.archive_sha256, self.way, window]
        return f"revoked-{canonical_digest(parts)[:_ID_DIGITS]}"


def check_on_revoked(spec: DeploymentSpec) -> None:
    """What the deployment says of revocations can be done.

    Raises:
        RefusedError: The replacement's constraint is none.
    """
    way, constraint = way_of(spec.on_revoked)
    if way == "replace":
        parse_constraint(constraint, path="on_revoked")


def constraint_problems(constraint: str, path: str) -> tuple[Reason, ...]:
    """Why a replacement's constraint is none; empty: it is one."""
    try:
        parse_constraint(constraint, path=path)
    except RefusedError as error:
        return error.reasons
    return ()


def packages_in_use(fleet: Fleet) -> tuple[str, ...]:
    """Names of the packages that deployments run."""
    found = map(assignment, fleet.deployments.values())
    return tuple(
        sorted(
            {
                facts.revision.spec.package
                for one in found
                for facts in (one.revisions if one is not None else ())
            }
        )
    )


def affected(fleet: Fleet, revoked: Iterable[RevokedVersion]) -> list[Affected]:
    """The deployments that run what was revoked, by name."""
    revoked = tuple(revoked)
    found = []
    for _, record in sorted(fleet.deployments.items()):
        revision = current_revision(record)
        if revision is None:
            continue
        spec = revision.spec
        sight = fleet.audiences.seen_in(record.space)
        packages = {spec.package, *(one.revision.spec.package for one in record.earlier)}
        known = {
            one.archive_sha256: one
            for one in revoked
            if one.package in packages and sight.sees(one.space)
        }
        newest = _archives(revision)
        hit = next((known[one] for one in (*newest, *_earlier(record)) if one in known), None)
        if hit is not None:
            said = consequences(record, fleet.policy, fleet.nodes)
            way, constraint = way_of(said.on_revoked)
            if way == "replace" and hit.archive_sha256 not in newest:
                way, constraint = "alarm", ""
            found.append(Affected(record, spec, hit, way, constraint, said.on_revoked, said.rules))
    return found


def standing_alarm(record: DeploymentRecord) -> RevocationAlarm | None:
    """The alarm that was given, as long as nodes shall run what it is about."""
    revision, alarm = current_revision(record), record.alarm
    if revision is None or alarm is None:
        return None
    in_use = (*_archives(revision), *_earlier(record))
    return alarm if alarm.archive_sha256 in in_use else None


def revoked_newly(record: DeploymentRecord) -> str:
    """Why the newest revision, which brings what was revoked, is to reach no further node.

    Empty: it may.  One that changes only how a version runs that nodes have anyhow brings nothing.
    """
    alarm = record.alarm
    if alarm is None or alarm.archive_sha256 != record.revisions[-1].archive_sha256:
        return ""
    if any(alarm.archive_sha256 in _archives(one.revision) for one in record.earlier):
        return ""
    return f"{alarm.version} was revoked, abort it or deploy another version: {alarm.why}"


def _archives(revision: DeploymentRevision) -> tuple[str, ...]:
    """All that nodes run of it."""
    kept = revision.resolved.kept.values() if revision.resolved is not None else ()
    return revision.archive_sha256, *(one.signed.archive_sha256 for one in kept)


def _earlier(record: DeploymentRecord) -> tuple[str, ...]:
    """What nodes run that the newest revision has not reached."""
    earlier = record.earlier if is_rolling(record) else ()
    return tuple(archive for one in earlier for archive in _archives(one.revision))


def alarm(one: Affected, *, reasons: Iterable[Reason] = ()) -> tuple[str, EventBody]:
    """The event, and the id under which it is said once.

    `details`: on_revoked, revoked_at, archive_sha256, why, and the rules of the rollout policy that
    ask for more than the deployment.
    """
    revision = one.record.revisions[-1]
    body = EventBody(
        action=ACTION,
        outcome="observed",
        deployment=one.record.key,
        package=one.revoked.package,
        version=one.revoked.version,
        hook=one.spec.hook,
        reason=one.why,
        reasons=tuple(reasons),
        details={
            "on_revoked": one.on_revoked,
            **({"rules": list(one.rules)} if one.rules else {}),
            "revoked_at": one.revoked.at,
            "archive_sha256": one.revoked.archive_sha256,
            "why": one.revoked.why,
            **remarks(revision),
        },
    )
    digest = one.revoked.archive_sha256[:_ID_DIGITS]
    return f"{one.record.key}.revoked.{revision.revision}.{digest}", body


def alarmed(current: DeploymentRecord | None, one: Affected) -> DeploymentRecord | None:
    """The record as it is stored now, with the alarm that was given; None: it moved on."""
    revision = one.record.revisions[-1].revision
    if current is None or current.removed or current.revisions[-1].revision != revision:
        return None
    given = RevocationAlarm(
        version=one.revoked.version,
        archive_sha256=one.revoked.archive_sha256,
        at=one.revoked.at,
        why=one.revoked.why,
    )
    return msgspec.structs.replace(current, alarm=given)
