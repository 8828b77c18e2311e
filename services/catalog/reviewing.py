# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Who may say what about a version, and what it is then: reviews, approvals, and taking back.

Pure.

Rules:
 * Nobody reviews or approves what they published or submitted: neither by the same key nor under
   the same name.  Whose name the server does not vouch for says nothing.
 * An approval names the manifest's digest.
 * Publishers submit, promote, deprecate and yank what they published or submitted themselves.
 * What is deprecated stays so, and what is revoked too; only a yank can be undone.
 * Every refusal names all that is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Final, Literal

import msgspec

from services.catalog.code_ownership import (
    is_submitter,
    lifecycle_of,
    owners_of,
    submitter_names,
    with_lifecycle,
)
from services.catalog.releasing import (
    Circumstances,
    ReleasePolicy,
    ended_reasons,
    has_approvals,
    promotion_reasons,
    state_of,
)
from services.catalog.remarks import remarks
from shared.contracts.catalog import PackageVersion
from shared.contracts.errors import ErrorCode
from shared.contracts.events import Actor, EventBody
from shared.contracts.lifecycle import Approval, Statement
from shared.contracts.package_records import PackageRecord
from shared.contracts.reviews import MAX_TAGS, OwnerRule
from shared.dsse import manifest_digest
from shared.errors import Reason, RefusedError
from shared.moments import render_time

MAX_STATEMENTS: Final = 32
"""Of each kind that a version keeps."""
ONLY_OWN: Final = "publisher"
"""The role that may deal with its own versions only."""


class ReviewError(RefusedError):
    """The version, or who asks, is not as the command needs it."""

    code: ClassVar[ErrorCode] = "conflict"


class NotYourWordError(RefusedError):
    """Who asks may not say this of this version."""

    code: ClassVar[ErrorCode] = "not_permitted"


@dataclass(frozen=True, slots=True)
class Speaker:
    """Who gives a command, and why."""

    actor: Actor
    name: str
    """As the server vouches for it; empty when a recorded command is decided again."""
    why: str
    now: datetime

    @property
    def statement(self) -> Statement:
        """What is kept of it."""
        return Statement(
            by=self.actor.key,
            name=self.name,
            role=self.actor.role,
            at=render_time(self.now),
            why=self.why,
        )


def submitted(
    record: PackageRecord,
    version: PackageVersion,
    channel: str,
    speaker: Speaker,
    *,
    notes: str,
    tags: Sequence[str],
) -> PackageVersion:
    """The version, waiting for reviews for the channel.

    Raises:
        RefusedError: With every reason.
    """
    found = lifecycle_of(version)
    problems = [*ended_reasons(version), *_room_reasons(found.submitted, "submitted")]
    if channel in version.channels or channel in found.targets:
        rule = "is in this channel already" if channel in version.channels else "was submitted"
        problems.append(Reason(path="channel", rule=rule, got=channel))
    problems += _tag_reasons(record, version, tags)
    _refuse(version, "submitted", _own_reasons(version, speaker), problems)
    version = described(version, notes, tags)
    return with_lifecycle(
        version,
        msgspec.structs.replace(
            lifecycle_of(version),
            submitted=(*found.submitted, speaker.statement),
            targets=(*found.targets, channel),
        ),
    )


def reviewed(
    version: PackageVersion, speaker: Speaker, rules: Sequence[OwnerRule]
) -> PackageVersion:
    """The version, with somebody looking at it.

    Raises:
        RefusedError: With every reason.
    """
    found = lifecycle_of(version)
    problems = [*ended_reasons(version), *_room_reasons(found.reviews, "reviews")]
    _refuse(version, "reviewed", _owner_reasons(version, speaker, rules), problems)
    return with_lifecycle(
        version, msgspec.structs.replace(found, reviews=(*found.reviews, speaker.statement))
    )


def approved(
    version: PackageVersion,
    speaker: Speaker,
    rules: Sequence[OwnerRule],
    policy: ReleasePolicy,
    *,
    manifest_sha256: str,
) -> PackageVersion:
    """The version with one more approval.

    Raises:
        RefusedError: With every reason.
    """
    found = lifecycle_of(version)
    problems = [*ended_reasons(version), *_room_reasons(found.approvals, "approvals")]
    digest = manifest_digest(version.signed)
    if manifest_sha256 != digest:
        rule = "is not the digest of what was published"
        problems.append(
            Reason(path="manifest_sha256", rule=rule, got=manifest_sha256, allowed=digest)
        )
    if any(speaker.actor.key == one.by or speaker.name == one.name for one in found.approvals):
        problems.append(Reason(path="approvals", rule="has your approval", got=speaker.name))
    _refuse(version, "approved", _owner_reasons(version, speaker, rules), problems)
    word = msgspec.structs.asdict(speaker.statement)
    approvals = (*found.approvals, Approval(**word, manifest_sha256=digest))
    after = with_lifecycle(version, msgspec.structs.replace(found, approvals=approvals))
    is_enough = any(has_approvals(after, one, rules, policy) for one in found.targets)
    if not is_enough or found.approved_at:
        return after
    moment = render_time(speaker.now)
    return with_lifecycle(after, msgspec.structs.replace(lifecycle_of(after), approved_at=moment))


def refuse_promotion(
    record: PackageRecord,
    version: PackageVersion,
    channel: str,
    speaker: Speaker,
    given: Circumstances,
    *,
    tags: Sequence[str] = (),
) -> None:
    """Nothing, if the version may enter the channel.

    Raises:
        RefusedError: With every reason.
    """
    problems = [
        *promotion_reasons(version, channel, given),
        *_tag_reasons(record, version, tags),
    ]
    _refuse(version, f"promoted to {channel}", _own_reasons(version, speaker), problems)


