# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What `package.toml` says, and the manifest it becomes.

Pure.  The file names sources and objects; the manifest names objects and the digest of every file.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from msgspec import Meta

from cli.package_test_source import PackageTestSection
from shared.contracts.base import Document
from shared.contracts.configuration import VariableEntry
from shared.contracts.package_manifest import (
    BuildRecipe,
    CompanionEntry,
    FileGlob,
    FileGroup,
    FilePath,
    MapEntry,
    MetricEntry,
    Needs,
    Owner,
    PackageManifest,
    PlaceInChain,
    Platform,
    PlatformKey,
    ProgramEntry,
    ProgramFlag,
    SourceLocation,
    Symbol,
)
from shared.errors import Reason, RefusedError
from shared.identifiers import Hook, ProceedOn, Token
from shared.licensing.expressions import licences_named, text_path
from shared.package_archive import describe_files
from shared.package_tests import TESTS_FILE
from shared.validation import convert_document
from shared.versions import parse_version

SOURCE_FILE: Final = "package.toml"
ARCHIVE_SUFFIX: Final = ".l3afpkg"
MANIFEST_SUFFIX: Final = ".manifest.json"
PROVENANCE_SUFFIX: Final = ".provenance.json"
PUBLICATION_SUFFIX: Final = ".publication.json"
BUILT_SUFFIXES: Final = (ARCHIVE_SUFFIX, MANIFEST_SUFFIX, PROVENANCE_SUFFIX, PUBLICATION_SUFFIX)
"""Of what is written beside an archive, and is no part of a package."""

_TARGETS: Final = {
    "x86_64": "x86",
    "aarch64": "arm64",
    "riscv64": "riscv",
    "ppc64le": "powerpc",
    "loongarch64": "loongarch",
}
"""As libbpf's headers know the architectures (tools/lib/bpf/bpf_tracing.h)."""


@dataclass(frozen=True, slots=True)
class Compilation:
    """What one object is made from."""

    source: str
    defines: tuple[str, ...] = ()


class PackageSection(Document, frozen=True, kw_only=True):
    """`[package]`."""

    name: Token
    version: str
    """SemVer 2.0.0."""
    summary: Annotated[str, Meta(min_length=1, max_length=200)]
    licence: str
    """SPDX expression of the kernel code; its texts lie in `LICENSES/`."""
    licences: dict[FileGroup, str] = {}
    """SPDX expression by group of files, where it is not `licence`."""
    file_groups: dict[
        FileGroup, Annotated[tuple[FileGlob, ...], Meta(min_length=1, max_length=16)]
    ] = {}
    """Which files belong to a group; what they name becomes part of the archive."""
    owners: Annotated[tuple[Owner, ...], Meta(max_length=32)] = ()
    """Who answers for the code: names, teams, mail addresses."""
    source: SourceLocation | None = None
    """Where the sources are kept."""
    platforms: Annotated[tuple[Platform, ...], Meta(min_length=1)] = ("linux",)
    """What the code is meant for."""
    node_maps: Annotated[tuple[Symbol, ...], Meta(max_length=64)] = ()
    """Maps that all instances of the package on a node have in common."""


class TargetSection(Document, frozen=True, kw_only=True):
    """`[programs.targets.<platform>]`: the object for nodes of one platform."""

    source: FilePath | None = None
    """Left out: the program's."""
    object: FilePath | None = None
    """Left out: the source's name with the platform before `.o`."""
    defines: Annotated[
        tuple[
            Annotated[
                str,
                Meta(
                    pattern=r"^[A-Za-z_][A-Za-z0-9_]*(=[A-Za-z0-9_.:+-]*)?(?!\n)$", max_length=200
                ),
            ],
            ...,
        ],
        Meta(max_length=32),
    ] = ()
    """As `LANES=4`, beside `__TARGET_ARCH_<architecture>`."""


class ProgramSection(Document, frozen=True, kw_only=True):
    """`[[programs]]`."""

    name: Token
    source: FilePath
    """C file in the package's folder."""
    compiler: Literal["clang", "bcc"] = "clang"
    """`bcc`: the archive holds the source, and nodes compile it."""
    object: FilePath | None = None
    """ELF file in the archive; left out: the source's name with `.o` for `.c`."""
    targets: dict[PlatformKey, TargetSection] = {}
    """Platforms that get an object of their own."""
    other_platforms: bool = True
    """Whether those that `targets` does not name get the object without its defines."""
    function: Symbol
    hooks: Annotated[tuple[Hook, ...], Meta(min_length=1)]
    proceed_on: ProceedOn = ()
    order: PlaceInChain | None = None
    """Where it runs in a chain when its deployment does not say: smaller is earlier."""
    flags: tuple[ProgramFlag, ...] = ()
    """What the object must say of the program: `frags`."""


