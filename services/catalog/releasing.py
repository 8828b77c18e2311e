# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which channels a version may enter, and what keeps it out.

Pure.

Rules:
 * A channel that demands approvals, or time elsewhere, is entered by a promotion only; being
   approved is not being released.
 * A promotion needs the channel's approvals, its time in another channel, and licences that hold
   with the waivers in force now; what is missing is named all at once.  Kernels that are missing
   are waited for, as at a publication.
 * `dev` is a workbench: being there is no release.
 * What leaves a channel because so many newer versions are there is never picked there again.
 * What was taken back (yanked, deprecated, revoked) enters no channel.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import msgspec

from services.catalog.code_ownership import (
    approval_reasons,
    counted,
    lifecycle_of,
    with_lifecycle,
)
from services.catalog.release_gate import Demands
from services.catalog.resolution import STABLE
from shared.contracts.catalog import PackageVersion, VersionState
from shared.contracts.lifecycle import Lifecycle, ReviewState, Statement
from shared.contracts.package_records import PackageRecord, VersionEntry
from shared.contracts.release_gate import ReleaseGate
from shared.contracts.reviews import OwnerRule
from shared.contracts.waivers import Waiver
from shared.errors import Reason
from shared.licensing.drift import RULE as DRIFT
from shared.licensing.drift import drift_findings
from shared.licensing.package import LicensedPackage
from shared.licensing.policies import LicencePolicy
from shared.licensing.verdict import refusals, with_rule
from shared.licensing.waivers import subject_of, waive
from shared.moments import render_time
from shared.platform_artifacts import unchanged_platforms
from shared.versions import precedence

DEV: Final = "dev"


@dataclass(frozen=True, slots=True)
class ReleasePolicy:
    """What each channel demands; a channel that is not named demands nothing."""

    approvals: Mapping[str, int] = field(default_factory=dict)
    soak_seconds: Mapping[str, int] = field(default_factory=dict)
    """In any other channel, before this one."""
    kept: Mapping[str, int] = field(default_factory=dict)
    """How many versions, the newest, are picked in a channel; not named: all."""

    def needs_promotion(self, channel: str) -> bool:
        """Whether a publication alone does not enter it."""
        return bool(self.approvals.get(channel, 0) or self.soak_seconds.get(channel, 0))


@dataclass(frozen=True, slots=True)
class Circumstances:
    """All that a promotion is judged by beside the version."""

    policy: ReleasePolicy
    rules: Sequence[OwnerRule]
    licence_policy: LicencePolicy
    waivers: Sequence[Waiver]
    """In force."""
    demands: Demands
    now: datetime
    released: PackageVersion | None = None
    """The package's newest release; None: there is none."""


def state_of(version: VersionState) -> ReviewState:
    """How far it has come."""
    found = lifecycle_of(version)
    if found.revoked is not None:
        return "revoked"
    if found.deprecated is not None:
        return "deprecated"
    if any(channel != DEV for channel in version.channels):
        return "released"
    if found.approved_at:
        return "approved"
    return "in-review" if found.reviews or found.approvals else "submitted"


def held_back(
    version: PackageVersion, policy: ReleasePolicy, *, submitter: Statement
) -> PackageVersion:
    """The version as it is published, without the channels that need a promotion."""
    targets = tuple(one for one in version.channels if policy.needs_promotion(one))
    if not targets:
        return version
    free = tuple(one for one in version.channels if one not in targets)
    version = msgspec.structs.replace(version, channels=free)
    return with_lifecycle(version, Lifecycle(submitted=(submitter,), targets=targets))


def promotion_reasons(version: PackageVersion, channel: str, given: Circumstances) -> list[Reason]:
    """Everything that keeps the version out of the channel; kernels that are waited for do not."""
    return [
        *_state_reasons(version, channel),
        *approval_reasons(version, given.rules, demanded=given.policy.approvals.get(channel, 0)),
        *_soak_reasons(version, channel, given),
        *_licence_reasons(judged_for(version, channel, given)),
        *_kernel_reasons(version, given.demands.of(channel)),
    ]


def promoted(
    version: PackageVersion, channel: str, given: Circumstances, *, command_id: str
) -> PackageVersion:
    """The version in the channel, or waiting there for the kernels that are missing."""
    found = lifecycle_of(version)
    left = tuple(one for one in found.targets if one != channel)
    version = with_lifecycle(version, msgspec.structs.replace(found, targets=left))
    demanded = given.demands.of(channel)
    if not demanded:
        version = msgspec.structs.replace(version, channels=(*version.channels, channel))
        return entered(version, (channel,), now=given.now)
    gate = version.gate or ReleaseGate(order=command_id, ordered_at=render_time(given.now))
    gate = msgspec.structs.replace(
        gate, kernels={**gate.kernels, channel: demanded}, awaits=(*gate.awaits, channel)
    )
    return msgspec.structs.replace(version, gate=gate)


def entered(version: PackageVersion, channels: Sequence[str], *, now: datetime) -> PackageVersion:
    """The version with the moment at which it came into channels."""
    if not channels:
        return version
    found = lifecycle_of(version)
    moments = {**found.entered, **dict.fromkeys(channels, render_time(now))}
    return with_lifecycle(version, msgspec.structs.replace(found, entered=moments))


