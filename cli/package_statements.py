# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What is known of a package, and what its manifest states, to be read by people."""

from __future__ import annotations

from collections.abc import Mapping

from rich.table import Table
from rich.text import Text

from cli.console import plain
from shared.contracts.package_manifest import PackageManifest, ProgramEntry, SourceLocation


def fact_table(facts: Mapping[str, str | Text]) -> Table:
    """A line for each fact behind its name."""
    table = Table.grid(padding=(0, 2))
    for name, value in facts.items():
        text = Text(plain(value), overflow="fold") if isinstance(value, str) else value
        table.add_row(Text(plain(name), style="bold"), text)
    return table


def statement_facts(manifest: PackageManifest) -> dict[str, str]:
    """Name to value of everything that the package states of itself as a whole."""
    facts = {f"licence of {group}": expression for group, expression in manifest.licences.items()}
    facts |= {
        f"files of {group}": ", ".join(globs) for group, globs in manifest.file_groups.items()
    }
    facts |= {"owners": ", ".join(manifest.owners) or "not stated"}
    facts |= {"source": _location(manifest.source) if manifest.source else "not stated"}
    if manifest.node_maps:
        facts |= {"once on a node": ", ".join(manifest.node_maps)}
    needs = [f"kernel {manifest.needs.kernel}"] if manifest.needs.kernel else []
    needs += manifest.needs.features
    return facts | ({"needs": ", ".join(needs)} if needs else {})


def program_table(manifest: PackageManifest) -> Table:
    """Every program, and where and on what it runs."""
    table = Table("program", "function", "hooks", "goes on after", "order", "platforms", "flags")
    for program in manifest.programs:
        table.add_row(
            plain(program.name),
            plain(program.function),
            ", ".join(program.hooks),
            plain(", ".join(program.proceed_on)) or "the hook's default",
            "not stated" if program.order is None else str(program.order),
            _platforms(program),
            ", ".join(program.flags),
        )
    return table


def _location(source: SourceLocation) -> str:
    within = f", {source.path}" if source.path else ""
    archive = f", archive sha256 {source.archive_sha256}" if source.archive_sha256 else ""
    return f"{source.repository} at {source.revision}{within}{archive}"


def _platforms(program: ProgramEntry) -> str:
    others = ("others" if program.objects else "every one",) if program.object else ()
    return ", ".join((*program.objects, *others))
