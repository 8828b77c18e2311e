# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A version's light entry, its content that never changes, and how both become one again.

Pure.

Rules:
 * The entry has what may change, what a version is chosen and found by, and digests; no more.
 * `whole(entry, content_of(version))` is the version, whatever its state has become meanwhile.
 * A record that a release before this one wrote has its versions whole; their entries name no
   content until the record is written again.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import ClassVar, Final, TypeVar

import msgspec

from shared.canonical import canonical_digest
from shared.contracts.catalog import PackageVersion, VersionState
from shared.contracts.errors import ErrorCode
from shared.contracts.licences import LicenceFinding, LicenceVerdict
from shared.contracts.package_analysis import PackageAnalysis
from shared.contracts.package_facts import MapFacts
from shared.contracts.package_manifest import PackageManifest
from shared.contracts.package_records import (
    CATALOG,
    PackageFacets,
    PackageRecord,
    SharedMap,
    StoredPackage,
    VersionEntry,
)
from shared.dsse import SignatureError, manifest_digest, publisher_name
from shared.errors import Reason, RefusedError
from shared.identifiers import HOOKS

ValueT = TypeVar("ValueT")

MAX_RECORD_BYTES: Final = CATALOG.max_value_bytes - 64 * 1024
"""A record travels inside the outbox's record, beside the request and the event."""
_LEVEL: Final = 4
"""Of zlib: 1,000 entries become a seventh in about ten milliseconds."""
DESCRIPTION: Final = "package.toml"
_STATE: Final = ("channels", "gate", "lifecycle", "unchanged")


class RecordFullError(RefusedError):
    """A version, or its package's record with it, is too large."""

    code: ClassVar[ErrorCode] = "too_large"


def entry_of(version: PackageVersion, *, archive_bytes: int = 0) -> VersionEntry:
    """The light entry of a version; nothing names its content yet.

    Args:
        version: Whole.
        archive_bytes: 0: not known.
    """
    return VersionEntry(
        version=version.version,
        published_at=version.published_at,
        published_by=version.published_by,
        channels=version.channels,
        licences=_in_short(version.licences),
        gate=version.gate,
        lifecycle=version.lifecycle,
        unchanged=version.unchanged,
        space=version.space,
        manifest_sha256=manifest_digest(version.signed),
        archive_sha256=version.signed.archive_sha256,
        archive_bytes=archive_bytes,
        publisher=_publisher(version),
        facets=facets_of(version),
        files_sha256=files_digest(version.manifest),
    )


def with_state(entry: VersionEntry, version: PackageVersion) -> VersionEntry:
    """The entry with what has become of the version."""
    state = {field: getattr(version, field) for field in _STATE}
    return msgspec.structs.replace(entry, licences=_in_short(version.licences), **state)


def content_of(version: PackageVersion) -> PackageVersion:
    """What never changes about a version, with the verdict that it was published by."""
    empty = {field: getattr(_NO_STATE, field) for field in _STATE}
    return msgspec.structs.replace(version, **empty)


def whole(
    entry: VersionEntry, content: PackageVersion, verdict: LicenceVerdict | None = None
) -> PackageVersion:
    """The version as it is now.

    Args:
        entry: Its own.
        content: From `content_of`, of whatever state.
        verdict: What the policy said last, if not what it said at the publication.
    """
    state = {field: getattr(entry, field) for field in _STATE}
    return msgspec.structs.replace(content, licences=verdict or content.licences, **state)


def files_digest(manifest: PackageManifest) -> str:
    """Equal for versions that differ in nothing but package.toml, which has the version in it."""
    files = [(one.path, one.sha256) for one in manifest.files if one.path != DESCRIPTION]
    return canonical_digest(sorted(files))


