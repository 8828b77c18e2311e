# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The catalog's messages: packages, their manifests, artifacts by digest."""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta

from shared.contracts.base import (
    API,
    INTERNAL,
    Accepted,
    Command,
    Document,
    Endpoint,
    Message,
    Request,
)
from shared.contracts.distribution import MAX_DESTINATION
from shared.contracts.events import PUBLIC, Audience
from shared.contracts.licences import LicenceVerdict
from shared.contracts.lifecycle import Lifecycle
from shared.contracts.package_analysis import PackageAnalysis
from shared.contracts.package_facts import ElfFacts
from shared.contracts.package_manifest import MAX_ARTIFACT_BYTES, PackageManifest
from shared.contracts.release_gate import ReleaseGate
from shared.contracts.spaces import SpaceOrAny, SpaceText
from shared.contracts.trust_notes import TrustNote
from shared.identifiers import DigestText, Hook, Token

CHUNK_BYTES: Final = 128 * 1024
"""Artifacts travel and are stored in chunks of this many bytes; the last may be shorter."""
MAX_MISSING_RANGES: Final = 1000
TICKET_SECONDS: Final = 300


class DsseSignature(Document, frozen=True, kw_only=True):
    """One signature of a DSSE envelope."""

    keyid: str
    sig: str
    """Base64."""


class DsseEnvelope(Document, frozen=True, kw_only=True):
    """DSSE v1 (secure-systems-lab/dsse): the signature covers PAE(payloadType, payload)."""

    payloadType: str  # noqa: N815 because DSSE names it so
    payload: str
    """Base64."""
    signatures: Annotated[tuple[DsseSignature, ...], Meta(max_length=8)]
    """None: not signed, which only trust mode `normal` lets pass."""


class PublisherCertificate(Document, frozen=True, kw_only=True):
    """The installation's word that a key may sign packages; the payload of a DSSE envelope."""

    key: str
    """Ed25519 public key, 64 hexadecimal digits; empty in what is not signed."""
    publisher: Token
    packages: Annotated[tuple[str, ...], Meta(min_length=1)] = ("*",)
    """Package name globs the key may sign for."""
    issued_at: str


class PackageOrigin(Document, frozen=True, kw_only=True):
    """Who signed the same manifest in another installation: shown and kept, and trusted by none."""

    trust_root: DigestText
    """That installation's Ed25519 public key."""
    certificate: DsseEnvelope
    """Payload: canonical bytes of PublisherCertificate, signed by that trust root."""
    signatures: Annotated[tuple[DsseSignature, ...], Meta(min_length=1, max_length=8)]
    """Over the payload of the package's own manifest."""
    provenance: DsseEnvelope | None = None
    """How it was built, in the words of the same key; payload: an in-toto statement."""


class SignedPackage(Document, frozen=True, kw_only=True):
    """All that is needed to check an archive's origin without asking anybody."""

    manifest: DsseEnvelope
    """Payload: canonical bytes of PackageManifest."""
    certificate: DsseEnvelope
    """Payload: canonical bytes of PublisherCertificate, signed by the installation's trust root."""
    archive_sha256: DigestText
    origins: Annotated[tuple[PackageOrigin, ...], Meta(max_length=8)] = ()
    """Where it was published before it was taken over, oldest first."""
    receipt: DsseEnvelope | None = None
    """The catalog's word when it was published; it alone adds one, where a version is resolved."""


class VersionState(Message, frozen=True, kw_only=True):
    """What is known of a published version beside its content; channels to `unchanged` may change.

    Who published it, and when, never does.
    """

    version: str
    published_at: str
    published_by: str
    """Key of the principal who published."""
    channels: tuple[str, ...] = ("stable",)
    licences: LicenceVerdict | None = None
    """What the installation's policy said of it last; None: nobody asked."""
    gate: ReleaseGate | None = None
    """What kernels said of it, and the channels it waits for; None: nobody asked them."""
    lifecycle: Lifecycle | None = None
    """What people decided about it; None: nobody did."""
    unchanged: dict[str, str] = {}
    """Platform, as `linux-x86_64`, to an earlier version that is the same there."""
    space: Audience = PUBLIC
    """Where it is for ever; who sees it follows from that."""


