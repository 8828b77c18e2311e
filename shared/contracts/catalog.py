# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The catalog's messages: packages, their manifests, artifacts by digest."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta

from shared.contracts.base import (
    API,
    INTERNAL,
    Accepted,
    Bucket,
    Command,
    Document,
    Endpoint,
    Message,
    Request,
)
from shared.contracts.licences import LicenceVerdict
from shared.identifiers import DigestText, Hook, ProceedOn, Token

CHUNK_BYTES: Final = 128 * 1024
"""Artifacts travel and are stored in chunks of this many bytes; the last may be shorter."""
MAX_ARTIFACT_BYTES: Final = 64 * 1024 * 1024
TICKET_SECONDS: Final = 300

FilePath = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*(?!\n)$",
        max_length=255,
    ),
]
Symbol = Annotated[str, Meta(pattern=r"^[A-Za-z_.][A-Za-z0-9_.]*(?!\n)$", max_length=127)]


MapPolicy = Annotated[
    str, Meta(pattern=r"^(refuse|fresh|migrate:[A-Za-z_][A-Za-z0-9_.]*)(?!\n)$", max_length=135)
]
"""What happens when an instance's map has another layout than its next version declares: `refuse`,
`fresh` (an empty map), `migrate:<map>` (the content of that map of the version that runs)."""


Platform = Literal["linux", "windows"]


class PackageFile(Document, frozen=True, kw_only=True):
    """One file of the archive; the manifest names every one and the archive holds no other."""

    path: FilePath
    sha256: DigestText
    size_bytes: Annotated[int, Meta(ge=0, le=MAX_ARTIFACT_BYTES)]


class ProgramEntry(Document, frozen=True, kw_only=True):
    """One program that a deployment can place in a chain."""

    name: Token
    object: FilePath
    """The ELF file in the archive; with a compiler, the C source."""
    compiler: Literal["", "bcc"] = ""
    """What nodes compile the source with; empty: the archive holds the compiled object."""
    function: Symbol
    """The entry function in that ELF or source."""
    hooks: Annotated[tuple[Hook, ...], Meta(min_length=1)]
    proceed_on: ProceedOn = ()
    """Left out: the hook's default."""


class MapEntry(Document, frozen=True, kw_only=True):
    """One map that a deployment may configure, with what its keys and values mean."""

    summary: str = ""
    key: str = ""
    """What the key is, as `TCP destination port`."""
    value: str = ""
    """What the value is, with its unit."""
    key_minimum: int | None = None
    key_maximum: int | None = None
    value_minimum: int | None = None
    value_maximum: int | None = None
    on_layout_change: MapPolicy = "refuse"
    """What happens to the content when this version's layout is another than the running one's."""


class MetricEntry(Document, frozen=True, kw_only=True):
    """One scalar that the node reads from a map."""

    map: Symbol
    key: str = "0"
    """The key in the configuration's text form; `*` sums all entries."""
    unit: str = ""
    summary: str = ""


class BuildRecipe(Document, frozen=True, kw_only=True):
    """With what the objects were compiled: the same sources and recipe give the same bytes."""

    compiler: str
    """What the compiler says of its version, one line."""
    stripper: str
    """The same of what removed the debug sections other than BTF."""
    arguments: tuple[str, ...]
    """Of the compiler, without names of files and folders of the package."""
    headers_sha256: str = ""
    """Over path and content of every header that is not the package's own; empty: none was."""


class PackageManifest(Document, frozen=True, kw_only=True):
    """What a package is.  The signed payload is this, in canonical bytes."""

    schema: Annotated[int, Meta(ge=1, le=1)] = 1
    name: Token
    version: str
    """SemVer 2.0.0."""
    summary: Annotated[str, Meta(min_length=1, max_length=200)]
    licence: str
    """SPDX expression of the kernel code."""
    platforms: Annotated[tuple[Platform, ...], Meta(min_length=1)] = ("linux",)
    """What the package's code is meant for; policies may ask more of what is meant for both."""
    programs: Annotated[tuple[ProgramEntry, ...], Meta(min_length=1)]
    maps: dict[Symbol, MapEntry] = {}
    metrics: dict[Token, MetricEntry] = {}
    tests: FilePath | None = None
    """The file with the package's tests (`PackageTests`); None: it has none."""
    build: BuildRecipe | None = None
    """None: nothing was compiled, or by a release that did not say."""
    files: tuple[PackageFile, ...] = ()


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
    signatures: Annotated[tuple[DsseSignature, ...], Meta(min_length=1, max_length=8)]


class PublisherCertificate(Document, frozen=True, kw_only=True):
    """The installation's word that a key may sign packages; the payload of a DSSE envelope."""

    key: str
    """Ed25519 public key, 64 hexadecimal digits."""
    publisher: Token
    packages: Annotated[tuple[str, ...], Meta(min_length=1)] = ("*",)
    """Package name globs the key may sign for."""
    issued_at: str


class SignedPackage(Document, frozen=True, kw_only=True):
    """All that is needed to check an archive's origin without asking anybody."""

    manifest: DsseEnvelope
    """Payload: canonical bytes of PackageManifest."""
    certificate: DsseEnvelope
    """Payload: canonical bytes of PublisherCertificate, signed by the installation's trust root."""
    archive_sha256: DigestText