def retired(record: PackageRecord, channels: Sequence[str], policy: ReleasePolicy) -> PackageRecord:
    """The record where only the newest versions are picked in these channels."""
    for channel in channels:
        kept = policy.kept.get(channel, 0)
        if not kept:
            continue
        shown = [one.version for one in record.versions if _is_shown(one, channel)]
        old = set(sorted(shown, key=precedence, reverse=True)[kept:])
        versions = tuple(
            _retired(one, channel) if one.version in old else one for one in record.versions
        )
        record = msgspec.structs.replace(record, versions=versions)
    return record


def newly_retired(before: PackageRecord | None, after: PackageRecord) -> list[str]:
    """Versions that are picked in fewer channels than before."""
    was = {one.version: lifecycle_of(one).retired for one in (before.versions if before else ())}
    return [
        one.version
        for one in after.versions
        if lifecycle_of(one).retired != was.get(one.version, ())
    ]


def version_before(version: VersionState, record: PackageRecord | None) -> VersionEntry | None:
    """The newest version of a lower precedence that was not taken back; None: there is none."""
    mine = precedence(version.version)
    lower = (
        one
        for one in (record.versions if record else ())
        if precedence(one.version) < mine
        and not (one.lifecycle and (one.lifecycle.revoked or one.lifecycle.yanked))
    )
    return max(lower, key=lambda one: precedence(one.version), default=None)


def marked_unchanged(version: PackageVersion, before: PackageVersion | None) -> PackageVersion:
    """The version with the platforms on which the version before it, if any, is the same."""
    if before is None:
        return version
    platforms = unchanged_platforms(before.manifest, version.manifest)
    return msgspec.structs.replace(version, unchanged=dict.fromkeys(platforms, before.version))


def has_approvals(
    version: PackageVersion, channel: str, rules: Sequence[OwnerRule], policy: ReleasePolicy
) -> bool:
    """Whether the channel demands approvals and has all of them."""
    demanded = policy.approvals.get(channel, 0)
    return demanded > 0 and not approval_reasons(version, rules, demanded=demanded)


def approvers(version: PackageVersion, rules: Sequence[OwnerRule]) -> tuple[str, ...]:
    """Names whose approvals count."""
    return tuple(one.name for one in counted(version, rules))


def ended_reasons(version: VersionState) -> Iterator[Reason]:
    """Why a version goes nowhere any more: everything by which it was taken back."""
    found = lifecycle_of(version)
    if found.revoked is not None:
        yield Reason(path="version", rule=f"was revoked: {found.revoked.why}")
    if found.deprecated is not None:
        yield Reason(path="version", rule=f"is deprecated: {found.deprecated.why}")
    if found.yanked is not None:
        yield Reason(path="version", rule=f"was yanked: {found.yanked.why}")


def _state_reasons(version: PackageVersion, channel: str) -> Iterator[Reason]:
    yield from ended_reasons(version)
    if channel in version.channels:
        yield Reason(path="to", rule="it is in this channel already", got=channel)
    if version.gate is not None and channel in version.gate.awaits:
        yield Reason(path="to", rule="it waits there to be verified on kernels", got=channel)


def _soak_reasons(version: PackageVersion, channel: str, given: Circumstances) -> Iterator[Reason]:
    wanted = timedelta(seconds=given.policy.soak_seconds.get(channel, 0))
    if not wanted:
        return
    moments = lifecycle_of(version).entered
    since = [
        datetime.fromisoformat(moments.get(one, version.published_at))
        for one in version.channels
        if one != channel
    ]
    stayed = given.now - min(since) if since else timedelta()
    if stayed < wanted:
        where = "another channel" if since else "no other channel"
        yield Reason(
            path="soak",
            rule=f"it has been in {where} for {int(stayed.total_seconds())} s",
            got=int(stayed.total_seconds()),
            allowed=f"at least {int(wanted.total_seconds())} s",
        )


def judged_for(version: PackageVersion, channel: str, given: Circumstances) -> PackageVersion:
    """The version's licences with the waivers of now, and as a release if it is to become one.

    So what lets it in is known of it later: when a waiver ends, and where it may be placed.
    """
    verdict = version.licences
    if verdict is None:
        return version
    released = given.released
    if channel == STABLE and released is not None and released.version != version.version:
        before, after = (
            LicensedPackage(
                manifest=one.manifest,
                elf=one.elf,
                policy=given.licence_policy,
                source_licences=one.source_licences,
            )
            for one in (released, version)
        )
        others = tuple(one for one in verdict.findings if one.rule != DRIFT)
        verdict = with_rule(
            msgspec.structs.replace(verdict, findings=others),
            DRIFT,
            drift_findings(before, after, is_released=True),
        )
    waived = waive(verdict, subject_of(version), given.waivers)
    return msgspec.structs.replace(version, licences=waived)


def _licence_reasons(version: PackageVersion) -> list[Reason]:
    return refusals(version.licences) if version.licences else []


def _kernel_reasons(version: PackageVersion, demanded: int) -> Iterator[Reason]:
    """Only what does not end by waiting."""
    for verdict in version.gate.verdicts if version.gate and demanded else ():
        if verdict.outcome == "failed":
            yield Reason(
                path=f"kernels.{verdict.node}",
                rule=f"Linux {verdict.kernel} says no: {verdict.why}",
                allowed="l3af package verify, once its cause is gone",
            )


def _is_shown(version: VersionState, channel: str) -> bool:
    found = lifecycle_of(version)
    is_taken_back = found.yanked is not None or found.revoked is not None
    return channel in version.channels and channel not in found.retired and not is_taken_back


def _retired(version: VersionEntry, channel: str) -> VersionEntry:
    found = lifecycle_of(version)
    return with_lifecycle(
        version, msgspec.structs.replace(found, retired=(*found.retired, channel))
    )
