# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Whether a version may be published, and what the package's record is then.

Pure.  Signatures and the archive's content were verified before; this is asked with what is true.

Rules:
 * A published version never changes.  Publishing it again is a conflict, with the same content or
   another; only the same command gives the same answer again, and that is the outbox's part.
 * Versions of equal precedence are one version: build metadata does not tell them apart, but in a
   private space an overlay's number does (1.4.2+acme.3).
 * What is in other spaces is no conflict, so that none tells that there is something.
 * The manifest keeps its word (`manifest`), and neither the kernel nor the installation's policy
   would refuse what is said of licences (shared/licensing).
 * A publisher publishes what its own key signed: the certificate names who asks.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar, Final

import msgspec

from services.catalog.manifest import manifest_reasons
from services.catalog.remarks import remarks
from services.catalog.resolution import STABLE
from services.catalog.version_entries import RecordFullError, entry_of
from shared.canonical import sha256_hex
from shared.configuration.package_rules import offered_types
from shared.contracts.catalog import (
    DsseEnvelope,
    PackagePublished,
    PackageVersion,
    SignedPackage,
)
from shared.contracts.errors import ErrorCode
from shared.contracts.events import PUBLIC, Audience, EventBody
from shared.contracts.licences import LicenceVerdict
from shared.contracts.package_analysis import PackageAnalysis
from shared.contracts.package_facts import ElfFacts
from shared.contracts.package_manifest import PackageManifest
from shared.contracts.package_records import PackageRecord, VersionEntry
from shared.contracts.package_tests import PackageTest
from shared.contracts.trust_notes import TrustNote
from shared.contracts.waivers import Waiver
from shared.dsse import envelope_payload, manifest_digest
from shared.errors import Reason, Refusal, RefusedError
from shared.kernel_abilities import KernelAbilities
from shared.licensing.drift import RULE as DRIFT
from shared.licensing.drift import drift_findings
from shared.licensing.package import LicensedPackage
from shared.licensing.policies import LicencePolicy
from shared.licensing.replay import facts_of
from shared.licensing.verdict import check_licences, refusals, with_rule
from shared.licensing.waivers import subject_of, uses, waive
from shared.moments import render_time
from shared.package_tests import reasons_of_tests
from shared.reason_lists import bounded_reasons
from shared.versions import Precedence, base_of, precedence

MAX_MANIFEST_BYTES: Final = 32 * 1024
MAX_VERSION_BYTES: Final = 448 * 1024
"""A version travels whole in replies, beside a few others' names."""
ACTION: Final = "package.publish"
CHANNEL_RULE: Final = "a version is released to at least one channel, each named once"


class VersionConflictError(RefusedError):
    """The version exists, and what is published never changes."""

    code: ClassVar[ErrorCode] = "conflict"


class ManifestError(RefusedError):
    """The manifest does not fit its object files, or the licence statements disagree."""

    code: ClassVar[ErrorCode] = "invalid_request"


class NotOwnSignatureError(RefusedError):
    """Somebody asks to publish what another one's key signed."""

    code: ClassVar[ErrorCode] = "not_permitted"


def decide_publication(
    record: PackageRecord | None,
    *,
    name: str,
    version: PackageVersion,
    tests: Sequence[PackageTest] = (),
    unread: Sequence[Reason] = (),
    archive_bytes: int = 0,
) -> PackageRecord:
    """The package's record with `version` as its youngest.

    Args:
        record: What is published under this name in the same space; None if nothing is.
        name: The package's name, as the manifest has it.
        version: What shall be published, with facts of all its object files, and judged.
        tests: That its archive brings along.
        unread: Why files of its archive could not be read.
        archive_bytes: 0: not known.

    Raises:
        VersionConflictError: A version of this precedence is there already.
        ManifestError: With what is unread, every reason from `manifest`, the verdict on its
            licences, and tests that fit nothing.
    """
    assert version.licences is not None
    reasons = [
        *unread,
        *manifest_reasons(version.manifest, version.elf),
        *refusals(version.licences),
        *reasons_of_tests(version.manifest, tests, version.elf),
        *_channel_reasons(version.channels),
    ]
    if reasons:
        shown = bounded_reasons(reasons)
        raise ManifestError(f"{name} {version.version} cannot be published", shown)
    published = record.versions if record else ()
    wanted = _identity(version.version, version.space)
    for existing in published:
        if _identity(existing.version, version.space) == wanted:
            raise _conflict(name, existing, version)
    entry = entry_of(version, archive_bytes=archive_bytes)
    versions = (*published, entry)
    return PackageRecord(name=name, versions=versions, command_id=version.command_id)