def withdrawn(
    version: PackageVersion,
    verb: Literal["deprecate", "yank", "revoke"],
    speaker: Speaker,
    *,
    undo: bool = False,
) -> PackageVersion:
    """The version as it is once it was deprecated, yanked (or shown again) or revoked.

    What it waited for it waits for no more, except when a yank is undone.

    Raises:
        RefusedError: With every reason.
    """
    found = lifecycle_of(version)
    field = {"deprecate": "deprecated", "yank": "yanked", "revoke": "revoked"}[verb]
    problems: list[Reason] = []
    if not speaker.why.strip():
        problems.append(Reason(path="reason", rule="must say why"))
    if found.revoked is not None:
        problems.append(Reason(path="version", rule=f"was revoked: {found.revoked.why}"))
    elif not undo and getattr(found, field) is not None:
        problems.append(Reason(path="version", rule=f"is {field} already"))
    elif undo and found.yanked is None:
        problems.append(Reason(path="version", rule="is not yanked"))
    _refuse(version, "shown again" if undo else field, _own_reasons(version, speaker), problems)
    if undo:
        return with_lifecycle(version, msgspec.structs.replace(found, yanked=None))
    changes: dict[str, Any] = {field: speaker.statement, "targets": ()}
    after = with_lifecycle(version, msgspec.structs.replace(found, **changes))
    gate = version.gate
    if gate is None or not gate.awaits:
        return after
    return msgspec.structs.replace(after, gate=msgspec.structs.replace(gate, awaits=()))


def event_of(
    action: str, before: PackageVersion, after: PackageVersion, **details: Any
) -> EventBody:
    """What the audit log says; `details`: state, before, manifest_sha256, channels, targets."""
    digest = manifest_digest(after.signed)
    return EventBody(
        action=action,
        outcome="accepted",
        package=after.manifest.name,
        version=after.version,
        after=digest,
        details={
            "state": state_of(after),
            "state_before": state_of(before),
            "manifest_sha256": digest,
            "channels": list(after.channels),
            "targets": list(lifecycle_of(after).targets),
            **remarks(after),
            **details,
        },
    )


def submission_events(version: PackageVersion) -> tuple[EventBody, ...]:
    """That it was submitted by being published, if it was; `details` as of `event_of`."""
    if not lifecycle_of(version).targets:
        return ()
    return (event_of("package.submit", version, version),)


def described(version: PackageVersion, notes: str, tags: Sequence[str]) -> PackageVersion:
    """The version with these release notes, if any, and these further tags."""
    found = lifecycle_of(version)
    if not notes and not tags:
        return version
    all_tags = tuple(dict.fromkeys((*found.tags, *tags)))
    return with_lifecycle(
        version, msgspec.structs.replace(found, notes=notes or found.notes, tags=all_tags)
    )


def _refuse(
    version: PackageVersion, what: str, own: Sequence[Reason], problems: Sequence[Reason]
) -> None:
    if own:
        text = f"not permitted: {own[0].rule}"
        raise NotYourWordError(text, [*own, *problems])
    if problems:
        name = f"{version.manifest.name} {version.version}"
        raise ReviewError(f"{name} cannot be {what}", list(problems))


def _room_reasons(statements: Sequence[Statement], path: str) -> list[Reason]:
    if len(statements) < MAX_STATEMENTS:
        return []
    rule = "the version keeps no more of these"
    return [Reason(path=path, rule=rule, got=len(statements) + 1, allowed=MAX_STATEMENTS)]


def _tag_reasons(
    record: PackageRecord, version: PackageVersion, tags: Sequence[str]
) -> list[Reason]:
    reasons = [
        Reason(path="tags", rule=f"{other.version} has this tag, and tags never move", got=tag)
        for tag in tags
        for other in record.versions
        if other.version != version.version and tag in lifecycle_of(other).tags
    ]
    count = len({*lifecycle_of(version).tags, *tags})
    if count > MAX_TAGS:
        reasons.append(Reason(path="tags", rule="are too many", got=count, allowed=MAX_TAGS))
    return reasons


def _named_reasons(speaker: Speaker) -> list[Reason]:
    if speaker.actor.attested and speaker.name:
        return []
    rule = "the server does not say whose key this is; ask again"
    return [Reason(path="caller", rule=rule, got=speaker.actor.key)]


def _own_reasons(version: PackageVersion, speaker: Speaker) -> list[Reason]:
    """What a publisher must not do with another's version."""
    unnamed = _named_reasons(speaker)
    if unnamed or speaker.actor.role != ONLY_OWN:
        return unnamed
    if is_submitter(version, key=speaker.actor.key, name=speaker.name):
        return []
    rule = "a publisher decides about what it published or submitted itself"
    allowed = sorted(submitter_names(version))
    return [Reason(path="caller", rule=rule, got=speaker.name, allowed=allowed)]


def _owner_reasons(
    version: PackageVersion, speaker: Speaker, rules: Sequence[OwnerRule]
) -> list[Reason]:
    """Why this is nobody to review or approve the version."""
    reasons = _named_reasons(speaker)
    if is_submitter(version, key=speaker.actor.key, name=speaker.name):
        rule = "who published or submitted a version does not approve it"
        reasons.append(Reason(path="caller", rule=rule, got=speaker.name))
    owners = owners_of(version, rules)
    if speaker.name not in owners:
        rule = "owns no file of this package"
        reasons.append(Reason(path="caller", rule=rule, got=speaker.name, allowed=list(owners)))
    return reasons