class MapFacts(Message, frozen=True, kw_only=True):
    """One map as the ELF declares it."""

    name: str
    type: str
    """Kernel name in lower case, as `percpu_hash`."""
    key_size_bytes: int
    value_size_bytes: int
    max_entries: int


class ProgramRequirements(Message, frozen=True, kw_only=True):
    """What a program cannot do without, whatever kernel it is loaded on.

    A call behind a question that the program asks at load time (CO-RE, weak symbols, constants) is
    not among it.
    """

    helpers: tuple[int, ...] = ()
    """Ids, ascending."""
    kernel_functions: tuple[str, ...] = ()
    """Names of kernel functions (kfuncs), ascending."""
    map_types: tuple[str, ...] = ()
    """Of all maps of its object: they are made with it."""
    kernel_types: bool = False
    """Whether the object is relocated against the kernel's BTF."""
    fragments: bool = False
    """Whether it is declared to read packets in several buffers (section `xdp.frags`)."""
    licence: str = ""
    """The kernel's licence string."""


class ProgramFacts(Message, frozen=True, kw_only=True):
    """One program as the ELF holds it, read without loading."""

    function: str
    section: str
    instructions: int
    helpers: tuple[int, ...]
    """Helper ids called, ascending."""
    kernel_functions: tuple[str, ...] = ()
    """Names of kernel functions (kfuncs) called, ascending."""
    requires: ProgramRequirements | None = None
    """None: not computed, as for versions published before it was."""


class ElfFacts(Message, frozen=True, kw_only=True):
    """One object file, read without loading; or one C source, read without compiling."""

    path: str
    compiler: str = ""
    """What nodes compile it with; then only names, map types and the licence string are known,
    and every number, helper and kernel function is left out."""
    licence: str
    """The kernel's licence string, as `Dual BSD/GPL`; empty when the ELF has none."""
    has_btf: bool
    needs_kernel_btf: bool
    """Whether CO-RE relocations make libbpf read the kernel's BTF."""
    programs: tuple[ProgramFacts, ...]
    maps: tuple[MapFacts, ...]


class PackageVersion(Message, frozen=True, kw_only=True):
    """One immutable published version."""

    version: str
    signed: SignedPackage
    manifest: PackageManifest
    elf: tuple[ElfFacts, ...]
    published_at: str
    published_by: str
    """Key of the principal who published."""
    channels: tuple[str, ...] = ("stable",)
    command_id: str = ""
    source_licences: dict[str, str] = {}
    """The SPDX tag of each file of the archive that has one, by path."""
    licences: LicenceVerdict | None = None
    """What the installation's policy said when it was published; None: nobody asked then."""


class PackageRecord(Message, frozen=True, kw_only=True):
    """KV `catalog`, key = package name: all its versions, oldest first."""

    name: str
    versions: tuple[PackageVersion, ...]
    command_id: str = ""
    """The command that wrote this revision."""


CATALOG: Final = Bucket("catalog", PackageRecord)


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


class PublishPackage(Command, frozen=True, kw_only=True):
    """Publish an archive that was written before."""

    signed: SignedPackage
    channels: Annotated[tuple[Token, ...], Meta(max_length=8)] = ("stable",)


class PackagePublished(Accepted, frozen=True, kw_only=True):
    """The version exists and will never change."""

    name: str
    version: str
    manifest_sha256: str
    archive_sha256: str


class ListPackages(Request, frozen=True, kw_only=True):
    """All packages, or those whose name matches a glob."""

    name: str = "*"


class PackageSummary(Message, frozen=True, kw_only=True):
    """One line of the list."""

    name: str
    versions: tuple[str, ...]
    """Newest first."""
    summary: str
    licence: str
    hooks: tuple[Hook, ...]


class PackageList(Message, frozen=True, kw_only=True):
    """By name, ascending."""

    packages: tuple[PackageSummary, ...]


class GetPackage(Request, frozen=True, kw_only=True):
    """One version of one package; empty version: the newest release in `stable`."""

    name: Token
    version: str = ""


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


class PackageResolved(Message, frozen=True, kw_only=True):
    """The newest version that meets the constraint."""

    package: PackageVersion
    ticket: str
    """Lets a node read the archive for TICKET_SECONDS, before its desired record names it."""


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


WRITE_ARTIFACT: Final = Endpoint(f"{API}.catalog.artifact.write", WriteArtifact, ArtifactWritten)
PUBLISH_PACKAGE: Final = Endpoint(
    f"{API}.catalog.package.publish", PublishPackage, PackagePublished
)
LIST_PACKAGES: Final = Endpoint(f"{API}.catalog.package.list", ListPackages, PackageList)
GET_PACKAGE: Final = Endpoint(f"{API}.catalog.package.get", GetPackage, PackageShown)
RESOLVE_PACKAGE: Final = Endpoint(
    f"{INTERNAL}.catalog.package.resolve", ResolvePackage, PackageResolved
)
READ_ARTIFACT: Final = Endpoint(
    f"{INTERNAL}.catalog.artifact.read.{{node}}", ReadArtifact, ArtifactChunk
)
"""The node's name is the last token, so that a node's permission proves which node asks."""
