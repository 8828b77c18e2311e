# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The analysis of a whole package, from the files of its archive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from shared.bytecode.c_sources import read_source_facts
from shared.bytecode.elf import ElfReading, read_elf
from shared.contracts.package_analysis import (
    MAX_NAMED,
    ObjectAnalysis,
    PackageAnalysis,
    ProgramAnalysis,
)
from shared.contracts.package_manifest import PackageManifest
from shared.package_tests import compilers_by_file
from shared.portability.companions import analyse_companions
from shared.portability.object_analysis import analyse_object, analyse_source


def analyse_package(
    manifest: PackageManifest,
    files: Mapping[str, bytes],
    *,
    readings: Sequence[ElfReading] = (),
) -> PackageAnalysis:
    """What the package uses and where it could run.

    Args:
        manifest: As its publisher wrote it.
        files: Of its archive, by path.
        readings: Objects among them that were read already.

    Raises:
        RefusedError: A file cannot be read; for the first one.
    """
    known = {reading.facts.path: reading for reading in readings}
    windows = windows_objects(manifest)
    objects: list[ObjectAnalysis] = []
    programs: list[ProgramAnalysis] = []
    for path, compiler in compilers_by_file(manifest).items():
        if compiler:
            programs += analyse_source(read_source_facts(files[path], path))
            continue
        reading = known.get(path) or read_elf(files[path], path)
        analysis, found = analyse_object(reading, made_for_windows=path in windows)
        objects.append(analysis)
        programs += found
    beside = analyse_companions(manifest, files)
    return PackageAnalysis(
        objects=tuple(objects),
        programs=tuple(programs),
        companions=beside.companions,
        removed_calls=beside.removed_calls[:MAX_NAMED],
        removed_call_count=len(beside.removed_calls),
    )


def windows_objects(manifest: PackageManifest) -> frozenset[str]:
    """Objects that were made for Windows alone, with its numbers of helpers and map types."""
    windows: set[str] = set()
    others = {program.object for program in manifest.programs}
    for program in manifest.programs:
        for platform, path in program.objects.items():
            (windows if platform.startswith("windows-") else others).add(path)
    return frozenset(windows - others)
