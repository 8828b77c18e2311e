# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The packages that come with the product: reproducible, publishable, with examples that hold."""

from __future__ import annotations

import json
import re
import shutil
import tomllib
from pathlib import Path

import msgspec
import pytest

from cli.package_build import build_package
from cli.package_source import parse_source
from services.catalog.manifest import manifest_reasons
from services.catalog.publication import MAX_VERSION_BYTES, draft_version
from services.node_executor.exposition import family_name
from shared.adapters.licence_policies import load_policy
from shared.configuration.deployed import config_problems, whole_variables
from shared.contracts.deployments import DeploymentSpec
from shared.contracts.node import MetricValue
from shared.errors import RefusedError
from shared.licensing.package import LicensedPackage
from shared.licensing.policies import SHIPPED
from shared.licensing.source_tags import source_licences
from shared.licensing.verdict import check_licences
from shared.package_archive import unpack_archive
from shared.validation import convert_document
from tests.package_builders import NOW, sign

PACKAGES = Path(__file__).parents[2] / "packages"
NAMES = ("connection-limit", "exec-count", "firewall", "port-count", "rate-limit")
PACKETS = ("connection-limit", "firewall", "port-count", "rate-limit")
"""Those that packets test."""
KERNEL_TYPES = ("connection-limit",)
"""Those that read the kernel's own types."""
DASHBOARDS = sorted(PACKAGES.glob("*/dashboards/*.json"))
EXAMPLES = sorted(PACKAGES.glob("*/examples/*.toml"))


@pytest.mark.parametrize("name", NAMES)
def test_the_same_sources_make_the_same_bytes_anywhere(name: str, tmp_path: Path) -> None:
    """Two folders with the same files give one archive digest, and no path gets into it."""
    elsewhere = tmp_path / "a folder" / "of another name"
    shutil.copytree(PACKAGES / name, elsewhere)

    here, there = build_package(PACKAGES / name), build_package(elsewhere)

    assert here == there
    assert str(PACKAGES).encode() not in here.archive
    assert str(tmp_path).encode() not in there.archive


@pytest.mark.parametrize("name", NAMES)
def test_a_package_holds_all_that_its_licences_ask_for(name: str) -> None:
    """Object, complete source, licence texts and README are in the archive."""
    built = build_package(PACKAGES / name)
    stem = name.replace("-", "_")

    assert unpack_archive(built.archive).keys() == {
        "LICENSES/BSD-2-Clause.txt",
        "LICENSES/GPL-2.0-only.txt",
        "README.md",
        "package.toml",
        f"{stem}.bpf.c",
        f"{stem}.bpf.o",
        *(("tests.json",) if name in PACKETS else ()),
        *(path.name for path in (PACKAGES / name).glob("*.h")),
        *(f"dashboards/{path.name}" for path in (PACKAGES / name).glob("dashboards/*.json")),
    }


@pytest.mark.parametrize("name", NAMES)
def test_a_package_can_be_published_and_loads_where_it_says(name: str) -> None:
    """Its manifest keeps its word, and few need a kernel that describes its types."""
    built = build_package(PACKAGES / name)

    assert [*manifest_reasons(built.manifest, built.elf)] == []
    tags = source_licences(unpack_archive(built.archive))
    for policy in map(load_policy, SHIPPED):
        verdict = check_licences(LicensedPackage(built.manifest, built.elf, policy, tags))
        assert verdict.outcome in ("passed", "review")
    assert [(facts.has_btf, facts.needs_kernel_btf) for facts in built.elf] == [
        (True, name in KERNEL_TYPES)
    ]


@pytest.mark.parametrize("name", NAMES)
def test_a_version_of_a_package_is_far_from_too_large(name: str) -> None:
    """Manifest, signatures and facts take a small part of what is kept of a version."""
    built = build_package(PACKAGES / name)
    version = draft_version(
        sign(built.manifest, archive=built.archive),
        manifest=built.manifest,
        elf=built.elf,
        channels=("stable",),
        publisher_key="U" * 56,
        command_id="c" * 32,
        now=NOW,
    )

    assert 10 * len(msgspec.json.encode(version)) < MAX_VERSION_BYTES


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_a_deployment_of_its_package(path: Path) -> None:
    """It names package, program and hook that exist, and its configuration fits their types."""
    spec = convert_document(tomllib.loads(path.read_text()), DeploymentSpec, what=path.name)
    source = parse_source((path.parents[1] / "package.toml").read_text())
    fitting = [
        program.name
        for program in source.programs
        if spec.hook in program.hooks and spec.program in {"", program.name}
    ]

    assert spec.package == source.package.name
    assert len(fitting) == 1
    assert spec.config.keys() <= source.maps.keys()
    built = build_package(path.parents[1])
    assert config_problems(spec.config, built.manifest, built.elf) == []
    assert whole_variables(spec.variables, built.manifest, built.elf)[1] == []


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_a_dashboard_asks_for_what_nodes_serve(path: Path) -> None:
    """Every metric that a panel names is one of the package or of programs as such."""
    source = parse_source((path.parents[1] / "package.toml").read_text())
    own = {
        family_name(
            source.package.name,
            MetricValue(deployment="", metric=name, map=one.map, key=one.key or "0"),
        )
        for name, one in source.metrics.items()
    }

    dashboard = json.loads(path.read_text())
    asked = {
        name
        for panel in dashboard["panels"]
        for target in panel["targets"]
        for name in re.findall(r"\bl3af_\w+", target["expr"])
    }

    assert dashboard["uid"] == f"l3af-{source.package.name}"
    assert own <= asked
    assert all(name in own or name.startswith("l3af_program_") for name in asked)


def test_a_package_without_its_licence_texts_is_not_built(tmp_path: Path) -> None:
    """The archive would be distributed without what its licences ask for."""
    shutil.copytree(PACKAGES / "rate-limit", tmp_path / "package")
    (tmp_path / "package" / "LICENSES" / "GPL-2.0-only.txt").unlink()

    with pytest.raises(RefusedError, match="licence texts are missing") as caught:
        build_package(tmp_path / "package")

    assert [reason.path for reason in caught.value.reasons] == ["LICENSES/GPL-2.0-only.txt"]


def test_a_header_from_elsewhere_is_refused(tmp_path: Path) -> None:
    """The archive would not hold the complete source."""
    folder = tmp_path / "package"
    shutil.copytree(PACKAGES / "rate-limit", folder)
    (folder / "transport.h").rename(tmp_path / "transport.h")
    source = folder / "rate_limit.bpf.c"
    source.write_text(source.read_text().replace('"transport.h"', '"../transport.h"'))

    with pytest.raises(RefusedError, match="sources are not complete"):
        build_package(folder)


def test_packets_are_read_by_the_same_lines_in_every_package() -> None:
    """Each archive has its complete source, so each has a copy: what one mends all have."""
    copies = {(PACKAGES / name / "transport.h").read_bytes() for name in PACKETS}

    assert len(copies) == 1
