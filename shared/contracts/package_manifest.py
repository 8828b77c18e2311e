# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a package says of itself: the manifest that its publisher signs."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from msgspec import Meta

from shared.contracts.base import Document
from shared.contracts.configuration import (
    MapMode,
    MemberEntry,
    MemberPath,
    ValueFormat,
    VariableEntry,
)
from shared.contracts.metrics import MetricSource
from shared.identifiers import DigestText, Hook, ProceedOn, Token

MAX_ARTIFACT_BYTES: Final = 1 << 30
"""Of an archive; a catalog may take less (`CATALOG_MAX_ARTIFACT_BYTES`)."""
MAX_FILE_BYTES: Final = 128 << 20
"""Of one file in it: each is read as a whole, one at a time."""
COMPANIONS: Final = "companions"
"""The feature of nodes that run companions."""

FilePath = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*(?!\n)$",
        max_length=255,
    ),
]
OptionalFilePath = Annotated[
    str,
    Meta(
        pattern=r"^([A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*)?(?!\n)$",
        max_length=255,
    ),
]
FileGlob = Annotated[
    str,
    Meta(
        pattern=r"^(?!.*\*\*.*\*\*)"
        r"(\*\*|[A-Za-z0-9_][A-Za-z0-9._-]*(\*[A-Za-z0-9._-]*)?|\*[A-Za-z0-9._-]*)"
        r"(/(\*\*|[A-Za-z0-9_][A-Za-z0-9._-]*(\*[A-Za-z0-9._-]*)?|\*[A-Za-z0-9._-]*))*(?!\n)$",
        max_length=255,
        description="a path of the archive, with one * in a part and one ** in all at most",
    ),
]
"""A path of the archive.  `*` is any characters of one part and stands once in it; `**` is any
number of parts, none included, and stands once in the whole."""
Symbol = Annotated[str, Meta(pattern=r"^[A-Za-z_.][A-Za-z0-9_.]*(?!\n)$", max_length=127)]


MapPolicy = Annotated[
    str, Meta(pattern=r"^(refuse|fresh|migrate:[A-Za-z_][A-Za-z0-9_.]*)(?!\n)$", max_length=135)
]
"""What happens when an instance's map has another layout than its next version declares: `refuse`,
`fresh` (an empty map), `migrate:<map>` (the content of that map of the version that runs)."""


Platform = Literal["linux", "windows"]
PlatformKey = Literal[
    "linux-x86_64",
    "linux-aarch64",
    "linux-riscv64",
    "linux-ppc64le",
    "linux-loongarch64",
    "windows-x86_64",
    "windows-aarch64",
]
"""Platform and architecture, as `uname -m` names it.  Objects are little-endian, so big-endian
architectures are not among them."""
FileGroup = Literal["kernel", "shared", "user", "docs"]
"""What a file is for: the kernel's code, code of both sides, user space, documents."""
ProgramFlag = Literal["frags"]
"""What a program is besides its hook: `frags` reads packets that lie in several buffers."""
PlaceInChain = Annotated[int, Meta(ge=0, le=1000)]
"""Position key, lower runs first."""
Owner = Annotated[
    str,
    Meta(
        pattern=r"^[^\s\x00-\x1f\x7f]([^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f])?(?!\n)$",
        max_length=200,
        description="1 to 200 characters, no space at the ends",
    ),
]


class SourceLocation(Document, frozen=True, kw_only=True):
    """Where the sources are kept that the package was made from."""

    repository: Annotated[
        str,
        Meta(
            pattern=r"^((https|git)://[A-Za-z0-9.-]+(:[0-9]{1,5})?/"
            r"|ssh://([A-Za-z0-9._-]+@)?[A-Za-z0-9.-]+(:[0-9]{1,5})?/"
            r"|[A-Za-z0-9._-]+@[A-Za-z0-9.-]+:)[A-Za-z0-9._~/%+-]+(?!\n)$",
            max_length=500,
            description="an https, ssh or git address without password, as"
            " https://git.example.org/team/name.git",
        ),
    ]
    """As git takes it: https, ssh or git, without password."""
    revision: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/+-]*(?!\n)$", max_length=200)]
    """The commit or the tag, as `v1.0.0`."""
    archive_sha256: Annotated[str, Meta(pattern=r"^([0-9a-f]{64})?(?!\n)$")] = ""
    """Of the source archive that was released; empty: none was."""
    path: OptionalFilePath = ""
    """The package's folder in the repository; empty: its root."""


