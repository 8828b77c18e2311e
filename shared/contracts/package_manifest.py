# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a package says of itself: the manifest that its publisher signs."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta

from shared.contracts.base import Document
from shared.identifiers import DigestText, Hook, ProceedOn, Token

MAX_ARTIFACT_BYTES: Final = 64 * 1024 * 1024

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
