# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which published version is meant, and how packages are listed.

Pure.  The newest version that a constraint allows wins; prereleases only when asked for.
"""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import ClassVar, Final

from semver import Version

from shared.contracts.catalog import PackageList, PackageSummary, PackageVersion, VersionState
from shared.contracts.errors import ErrorCode
from shared.contracts.package_records import PackageRecord, VersionEntry
from shared.errors import Reason, RefusedError
from shared.versions import Constraint, Precedence, parse_constraint, parse_version, precedence

STABLE: Final = "stable"
MAX_HINTS: Final = 8
MAX_PAGE_VERSIONS: Final = 5000
"""That a page of the list names: at 64 characters each, and once more with its space, what a reply
holds."""
_LINE: Final = 8
"""What the rest of a package's line counts for, in versions."""


class UnknownPackageError(RefusedError):
    """No such package, or no such version of it, is published."""

    code: ClassVar[ErrorCode] = "not_found"


class VersionUnsatisfiedError(RefusedError):
    """The package exists, but no version of the channel meets the constraint."""

    code: ClassVar[ErrorCode] = "version_unsatisfied"


def resolve(
    record: PackageRecord | None, *, name: str, constraint: str, channel: str, without: str = ""
) -> VersionEntry:
    """The newest version in `channel` that the constraint allows.

    Raises:
        UnknownPackageError: The package is not published.
        VersionUnsatisfiedError: No version of the channel meets the constraint.
        RefusedError: The constraint is malformed.
    """
    wanted = parse_constraint(constraint, path="constraint")
    if record is None or not record.versions:
        raise _unknown_package(name)
    is_pin = len(wanted.bounds) == 1 and wanted.bounds[0].operator == "="
    candidates = [
        one
        for one in descending(record)
        if channel in one.channels and not is_revoked(one) and (is_pin or not _hidden(one, channel))
        if one.version != without
    ]
    # A pin without a fork's number allows every fork of the version.
    candidates.sort(key=lambda one: _hidden(one, channel))
    chosen = next((one for one in candidates if wanted.allows(_version(one))), None)
    if chosen is None:
        hint = _left_out(record, channel, wanted)
        reason = Reason(
            path="constraint",
            rule=f"no version in channel {channel} meets it{hint}",
            got=constraint,
            allowed=[one.version for one in candidates],
        )
        raise VersionUnsatisfiedError(
            f"package {name} has no version that meets '{constraint}'", [reason]
        )
    return chosen


def warnings_of(version: PackageVersion, *, channel: str) -> tuple[str, ...]:
    """Why a version should not be chosen, although somebody may."""
    found = version.lifecycle
    if found is None:
        return ()
    name = f"{version.manifest.name} {version.version}"
    return (
        *((f"{name} was yanked: {found.yanked.why}",) if found.yanked else ()),
        *((f"{name} is deprecated: {found.deprecated.why}",) if found.deprecated else ()),
        *(
            (f"{name} is no longer picked in channel {channel}: newer versions took its place",)
            if channel in found.retired
            else ()
        ),
    )


def is_revoked(version: VersionState) -> bool:
    """Whether it is forbidden."""
    return version.lifecycle is not None and version.lifecycle.revoked is not None


def chosen_version(record: PackageRecord | None, *, name: str, version: str) -> VersionEntry:
    """The named version, or with an empty `version` the newest release in `stable`.

    Of a package that has only prereleases or other channels it is the newest version.

    Raises:
        UnknownPackageError: Package or version is not published.
    """
    if record is None or not record.versions:
        raise _unknown_package(name)
    if not version:
        return _shown_first(record)
    parse_version(version, path="version")
    wanted = precedence(version)
    for one in record.versions:
        if precedence(one.version) == wanted:
            return one
    allowed = list(newest_first(record))
    reason = Reason(path="version", rule="is not published", got=version, allowed=allowed)
    raise UnknownPackageError(f"package {name} has no version {version}", [reason])


def summary_of(record: PackageRecord) -> PackageSummary:
    """One line of the list, of a package that has a version."""
    shown = _shown_first(record).facets
    return PackageSummary(
        name=record.name,
        versions=newest_first(record),
        summary=shown.summary,
        licence=shown.licence,
        hooks=shown.hooks,
    )


def page_of(summaries: Iterable[PackageSummary], *, glob: str, after: str) -> PackageList:
    """The packages whose names match, as many as one reply holds.

    Args:
        summaries: By name, ascending.
        glob: Of names.
        after: Where to go on: only names behind this one.
    """
    found: list[PackageSummary] = []
    left = MAX_PAGE_VERSIONS
    for one in summaries:
        if one.name <= after or not fnmatchcase(one.name, glob):
            continue
        left -= len(one.versions) + _LINE
        if found and left < 0:
            return PackageList(packages=tuple(found), next=found[-1].name)
        found.append(one)
    return PackageList(packages=tuple(found))


def newest_first(record: PackageRecord) -> tuple[str, ...]:
    """The package's versions in descending order of precedence."""
    return tuple(one.version for one in descending(record))


def descending(record: PackageRecord) -> list[VersionEntry]:
    """The package's versions, the newest first."""
    return sorted(record.versions, key=_precedence, reverse=True)


def newest_release(record: PackageRecord | None) -> VersionEntry | None:
    """The newest version in `stable` that is no prerelease; None if there is none."""
    versions = record.versions if record else ()
    released = (one for one in versions if _is_release(one))
    return max(released, key=_precedence, default=None)


def _shown_first(record: PackageRecord) -> VersionEntry:
    return newest_release(record) or max(record.versions, key=_precedence)


def _hidden(one: VersionState, channel: str) -> bool:
    found = one.lifecycle
    return found is not None and (found.yanked is not None or channel in found.retired)


def _left_out(record: PackageRecord, channel: str, wanted: Constraint) -> str:
    """Versions that would do, and why they do not."""
    waiting = [one.version for one in record.versions if _waits(one, channel)]
    hints = [f"{', '.join(waiting)} waits there to be verified on kernels"] if waiting else []
    for one in record.versions:
        found = one.lifecycle
        if found is None or not wanted.allows(_version(one)):
            continue
        if found.revoked is not None:
            hints.append(f"{one.version} was revoked: {found.revoked.why}")
        elif channel in found.targets:
            hints.append(f"{one.version} waits to be promoted there")
        elif channel in one.channels and _hidden(one, channel):
            hints.append(f"{one.version} is hidden and has to be named exactly")
    return "".join(f"; {hint}" for hint in hints[:MAX_HINTS])


def _waits(one: VersionState, channel: str) -> bool:
    return one.gate is not None and channel in one.gate.awaits


def _is_release(one: VersionState) -> bool:
    is_in = STABLE in one.channels and "-" not in one.version.partition("+")[0]
    return is_in and not is_revoked(one) and not _hidden(one, STABLE)


def _precedence(one: VersionState) -> Precedence:
    return precedence(one.version)


def _version(one: VersionState) -> Version:
    return parse_version(one.version, path="version")


def _unknown_package(name: str) -> UnknownPackageError:
    reason = Reason(path="name", rule="no package of this name is published", got=name)
    return UnknownPackageError(f"unknown package {name}", [reason])