class PackageVersion(VersionState, frozen=True, kw_only=True):
    """One immutable published version."""

    signed: SignedPackage
    manifest: PackageManifest
    elf: tuple[ElfFacts, ...]
    command_id: str = ""
    source_licences: dict[str, str] = {}
    """The SPDX tag of each file of the archive that has one, by path."""
    analysis: PackageAnalysis | None = None
    """Where its programs could run; None: nobody asked then."""
    trust: TrustNote | None = None
    """What was found out about its signatures; None: published by a release that kept none."""
    provenance: DsseEnvelope | None = None
    """How it was built; payload: an in-toto statement with SLSA provenance.  None: nobody said."""


class WriteArtifact(Request, frozen=True, kw_only=True):
    """One chunk.  Idempotent: a chunk has one content for ever, so no command id is needed."""

    sha256: DigestText
    """Of the whole artifact."""
    size_bytes: Annotated[int, Meta(ge=1, le=MAX_ARTIFACT_BYTES)]
    """Of the whole artifact."""
    offset_bytes: Annotated[int, Meta(ge=0, le=MAX_ARTIFACT_BYTES)]
    """A multiple of CHUNK_BYTES."""
    data: bytes
    """Base64 on the wire; CHUNK_BYTES long unless it is the last."""


class ArtifactWritten(Message, frozen=True, kw_only=True):
    """The chunk is stored."""

    complete: bool
    """Whether all chunks are there now and the whole has the digest."""


class FindMissing(Request, frozen=True, kw_only=True):
    """What of an upload of the caller's is still to be written."""

    sha256: DigestText
    """Of the whole artifact."""
    size_bytes: Annotated[int, Meta(ge=1, le=MAX_ARTIFACT_BYTES)]
    """Of the whole artifact."""


class ByteRange(Message, frozen=True, kw_only=True):
    """Bytes from `first_bytes` up to, but without, `end_bytes`; both are where chunks meet."""

    first_bytes: int
    end_bytes: int


class MissingFound(Message, frozen=True, kw_only=True):
    """What to write next."""

    complete: bool
    """Whether the whole is stored: nothing is missing."""
    missing: tuple[ByteRange, ...] = ()
    """In order; the first MAX_MISSING_RANGES.  Ask again once they are written."""


class PublishPackage(Command, frozen=True, kw_only=True):
    """Publish an archive that was written before."""

    signed: SignedPackage
    channels: Annotated[tuple[Token, ...], Meta(max_length=8)] = ("stable",)
    space: SpaceText = PUBLIC
    """Whose members alone see it, until the space is lifted."""
    provenance: DsseEnvelope | None = None
    """How it was built; payload: an in-toto statement with SLSA provenance about this archive."""


class PackagePublished(Accepted, frozen=True, kw_only=True):
    """The version exists and will never change."""

    name: str
    version: str
    manifest_sha256: str
    archive_sha256: str
    space: Audience = PUBLIC
    awaits: dict[str, int] = {}
    """Channels that it is not released to yet, and how many different kernels each demands."""
    submitted: tuple[str, ...] = ()
    """Channels that take it by a promotion only: they demand approvals, or time elsewhere."""
    unchanged: dict[str, str] = {}
    """Platform, as `linux-x86_64`, to an earlier version that is the same there."""
    warnings: tuple[str, ...] = ()
    """What trust mode `normal` let pass."""


class ListPackages(Request, frozen=True, kw_only=True):
    """All packages, or those whose name matches a glob."""

    name: str = "*"
    after: str = ""
    """`next` of the page before."""


