# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The rules of the tree that a reader relies on."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path
from typing import get_args

from shared.contracts.errors import ERROR_NUMBERS, ErrorCode
from shared.version import VERSION

ROOT = Path(__file__).parents[2]
SHELLS = {"__main__.py", "service.py", "execution.py"}
PRODUCT_FOLDERS = ("shared", "services", "installation", "cli", "lab", "demo")


def _tracked(*patterns: str) -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return [ROOT / line for line in listed.stdout.splitlines() if (ROOT / line).exists()]


def _product_sources() -> list[Path]:
    return _tracked(*(f"{folder}/**.py" for folder in PRODUCT_FOLDERS))


def test_no_file_is_longer_than_four_screens() -> None:
    """A Python file has at most 400 lines, so that it has one reason to exist."""
    too_long = {
        str(path.relative_to(ROOT)): count
        for path in _tracked("*.py")
        if (count := len(path.read_text().splitlines())) > 400
    }

    assert too_long == {}


def test_subjects_are_spelled_only_in_the_contract() -> None:
    """No service or command spells a product subject in quotes."""
    pattern = re.compile(r"[\"']l3af\.v\d+\.")
    found = [
        str(path.relative_to(ROOT))
        for path in _tracked("services/**.py", "cli/**.py", "installation/**.py", "shared/**.py")
        if "contracts" not in path.parts and pattern.search(path.read_text())
    ]

    assert found == []


def test_only_the_life_cycle_catches_everything() -> None:
    """A broad except stands once a process, where the process ends because of it."""
    pattern = re.compile(r"except (Base)?Exception\b|except:")
    found = [
        str(path.relative_to(ROOT))
        for path in _product_sources()
        if pattern.search(path.read_text()) and path.name != "lifecycle.py"
    ]

    assert found == []


def test_nothing_is_left_for_later_in_the_code() -> None:
    """No TODO, FIXME, XXX or NotImplementedError is in what is shipped."""
    pattern = re.compile(r"TODO|FIXME|XXX|NotImplementedError|pragma: no cover")
    found = [
        str(path.relative_to(ROOT))
        for path in (*_product_sources(), *_tracked("packages/**.c", "packages/**.h"))
        if pattern.search(path.read_text())
    ]

    assert found == []


def test_error_codes_are_closed_and_their_numbers_distinct() -> None:
    """Every code has one number and no number stands for two codes."""
    assert set(get_args(ErrorCode)) == set(ERROR_NUMBERS)
    assert len(set(ERROR_NUMBERS.values())) == len(ERROR_NUMBERS)


def test_release_is_said_once() -> None:
    """The version that services tell is the package's, and no module writes it again."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pattern = re.compile(rf"[\"']{re.escape(VERSION)}[\"']")
    found = {
        str(path.relative_to(ROOT))
        for path in _tracked("shared/**.py", "services/**.py", "cli/**.py", "installation/**.py")
        if pattern.search(path.read_text())
    }

    assert project["version"] == VERSION
    assert found == {"shared/version.py"}


def _module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_every_module_is_pure_or_says_that_it_is_not() -> None:
    """A module of shared or services is under the purity contract, a shell, or an adapter."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    pure = next(c for c in contracts["contracts"] if c["name"].startswith("pure modules"))
    listed = set(pure["source_modules"])

    unlisted = []
    for path in _tracked("services/**.py", "shared/**.py"):
        name = _module_name(path)
        is_listed = any(name == pure or name.startswith(f"{pure}.") for pure in listed)
        is_shell = path.name in SHELLS or path.name == "__init__.py" or "adapters" in path.parts
        if is_listed == is_shell and path.name != "__init__.py":
            unlisted.append(name)

    assert unlisted == []


def test_no_machine_path_or_package_index_is_in_the_tree() -> None:
    """What is committed holds no path of a developer's machine and no index address."""
    pattern = re.compile(
        r"--(extra-)?index-url|https?://[^ \"']*/simple\b|[\"' =(]/(root|home|work)/[a-z]"
    )
    found = [
        str(path.relative_to(ROOT))
        for path in _tracked()
        if path.name != Path(__file__).name and pattern.search(path.read_text(errors="replace"))
    ]

    assert found == []
