# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A private fork: its own versions beside upstream's, and when upstream has caught up with them.

Pure.

Rules:
 * Own versions of a package that upstream has are numbered changes of one of upstream's versions,
   so that nobody takes one for the other, and upstream's next version is newer than both.
 * Upstream has caught up if a version of it, after the base, has the same files, which the base has
   not, under the same licence; package.toml aside, which has the version in it.  What was taken
   back, or is forbidden, has not caught up with anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import ClassVar, Final

from services.catalog.resolution import is_revoked, newest_release
from services.catalog.version_entries import DESCRIPTION
from shared.contracts.errors import ErrorCode
from shared.contracts.events import EventBody
from shared.contracts.overlays import (
    MAX_FILE_CHANGES,
    FileChange,
    OverlayPackage,
    OverlayState,
    OverlayVersion,
)
from shared.contracts.package_manifest import PackageManifest
from shared.contracts.package_records import PackageRecord, VersionEntry
from shared.contracts.spaces import PRIVATE_PREFIX
from shared.errors import Reason, RefusedError
from shared.versions import base_of, overlay_of, precedence

MAX_ALLOWED: Final = 8
MAX_SHOWN_CHANGES: Final = 4000
"""Of all packages of a reply together, which has to fit a message."""


class OverlayVersionError(RefusedError):
    """An own version in a private space does not say what it is a change of."""

    code: ClassVar[ErrorCode] = "invalid_request"


def namespace_of(space: str) -> str:
    """Of a private space; empty: the space is none."""
    return space.removeprefix(PRIVATE_PREFIX) if space.startswith(PRIVATE_PREFIX) else ""


def overlay_reasons(version: str, space: str, upstream: PackageRecord | None) -> Iterator[Reason]:
    """Why the version cannot be the space's own.

    Args:
        version: What shall be published there.
        space: Where.
        upstream: What everybody has of the package.
    """
    namespace = namespace_of(space)
    if not namespace or upstream is None or not upstream.versions:
        return
    found, base = overlay_of(version), base_of(version)
    if found is None or found[0] != namespace:
        rule = f"is public too, so its own versions here are <version>+{namespace}.<number>"
        example = f"{base}+{namespace}.1"
        yield Reason(path="manifest.version", rule=rule, got=version, allowed=example)
        return
    if base_entry(base, upstream.versions) is None:
        newest = sorted((one.version for one in upstream.versions), key=precedence, reverse=True)
        rule = "stands on a version that is not public"
        yield Reason(path="manifest.version", rule=rule, got=base, allowed=newest[:MAX_ALLOWED])


def base_entry(version: str, upstream: Iterable[VersionEntry]) -> VersionEntry | None:
    """What an own version stands on; None: on nothing that is public."""
    base = precedence(base_of(version))
    return next((one for one in upstream if precedence(base_of(one.version)) == base), None)


def check_overlay(version: str, space: str, upstream: PackageRecord | None) -> None:
    """The space can have the version as its own.

    Raises:
        OverlayVersionError: It cannot, and what its version has to be like.
    """
    reasons = list(overlay_reasons(version, space, upstream))
    if reasons:
        raise OverlayVersionError(f"{version} cannot be published in {space}", reasons)


def file_changes(before: PackageManifest, after: PackageManifest) -> tuple[FileChange, ...]:
    """Every file that is not the same, package.toml aside, by path."""
    old, new = ({one.path: one.sha256 for one in each.files} for each in (before, after))
    found = []
    for path in sorted((old.keys() | new.keys()) - {DESCRIPTION}):
        if path not in old:
            found.append(FileChange(path=path, change="added"))
        elif path not in new:
            found.append(FileChange(path=path, change="removed"))
        elif old[path] != new[path]:
            found.append(FileChange(path=path, change="changed"))
    return tuple(found)


def overlay_package(
    own: PackageRecord,
    upstream: PackageRecord,
    changes: Sequence[FileChange] = (),
    *,
    packages: int = 1,
) -> OverlayPackage:
    """What a space has of its own of one package, of which it has a version.

    Args:
        own: Its versions.
        upstream: What everybody has.
        changes: Of the newest own version, from `file_changes`.
        packages: How many are shown together, at least 1.
    """
    most = min(MAX_FILE_CHANGES, MAX_SHOWN_CHANGES // packages)
    ordered = sorted(own.versions, key=lambda one: precedence(one.version), reverse=True)
    release = newest_release(upstream)
    versions = tuple(_shown(one, upstream.versions) for one in ordered)
    return OverlayPackage(
        name=own.name,
        state=_state(versions[0], release),
        upstream=release.version if release else "",
        versions=versions,
        changes=tuple(changes[:most]),
        more_changes=max(len(changes) - most, 0),
    )


def newly_caught_up(
    own: PackageRecord, published: VersionEntry, upstream: Sequence[VersionEntry]
) -> tuple[VersionEntry, ...]:
    """The own versions that a version which was published just now makes unnecessary.

    Args:
        own: The space's.
        published: Just now.
        upstream: All that everybody has.
    """
    return tuple(one for one in own.versions if _has_caught_up(published, one, upstream))


def caught_up_event(name: str, own: Sequence[VersionEntry], published: str) -> EventBody:
    """What the members of a space are told."""
    return EventBody(
        action="overlay.catch-up",
        outcome="observed",
        package=name,
        version=published,
        details={"own_versions": [one.version for one in own]},
    )


def _shown(one: VersionEntry, upstream: Sequence[VersionEntry]) -> OverlayVersion:
    same = [other.version for other in upstream if _has_caught_up(other, one, upstream)]
    return OverlayVersion(
        version=one.version,
        base=base_of(one.version) if base_entry(one.version, upstream) else "",
        channels=one.channels,
        caught_up_by=min(same, key=precedence, default=""),
    )


def _has_caught_up(
    other: VersionEntry, own: VersionEntry, upstream: Iterable[VersionEntry]
) -> bool:
    if is_revoked(other) or (other.lifecycle is not None and other.lifecycle.yanked is not None):
        return False
    base = base_entry(own.version, upstream) if overlay_of(own.version) else None
    is_later = precedence(base_of(other.version)) >= precedence(base_of(own.version))
    # A change of package.toml alone is in no file that is compared.
    return is_later and _is_same(own, other) and not (base is not None and _is_same(own, base))


def _is_same(one: VersionEntry, other: VersionEntry) -> bool:
    is_known = bool(one.files_sha256) and one.files_sha256 == other.files_sha256
    return is_known and one.facets.licence == other.facets.licence


def _state(newest: OverlayVersion, release: VersionEntry | None) -> OverlayState:
    if newest.caught_up_by:
        return "caught-up"
    if not newest.base:
        return "own"
    if release is not None and precedence(newest.base) < precedence(base_of(release.version)):
        return "behind"
    return "current"