class PackageSummary(Message, frozen=True, kw_only=True):
    """One line of the list."""

    name: str
    versions: tuple[str, ...]
    """Newest first."""
    summary: str
    licence: str
    hooks: tuple[Hook, ...]
    restricted: dict[str, Audience] = {}
    """Versions that not everybody sees, and the space of each."""


class PackageList(Message, frozen=True, kw_only=True):
    """By name, ascending."""

    packages: tuple[PackageSummary, ...]
    next: str = ""
    """Where the next page goes on; empty: this is the last."""


class GetPackage(Request, frozen=True, kw_only=True):
    """One version of one package; empty version: the newest release in `stable`."""

    name: Token
    version: str = ""
    space: SpaceOrAny = ""


class PackageShown(Message, frozen=True, kw_only=True):
    """The version and the names of its siblings."""

    package: PackageVersion
    versions: tuple[str, ...]
    """Newest first."""


class ResolvePackage(Request, frozen=True, kw_only=True):
    """Which published version meets a constraint."""

    name: Token
    constraint: str
    """Comma-separated comparisons, as `>=1.2,<2`; `1.2.3` exactly; `^1.2`, `~1.2`; `*` any."""
    channel: Token = "stable"
    space: SpaceText = PUBLIC
    """Where it is looked for, beside all that everybody sees; what is here goes before that."""
    without: str = ""
    """A version that is passed over, as if it were revoked."""


class PackageResolved(Message, frozen=True, kw_only=True):
    """The newest version that meets the constraint."""

    package: PackageVersion
    ticket: str
    """Lets a node read the archive for TICKET_SECONDS, before its desired record names it."""
    warnings: tuple[str, ...] = ()
    """Why it should not be chosen, although it is what was asked for."""


class ReadArchive(Request, frozen=True, kw_only=True):
    """One chunk of the archive of a published version."""

    name: Token
    version: Annotated[str, Meta(min_length=1, max_length=64)]
    space: SpaceOrAny = ""
    offset_bytes: Annotated[int, Meta(ge=0, le=MAX_ARTIFACT_BYTES)] = 0
    """A multiple of CHUNK_BYTES."""
    destination: Annotated[str, Meta(max_length=MAX_DESTINATION)] = ""
    """Where it goes from there, in the caller's words; goes into the audit log."""


class ReadArtifact(Request, frozen=True, kw_only=True):
    """One chunk of an artifact.

    Answered only if the node's desired record names the digest, or with a ticket for it.
    """

    sha256: DigestText
    offset_bytes: Annotated[int, Meta(ge=0, le=MAX_ARTIFACT_BYTES)] = 0
    ticket: str = ""


class ArtifactChunk(Message, frozen=True, kw_only=True):
    """CHUNK_BYTES from the offset, fewer at the end."""

    data: bytes
    size_bytes: int
    """Of the whole artifact."""


FIND_MISSING: Final = Endpoint(f"{API}.catalog.artifact.missing", FindMissing, MissingFound)
WRITE_ARTIFACT: Final = Endpoint(f"{API}.catalog.artifact.write", WriteArtifact, ArtifactWritten)
PUBLISH_PACKAGE: Final = Endpoint(
    f"{API}.catalog.package.publish", PublishPackage, PackagePublished
)
LIST_PACKAGES: Final = Endpoint(f"{API}.catalog.package.list", ListPackages, PackageList)
GET_PACKAGE: Final = Endpoint(f"{API}.catalog.package.get", GetPackage, PackageShown)
READ_ARCHIVE: Final = Endpoint(f"{API}.catalog.package.archive", ReadArchive, ArtifactChunk)
RESOLVE_PACKAGE: Final = Endpoint(
    f"{INTERNAL}.catalog.package.resolve", ResolvePackage, PackageResolved
)
READ_ARTIFACT: Final = Endpoint(
    f"{INTERNAL}.catalog.artifact.read.{{node}}", ReadArtifact, ArtifactChunk
)
"""The node's name is the last token, so that a node's permission proves which node asks."""
