# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af package show --schema`: what a package takes as configuration, as JSON Schema."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cli import console
from cli.package_reference import find_package
from shared.configuration.json_schema import configuration_schema


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


def _never(_schema: object) -> str:
    raise AssertionError("unreachable: a schema is JSON")
