# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af package build --check`: whether the sources give the same bytes again."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli import console
from cli.console import plain
from cli.package_build import build_package, read_source
from cli.package_difference import Change, package_difference
from cli.package_reference import DescribedPackage, describe_built, find_package
from cli.package_source import ARCHIVE_SUFFIX
from shared.contracts.base import Message
from shared.errors import RefusedError


class BuildChecked(Message, frozen=True, kw_only=True):
    """What came of building again."""

    name: str
    version: str
    archive_sha256: str
    """As the folder's sources give it here and now."""
    compared_with: tuple[str, ...]
    """What its bytes were held against."""
    is_reproducible: bool
    differences: tuple[Change, ...] = ()
    """Files of the archive, and what of the recipe is not the same; `before` is of what it was
    compared with."""


def report_check(
    folder: Path, written: Path, against: str, credentials: Path | None, *, json: bool
) -> None:
    """What came of building again is printed; a difference ends the process with REFUSED.

    Args:
        folder: The package's.
        written: The archive to compare with, or the folder that may hold it.
        against: What to compare with instead, as `find_package` takes it.
        credentials: As whom to ask the catalog.
        json: How to print.
    """

    async def checked() -> BuildChecked:
        reference = against or _written(folder, written)
        other = await find_package(reference, credentials) if reference else None
        return check_build(folder, other)

    done = console.run(checked(), json=json)
    console.emit(done, render_checked, json=json)
    if not done.is_reproducible:
        sys.exit(console.REFUSED)


def check_build(folder: Path, against: DescribedPackage | None) -> BuildChecked:
    """The folder built twice, on its own path and on another, and held against `against`.

    Raises:
        RefusedError: It cannot be built.
    """
    here = describe_built(build_package(folder), str(folder))
    compared = [describe_elsewhere(folder)]
    if against is not None:
        compared.append(against)
    differences = tuple(one for other in compared for one in _differences(other, here))
    return BuildChecked(
        name=here.manifest.name,
        version=here.manifest.version,
        archive_sha256=here.archive_sha256,
        compared_with=tuple(one.label for one in compared),
        is_reproducible=not differences,
        differences=differences,
    )


def describe_elsewhere(folder: Path) -> DescribedPackage:
    """The same sources, built in a folder of another name."""
    with tempfile.TemporaryDirectory(prefix="l3af-rebuild-") as scratch:
        copy = Path(scratch) / "elsewhere" / f"{folder.resolve().name}-again"
        try:
            shutil.copytree(folder, copy)
        except (OSError, shutil.Error) as error:
            raise RefusedError(f"{folder} cannot be copied: {error}") from error
        return describe_built(build_package(copy), "a second build on another path")


def render_checked(checked: BuildChecked) -> RenderableType:
    """For people."""
    name = f"{checked.name} {checked.version}"
    parts: list[RenderableType] = []
    if checked.differences:
        table = Table("what differs", "compared with", "this build")
        for one in checked.differences:
            table.add_row(plain(one.path), _value(one.before), _value(one.after))
        parts.append(table)
    word = "reproducible" if checked.is_reproducible else "not the same"
    style = "bold green" if checked.is_reproducible else "bold red"
    parts.append(Text(plain(f"{name}: {word}, archive {checked.archive_sha256}"), style=style))
    parts += [Text(plain(f"  compared with {label}")) for label in checked.compared_with]
    return Group(*parts)


def _written(folder: Path, place: Path) -> str:
    """The archive that an earlier build wrote there; empty: there is none."""
    if not place.is_dir():
        return str(place) if place.is_file() else ""
    package = read_source(folder).package
    archive = place / f"{package.name}-{package.version}{ARCHIVE_SUFFIX}"
    return str(archive) if archive.is_file() else ""


def _differences(other: DescribedPackage, here: DescribedPackage) -> Iterator[Change]:
    """Nothing if the archives are the same; then a recipe that differs made no difference."""
    if other.archive_sha256 == here.archive_sha256:
        return
    for change in package_difference(other, here).changes:
        if change.path.startswith(("archive.", "files.", "build.", "name", "version")):
            yield change


def _value(value: object) -> str:
    if value is None:
        return "not there"
    return plain(value if isinstance(value, str) else msgspec.json.encode(value).decode())
