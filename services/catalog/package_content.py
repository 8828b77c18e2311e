# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a package's archive holds: facts of its objects and sources, analysis, licence tags, tests.

Pure.

Rules:
 * Nothing is read before the archive is known to be exactly what the manifest says.
 * One file that cannot be read hides no problem of another: every file is tried, and what is wrong
   with those that could not be read stands beside what was learnt from the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from services.catalog.manifest import manifest_reasons
from shared.archive_files import ArchiveBytes
from shared.bytecode.c_sources import read_source_facts
from shared.bytecode.elf import ElfReading, read_elf
from shared.contracts.package_analysis import PackageAnalysis
from shared.contracts.package_facts import ElfFacts
from shared.contracts.package_manifest import PackageManifest
from shared.contracts.package_tests import PackageTest
from shared.errors import Reason, RefusedError
from shared.licensing.source_tags import HEAD_BYTES, source_licences
from shared.package_archive import ArchiveError, read_archive
from shared.package_tests import compilers_by_file, read_tests
from shared.portability.companions import analyse_companions
from shared.portability.package import analyse_package
from shared.reason_lists import bounded_reasons


@dataclass(frozen=True, slots=True)
class PackageContent:
    """What was read from one archive."""

    elf: tuple[ElfFacts, ...]
    """Of every object or source that could be read, in the order in which programs name them."""
    source_licences: Mapping[str, str]
    """The SPDX tag of each file that has one, by path."""
    tests: tuple[PackageTest, ...] = ()
    reasons: tuple[Reason, ...] = ()
    """Why files could not be read."""
    analysis: PackageAnalysis | None = None
    """None: a file could not be read."""


def read_content(archive: ArchiveBytes, manifest: PackageManifest) -> PackageContent:
    """All that the archive says of the package.

    Raises:
        ArchiveError: The archive is not the manifest's; with every difference, and with what is
            wrong with the manifest whatever the archive holds.
    """
    try:
        files = read_archive(archive, manifest)
    except ArchiveError as error:
        reasons = (*error.reasons, *manifest_reasons(manifest, ()))
        raise ArchiveError(error.message, bounded_reasons(reasons)) from error
    facts: list[ElfFacts] = []
    readings: list[ElfReading] = []
    unread: list[Reason] = []
    for path, compiler in compilers_by_file(manifest).items():
        try:
            if compiler:
                facts.append(read_source_facts(files[path], path))
            else:
                readings.append(read_elf(files[path], path))
                facts.append(readings[-1].facts)
        except RefusedError as error:
            unread += error.reasons
    tests: tuple[PackageTest, ...] = ()
    try:
        tests = read_tests(manifest, files)
    except RefusedError as error:
        unread += error.reasons
    analysis = None
    try:
        if unread:
            analyse_companions(manifest, files)
        else:
            analysis = analyse_package(manifest, files, readings=readings)
    except RefusedError as error:
        unread += error.reasons
    return PackageContent(
        elf=tuple(facts),
        source_licences=source_licences(
            {path: bytes(files.view(path)[:HEAD_BYTES]) for path in files}
        ),
        tests=tests,
        reasons=tuple(unread),
        analysis=analysis,
    )
