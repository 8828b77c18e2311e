# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A package by whatever names it: its folder, an archive file, or NAME@VERSION in the catalog."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cli import session
from cli.package_build import BuiltPackage
from cli.package_publish import load_built
from shared.canonical import sha256_hex
from shared.contracts.catalog import GET_PACKAGE, GetPackage
from shared.contracts.package_analysis import PackageAnalysis
from shared.contracts.package_facts import ElfFacts
from shared.contracts.package_manifest import PackageManifest
from shared.errors import Reason, RefusedError
from shared.package_archive import read_archive

_PUBLISHED: Final = re.compile(r"(?P<name>[a-z0-9][a-z0-9-]*)(?:@(?P<version>[^/\s]+))?")


@dataclass(frozen=True, slots=True)
class DescribedPackage:
    """What is known of a package."""

    label: str
    """How it was named."""
    manifest: PackageManifest
    elf: tuple[ElfFacts, ...]
    archive_sha256: str
    files: Mapping[str, bytes] | None
    """The archive's; None: the catalog shows facts alone."""
    analysis: PackageAnalysis | None = None
    """As recorded by the catalog; None: it was not asked, or has none."""


def describe_built(built: BuiltPackage, label: str) -> DescribedPackage:
    """A package that was built here."""
    return DescribedPackage(
        label=label,
        manifest=built.manifest,
        elf=built.elf,
        archive_sha256=sha256_hex(built.archive),
        files=read_archive(built.archive, built.manifest),
    )


async def find_package(reference: str, credentials: Path | None) -> DescribedPackage:
    """The package that `reference` names: a folder, which is built, a file, or NAME[@VERSION].

    Raises:
        RefusedError: There is no such package, or it cannot be built or read.
        FaultError: The catalog does not answer.
    """
    if (found := await asyncio.to_thread(_on_disk, reference)) is not None:
        return found
    match = _PUBLISHED.fullmatch(reference)
    if match is None:
        reason = Reason(
            path=reference,
            rule="is no folder, no file and no name of a package",
            allowed="a folder with package.toml, an archive, or NAME@VERSION",
        )
        raise RefusedError(f"{reference} {reason.rule}", [reason])
    request = GetPackage(name=match["name"], version=match["version"] or "")
    package = (await session.ask(GET_PACKAGE, request, credentials)).package
    return DescribedPackage(
        label=f"{package.manifest.name}@{package.version}",
        manifest=package.manifest,
        elf=package.elf,
        archive_sha256=package.signed.archive_sha256,
        files=None,
        analysis=package.analysis,
    )


def _on_disk(reference: str) -> DescribedPackage | None:
    path = Path(reference)
    return describe_built(load_built(path), reference) if path.is_dir() or path.is_file() else None
