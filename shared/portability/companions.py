# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The analysis of companions: executables of user space, and the C sources beside them.

Rules:
 * An executable for Linux is an ELF file of the architecture that it is stated for; one for Windows
   is stored and not read.
 * A call that libbpf 1.0 removed is told from the table of symbols, or from a C source of the
   archive with its line.  A static libbpf that is younger has none of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from shared.bytecode.c_sources import code_alone
from shared.bytecode.elf_sections import MalformedObjectError
from shared.contracts.package_analysis import CapabilityNeed, CompanionAnalysis, RemovedCall
from shared.contracts.package_manifest import CompanionEntry, PackageManifest
from shared.errors import Reason, RefusedError
from shared.portability.capability_needs import capability_needs
from shared.portability.executables import Executable, read_executable
from shared.portability.libbpf_removals import (
    REPLACEMENTS,
    removed_calls,
    removed_calls_of_code,
)

MAX_SOURCE_BYTES: Final = 1 << 20
"""Longer sources are not looked through."""
_SOURCE: Final = re.compile(r".*\.(c|cc|cpp|cxx|h|hpp)")


@dataclass(frozen=True, slots=True)
class CompanionFindings:
    """Of all companions of a package."""

    companions: tuple[CompanionAnalysis, ...]
    removed_calls: tuple[RemovedCall, ...]


class UnfitExecutableError(RefusedError):
    """Executables of companions are none, or not for the platform that they are stated for."""


def analyse_companions(manifest: PackageManifest, files: Mapping[str, bytes]) -> CompanionFindings:
    """What the companions are linked to and call.

    Raises:
        UnfitExecutableError: With every executable that cannot be read or is for another platform.
    """
    found: list[CompanionAnalysis] = []
    removed: list[RemovedCall] = []
    reasons: list[Reason] = []
    for name, entry in manifest.companions.items():
        for platform, path in entry.executables.items():
            if path not in files:
                # The manifest's checks say so.
                continue
            if not platform.startswith("linux-"):
                found.append(CompanionAnalysis(companion=name, platform=platform, path=path))
                continue
            try:
                executable = _executable(files[path], path, platform.partition("-")[2])
            except MalformedObjectError as error:
                reasons += error.reasons
                continue
            found.append(_analysis(executable, name, platform, path, entry))
            removed += [
                RemovedCall(name=call, path=path, replacement=REPLACEMENTS[call])
                for call in removed_calls(executable.imported | executable.own)
            ]
    if reasons:
        raise UnfitExecutableError(f"{reasons[0].path}: {reasons[0].rule}", reasons)
    removed += _of_sources(files)
    return CompanionFindings(tuple(found), tuple(dict.fromkeys(removed)))


def _executable(data: bytes, path: str, architecture: str) -> Executable:
    executable = read_executable(data, path)
    if executable.architecture != architecture:
        raise MalformedObjectError(path, f"must be made for {architecture}, as the manifest says")
    return executable


def _analysis(
    executable: Executable, name: str, platform: str, path: str, entry: CompanionEntry
) -> CompanionAnalysis:
    calls = executable.imported | executable.own
    return CompanionAnalysis(
        companion=name,
        platform=platform,
        path=path,
        libraries=executable.libraries,
        interpreter=executable.interpreter,
        libbpf=executable.libbpf,
        capabilities=tuple(
            CapabilityNeed(name=capability, because=call, declared=capability in entry.capabilities)
            for capability, call in capability_needs(calls)
        ),
    )


def _of_sources(files: Mapping[str, bytes]) -> Iterator[RemovedCall]:
    for path in sorted(filter(_SOURCE.fullmatch, files)):
        data = files[path]
        if len(data) > MAX_SOURCE_BYTES:
            continue
        for call, line in removed_calls_of_code(code_alone(data.decode(errors="replace"))):
            yield RemovedCall(name=call, path=path, line=line, replacement=REPLACEMENTS[call])