class PackageSource(Document, frozen=True, kw_only=True):
    """`package.toml`."""

    package: PackageSection
    needs: Needs = Needs()
    """What a node must have that cannot be read from the objects."""
    programs: Annotated[tuple[ProgramSection, ...], Meta(min_length=1)]
    maps: dict[Symbol, MapEntry] = {}
    variables: dict[Symbol, VariableEntry] = {}
    metrics: dict[Token, MetricEntry] = {}
    companions: Annotated[dict[Token, CompanionEntry], Meta(max_length=16)] = {}
    """Programs of user space; their executables lie in the package's folder."""
    test: tuple[PackageTestSection, ...] = ()

    def objects(self) -> dict[str, Compilation]:
        """Object file to what it is compiled from, here."""
        return {path: made for _, path, made in self.compilations()}

    def compilations(self) -> Iterator[tuple[str, str, Compilation]]:
        """Where an object is stated, its file, and what it is compiled from; some several times."""
        for index, program in enumerate(self.programs):
            path = f"programs[{index}]"
            if program.compiler != "clang":
                continue
            if program.other_platforms:
                yield f"{path}.object", object_of(program), Compilation(program.source)
            for key, target in program.targets.items():
                made = Compilation(
                    target.source or program.source,
                    (f"__TARGET_ARCH_{_TARGETS[key.partition('-')[2]]}", *target.defines),
                )
                yield f"{path}.targets.{key}", target_object(program, key), made

    def licence_expressions(self) -> tuple[str, ...]:
        """Every expression that the package is under in a part."""
        found = (self.package.licence, *self.package.licences.values())
        return tuple(dict.fromkeys(found))

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


def target_object(program: ProgramSection, platform: PlatformKey) -> str:
    """The file in the archive for nodes of a platform that `targets` names."""
    target = program.targets[platform]
    source = target.source or program.source
    return target.object or f"{source.removesuffix('.c')}.{platform}.o"


def licence_files(expression: str) -> tuple[str, ...]:
    """The texts that an SPDX expression needs, as REUSE names them (reuse.software/spec-3.3)."""
    return tuple(map(text_path, licences_named(expression)))


def make_manifest(
    source: PackageSource, files: Mapping[str, bytes], *, build: BuildRecipe | None = None
) -> PackageManifest:
    """The manifest of a package that consists of `files` (archive path to content)."""
    return PackageManifest(
        name=source.package.name,
        version=source.package.version,
        summary=source.package.summary,
        licence=source.package.licence,
        licences=source.package.licences,
        file_groups=source.package.file_groups,
        owners=source.package.owners,
        source=source.package.source,
        platforms=source.package.platforms,
        needs=source.needs,
        programs=tuple(
            ProgramEntry(
                name=program.name,
                object=object_of(program) if program.other_platforms else "",
                objects={key: target_object(program, key) for key in program.targets},
                compiler="" if program.compiler == "clang" else program.compiler,
                function=program.function,
                hooks=program.hooks,
                proceed_on=program.proceed_on,
                order=program.order,
                flags=program.flags,
            )
            for program in source.programs
        ),
        maps=source.maps,
        node_maps=source.package.node_maps,
        variables=source.variables,
        metrics=source.metrics,
        companions=source.companions,
        tests=TESTS_FILE if source.test else None,
        build=build,
        files=describe_files(files),
    )


def _object_reasons(source: PackageSource) -> Iterator[Reason]:
    for index, program in enumerate(source.programs):
        path = f"programs[{index}]"
        stated = [("source", program.source)]
        stated += [
            (f"targets.{key}.source", target.source)
            for key, target in program.targets.items()
            if target.source is not None
        ]
        for field, name in stated:
            if not name.endswith(".c"):
                yield Reason(path=f"{path}.{field}", rule="is not a C file", got=name)
        if program.compiler != "clang":
            yield from _compiled_reasons(program, path=path)
        elif not program.other_platforms and not program.targets:
            yield Reason(
                path=f"{path}.other_platforms", rule="leaves the program without an object"
            )
        elif not program.other_platforms and program.object:
            rule = "is made for other platforms, of which there are none"
            yield Reason(path=f"{path}.object", rule=rule, got=program.object)
    compiled_from: dict[str, Compilation] = {}
    for path, name, made in source.compilations():
        earlier = compiled_from.setdefault(name, made)
        if earlier != made:
            defines = f" with {' '.join(earlier.defines)}" if earlier.defines else ""
            rule = f"is compiled from {earlier.source}{defines} already"
            yield Reason(path=path, rule=rule, got=name)


def _compiled_reasons(program: ProgramSection, *, path: str) -> Iterator[Reason]:
    """What a program that nodes compile says of objects."""
    if program.object:
        yield Reason(
            path=f"{path}.object", rule="is not made before a node compiles", got=program.object
        )
    if program.targets:
        rule = "are not made before a node compiles"
        yield Reason(path=f"{path}.targets", rule=rule, got=sorted(program.targets))
    if not program.other_platforms:
        rule = "is about objects, and nodes compile this source"
        yield Reason(path=f"{path}.other_platforms", rule=rule)
