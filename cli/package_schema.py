# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a package takes as configuration: as tables, and as JSON Schema (`show --schema`)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from rich.table import Table

from cli import console
from cli.console import plain
from cli.package_reference import find_package
from shared.configuration.json_schema import configuration_schema
from shared.contracts.package_manifest import PackageManifest


def report_schema(name: str, version: str, credentials: Path | None, *, json: bool) -> None:
    """The schema is printed, as JSON in either case.

    Args:
        name: Of a published package; or a folder or an archive.
        version: Empty: the newest.
        credentials: Of whoever asks the catalog.
        json: Whether refusals are JSON as well.
    """

    async def made() -> dict[str, Any]:
        found = await find_package(f"{name}@{version}" if version else name, credentials)
        return configuration_schema(found.manifest, found.elf)

    console.emit(console.run(made(), json=json), _never, json=True)


def configuration_tables(manifest: PackageManifest) -> Iterator[Table]:
    """Maps, global variables and arguments of companions, as far as the package offers them."""
    if manifest.maps:
        maps = Table("map", "key", "value", "default", "summary")
        for name, entry in manifest.maps.items():
            maps.add_row(
                plain(name) + (", merged" if entry.mode == "merge" else ""),
                _meaning(entry.key, entry.key_format, entry.key_minimum, entry.key_maximum),
                _meaning(entry.value, entry.value_format, entry.value_minimum, entry.value_maximum),
                f"{len(entry.default)} entries" if entry.default else "",
                plain(entry.summary),
            )
        yield maps
    if manifest.variables:
        variables = Table("variable", "value", "default", "summary")
        for name, stated in manifest.variables.items():
            default = "" if stated.default is None else msgspec.json.encode(stated.default).decode()
            variables.add_row(
                plain(name),
                _meaning("", stated.format, stated.minimum, stated.maximum),
                plain(default),
                plain(stated.summary),
            )
        yield variables
    stated_arguments = [
        (f"{companion} {name}", stated)
        for companion, entry in manifest.companions.items()
        for name, stated in entry.arguments.items()
    ]
    if stated_arguments:
        arguments = Table("companion, argument", "value", "default", "summary")
        for label, argument in stated_arguments:
            default = "required" if argument.required else ""
            if argument.default is not None:
                default = msgspec.json.encode(argument.default).decode()
            arguments.add_row(
                plain(label),
                _meaning("", argument.type, argument.minimum, argument.maximum),
                plain(default),
                plain(argument.summary),
            )
        yield arguments


def _meaning(text: str, form: str, minimum: int | None, maximum: int | None) -> str:
    """What it is, its format and its range."""
    limits = ""
    if minimum is not None or maximum is not None:
        limits = f"({'' if minimum is None else minimum} to {'' if maximum is None else maximum})"
    return " ".join(one for one in (plain(text), form, limits) if one)


def _never(_schema: object) -> str:
    raise AssertionError("unreachable: a schema is JSON")