class Needs(Document, frozen=True, kw_only=True):
    """What a node must have that cannot be read from the objects."""

    kernel: Annotated[str, Meta(max_length=64)] = ""
    """Range of releases, as `>=5.15,<7`; empty: every one."""
    features: Annotated[
        tuple[Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}(?!\n)$")], ...],
        Meta(max_length=16),
    ] = ()
    """Names that a node's inventory has under features, as `tcx`."""


class PackageFile(Document, frozen=True, kw_only=True):
    """One file of the archive; the manifest names every one and the archive holds no other."""

    path: FilePath
    sha256: DigestText
    size_bytes: Annotated[int, Meta(ge=0, le=MAX_FILE_BYTES)]


class ProgramEntry(Document, frozen=True, kw_only=True):
    """One program that a deployment can place in a chain."""

    name: Token
    object: OptionalFilePath
    """The ELF file in the archive, for every platform that `objects` does not name; empty: there is
    none for these.  With a compiler, the C source."""
    objects: dict[PlatformKey, FilePath] = {}
    """The ELF files that were made for one platform each."""
    compiler: Literal["", "bcc"] = ""
    """What nodes compile the source with; empty: the archive holds the compiled object."""
    function: Symbol
    """The entry function in that ELF or source."""
    hooks: Annotated[tuple[Hook, ...], Meta(min_length=1)]
    proceed_on: ProceedOn = ()
    """Left out: the hook's default."""
    order: PlaceInChain | None = None
    """Where it runs in a chain when its deployment does not say; None: in the middle, at 500."""
    flags: tuple[ProgramFlag, ...] = ()

    def object_on(self, platform: str) -> str:
        """The file for nodes of this platform; empty: there is none."""
        return {str(key): path for key, path in self.objects.items()}.get(platform, self.object)

    @property
    def all_objects(self) -> tuple[str, ...]:
        """Every file that some platform gets, each once."""
        found = (self.object, *self.objects.values())
        return tuple(dict.fromkeys(path for path in found if path))


class InnerMapEntry(Document, frozen=True, kw_only=True):
    """What keys and values of a map mean, and which entries are the configuration's."""

    key: str = ""
    """What the key is, as `TCP destination port`."""
    value: str = ""
    """What the value is, with its unit."""
    key_minimum: int | None = None
    key_maximum: int | None = None
    value_minimum: int | None = None
    value_maximum: int | None = None
    key_format: ValueFormat = ""
    value_format: ValueFormat = ""
    key_members: dict[MemberPath, MemberEntry] = {}
    """What members of a key that is a struct mean; what is not named is written by its type."""
    value_members: dict[MemberPath, MemberEntry] = {}
    mode: MapMode = "exact"


class MapEntry(InnerMapEntry, frozen=True, kw_only=True):
    """One map that a deployment may configure, with what its keys and values mean."""

    summary: str = ""
    inner: InnerMapEntry | None = None
    """Of a map of maps: what the entries of its maps mean, each of which is a value here."""
    default: dict[str, Any] = {}
    """Entries where a deployment says nothing of the map; with `merge` also under its own."""
    on_layout_change: MapPolicy = "refuse"
    """What happens to the content when this version's layout is another than the running one's."""


class MetricEntry(MetricSource, frozen=True, kw_only=True):
    """What the node reads from a map, and what it means."""

    map: Symbol
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
    defines: dict[FilePath, tuple[str, ...]] = {}
    """By object: what was defined beside that, for those made for one platform."""
    headers_sha256: str = ""
    """Over path and content of every header that is not the package's own; empty: none was."""


class CompanionArgument(Document, frozen=True, kw_only=True):
    """One argument of a companion, handed over as `--<name>=<value>`."""

    type: Literal["string", "integer", "boolean"] = "string"
    summary: str = ""
    default: str | int | bool | None = None
    """None: left out, unless it is given."""
    required: bool = False
    minimum: int | None = None
    """Of an integer."""
    maximum: int | None = None


class CompanionLimits(Document, frozen=True, kw_only=True):
    """What a companion may use at most."""

    memory_mib: Annotated[int, Meta(ge=1, le=1 << 20)] = 128
    cpu_percent: Annotated[int, Meta(ge=1, le=10_000)] = 50
    """Of one processor; 200 are two."""
    processes: Annotated[int, Meta(ge=1, le=10_000)] = 16
    open_files: Annotated[int, Meta(ge=16, le=1 << 20)] = 1024


