# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Review and release on the bus: versions on their way, and who owns what."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol

import msgspec
import structlog

from services.catalog.adapters.owners import Owners
from services.catalog.adapters.packages import Packages
from services.catalog.adapters.waivers import Waivers
from services.catalog.code_ownership import lifecycle_of
from services.catalog.package_places import Held, Part, VersionPlace
from services.catalog.publication import check_has_name, use_events
from services.catalog.release_gate import Demands
from services.catalog.releasing import (
    Circumstances,
    ReleasePolicy,
    approvers,
    judged_for,
    newly_retired,
    promoted,
    promotion_reasons,
    retired,
    state_of,
)
from services.catalog.resolution import newest_release
from services.catalog.reviewing import (
    Speaker,
    approved,
    described,
    event_of,
    refuse_promotion,
    reviewed,
    submitted,
    withdrawn,
)
from services.catalog.verification_reports import RELEASE, awaited, replaced, version_of
from services.catalog.version_refusals import refused_of_version
from shared.adapters.callers import Caller
from shared.adapters.outbox import Outbox
from shared.adapters.service_layer import Handler
from shared.contracts.base import Endpoint, Message
from shared.contracts.catalog import PackageVersion
from shared.contracts.events import Audience, EventBody
from shared.contracts.package_records import PackageRecord
from shared.contracts.reviews import (
    APPROVE_PACKAGE,
    DEPRECATE_PACKAGE,
    FIND_REVOKED,
    GET_REVIEW,
    PROMOTE_PACKAGE,
    REVIEW_PACKAGE,
    REVOKE,
    REVOKE_PACKAGE,
    SUBMIT_PACKAGE,
    YANK_PACKAGE,
    ApprovePackage,
    DeprecatePackage,
    FindRevoked,
    GetReview,
    PackageMoved,
    PackageReview,
    PromotePackage,
    ReviewPackage,
    RevokedVersion,
    RevokedVersions,
    RevokePackage,
    SubmitPackage,
    YankPackage,
)
from shared.errors import Reason, RefusedError
from shared.licensing.policies import LicencePolicy
from shared.outbox_records import Decision

_log = structlog.get_logger()

MoveCommand = (
    SubmitPackage
    | ReviewPackage
    | ApprovePackage
    | PromotePackage
    | DeprecatePackage
    | YankPackage
    | RevokePackage
)


class Verifying(Protocol):
    """Has versions verified."""

    def opened(self, place: VersionPlace) -> None:
        """The version is looked at from now on."""


@dataclass(frozen=True, slots=True)
class _Move:
    """One version as it was found, and all that is decided by."""

    held: Held
    """The package as the version's own audience sees it."""
    version: PackageVersion
    speaker: Speaker
    given: Circumstances
    command_id: str

    @property
    def part(self) -> Part:
        """What is in the version's own space."""
        return self.held.part(self.version.space)