def _identity(version: str, space: Audience) -> Precedence:
    return precedence(base_of(version) if space == PUBLIC else version)


def kept_version(
    version: PackageVersion, *, limit_bytes: int = MAX_VERSION_BYTES
) -> PackageVersion:
    """The version as it is kept; if it is large, with the types alone that it offers.

    Args:
        version: As it was judged.
        limit_bytes: What is kept of a version.

    Raises:
        RecordFullError: It would not fit into a reply.
    """
    if len(msgspec.json.encode(version)) <= limit_bytes:
        return version
    offered = tuple(offered_types(facts, version.manifest) for facts in version.elf)
    version = msgspec.structs.replace(version, elf=offered)
    size_bytes = len(msgspec.json.encode(version))
    if size_bytes > limit_bytes:
        rule = "is more than is kept of a version: offer less for configuration, or split it"
        reason = Reason(path="manifest", rule=rule, got=size_bytes, allowed=limit_bytes)
        raise RecordFullError(f"{version.manifest.name} {version.version}: {rule}", [reason])
    return version


def check_manifest_size(signed: SignedPackage) -> None:
    """The manifest is small enough to be kept with its siblings.

    Raises:
        RecordFullError: It is over MAX_MANIFEST_BYTES.
    """
    size_bytes = len(signed.manifest.payload) * 3 // 4
    if size_bytes > MAX_MANIFEST_BYTES:
        reason = Reason(
            path="signed.manifest.payload",
            rule="the manifest is too large",
            got=size_bytes,
            allowed=MAX_MANIFEST_BYTES,
        )
        raise RecordFullError(reason.rule, [reason])


def check_has_name(caller_name: str) -> None:
    """The server says who asks.

    Raises:
        NotOwnSignatureError: It does not, so nobody's signature can be the caller's own.
    """
    if not caller_name:
        raise NotOwnSignatureError("not permitted: the caller's key belongs to no name")


def draft_version(
    signed: SignedPackage,
    *,
    manifest: PackageManifest,
    elf: Sequence[ElfFacts],
    channels: Sequence[str],
    publisher_key: str,
    command_id: str,
    now: datetime,
    analysis: PackageAnalysis | None = None,
    space: Audience = PUBLIC,
    trust: TrustNote | None = None,
    provenance: DsseEnvelope | None = None,
) -> PackageVersion:
    """What would be published."""
    return PackageVersion(
        version=manifest.version,
        signed=signed,
        manifest=manifest,
        elf=tuple(elf),
        published_at=render_time(now),
        published_by=publisher_key,
        channels=tuple(channels),
        command_id=command_id,
        analysis=analysis,
        space=space,
        trust=trust,
        provenance=provenance,
    )


def judged(
    version: PackageVersion,
    policy: LicencePolicy,
    *,
    source_licences: Mapping[str, str],
    kernels: Sequence[KernelAbilities],
    released: PackageVersion | None = None,
    waivers: Sequence[Waiver] = (),
) -> PackageVersion:
    """The version with what the policy says of its licences.

    Args:
        version: As it came, with facts of all its object files.
        policy: The installation's.
        source_licences: The SPDX tag of each file that has one.
        kernels: Of the nodes; none: the built-in table of helpers holds.
        released: The newest release of the package, which it is compared with; None: there is none.
        waivers: In force.
    """
    package = LicensedPackage(
        manifest=version.manifest,
        elf=version.elf,
        policy=policy,
        source_licences=source_licences,
        kernels=tuple(kernels),
        companions=version.analysis.companions if version.analysis else (),
    )
    verdict = check_licences(package)
    if released is not None:
        before = dataclasses.replace(
            package,
            manifest=released.manifest,
            elf=released.elf,
            source_licences=released.source_licences,
        )
        drift = drift_findings(before, package, is_released=STABLE in version.channels)
        verdict = with_rule(verdict, DRIFT, drift)
    return msgspec.structs.replace(
        version,
        source_licences=dict(source_licences),
        licences=waive(verdict, subject_of(version), waivers),
    )


