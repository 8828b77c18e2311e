# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The published JSON Schemas of packages take every package that there is, and nothing else."""

from __future__ import annotations

import copy
import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.package_build import BuiltPackage, build_package
from cli.package_new import begin_package
from shared.canonical import canonical_bytes
from shared.identifiers import HOOKS
from shared.package_archive import unpack_archive
from shared.package_tests import TESTS_FILE
from tests.support.json_schemas import accepts, resolved

ROOT = Path(__file__).parents[2]
FOLDERS = sorted(path.parent for path in (ROOT / "packages").glob("*/package.toml"))
WRONG: tuple[tuple[str, Any], ...] = (
    ("package.name", "No Name"),
    ("package.name", 5),
    ("package.summary", ""),
    ("package.surprise", True),
    ("package.platforms", []),
    ("package.owners", ["x"] * 33),
    ("programs", []),
    ("programs.0.hooks", ["usdt"]),
    ("programs.0.order", 1001),
    ("programs.0.flags", ["frag"]),
    ("programs.0.source", "../escape.c"),
    ("needs.features", "tcx"),
    ("metrics", {"Not A Name": {"map": "x"}}),
    ("surprise", {}),
)


def schema(name: str) -> dict[str, Any]:
    """As it is published."""
    found: dict[str, Any] = resolved(
        json.loads((ROOT / "docs" / "schemas" / f"package.{name}.json").read_text())
    )
    return found


def folders(begun: Path) -> Iterator[Path]:
    """First-party packages, and what `l3af package new` makes for each hook."""
    yield from FOLDERS
    for number, hook in enumerate(HOOKS):
        made = begin_package(
            f"new-{number}",
            hook,
            begun,
            owners=("Net team <net@example.org>",),
            repository="https://git.example.org/x.git",
        )
        yield Path(made.folder)


@pytest.fixture(scope="module")
def built() -> BuiltPackage:
    """One package with tests."""
    return build_package(ROOT / "packages" / "rate-limit")


def test_every_package_toml_fits_its_schema(tmp_path: Path) -> None:
    """What the product comes with, and what it writes for authors."""
    taken = schema("toml")

    for folder in folders(tmp_path):
        assert accepts(taken, tomllib.loads((folder / "package.toml").read_text())), folder


def test_what_is_built_fits_its_schemas(built: BuiltPackage) -> None:
    """The manifest that is signed, and the tests that travel with it."""
    assert accepts(schema("manifest"), json.loads(canonical_bytes(built.manifest)))
    assert accepts(schema("tests"), json.loads(unpack_archive(built.archive)[TESTS_FILE]))


@pytest.mark.parametrize(("path", "value"), WRONG)
def test_what_is_refused_by_its_form_does_not_fit(path: str, value: Any) -> None:
    """An editor that knows the schema finds what the build would refuse."""
    document = tomllib.loads((FOLDERS[0] / "package.toml").read_text())
    assert accepts(schema("toml"), copy.deepcopy(document))
    place: Any = document
    *parents, last = path.split(".")
    for name in parents:
        place = place[int(name)] if isinstance(place, list) else place.setdefault(name, {})
    place[last] = value

    assert not accepts(schema("toml"), document)