class Reviews:
    """The way of every version from its publication to its end."""

    def __init__(
        self,
        packages: Packages,
        outbox: Outbox,
        *,
        owners: Owners,
        policy: ReleasePolicy,
        demands: Demands,
        licence_policy: LicencePolicy,
        waivers: Waivers,
        verification: Verifying,
        now: Callable[[], datetime],
    ) -> None:
        self._packages: Final = packages
        self._owners: Final = owners
        self._outbox: Final = outbox
        self._policy: Final = policy
        self._demands: Final = demands
        self._licence_policy: Final = licence_policy
        self._waivers: Final = waivers
        self._verification: Final = verification
        self._now: Final = now
        self._handlers: Final[dict[Endpoint[Any, Any], Handler]] = {
            SUBMIT_PACKAGE: self._moving(SUBMIT_PACKAGE, self._submit),
            REVIEW_PACKAGE: self._moving(REVIEW_PACKAGE, self._review),
            APPROVE_PACKAGE: self._moving(APPROVE_PACKAGE, self._approve),
            PROMOTE_PACKAGE: self._moving(PROMOTE_PACKAGE, self._promote),
            DEPRECATE_PACKAGE: self._moving(DEPRECATE_PACKAGE, self._deprecate),
            YANK_PACKAGE: self._moving(YANK_PACKAGE, self._yank),
            REVOKE_PACKAGE: self._moving(REVOKE_PACKAGE, self._revoke),
        }

    def endpoints(self) -> dict[Endpoint[Any, Any], Handler]:
        """What is served, and by which method."""
        return {
            **self._handlers,
            FIND_REVOKED: self.find_revoked,
            GET_REVIEW: self.get_review,
        }

    async def get_review(self, request: GetReview, caller: Caller) -> PackageReview:
        """Where a version stands, and what is missing for each channel."""
        seen = self._packages.seen_by(caller, request.space)
        held = self._packages.find(request.name, seen)
        entry = version_of(held.record, name=request.name, version=request.version)
        version = await self._packages.whole(held, entry)
        beside = self._packages.beside(entry.space)
        own = self._packages.find(request.name, beside, first=entry.space)
        given = await self._circumstances(own, entry.space, self._now())
        return PackageReview(
            name=request.name,
            version=version.version,
            manifest_sha256=entry.manifest_sha256,
            state=state_of(version),
            channels=version.channels,
            lifecycle=lifecycle_of(version),
            approvals=approvers(version, given.rules),
            waits_for=_waits_for(version, given),
        )

    async def find_revoked(self, request: FindRevoked, _caller: Caller) -> RevokedVersions:
        """Those that must not run, of the packages named, wherever they are."""
        spaces = self._packages.every_space
        found: list[RevokedVersion] = []
        for name in sorted(set(request.packages)):
            parts = self._packages.find(name, spaces).parts
            for entry in (one for part in parts for one in part.record.versions):
                revoked = lifecycle_of(entry).revoked
                if revoked is not None:
                    found.append(
                        RevokedVersion(
                            package=name,
                            version=entry.version,
                            archive_sha256=entry.archive_sha256,
                            at=revoked.at,
                            why=revoked.why,
                            space=entry.space,
                        )
                    )
        return RevokedVersions(revoked=tuple(found))

    async def _submit(self, request: SubmitPackage, move: _Move) -> Decision[PackageMoved]:
        after = submitted(
            move.held.record,
            move.version,
            request.channel,
            move.speaker,
            notes=request.notes,
            tags=request.tags,
        )
        said = {"channel": request.channel, "tags": list(request.tags)}
        return await self._moved(
            move, after, (event_of("package.submit", move.version, after, **said),)
        )

    async def _review(self, _request: ReviewPackage, move: _Move) -> Decision[PackageMoved]:
        after = reviewed(move.version, move.speaker, move.given.rules)
        return await self._moved(move, after, (event_of("package.review", move.version, after),))

    async def _approve(self, request: ApprovePackage, move: _Move) -> Decision[PackageMoved]:
        after = approved(
            move.version,
            move.speaker,
            move.given.rules,
            self._policy,
            manifest_sha256=request.manifest_sha256,
        )
        names = list(approvers(after, move.given.rules))
        event = event_of("package.approve", move.version, after, approvals=names)
        return await self._moved(move, after, (event,))

    async def _promote(self, request: PromotePackage, move: _Move) -> Decision[PackageMoved]:
        refuse_promotion(
            move.held.record, move.version, request.to, move.speaker, move.given, tags=request.tags
        )
        judged = judged_for(move.version, request.to, move.given)
        told = described(judged, request.notes, request.tags)
        after = promoted(told, request.to, move.given, command_id=move.command_id)
        is_in = request.to in after.channels
        record = replaced(move.part.record, after, command_id=move.command_id)
        record = retired(record, (request.to,) if is_in else (), self._policy)
        event = event_of(
            "package.promote",
            move.version,
            after,
            channel=request.to,
            awaits=awaited(after),
            approvals=list(approvers(after, move.given.rules)),
            retired=newly_retired(move.part.record, record),
            unchanged=after.unchanged,
            tags=list(request.tags),
        )
        release = event_of(RELEASE, move.version, after, channels=[request.to])
        release = msgspec.structs.replace(release, outcome="succeeded")
        events = (event, *((release,) if is_in else ()), *use_events(after))
        return await self._moved(move, after, events, record=record)

    async def _deprecate(self, _request: DeprecatePackage, move: _Move) -> Decision[PackageMoved]:
        after = withdrawn(move.version, "deprecate", move.speaker)
        return await self._moved(move, after, (event_of("package.deprecate", move.version, after),))

    async def _yank(self, request: YankPackage, move: _Move) -> Decision[PackageMoved]:
        after = withdrawn(move.version, "yank", move.speaker, undo=request.undo)
        event = event_of("package.yank", move.version, after, undo=request.undo)
        return await self._moved(move, after, (event,))

    async def _revoke(self, _request: RevokePackage, move: _Move) -> Decision[PackageMoved]:
        after = withdrawn(move.version, "revoke", move.speaker)
        archive = after.signed.archive_sha256
        event = event_of(REVOKE, move.version, after, archive_sha256=archive)
        return await self._moved(move, after, (event,))

    def _moving(
        self,
        endpoint: Endpoint[Any, PackageMoved],
        decide: Callable[[Any, _Move], Awaitable[Decision[PackageMoved]]],
    ) -> Handler:
        """A command about one version; a refusal names the version in its event."""
        action = ".".join(endpoint.subject.split(".")[-2:])

        async def decided(
            request: MoveCommand, caller: Caller, command_id: str, now: datetime
        ) -> Decision[PackageMoved]:
            packages = self._packages
            name, version = request.name, request.version
            meant = await packages.meant(name, version, caller, request.space)
            try:
                _check_version(request)
                entry = version_of(meant.record, name=name, version=version)
                move = _Move(
                    meant.held,
                    await packages.whole(meant.held, entry),
                    Speaker(caller.actor(), caller.name, request.reason, now),
                    await self._circumstances(meant.held, entry.space, now),
                    command_id,
                )
                return await decide(request, move)
            except RefusedError as error:
                return refused_of_version(action, request, error, audience=meant.audience)

        async def concerned(request: MoveCommand, caller: Caller) -> Audience:
            meant = await self._packages.meant(request.name, request.version, caller, request.space)
            return self._packages.audience_now(meant.audience)

        handler = self._outbox.command(endpoint, decided, concerned=concerned)

        async def perform(request: Any, caller: Caller) -> Message:
            check_has_name(caller.name)
            moved = await handler(request, caller)
            assert isinstance(moved, PackageMoved)
            if moved.awaits:
                self._verification.opened(VersionPlace(moved.space, moved.name, moved.version))
            said = {"package": moved.name, "version": moved.version, "state": moved.state}
            _log.info("package_moved", action=action, **said)
            return moved

        return perform

    async def _circumstances(self, held: Held, space: Audience, now: datetime) -> Circumstances:
        released = newest_release(held.record)
        return Circumstances(
            policy=self._policy,
            rules=await self._owners.rules(space),
            licence_policy=self._licence_policy,
            waivers=await self._waivers.in_force(),
            demands=self._demands,
            now=now,
            released=await self._packages.whole(held, released) if released else None,
        )

    async def _moved(
        self,
        move: _Move,
        after: PackageVersion,
        events: tuple[EventBody, ...],
        *,
        record: PackageRecord | None = None,
    ) -> Decision[PackageMoved]:
        """The version is as `after` says, or the package as `record` says."""
        record = record or replaced(move.part.record, after, command_id=move.command_id)
        missing = _waits_for(after, move.given)
        return Decision(
            reply=PackageMoved(
                command_id=move.command_id,
                name=record.name,
                version=after.version,
                space=after.space,
                state=state_of(after),
                channels=after.channels,
                targets=lifecycle_of(after).targets,
                approvals=approvers(after, move.given.rules),
                awaits=awaited(after),
                waits_for=tuple(
                    f"{channel}: {sentence}"
                    for channel, sentences in missing.items()
                    for sentence in sentences
                ),
            ),
            change=await self._packages.change(move.part, record, after),
            events=events,
            audience=self._packages.audience_now(after.space),
        )


def _waits_for(version: PackageVersion, given: Circumstances) -> dict[str, tuple[str, ...]]:
    """Channel that the version is submitted for to what is missing."""
    return {
        channel: tuple(_spoken(one) for one in promotion_reasons(version, channel, given))
        for channel in lifecycle_of(version).targets
    }


def _spoken(reason: Reason) -> str:
    able = reason.path.startswith("approvals") and reason.allowed
    return f"{reason.rule} ({', '.join(reason.allowed)} can)" if able else reason.rule


def _check_version(request: MoveCommand) -> None:
    if not request.version:
        raise RefusedError(
            "a version must be named", [Reason(path="version", rule="must be named")]
        )