def publication_reply(name: str, version: PackageVersion) -> PackagePublished:
    """The answer to a publication that was accepted."""
    return PackagePublished(
        command_id=version.command_id,
        name=name,
        version=version.version,
        manifest_sha256=manifest_digest(version.signed),
        archive_sha256=version.signed.archive_sha256,
        space=version.space,
        submitted=version.lifecycle.targets if version.lifecycle else (),
        unchanged=version.unchanged,
    )


def publication_event(
    signed: SignedPackage,
    *,
    version: PackageVersion | None,
    refusal: Refusal | None = None,
) -> EventBody:
    """What the audit log says about a publication.

    `details`: archive_sha256, manifest_sha256, signer (key ids that the envelope names), licence
    (SPDX expression), elf_licence (object file to its string) and licences (the verdict: policy,
    outcome, every rule that did not simply hold, elections), licence_facts (what another policy
    needs to be asked), published_before (trust roots of
    other installations, oldest first).  What was not verified when a
    publication was refused is not claimed: name, version and licences are left out then.

    Args:
        signed: As it came.
        version: What was verified; None if it did not come so far.
        refusal: Why not; None if it was accepted.
    """
    details: dict[str, Any] = {
        "archive_sha256": signed.archive_sha256,
        "manifest_sha256": manifest_digest(signed) if version else "",
        "signer": [signature.keyid for signature in signed.manifest.signatures],
    }
    if version is not None:
        details["licence"] = version.manifest.licence
        details["elf_licence"] = {facts.path: facts.licence for facts in version.elf}
        details["channels"] = list(version.channels)
        details |= remarks(version)
        if version.provenance is not None:
            details["provenance_sha256"] = sha256_hex(
                envelope_payload(version.provenance, path="provenance")
            )
        if signed.origins:
            details["published_before"] = [origin.trust_root for origin in signed.origins]
        if version.unchanged:
            details["unchanged"] = version.unchanged
        if version.lifecycle is not None and version.lifecycle.targets:
            details["submitted"] = list(version.lifecycle.targets)
        if version.licences is not None:
            details["licences"] = _spoken(version.licences)
            details["licence_facts"] = msgspec.to_builtins(
                facts_of(version.manifest, version.source_licences)
            )
    if refusal is not None:
        details |= {"code": refusal.code, "message": refusal.message}
    return EventBody(
        action=ACTION,
        outcome="refused" if refusal else "accepted",
        package=version.manifest.name if version else "",
        version=version.version if version else "",
        reasons=refusal.reasons if refusal else (),
        after="" if refusal else str(details["manifest_sha256"]),
        details=details,
    )


def use_events(version: PackageVersion) -> tuple[EventBody, ...]:
    """`waiver.use` for each waiver by whose grace the version is published.

    `details`: waiver (its id), rules and paths of what it excuses.
    """
    verdict = version.licences
    return tuple(
        EventBody(
            action="waiver.use",
            outcome="observed",
            package=version.manifest.name,
            version=version.version,
            details={
                "waiver": waiver,
                "rules": list(dict.fromkeys(one.rule for one in findings)),
                "paths": [one.path for one in findings],
            },
        )
        for waiver, findings in (uses(verdict) if verdict else {}).items()
    )


def _spoken(verdict: LicenceVerdict) -> dict[str, Any]:
    """The verdict for the audit log: rules that hold are counted."""
    told = tuple(one for one in verdict.findings if one.outcome != "passed" or one.text)
    spoken: dict[str, Any] = msgspec.to_builtins(msgspec.structs.replace(verdict, findings=told))
    return {**spoken, "passed": len(verdict.findings) - len(told)}


def _channel_reasons(channels: Sequence[str]) -> list[Reason]:
    if channels and len(set(channels)) == len(channels):
        return []
    return [Reason(path="channels", rule=CHANNEL_RULE, got=list(channels))]


def _conflict(name: str, existing: VersionEntry, version: PackageVersion) -> VersionConflictError:
    same = existing.manifest_sha256 == manifest_digest(version.signed)
    rule = (
        "already published with the same content"
        if same
        else "already published with other content; what is published never changes"
    )
    reason = Reason(
        path="manifest.version",
        rule=rule,
        got={"version": version.version, "archive_sha256": version.signed.archive_sha256},
        allowed={"published": existing.version, "archive_sha256": existing.archive_sha256},
    )
    return VersionConflictError(f"{name} {version.version}: {rule}", [reason])
