# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a package is made of: its bill of materials, file by file."""

from __future__ import annotations

from typing import Final, Literal

from shared.contracts.base import API, Endpoint, Message, Request
from shared.contracts.package_manifest import FileGroup, Platform, SourceLocation
from shared.contracts.spaces import SpaceOrAny
from shared.identifiers import Hook, Token

BillFormat = Literal["cyclonedx", "spdx"]
"""CycloneDX 1.6 (ECMA-424) or SPDX 2.3 (ISO/IEC 5962), as JSON."""
FileKind = Literal["object", "executable", "source", "documentation", "other"]

MAX_BILL_BYTES: Final = 768 * 1024
"""Of a reply."""


class BilledFile(Message, frozen=True, kw_only=True):
    """One file of the archive."""

    path: str
    sha256: str
    sha1: str
    """SPDX 2.3 demands it; nothing is decided by it."""
    size_bytes: int
    kind: FileKind
    group: FileGroup
    declared: str
    """The manifest's expression for its group."""
    concluded: str
    """What it is taken under: elected of an object, else as its own tag says, else as declared."""
    tag: str = ""
    """Its own SPDX tag."""
    copyrights: tuple[str, ...] = ()
    """What stands behind its `SPDX-FileCopyrightText` tags."""
    sources: tuple[str, ...] = ()
    """Files of the archive that an object may be made from: those with its name."""


class BuildTool(Message, frozen=True, kw_only=True):
    """What objects were made with, or are made with on nodes."""

    name: str
    version: str = ""
    """Empty: that of the node."""
    said: str = ""
    """What it says of its version, one line."""


class LicenceText(Message, frozen=True, kw_only=True):
    """The text of a licence that is in no list, from the archive."""

    licence: str
    text: str


class PackageBill(Message, frozen=True, kw_only=True):
    """All parts of one version; the same version always gives the same."""

    name: str
    version: str
    summary: str
    publisher: str
    owners: tuple[str, ...] = ()
    published_at: str
    manifest_sha256: str
    archive_sha256: str
    declared: str
    """Expression of the whole: all that its files are declared under."""
    concluded: str
    """Expression of the whole: all that its files are taken under."""
    platforms: tuple[Platform, ...] = ()
    hooks: tuple[Hook, ...] = ()
    kernels: str = ""
    """Range that a node's kernel must be in."""
    features: tuple[str, ...] = ()
    """That a node must have."""
    shared_maps: tuple[str, ...] = ()
    """Names of maps that its objects declare to be one for all who do (`LIBBPF_PIN_BY_NAME`)."""
    files: tuple[BilledFile, ...]
    """By path, ascending; the archive holds no other."""
    tools: tuple[BuildTool, ...] = ()
    arguments: tuple[str, ...] = ()
    """Of the compiler."""
    headers_sha256: str = ""
    """Over the headers that are not the package's own."""
    source: SourceLocation | None = None
    """Where the publisher says that the sources are kept."""
    texts: tuple[LicenceText, ...] = ()


class GetBill(Request, frozen=True, kw_only=True):
    """The bill of one version; empty version: the newest release in `stable`."""

    name: Token
    version: str = ""
    space: SpaceOrAny = ""
    format: BillFormat | None = None
    """Null: the facts, not a document."""


class BillShown(Message, frozen=True, kw_only=True):
    """The facts or the document, as asked for."""

    bill: PackageBill | None = None
    document: str = ""
    """JSON, ready to be written to a file."""


GET_BILL: Final = Endpoint(f"{API}.catalog.package.sbom", GetBill, BillShown)