class CompanionReadiness(Document, frozen=True, kw_only=True):
    """How one knows that a companion does its work."""

    kind: Literal["started", "notify"] = "started"
    """`notify`: it says READY=1 (sd_notify(3))."""
    timeout_seconds: Annotated[int, Meta(ge=1, le=600)] = 10


AccountName = Annotated[str, Meta(pattern=r"^([a-z_][a-z0-9_-]{0,31})?(?!\n)$")]
"""Account of a node that a companion runs as; empty: one that nobody else has."""

Capabilities = Annotated[
    tuple[Annotated[str, Meta(pattern=r"^CAP_[A-Z_]{2,24}(?!\n)$")], ...], Meta(max_length=41)
]
"""As `CAP_NET_ADMIN` (capabilities(7))."""

CommandWords = Annotated[
    tuple[Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f]+(?!\n)$", max_length=255)], ...],
    Meta(max_length=16),
]
"""Words of a command, which stand before the arguments."""


class CompanionEntry(Document, frozen=True, kw_only=True):
    """A program of user space that works beside the kernel's programs."""

    summary: str = ""
    executables: Annotated[dict[PlatformKey, FilePath], Meta(min_length=1)]
    """The file in the archive for each platform."""
    arguments: dict[Token, CompanionArgument] = {}
    start: CommandWords = ()
    """Before the arguments when it is started, as `run`."""
    stop: CommandWords = ()
    """The executable is run with these words and the arguments so that the companion ends by
    itself; empty: SIGTERM."""
    update: CommandWords = ()
    """The same when arguments changed, with the new ones, so that the companion goes on with them;
    empty: it is started anew."""
    user: AccountName = ""
    """Account of the node; empty: one that is made for it alone."""
    capabilities: Capabilities = ()
    """All that it keeps, as `CAP_NET_ADMIN` (capabilities(7))."""
    limits: CompanionLimits = CompanionLimits()
    readiness: CompanionReadiness = CompanionReadiness()
    restart: Literal["always", "on-failure", "never"] = "on-failure"
    stop_seconds: Annotated[int, Meta(ge=1, le=600)] = 10
    """From SIGTERM or the stop command to SIGKILL."""


class PackageManifest(Document, frozen=True, kw_only=True):
    """What a package is.  The signed payload is this, in canonical bytes."""

    schema: Annotated[int, Meta(ge=1, le=1)] = 1
    name: Token
    version: str
    """SemVer 2.0.0."""
    summary: Annotated[str, Meta(min_length=1, max_length=200)]
    licence: str
    """SPDX expression of the kernel code."""
    licences: dict[FileGroup, str] = {}
    """SPDX expression by group of files; a group that is left out is under `licence`."""
    file_groups: dict[
        FileGroup, Annotated[tuple[FileGlob, ...], Meta(min_length=1, max_length=16)]
    ] = {}
    """Which files belong to a group; what no glob names is told by its suffix."""
    owners: Annotated[tuple[Owner, ...], Meta(max_length=32)] = ()
    """Who answers for the code: names, teams, mail addresses."""
    source: SourceLocation | None = None
    platforms: Annotated[tuple[Platform, ...], Meta(min_length=1)] = ("linux",)
    """What the package's code is meant for; policies may ask more of what is meant for both."""
    needs: Needs = Needs()
    programs: Annotated[tuple[ProgramEntry, ...], Meta(min_length=1)]
    maps: dict[Symbol, MapEntry] = {}
    node_maps: Annotated[tuple[Symbol, ...], Meta(max_length=64)] = ()
    """Maps that all instances of the package on a node have in common."""
    variables: dict[Symbol, VariableEntry] = {}
    """Global variables that a deployment may set."""
    metrics: dict[Token, MetricEntry] = {}
    companions: Annotated[dict[Token, CompanionEntry], Meta(max_length=16)] = {}
    tests: FilePath | None = None
    """The file with the package's tests (`PackageTests`); None: it has none."""
    build: BuildRecipe | None = None
    """None: nothing was compiled, or by a release that did not say."""
    files: tuple[PackageFile, ...] = ()

    @property
    def node_features(self) -> tuple[str, ...]:
        """Names that a node's inventory must have for any program of the package."""
        return (*self.needs.features, *((COMPANIONS,) if self.companions else ()))