def facets_of(version: PackageVersion) -> PackageFacets:
    """What it can be found by."""
    manifest = version.manifest
    hooks = {hook for program in manifest.programs for hook in program.hooks}
    programs = [program for facts in version.elf for program in facts.programs]
    maps = [one for facts in version.elf for one in facts.maps]
    return PackageFacets(
        summary=manifest.summary,
        licence=manifest.licence,
        owners=manifest.owners,
        source=manifest.source.repository if manifest.source else "",
        platforms=manifest.platforms,
        programs=tuple(program.name for program in manifest.programs),
        hooks=tuple(hook for hook in HOOKS if hook in hooks),
        helpers=tuple(sorted({helper for program in programs for helper in program.helpers})),
        kernel_functions=_names(name for one in programs for name in one.kernel_functions),
        maps=_names(one.name for one in maps),
        map_types=_names(one.type for one in maps),
        shared_maps=_shared_maps(maps),
        minimum_kernel=_minimum_kernel(version.analysis),
        needs_kernel=manifest.needs.kernel,
        features=manifest.node_features,
        companions=_names(manifest.companions),
    )


def storable(record: PackageRecord) -> StoredPackage:
    """The package's record as it is stored.

    Raises:
        RecordFullError: It does not fit its bucket.
    """
    entries = packed(record.versions)
    stored = StoredPackage(name=record.name, entries=entries, command_id=record.command_id)
    size_bytes = len(msgspec.json.encode(stored))
    if size_bytes > MAX_RECORD_BYTES:
        rule = f"the package has {len(record.versions)} versions and its record holds no more"
        reason = Reason(path="manifest.name", rule=rule, got=size_bytes, allowed=MAX_RECORD_BYTES)
        raise RecordFullError(f"{record.name}: {rule}", [reason])
    return stored


def record_of(stored: StoredPackage) -> PackageRecord:
    """The record that is stored, by this release or by one that kept every version whole.

    Raises:
        msgspec.DecodeError, zlib.error: It is none.
    """
    return PackageRecord(
        name=stored.name,
        versions=unpacked(packed_entries(stored), tuple[VersionEntry, ...]),
        command_id=stored.command_id,
    )


def packed_entries(stored: StoredPackage) -> bytes:
    """The entries of a stored record, in the form in which this release stores them."""
    if stored.entries:
        return stored.entries
    return packed(tuple(entry_of(version) for version in stored.versions))


def packed(value: object) -> bytes:
    """As it is kept."""
    return zlib.compress(msgspec.json.encode(value), _LEVEL)


def unpacked(data: bytes, kind: type[ValueT]) -> ValueT:
    """What was packed.

    Raises:
        msgspec.DecodeError, zlib.error: It was not.
    """
    return msgspec.json.decode(zlib.decompress(data), type=kind)


_NO_STATE: Final = VersionState(version="", published_at="", published_by="")


def _in_short(verdict: LicenceVerdict | None) -> LicenceVerdict | None:
    """Policy, outcome, and which rule which waiver excuses."""
    if verdict is None:
        return None
    waived = tuple(
        LicenceFinding(rule=one.rule, outcome=one.outcome, waiver=one.waiver)
        for one in verdict.findings
        if one.waiver
    )
    return msgspec.structs.replace(verdict, findings=waived, elections=())


def _shared_maps(maps: Iterable[MapFacts]) -> tuple[SharedMap, ...]:
    """Objects for several platforms declare the same ones."""
    found = {
        one.name: SharedMap(
            name=one.name,
            type=one.type,
            key_size_bytes=one.key_size_bytes,
            value_size_bytes=one.value_size_bytes,
            max_entries=one.max_entries,
        )
        for one in maps
        if one.is_pinned_by_name
    }
    return tuple(found[name] for name in sorted(found))


def _minimum_kernel(analysis: PackageAnalysis | None) -> str:
    found = [one.linux.minimum for one in analysis.programs] if analysis else []
    return max(found, key=_numbers) if found and all(found) else ""


def _numbers(release: str) -> tuple[int, ...]:
    return tuple(int(number) for number in release.split("."))


def _publisher(version: PackageVersion) -> str:
    try:
        return publisher_name(version.signed)
    except SignatureError:
        return ""


def _names(found: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(found)))
