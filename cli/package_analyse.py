# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af package analyse`: what a package uses and where it could run, without loading it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from rich.console import Group, RenderableType
from rich.text import Text

from cli import console
from cli.console import CredentialsOption, JsonFlag, plain
from cli.package_analysis_view import analysis_tables
from cli.package_reference import DescribedPackage, find_package
from shared.bytecode.elf import read_elf
from shared.contracts.base import Message
from shared.contracts.package_analysis import PackageAnalysis
from shared.contracts.package_facts import ElfFacts
from shared.errors import Reason, RefusedError
from shared.portability.object_analysis import analyse_object
from shared.portability.package import analyse_package

_ELF_MAGIC: Final = b"\x7fELF"


class PackageAnalysed(Message, frozen=True, kw_only=True):
    """What was found out."""

    name: str
    """As it was asked for."""
    elf: tuple[ElfFacts, ...]
    analysis: PackageAnalysis
    is_recorded: bool = False
    """Whether it is the catalog's own, from when the version was published."""


def analyse(package: str, *, credentials: CredentialsOption = None, json: JsonFlag = False) -> None:
    """Say what a package uses, and which kernels, architectures and platforms could run it.

    Nothing is loaded: everything is read from the files.

    Parameters
    ----------
    package
        A folder, which is built first, an archive that `build` wrote, one object file, or
        NAME[@VERSION] in the catalog, of which the recorded analysis is shown.
    """
    place = Path(package)
    if place.is_file() and _is_object(place):
        with console.refusing(json=json):
            console.emit(_of_object(place), render, json=json)
        return
    with console.progress(f"reading {package}"):
        described = console.run(find_package(package, credentials), json=json)
    with console.refusing(json=json):
        found = _of_package(described)
    console.emit(found, render, json=json)


def _is_object(place: Path) -> bool:
    with place.open("rb") as file:
        return file.read(len(_ELF_MAGIC)) == _ELF_MAGIC


def _of_object(place: Path) -> PackageAnalysed:
    reading = read_elf(place.read_bytes(), place.name)
    analysis, programs = analyse_object(reading)
    return PackageAnalysed(
        name=str(place),
        elf=(reading.facts,),
        analysis=PackageAnalysis(objects=(analysis,), programs=programs),
    )


def _of_package(described: DescribedPackage) -> PackageAnalysed:
    if described.files is not None:
        analysis = analyse_package(described.manifest, described.files)
        return PackageAnalysed(name=described.label, elf=described.elf, analysis=analysis)
    if described.analysis is None:
        reason = Reason(
            path=described.label,
            rule="was published by a release that recorded no analysis",
            allowed="its folder or its archive, or a newer version",
        )
        raise RefusedError(f"{described.label} {reason.rule}", [reason])
    return PackageAnalysed(
        name=described.label,
        elf=described.elf,
        analysis=described.analysis,
        is_recorded=True,
    )


def render(found: PackageAnalysed) -> RenderableType:
    """For people."""
    remark = ", as recorded when it was published" if found.is_recorded else ""
    head = Text(plain(f"{found.name}{remark}"), style="bold")
    return Group(head, analysis_tables(found.elf, found.analysis))
