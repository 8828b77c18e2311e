# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What the catalog keeps of packages: a light record each, and beside it what never changes.

All of a version that is decided at its publication (signatures, manifest, facts, analysis, verdict)
is one content-addressed artifact; the record names its digest, and what may change.
"""

from __future__ import annotations

from typing import Final

from shared.contracts.base import Bucket, Message
from shared.contracts.catalog import PackageVersion, VersionState
from shared.identifiers import Hook


class SharedMap(Message, frozen=True, kw_only=True):
    """A map that an object declares to be one for all who declare it (`LIBBPF_PIN_BY_NAME`)."""

    name: str
    type: str
    key_size_bytes: int
    value_size_bytes: int
    max_entries: int


class PackageFacets(Message, frozen=True, kw_only=True):
    """What a version can be found by, so that looking for it reads no artifact."""

    summary: str = ""
    licence: str = ""
    """SPDX expression of the kernel code."""
    owners: tuple[str, ...] = ()
    source: str = ""
    """Address of the repository."""
    platforms: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    hooks: tuple[Hook, ...] = ()
    helpers: tuple[int, ...] = ()
    """Ids that any program calls, ascending."""
    kernel_functions: tuple[str, ...] = ()
    maps: tuple[str, ...] = ()
    """Names of the maps that its objects declare, ascending."""
    map_types: tuple[str, ...] = ()
    shared_maps: tuple[SharedMap, ...] = ()
    """By name."""
    minimum_kernel: str = ""
    """The oldest Linux that can run all its programs, as `5.17`; empty: not known."""
    needs_kernel: str = ""
    """Range of releases that the manifest asks for, as `>=5.15,<7`."""
    features: tuple[str, ...] = ()
    """That a node's inventory must have."""
    companions: tuple[str, ...] = ()


class VersionEntry(VersionState, frozen=True, kw_only=True):
    """One version in its package's record; `licences` has what a waiver excuses, and no more."""

    manifest_sha256: str
    archive_sha256: str
    archive_bytes: int = 0
    """0: published before it was noted."""
    publisher: str = ""
    """Name in the certificate that its signature came with."""
    facets: PackageFacets = PackageFacets()
    files_sha256: str = ""
    """Over path and digest of every file but package.toml; empty: published before it was noted."""
    content: str = ""
    """Digest of the artifact that has what never changes: a `PackageVersion` without its state, as
    zlib's stream (RFC 1950) of its JSON.  Empty: the package's record has it, whole."""
    verdict: str = ""
    """Digest of the artifact, written likewise, that has the licence verdict if that was judged
    anew since the publication."""


class PackageRecord(Message, frozen=True, kw_only=True):
    """All versions of one package, oldest first."""

    name: str
    versions: tuple[VersionEntry, ...] = ()
    command_id: str = ""
    """The command that wrote this revision."""


class StoredPackage(Message, frozen=True, kw_only=True):
    """KV `catalog`, key = `<space>.<name>`, of `public` the name: a `PackageRecord` as stored."""

    name: str
    entries: bytes = b""
    """zlib's stream (RFC 1950) of a JSON array of `VersionEntry`; base64 in JSON."""
    versions: tuple[PackageVersion, ...] = ()
    """Written by releases that kept every version whole; not written any more."""
    command_id: str = ""
    """The command that wrote this revision."""


CATALOG: Final = Bucket("catalog", StoredPackage)
