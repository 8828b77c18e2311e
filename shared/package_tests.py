# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The tests in a package's archive, and whether they are about the package.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import msgspec

from shared.canonical import canonical_bytes
from shared.contracts.node import verdicts_of
from shared.contracts.package_facts import ElfFacts
from shared.contracts.package_manifest import PackageManifest
from shared.contracts.package_tests import (
    MAX_TESTS_BYTES,
    MAX_TRIED_BYTES,
    PackageTest,
    PackageTests,
)
from shared.errors import Reason, RefusedError
from shared.identifiers import is_probe
from shared.package_archive import write_archive
from shared.validation import decode_document

TESTS_FILE: Final = "tests.json"
"""Where a build puts them; the manifest says where they are."""


class PackageTestsError(RefusedError):
    """The tests are not about the package; with every reason."""


def write_tests(tests: Iterable[PackageTest]) -> bytes:
    """The document that an archive holds; equal tests make equal bytes."""
    return canonical_bytes(PackageTests(tests=tuple(tests)))


def tried_part(
    manifest: PackageManifest, files: Mapping[str, bytes]
) -> tuple[PackageManifest, bytes]:
    """The package and its archive without its companions, which may be many times as large.

    Args:
        manifest: Of the whole package.
        files: The archive's, which are exactly those that the manifest lists.

    Raises:
        RefusedError: It is larger than MAX_TRIED_BYTES.
    """
    companions = manifest.companions.values()
    beside = {path for companion in companions for path in companion.executables.values()}
    beside -= {path for program in manifest.programs for path in program.all_objects}
    listed = tuple(file for file in manifest.files if file.path not in beside)
    size_bytes = sum(file.size_bytes for file in listed)
    if size_bytes > MAX_TRIED_BYTES:
        rule = "are too large to be tried, companions aside"
        reason = Reason(path="manifest.files", rule=rule, got=size_bytes, allowed=MAX_TRIED_BYTES)
        raise RefusedError(f"{reason.path} {rule}", [reason])
    archive = write_archive({file.path: files[file.path] for file in listed})
    return msgspec.structs.replace(manifest, files=listed, companions={}), archive


def read_tests(manifest: PackageManifest, files: Mapping[str, bytes]) -> tuple[PackageTest, ...]:
    """The tests that an archive holds; none if its manifest names no file of them.

    Args:
        manifest: Of the package.
        files: The archive's, which are exactly those that the manifest lists.

    Raises:
        PackageTestsError: The file is missing, too large, or no such document; with every problem.
    """
    if manifest.tests is None:
        return ()
    data = files.get(manifest.tests)
    if data is None:
        reason = Reason(path="manifest.tests", rule="is not in the archive", got=manifest.tests)
        raise PackageTestsError(f"{manifest.tests} {reason.rule}", [reason])
    if len(data) > MAX_TESTS_BYTES:
        reason = Reason(
            path=manifest.tests, rule="is too large", got=len(data), allowed=MAX_TESTS_BYTES
        )
        raise PackageTestsError(f"{manifest.tests} {reason.rule}", [reason])
    try:
        return decode_document(data, PackageTests, what=manifest.tests).tests
    except RefusedError as error:
        reasons = [
            msgspec.structs.replace(reason, path=f"{manifest.tests}:{reason.path}".rstrip(":"))
            for reason in error.reasons
        ]
        raise PackageTestsError(error.message, reasons) from error


def reasons_of_tests(
    manifest: PackageManifest, tests: Iterable[PackageTest], elf: Iterable[ElfFacts]
) -> Iterator[Reason]:
    """Everything in which a test speaks of what the package does not have.

    Args:
        manifest: Of the package.
        tests: Its own.
        elf: Facts of its object files.
    """
    programs = {entry.name: entry for entry in manifest.programs}
    known = tuple(elf)
    maps = {entry.name for facts in known for entry in facts.maps}
    are_known = are_all_read(manifest, known)
    seen: set[str] = set()
    for index, test in enumerate(tests):
        path = f"tests[{index}]"
        if test.name in seen:
            yield Reason(
                path=f"{path}.name", rule="another test has this name already", got=test.name
            )
        seen.add(test.name)
        entry = programs.get(test.program)
        if entry is None:
            yield Reason(
                path=f"{path}.program",
                rule="the package has no such program",
                got=test.program,
                allowed=sorted(programs),
            )
        elif test.hook not in entry.hooks:
            yield Reason(
                path=f"{path}.hook",
                rule=f"program {test.program} is not made for this hook",
                got=test.hook,
                allowed=list(entry.hooks),
            )
        elif is_probe(test.hook):
            yield Reason(
                path=f"{path}.hook",
                rule=f"program {test.program} is a probe, which no packet passes",
                got=test.hook,
            )
        checked = maps if are_known else maps.union(test.maps)
        yield from _name_reasons(test, manifest, checked, path=path)


def are_all_read(manifest: PackageManifest, elf: Iterable[ElfFacts]) -> bool:
    """Whether there are facts of every object that programs name, so that no map is unknown."""
    return compilers_by_file(manifest).keys() <= {facts.path for facts in elf}


def compilers_by_file(manifest: PackageManifest) -> dict[str, str]:
    """Every object and source that some program is in, and what nodes compile it with, if so."""
    return {path: one.compiler for one in manifest.programs for path in one.all_objects}


def check_tests(
    manifest: PackageManifest, files: Mapping[str, bytes], elf: Iterable[ElfFacts]
) -> tuple[PackageTest, ...]:
    """The tests of an archive, all of which are about the package.

    Raises:
        PackageTestsError: They are not; with every reason.
        RefusedError: The file is no document of tests.
    """
    tests = read_tests(manifest, files)
    if reasons := list(reasons_of_tests(manifest, tests, elf)):
        raise PackageTestsError(f"{reasons[0].path}: {reasons[0].rule}", reasons)
    return tests


def _name_reasons(
    test: PackageTest, manifest: PackageManifest, maps: set[str], *, path: str
) -> Iterator[Reason]:
    verdicts = verdicts_of(test.hook)
    for number, packet in enumerate(test.packets):
        if packet.verdict not in verdicts:
            yield Reason(
                path=f"{path}.packets[{number}].verdict",
                rule=f"is not a verdict of {test.hook}",
                got=packet.verdict,
                allowed=list(verdicts),
            )
    offered, variables = manifest.maps.keys(), manifest.variables.keys()
    for field, named, allowed, rule in (
        ("config", test.config, offered, "the package offers no such map for configuration"),
        ("variables", test.variables, variables, "the package offers no such variable"),
        ("maps", test.maps, maps, "no object file has this map"),
        ("metrics", test.metrics, manifest.metrics.keys(), "the package has no such metric"),
    ):
        for name in named:
            if name not in allowed:
                yield Reason(path=f"{path}.{field}.{name}", rule=rule, allowed=sorted(allowed))
