# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af package show`: all that the catalog knows of one version."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter
from rich.console import Group, RenderableType
from rich.table import Table

from cli import console, session
from cli.console import CredentialsOption, JsonFlag, plain
from cli.package_analysis_view import companion_tables, portability_table
from cli.package_review import release_facts, space_facts
from cli.package_schema import configuration_tables, report_schema
from cli.package_statements import fact_table, program_table, statement_facts
from cli.package_verify import gate_facts
from cli.rollout import SpaceOption
from cli.trust_view import trust_facts
from shared.contracts.catalog import GET_PACKAGE, GetPackage, PackageShown, SignedPackage
from shared.contracts.licences import LicenceVerdict
from shared.contracts.package_facts import ElfFacts
from shared.package_origins import check_origins


def show(
    name: str,
    version: str = "",
    *,
    space: SpaceOption = "",
    schema: Annotated[bool, Parameter(negative=())] = False,
    credentials: CredentialsOption = None,
    json: JsonFlag = False,
) -> None:
    """Show one version of a package.

    Parameters
    ----------
    version
        Left out: the newest release.
    schema
        Instead, print the JSON Schema of what deployments can configure; NAME may then also be a
        package's folder or archive.
    """
    if schema:
        report_schema(name, version, credentials, json=json)
        return
    wanted = GetPackage(name=name, version=version, space=space)
    found = console.run(session.ask(GET_PACKAGE, wanted, credentials), json=json)
    with console.refusing(json=json):
        console.emit(found, _render_shown, json=json)


def _render_shown(shown: PackageShown) -> RenderableType:
    package, manifest = shown.package, shown.package.manifest
    parts: list[RenderableType] = [
        fact_table(
            {
                "package": f"{manifest.name} {package.version}",
                **space_facts(package.space),
                "summary": manifest.summary,
                "licence": manifest.licence,
                **statement_facts(manifest),
                "channels": ", ".join(package.channels),
                **gate_facts(package),
                **release_facts(package),
                "published": f"{package.published_at} by {package.published_by}",
                **trust_facts(package),
                **origin_facts(package.signed),
                "archive sha256": package.signed.archive_sha256,
                "versions": ", ".join(shown.versions),
            }
        ),
        program_table(manifest),
    ]
    parts += configuration_tables(manifest)
    if manifest.metrics:
        metrics = Table("metric", "map", "key", "unit", "summary")
        for name, metric in manifest.metrics.items():
            row = (name, metric.map, metric.key, metric.unit, metric.summary)
            metrics.add_row(*(plain(cell) for cell in row))
        parts.append(metrics)
    if package.licences is not None:
        parts.append(_licence_lines(package.licences))
    if package.analysis is not None:
        parts += [portability_table(package.analysis), *companion_tables(package.analysis)]
    return Group(*parts, elf_table(package.elf))


def origin_facts(signed: SignedPackage) -> dict[str, str]:
    """Where it was published before, oldest first; nothing for most."""
    before = [
        f"by {certificate.publisher} in the installation {origin.trust_root}"
        for certificate, origin in zip(check_origins(signed), signed.origins, strict=True)
    ]
    return {"published before": plain("\n".join(before))} if before else {}


def _licence_lines(verdict: LicenceVerdict) -> Table:
    """The verdict in short; `package licence` has every rule."""
    table = Table(
        "licences", f"{verdict.outcome}, policy {verdict.policy} {verdict.policy_version}"
    )
    for found in verdict.findings:
        if found.outcome != "passed":
            waived = f", waived by {found.waiver}" if found.waiver else ""
            what = f"{found.outcome}{waived}: {found.path} {found.text}"
            table.add_row(plain(found.rule), plain(what))
    for one in verdict.elections:
        table.add_row(plain(one.file), plain(f"taken under {one.elected}: {one.why}"))
    return table


def elf_table(elf: tuple[ElfFacts, ...]) -> Table:
    """What the objects hold, a line for each program."""
    table = Table("object", "kernel licence", "function", "section", "instructions")
    for facts in elf:
        for program in facts.programs:
            table.add_row(
                plain(facts.path),
                plain(facts.licence),
                plain(program.function),
                plain(program.section),
                f"compiled by {plain(facts.compiler)}"
                if facts.compiler
                else str(program.instructions),
            )
    return table
