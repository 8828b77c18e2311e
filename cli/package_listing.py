# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""How `l3af package list` shows what it found."""

from __future__ import annotations

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from cli.console import plain
from shared.contracts.catalog import PackageList, PackageSummary


def render_list(listed: PackageList) -> RenderableType:
    """One line a package; of a version that not everybody sees, its space too."""
    if not listed.packages:
        return Text("no packages are published")
    table = Table("package", "versions", "hooks", "licence", "summary")
    for package in listed.packages:
        table.add_row(
            plain(package.name),
            plain(", ".join(_version_shown(package, one) for one in package.versions)),
            ", ".join(package.hooks),
            plain(package.licence),
            plain(package.summary),
        )
    return table


def _version_shown(package: PackageSummary, version: str) -> str:
    space = package.restricted.get(version)
    return f"{version} ({space})" if space else version
