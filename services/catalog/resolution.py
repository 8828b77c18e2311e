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

from shared.contracts.catalog import PackageRecord, PackageShown, PackageSummary, PackageVersion
from shared.contracts.errors import ErrorCode
from shared.errors import Reason, RefusedError
from shared.identifiers import HOOKS
from shared.versions import Constraint, newest, parse_constraint, parse_version

STABLE: Final = "stable"
MAX_HINTS: Final = 8


class UnknownPackageError(RefusedError):
    """No such package, or no such version of it, is published."""

    code: ClassVar[ErrorCode] = "not_found"


class VersionUnsatisfiedError(RefusedError):
    """The package exists, but no version of the channel meets the constraint."""

    code: ClassVar[ErrorCode] = "version_unsatisfied"


def resolve(
    record: PackageRecord | None, *, name: str, constraint: str, channel: str
) -> PackageVersion:
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
    candidates = {
        _version(one): one
        for one in record.versions
        if channel in one.channels and not is_revoked(one) and (is_pin or not _hidden(one, channel))
    }
    chosen = newest(candidates, wanted)
    if chosen is None:
        hint = _left_out(record, channel, wanted)
        reason = Reason(
            path="constraint",
            rule=f"no version in channel {channel} meets it{hint}",
            got=constraint,
            allowed=[str(version) for version in sorted(candidates, reverse=True)],
        )
        raise VersionUnsatisfiedError(
            f"package {name} has no version that meets '{constraint}'", [reason]
        )
    return candidates[chosen]


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


def is_revoked(version: PackageVersion) -> bool:
    """Whether it is forbidden."""
    return version.lifecycle is not None and version.lifecycle.revoked is not None


def show(record: PackageRecord | None, *, name: str, version: str) -> PackageShown:
    """The named version, or with an empty `version` the newest release in `stable`.

    A package that has only prereleases or other channels shows its newest version.

    Raises:
        UnknownPackageError: Package or version is not published.
    """
    if record is None or not record.versions:
        raise _unknown_package(name)
    versions = newest_first(record)
    if not version:
        return PackageShown(package=_shown_first(record), versions=versions)
    wanted = parse_version(version, path="version")
    for one in record.versions:
        if _version(one) == wanted:
            return PackageShown(package=one, versions=versions)
    reason = Reason(path="version", rule="is not published", got=version, allowed=list(versions))
    raise UnknownPackageError(f"package {name} has no version {version}", [reason])


def summarise(records: Iterable[PackageRecord], *, glob: str) -> tuple[PackageSummary, ...]:
    """One line for each package whose name matches the glob, by name."""
    return tuple(
        _summary(record)
        for record in sorted(records, key=lambda record: record.name)
        if record.versions and fnmatchcase(record.name, glob)
    )


def newest_first(record: PackageRecord) -> tuple[str, ...]:
    """The package's versions in descending order of precedence."""
    ordered = sorted(record.versions, key=_version, reverse=True)
    return tuple(one.version for one in ordered)


def newest_release(record: PackageRecord | None) -> PackageVersion | None:
    """The newest version in `stable` that is no prerelease; None if there is none."""
    versions = record.versions if record else ()
    released = (one for one in versions if _is_release(one))
    return max(released, key=_version, default=None)


def _summary(record: PackageRecord) -> PackageSummary:
    shown = _shown_first(record).manifest
    hooks = {hook for program in shown.programs for hook in program.hooks}
    return PackageSummary(
        name=record.name,
        versions=newest_first(record),
        summary=shown.summary,
        licence=shown.licence,
        hooks=tuple(hook for hook in HOOKS if hook in hooks),
    )


def _shown_first(record: PackageRecord) -> PackageVersion:
    return newest_release(record) or max(record.versions, key=_version)


def _hidden(one: PackageVersion, channel: str) -> bool:
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


def _waits(one: PackageVersion, channel: str) -> bool:
    return one.gate is not None and channel in one.gate.awaits


def _is_release(one: PackageVersion) -> bool:
    is_in = STABLE in one.channels and _version(one).prerelease is None
    return is_in and not is_revoked(one) and not _hidden(one, STABLE)


def _version(one: PackageVersion) -> Version:
    return parse_version(one.version, path="version")


def _unknown_package(name: str) -> UnknownPackageError:
    reason = Reason(path="name", rule="no package of this name is published", got=name)
    return UnknownPackageError(f"unknown package {name}", [reason])
