# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Platforms on which another version of a package changes nothing, so that no node is touched.

Pure.

Rules:
 * A platform is left alone if what its nodes take from the package is the same in both versions
   (`shared.platform_artifacts`), and nothing else that they would be told differs.
 * The same version once more reaches every node that runs it, as ever.
 * Its nodes go on under the revision and the version that they were told, whatever number of
   versions passes by; who reads a deployment sees which.
"""

from __future__ import annotations

import msgspec

from services.scheduler.revision_facts import desired_program
from shared.contracts.deployments import DeploymentRecord, DeploymentRevision, KeptArtifact
from shared.contracts.package_manifest import PackageManifest
from shared.dsse import signed_manifest
from shared.errors import RefusedError
from shared.platform_artifacts import PLATFORMS, artifact_digest


def with_kept(
    record: DeploymentRecord, before: DeploymentRevision | None, manifest: PackageManifest
) -> DeploymentRecord:
    """The record whose newest revision leaves alone what it does not change.

    Args:
        record: With the new revision.
        before: The revision that runs now; None: nothing does.
        manifest: Of the new version.
    """
    after = record.revisions[-1]
    if before is None or before.resolved is None or after.resolved is None:
        return record
    if before.spec.overlays != after.spec.overlays:
        return record
    kept = {
        platform: one
        for platform in PLATFORMS
        if (one := _kept(before, after, manifest, platform)) is not None
    }
    resolved = msgspec.structs.replace(after.resolved, kept=kept)
    newest = msgspec.structs.replace(after, resolved=resolved)
    return msgspec.structs.replace(record, revisions=(*record.revisions[:-1], newest))


def kept_sentences(record: DeploymentRecord, platforms: set[str]) -> tuple[str, ...]:
    """One for each platform of these whose nodes are not touched."""
    revision = record.revisions[-1]
    kept = revision.resolved.kept if revision.resolved is not None else {}
    return tuple(
        f"no change for {platform}: its nodes go on with {one.version}, which is the same there"
        for platform, one in kept.items()
        if platform in platforms
    )


def _kept(
    before: DeploymentRevision,
    after: DeploymentRevision,
    manifest: PackageManifest,
    platform: str,
) -> KeptArtifact | None:
    """What nodes of the platform go on with; None: they are told the new revision."""
    digest = artifact_digest(manifest, platform)
    if not digest:
        return None
    was, now = desired_program(before, platform), desired_program(after, platform)
    same = msgspec.structs.replace(
        was, revision=now.revision, version=now.version, signed=now.signed, licence=now.licence
    )
    is_same_version = before.archive_sha256 == after.archive_sha256
    went_on = before.resolved is not None and platform in before.resolved.kept
    if same != now or (is_same_version and not went_on):
        return None
    try:
        old = artifact_digest(signed_manifest(was.signed), platform)
    except RefusedError:
        return None
    if old != digest:
        return None
    return KeptArtifact(
        revision=was.revision, version=was.version, signed=was.signed, licence=was.licence
    )
