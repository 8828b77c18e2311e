# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af package lint`: what publication would refuse, and what to better, before it is sent."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli import console
from cli.console import JsonFlag, plain
from cli.package_build import (
    build_package,
    compile_objects,
    licence_texts,
    read_source,
    tests_of,
)
from cli.package_rules import LintFinding, Severity, error_of, package_findings
from shared.adapters.licence_policies import load_policy
from shared.contracts.base import Message
from shared.errors import Reason, RefusedError
from shared.licensing.policies import DEFAULT_POLICY
from shared.package_archive import read_archive
from shared.package_tests import read_tests

_STYLES: Final[dict[Severity, str]] = {"error": "red", "warning": "yellow"}


class PackageLinted(Message, frozen=True, kw_only=True):
    """What was found; errors first."""

    folder: str
    policy: str
    """What its licences were held against."""
    errors: int
    warnings: int
    findings: tuple[LintFinding, ...]


def lint(folder: Path, *, policy: str = DEFAULT_POLICY, json: JsonFlag = False) -> None:
    """Check a package as publication would, and for what its users would miss.

    Asks nobody: whether the version is published already is not known.  Exit status 2: there are
    errors.

    Parameters
    ----------
    folder
        Where `package.toml` is.
    policy
        The licence policy to hold it against, as the installation has one.
    """
    with console.refusing(json=json), console.progress(f"checking {folder.name}"):
        linted = lint_package(folder, policy=policy)
    console.emit(linted, _render, json=json)
    if linted.errors:
        sys.exit(console.REFUSED)


def lint_package(folder: Path, *, policy: str = DEFAULT_POLICY) -> PackageLinted:
    """Everything that is to be said of the package in `folder`.

    Raises:
        RefusedError: There is no such policy.
        FaultError: There is no compiler.
    """
    pack = load_policy(policy)
    findings: list[LintFinding] = []
    try:
        built = build_package(folder)
    except RefusedError as error:
        findings += [error_of(reason) for reason in _every_reason(folder, error)]
    else:
        findings += [
            LintFinding(
                severity="warning",
                path=warning.path,
                rule=warning.rule,
                fix="change the source so that the compiler has nothing to say",
            )
            for warning in built.warnings
        ]
        files = read_archive(built.archive, built.manifest)
        tests = read_tests(built.manifest, files)
        findings += package_findings(built.manifest, files, built.elf, tests, pack)
    ordered = tuple(sorted(findings, key=lambda one: one.severity != "error"))
    errors = sum(one.severity == "error" for one in ordered)
    return PackageLinted(
        folder=str(folder),
        policy=pack.name,
        errors=errors,
        warnings=len(ordered) - errors,
        findings=ordered,
    )


def _every_reason(folder: Path, first: RefusedError) -> list[Reason]:
    """A build stops at the first kind of problem; those that others would find are added."""
    found = list(first.reasons) or [Reason(path=str(folder), rule=first.message)]
    try:
        source = read_source(folder)
    except RefusedError:
        return found
    stages: tuple[Callable[[], object], ...] = (
        lambda: licence_texts(folder.resolve(), *source.licence_expressions()),
        lambda: tests_of(folder.resolve(), source),
        lambda: compile_objects(folder.resolve(), source, []),
    )
    for stage in stages:
        try:
            stage()
        except RefusedError as error:
            found += [reason for reason in error.reasons if reason not in found]
    return found


def _render(linted: PackageLinted) -> RenderableType:
    summary = f"{linted.folder}: {linted.errors} errors, {linted.warnings} warnings"
    if not linted.findings:
        return Text(plain(f"{linted.folder}: nothing to better"), style="bold green")
    table = Table("", "where", "what", "what helps")
    for one in linted.findings:
        severity = Text(one.severity, style=_STYLES[one.severity])
        table.add_row(severity, plain(one.path), plain(one.rule), plain(one.fix))
    style = "bold red" if linted.errors else "bold yellow"
    return Group(table, Text(plain(summary), style=style))
