# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Packages with objects for several platforms, from the sources to this machine's kernel."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from cli.package_build import build_package
from cli.package_check import check_build
from cli.package_difference import package_difference
from cli.package_new import begin_package
from cli.package_reference import describe_built
from cli.package_test import run_tests
from services.catalog.manifest import manifest_reasons
from services.catalog.package_content import read_content
from shared.package_archive import unpack_archive

pytestmark = pytest.mark.kernel

OWN = f"linux-{platform.machine()}"
OTHER = "linux-aarch64" if OWN != "linux-aarch64" else "linux-x86_64"


def a_folder(tmp_path: Path, targets: Mapping[str, str], *, other_platforms: bool) -> Path:
    """A package that drops packets for blocked ports where `DROPS` is 1, and for none where 0."""
    folder = Path(begin_package("one", "xdp", tmp_path).folder)
    source = folder / "one.bpf.c"
    text = source.read_text().replace("return XDP_DROP;", "return DROPS ? XDP_DROP : XDP_PASS;")
    source.write_text(f"#ifndef DROPS\n#define DROPS 0\n#endif\n{text}")
    lines = "".join(
        f'targets.{key} = {{ defines = ["{define}"] }}\n' for key, define in targets.items()
    )
    described = folder / "package.toml"
    said = f"other_platforms = {str(other_platforms).lower()}\n{lines}order ="
    described.write_text(described.read_text().replace("order =", said))
    return folder


def test_this_machine_runs_the_object_that_was_made_for_it(tmp_path: Path) -> None:
    """Its test passes with the own platform's defines, and with those of another it would not."""
    right = a_folder(tmp_path / "a", {OWN: "DROPS=1", OTHER: "DROPS=0"}, other_platforms=False)
    wrong = a_folder(tmp_path / "b", {OWN: "DROPS=0", OTHER: "DROPS=1"}, other_platforms=True)

    assert run_tests(build_package(right)).has_passed
    assert not run_tests(build_package(wrong)).has_passed


def test_a_platform_without_an_object_says_so(tmp_path: Path) -> None:
    """Nothing made for another machine is loaded instead."""
    folder = a_folder(tmp_path, {OTHER: "DROPS=1"}, other_platforms=False)

    (result,) = run_tests(build_package(folder)).results

    assert result.problem == f"one has no object for {OWN}, so it cannot be tested here"


def test_objects_of_platforms_are_built_alike_on_two_paths(tmp_path: Path) -> None:
    """One digest; the manifest says with what each was made, and the catalog takes it."""
    folder = a_folder(tmp_path, {OWN: "DROPS=1", OTHER: "DROPS=0"}, other_platforms=True)
    shutil.copytree(folder, tmp_path / "b c" / "one")

    built, again = build_package(folder), build_package(tmp_path / "b c" / "one")

    assert built == again
    assert check_build(folder, None).is_reproducible
    assert read_content(built.archive, built.manifest).elf == built.elf
    assert [*manifest_reasons(built.manifest, built.elf)] == []
    files = unpack_archive(built.archive)
    (program,) = built.manifest.programs
    own, other = program.object_on(OWN), program.object_on(OTHER)
    assert files[own] != files[other]
    assert built.manifest.build is not None
    assert {path: defines[1] for path, defines in built.manifest.build.defines.items()} == {
        own: "DROPS=1",
        other: "DROPS=0",
    }


def test_a_difference_names_the_platform(tmp_path: Path) -> None:
    """A change of one object is shown as that platform's, and maps are followed on each."""
    before = a_folder(tmp_path / "a", {OWN: "DROPS=1"}, other_platforms=True)
    after = a_folder(tmp_path / "b", {OWN: "DROPS=0"}, other_platforms=True)
    described = after / "package.toml"
    described.write_text(described.read_text().replace('kernel = ">=5.15"', 'kernel = ">=6.1"'))

    found = package_difference(
        describe_built(build_package(before), "before"),
        describe_built(build_package(after), "after"),
    )

    changed = {one.path: (one.before, one.after) for one in found.changes}
    assert changed["needs.kernel"] == (">=5.15", ">=6.1")
    assert changed["build.defines"][0] != changed["build.defines"][1]
    assert f"programs.one.{OWN}.instructions" in changed
    assert "programs.one.instructions" not in changed
    assert {one.map: one.fate for one in found.maps} == {"blocked": "kept", "dropped": "kept"}


def test_files_of_groups_are_in_the_archive(tmp_path: Path) -> None:
    """What globs name comes along; hidden files and built packages do not."""
    folder = Path(begin_package("one", "xdp", tmp_path).folder)
    for name in ("docs/guide/first.md", "docs/.draft.md", "docs/one-1.0.0.l3afpkg"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("text")
    described = folder / "package.toml"
    described.write_text(
        described.read_text().replace(
            "\n[needs]", 'file_groups = { docs = ["README.md", "docs/**"] }\n\n[needs]'
        )
    )

    built = build_package(folder)

    assert [path for path in unpack_archive(built.archive) if path.startswith("docs/")] == [
        "docs/guide/first.md"
    ]
    assert [*manifest_reasons(built.manifest, built.elf)] == []
