# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What `package.toml` says, and the manifest it becomes.

Pure.  The file names sources and objects; the manifest names objects and the digest of every file.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Annotated, Final, Literal

from msgspec import Meta

from cli.package_test_source import PackageTestSection
from shared.contracts.base import Document
from shared.contracts.package_manifest import (
    BuildRecipe,
    FilePath,
    MapEntry,
    MetricEntry,
    PackageManifest,
    Platform,
    ProgramEntry,
    Symbol,
)
from shared.errors import Reason, RefusedError
from shared.identifiers import Hook, ProceedOn, Token
from shared.package_archive import describe_files
from shared.package_tests import TESTS_FILE
from shared.validation import convert_document
from shared.versions import parse_version

SOURCE_FILE: Final = "package.toml"
ARCHIVE_SUFFIX: Final = ".l3afpkg"
MANIFEST_SUFFIX: Final = ".manifest.json"

_LICENCE: Final = re.compile(r"[A-Za-z0-9.-]+\+?")
_OPERATORS: Final = frozenset({"AND", "OR", "WITH"})


class PackageSection(Document, frozen=True, kw_only=True):
    """`[package]`."""

    name: Token
    version: str
    """SemVer 2.0.0."""
    summary: Annotated[str, Meta(min_length=1, max_length=200)]
    licence: str
    """SPDX expression of the kernel code; its texts lie in `LICENSES/`."""
    platforms: Annotated[tuple[Platform, ...], Meta(min_length=1)] = ("linux",)
    """What the code is meant for."""


class ProgramSection(Document, frozen=True, kw_only=True):
    """`[[programs]]`."""

    name: Token
    source: FilePath
    """C file in the package's folder."""
    compiler: Literal["clang", "bcc"] = "clang"
    """`bcc`: the archive holds the source, and nodes compile it."""
    object: FilePath | None = None
    """ELF file in the archive; left out: the source's name with `.o` for `.c`."""
    function: Symbol
    hooks: Annotated[tuple[Hook, ...], Meta(min_length=1)]
    proceed_on: ProceedOn = ()


class PackageSource(Document, frozen=True, kw_only=True):
    """`package.toml`."""

    package: PackageSection
    programs: Annotated[tuple[ProgramSection, ...], Meta(min_length=1)]
    maps: dict[Symbol, MapEntry] = {}
    metrics: dict[Token, MetricEntry] = {}
    test: tuple[PackageTestSection, ...] = ()

    def objects(self) -> dict[str, str]:
        """Object file to the source it is compiled from, here."""
        return {
            object_of(program): program.source
            for program in self.programs
            if program.compiler == "clang"
        }

    def sources(self) -> tuple[str, ...]:
        """Sources that nodes compile."""
        found = (program.source for program in self.programs if program.compiler != "clang")
        return tuple(dict.fromkeys(found))


def parse_source(text: str) -> PackageSource:
    """What the file says.

    Raises:
        RefusedError: It is not TOML, or breaks rules; all of them are named.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        reason = Reason(path=SOURCE_FILE, rule=f"is not TOML: {error}")
        raise RefusedError(f"{SOURCE_FILE}: {reason.rule}", [reason]) from error
    source = convert_document(document, PackageSource, what=SOURCE_FILE)
    parse_version(source.package.version, path="package.version")
    reasons = list(_object_reasons(source))
    if reasons:
        raise RefusedError(f"{SOURCE_FILE}: {reasons[0].path}: {reasons[0].rule}", reasons)
    return source


def object_of(program: ProgramSection) -> str:
    """The program's object file in the archive; the source itself if nodes compile it."""
    if program.compiler != "clang":
        return program.source
    return program.object or f"{program.source.removesuffix('.c')}.o"


def licence_files(expression: str) -> tuple[str, ...]:
    """The texts that an SPDX expression needs, as REUSE names them (reuse.software/spec-3.3)."""
    words = _LICENCE.findall(expression)
    return tuple(f"LICENSES/{word.rstrip('+')}.txt" for word in words if word not in _OPERATORS)


def make_manifest(
    source: PackageSource, files: Mapping[str, bytes], *, build: BuildRecipe | None = None
) -> PackageManifest:
    """The manifest of a package that consists of `files` (archive path to content)."""
    return PackageManifest(
        name=source.package.name,
        version=source.package.version,
        summary=source.package.summary,
        licence=source.package.licence,
        platforms=source.package.platforms,
        programs=tuple(
            ProgramEntry(
                name=program.name,
                object=object_of(program),
                compiler="" if program.compiler == "clang" else program.compiler,
                function=program.function,
                hooks=program.hooks,
                proceed_on=program.proceed_on,
            )
            for program in source.programs
        ),
        maps=source.maps,
        metrics=source.metrics,
        tests=TESTS_FILE if source.test else None,
        build=build,
        files=describe_files(files),
    )


def _object_reasons(source: PackageSource) -> Iterator[Reason]:
    compiled_from: dict[str, str] = {}
    for index, program in enumerate(source.programs):
        path = f"programs[{index}]"
        if not program.source.endswith(".c"):
            yield Reason(path=f"{path}.source", rule="is not a C file", got=program.source)
        if program.compiler != "clang" and program.object:
            yield Reason(
                path=f"{path}.object", rule="is not made before a node compiles", got=program.object
            )
        earlier = compiled_from.setdefault(object_of(program), program.source)
        if earlier != program.source:
            yield Reason(
                path=f"{path}.object",
                rule=f"is compiled from {earlier} already",
                got=object_of(program),
            )
