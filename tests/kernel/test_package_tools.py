# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af package new`, `build --check` and `diff`, from the first file to what an upgrade keeps."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cli.package_build import build_package
from cli.package_check import check_build
from cli.package_difference import package_difference
from cli.package_new import begin_package
from cli.package_publish import write_built
from cli.package_reference import describe_built
from cli.package_test import run_tests
from services.catalog.manifest import manifest_reasons
from shared.errors import RefusedError
from shared.identifiers import NETWORK_HOOKS, PROBE_HOOKS, Hook, ProbeHook

pytestmark = pytest.mark.kernel

L3AF = Path(sys.executable).parent / "l3af"
RATE_LIMIT = Path(__file__).parents[2] / "packages" / "rate-limit"
RATE_LIMIT_MAPS = {
    *("rl_limits", "rl_sources_v4", "rl_sources_v6", "rl_windows", "rl_networks", "rl_seed"),
    *("rl_received", "rl_dropped", "rl_src_dropped", "rl_port_dropped"),
}


def l3af(*words: str, cwd: Path) -> tuple[int, Any]:
    """Exit status and the JSON that the command printed."""
    done = subprocess.run(
        [L3AF, "package", *words, "--json"], cwd=cwd, capture_output=True, check=False
    )
    assert b"Traceback" not in done.stderr, done.stderr.decode()
    return done.returncode, json.loads(done.stdout or done.stderr)


@pytest.mark.parametrize("hook", NETWORK_HOOKS)
def test_a_new_package_builds_and_passes_its_test(hook: Hook, tmp_path: Path) -> None:
    """For every hook, with nothing changed; and the catalog would take it."""
    begun = begin_package("1-try", hook, tmp_path)
    built = build_package(Path(begun.folder))

    assert run_tests(built).has_passed
    assert [*manifest_reasons(built.manifest, built.elf)] == []
    assert check_build(Path(begun.folder), None).is_reproducible


@pytest.mark.parametrize("hook", PROBE_HOOKS)
def test_a_new_probe_builds_loads_and_can_be_published(hook: ProbeHook, tmp_path: Path) -> None:
    """For every kind, with nothing changed; a kernel that takes none says what it lacks."""
    begun = begin_package("1-try", hook, tmp_path)
    built = build_package(Path(begun.folder))

    (result,) = run_tests(built).results
    assert (result.name, result.hook, result.packets) == ("", hook, 0)
    assert result.verified_instructions or result.problem.startswith("the kernel has no ")
    assert result.has_passed == bool(result.verified_instructions)
    assert built.warnings == ()
    assert [*manifest_reasons(built.manifest, built.elf)] == []
    assert check_build(Path(begun.folder), None).is_reproducible


def test_a_new_package_overwrites_nothing(tmp_path: Path) -> None:
    """A folder that exists stays as it is, and a name must be one."""
    begin_package("int", "xdp", tmp_path)

    assert run_tests(build_package(tmp_path / "int")).has_passed
    with pytest.raises(RefusedError, match="cannot be written"):
        begin_package("int", "xdp", tmp_path)
    with pytest.raises(RefusedError):
        begin_package("No Name", "xdp", tmp_path)


def test_an_archive_is_built_again_byte_for_byte(tmp_path: Path) -> None:
    """On two paths, and against what was written before; a changed source is told by its file."""
    folder = tmp_path / "rate-limit"
    shutil.copytree(RATE_LIMIT, folder)
    assert l3af("build", "rate-limit", cwd=tmp_path)[0] == 0

    status, checked = l3af("build", "rate-limit", "--check", cwd=tmp_path)
    assert (status, checked["is_reproducible"], len(checked["compared_with"])) == (0, True, 2)

    source = folder / "window.h"
    source.write_text(source.read_text().replace("#define SLOTS 128", "#define SLOTS 64"))
    status, checked = l3af("build", "rate-limit", "--check", cwd=tmp_path)
    assert (status, checked["is_reproducible"]) == (2, False)
    assert [one["path"] for one in checked["differences"]] == [
        "archive.sha256",
        "files.rate_limit.bpf.o",
        "files.window.h",
    ]


def test_a_source_that_asks_for_the_time_is_refused(tmp_path: Path) -> None:
    """Two builds within one second would agree, and nobody could ever build it again."""
    folder = tmp_path / "clocks"
    begin_package("clocks", "xdp", tmp_path)
    source = folder / "clocks.bpf.c"
    words = "const volatile char built[] = __DATE__ __TIME__;\n"
    source.write_text(source.read_text().replace('SEC("xdp")', words + 'SEC("xdp")'))

    status, refused = l3af("build", "clocks", "--check", cwd=tmp_path)

    assert status == 2
    assert len(refused["reasons"]) == 2
    assert "is not reproducible" in refused["reasons"][0]["rule"]


