# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What `l3af package show` says of a package's configuration."""

from __future__ import annotations

from io import StringIO

from rich.console import Console

from cli.package_schema import configuration_tables
from shared.contracts.configuration import VariableEntry
from shared.contracts.package_manifest import MapEntry
from tests.support.configured_package import a_manifest


def test_formats_ranges_defaults_and_variables_are_shown() -> None:
    """A line for each map and each variable."""
    manifest = a_manifest(
        maps={
            "peers": MapEntry(key="peer", key_format="mac", value_maximum=9, mode="merge"),
            "levels": MapEntry(default={"1": "BLOCK"}, summary="by class"),
        },
        variables={"limit": VariableEntry(minimum=64, default=70)},
    )
    text = StringIO()
    console = Console(file=text, width=150)

    for table in configuration_tables(manifest):
        console.print(table)

    shown = " ".join(text.getvalue().split())
    for words in ("peers, merged", "peer mac", "( to 9)", "1 entries", "by class", "(64 to ) │ 70"):
        assert words in shown
    assert list(configuration_tables(a_manifest(maps={}, variables={}))) == []
