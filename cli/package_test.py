# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af package test`: a package's packets through this machine's kernel."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import msgspec
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cli import console
from cli.console import JsonFlag, plain
from cli.package_build import BuiltPackage
from cli.package_publish import load_built
from shared.contracts.package_tests import PackageTested, PackageTestResult, RunPackageTests
from shared.errors import FaultError, Reason, Refusal, RefusedError
from shared.identifiers import is_probe
from shared.package_archive import unpack_archive
from shared.package_tests import tried_part

RUNNER: Final = "services.node_executor.package_test"
"""A process of its own: the command line links and loads nothing itself."""
TESTING_SECONDS: Final = 300
_LOADED: Final = "(loads)"
"""What was only loaded, as probes are: no packet passes them."""
_ANSWERED: Final = frozenset((0, console.REFUSED, console.FAULT))


def try_package(path: Path, *, only: str = "", json: JsonFlag = False) -> None:
    """Build a package and run its tests through this machine's kernel, attached to nothing.

    Each test links one program alone, with fresh maps and its configuration, and runs its packets
    in order through BPF_PROG_TEST_RUN.  Of a package with probes, which no packet passes, what no
    test is about is loaded.  Needs root.  Exit status 2: a test failed.

    Parameters
    ----------
    path
        A package's folder, which is built first, or an archive that `build` wrote.
    only
        Glob that the tests' names must match.
    """
    with console.refusing(json=json), console.progress(f"testing {path.name}"):
        built = load_built(path)
        tested = run_tests(built, only=only)
    console.emit(tested, render, json=json)
    if not tested.has_passed:
        sys.exit(console.REFUSED)


def run_tests(built: BuiltPackage, *, only: str = "") -> PackageTested:
    """What became of the package's tests.

    Raises:
        RefusedError: It has none of that name, or they cannot be read.
        FaultError: The kernel loads nothing for this user, or the process failed.
    """
    name = f"{built.manifest.name} {built.manifest.version}"
    has_probes = any(is_probe(hook) for one in built.manifest.programs for hook in one.hooks)
    if built.manifest.tests is None and not has_probes:
        reason = Reason(path="test", rule="the package has no tests: write [[test]] entries")
        raise RefusedError(f"{name} has no tests", [reason])
    manifest, archive = tried_part(built.manifest, unpack_archive(built.archive))
    loads_all = has_probes and not only
    order = RunPackageTests(manifest=manifest, archive=archive, only=only, loads_all=loads_all)
    try:
        done = subprocess.run(
            [sys.executable, "-m", RUNNER],
            input=msgspec.json.encode(order),
            capture_output=True,
            check=False,
            timeout=TESTING_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise FaultError(f"the tests of {name} took longer than {TESTING_SECONDS} s") from error
    if done.returncode not in _ANSWERED:
        words = done.stderr.decode(errors="replace").strip()[-2000:]
        raise FaultError(f"the process that runs tests ended with {done.returncode}: {words}")
    if done.returncode:
        refusal = msgspec.json.decode(done.stdout, type=Refusal)
        kind = RefusedError if done.returncode == console.REFUSED else FaultError
        raise kind(refusal.message, refusal.reasons)
    tested = msgspec.json.decode(done.stdout, type=PackageTested)
    if not tested.results:
        reason = Reason(path="only", rule="no test has such a name", got=only)
        raise RefusedError(f"{name}: {reason.rule}", [reason])
    return tested


def render(tested: PackageTested) -> RenderableType:
    """For people: one line a test, and every difference below."""
    table = Table(
        "test", "program", "hook", "packets", "verified instructions", "ns per packet", "result"
    )
    for result in tested.results:
        table.add_row(
            plain(result.name or _LOADED),
            plain(result.program),
            result.hook,
            str(result.packets),
            str(result.verified_instructions or ""),
            str(result.ns_per_packet or ""),
            Text("passed", style="green") if result.has_passed else Text("failed", style="red"),
        )
    passed = sum(result.has_passed for result in tested.results)
    summary = (
        f"{tested.package} {tested.version} on Linux {tested.kernel} ({tested.machine}): "
        f"{passed} of {len(tested.results)} tests passed"
    )
    failed = [result for result in tested.results if not result.has_passed]
    parts: list[RenderableType] = [table, *(_failure(result) for result in failed)]
    return Group(*parts, Text(plain(summary), style="bold"))


def _failure(result: PackageTestResult) -> RenderableType:
    name = result.name or f"{result.program}: {_LOADED}"
    parts: list[RenderableType] = [Text(plain(name), style="bold red")]
    if result.problem:
        parts.append(Text(plain(f"  {result.problem}")))
        parts += [Text(plain(f"  {reason.path}: {reason.rule}")) for reason in result.reasons]
    if result.differences:
        differences = Table("where", "expected", "got")
        for one in result.differences:
            differences.add_row(plain(one.place), _value(one.expected), _value(one.got))
        parts.append(differences)
    return Group(*parts)


def _value(value: Any) -> str:
    return plain(value if isinstance(value, str) else msgspec.json.encode(value).decode())