def test_the_recipe_is_in_the_manifest() -> None:
    """Compiler, arguments and headers are recorded, and no path of the machine's author."""
    recipe = build_package(RATE_LIMIT).manifest.build

    assert recipe is not None
    assert "clang version" in recipe.compiler
    assert "-O2" in recipe.arguments
    assert len(recipe.headers_sha256) == 64
    assert str(RATE_LIMIT) not in str(recipe)


def test_another_compiler_is_named(tmp_path: Path) -> None:
    """Bytes that differ for the compiler's sake come with both versions."""
    folder = tmp_path / "one"
    begin_package("one", "xdp", tmp_path)
    built = build_package(folder)
    assert built.manifest.build is not None
    older = msgspec.structs.replace(
        built.manifest.build, compiler="clang version 11", arguments=("-O1",)
    )
    other = replace(
        describe_built(built, "there"),
        manifest=msgspec.structs.replace(built.manifest, build=older),
        archive_sha256="0" * 64,
    )
    places = [one.path for one in check_build(folder, other).differences]

    assert {"build.compiler", "build.arguments"} <= set(places)


def _changed(tmp_path: Path, *replacements: tuple[str, str, str]) -> Path:
    """rate-limit with words replaced: file, before, after."""
    folder = tmp_path / "changed"
    shutil.copytree(RATE_LIMIT, folder)
    for name, before, after in replacements:
        text = (folder / name).read_text()
        assert before in text
        (folder / name).write_text(text.replace(before, after))
    return folder


def test_an_upgrade_that_changes_code_alone_keeps_everything(tmp_path: Path) -> None:
    """Maps and configuration carry over, and what changed is named."""
    folder = _changed(
        tmp_path,
        ("package.toml", 'version = "1.0.0"', 'version = "1.0.1"'),
        ("rate_limit.bpf.c", "return XDP_DROP", "return bpf_get_smp_processor_id() ? XDP_DROP : 1"),
    )
    found = package_difference(
        describe_built(build_package(RATE_LIMIT), "old"),
        describe_built(build_package(folder), "new"),
    )
    paths = {change.path for change in found.changes}

    assert found.do_maps_carry_over
    assert found.does_configuration_carry_over
    assert {one.fate for one in found.maps} == {"kept"}
    assert {"version", "programs.rate-limit.helpers", "files.rate_limit.bpf.o"} <= paths


def test_what_an_upgrade_would_lose_is_told(tmp_path: Path) -> None:
    """Members that change places, narrower ranges and renamed maps, each by its rule."""
    _changed(
        tmp_path,
        (
            "rate_limit.bpf.c",
            "struct bpf_spin_lock lock;\n	__u32 total;\n	__u64 newest;",
            "struct bpf_spin_lock lock;\n	__u32 sum;\n	__u64 newest;",
        ),
        ("rate_limit.bpf.c", "window->total", "window->sum"),
        ("rate_limit.bpf.c", "rl_dropped", "rl_lost"),
        ("package.toml", 'map = "rl_dropped"', 'map = "rl_lost"'),
        ("package.toml", "value_maximum = 1000000", "value_maximum = 1000"),
        (
            "package.toml",
            "[metrics.received]",
            '[maps.rl_lost]\non_layout_change = "migrate:rl_dropped"\n[metrics.received]',
        ),
    )
    (tmp_path / "old").mkdir()
    write_built(build_package(RATE_LIMIT), tmp_path / "old" / "a.l3afpkg")
    status, found = l3af("diff", "old/a.l3afpkg", "changed", cwd=tmp_path)
    fates = {one["map"]: one["fate"] for one in found["maps"]}

    assert status == 0
    assert fates == {
        "rl_dropped": "gone",
        "rl_lost": "migrated",
        "rl_windows": "refused",
        **dict.fromkeys(RATE_LIMIT_MAPS - {"rl_dropped", "rl_windows"}, "kept"),
    }
    assert found["do_maps_carry_over"] is False
    assert [one["path"] for one in found["configuration"]] == ["config.rl_limits.value_maximum"]


def test_what_is_no_package_is_refused(tmp_path: Path) -> None:
    """Neither a folder nor a file nor a name."""
    status, refusal = l3af("diff", "./nothing/here", str(RATE_LIMIT), cwd=tmp_path)

    assert status == 2
    assert "no folder, no file and no name" in refusal["message"]
