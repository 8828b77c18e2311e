# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What is exported is read by another implementation: skopeo."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.oci_layout import Layout
from cli.oci_registry import Registry, RegistrySettings
from cli.oci_source import read_content
from shared.bytecode.elf import read_elf_facts
from shared.oci.bpfman import bytecode_content, image_labels
from shared.oci.packages import CarriedPackage, package_content
from shared.oci.references import parse_reference
from shared.package_archive import write_archive
from tests.package_builders import FILES, TRUST_ROOT, a_manifest, a_program, sign
from tests.support.bpf_objects import bpf_object
from tests.support.registries import RunningRegistry, running_registry

OBJECT = "kinds.bpf.o"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    """Open to everybody."""
    with running_registry(tmp_path_factory.mktemp("skopeo") / "registry") as running:
        yield running


def skopeo(*words: str) -> subprocess.CompletedProcess[str]:
    """One command; whatever is signed by nobody is taken too."""
    return subprocess.run(
        ["skopeo", "--insecure-policy", *words], check=False, capture_output=True, text=True
    )


def repository(running: RunningRegistry, name: str) -> Registry:
    """To push to."""
    return Registry(parse_reference(running.reference(name)), RegistrySettings())


def image(running: RunningRegistry, name: str, tag: str) -> str:
    """As skopeo calls it."""
    return f"docker://{running.address}/{name}:{tag}"


def test_an_exported_package_is_an_artifact_to_others(
    registry: RunningRegistry, tmp_path: Path
) -> None:
    """It is copied with every digest checked, and what was copied is the package again."""
    archive = write_archive(FILES)
    signed = sign(a_manifest())
    package = CarriedPackage(signed, a_manifest(), TRUST_ROOT.hex(), archive)
    content = package_content(package)
    with repository(registry, "acme/one") as place:
        place.push(content, "1.0.0")

    copied = skopeo(
        *("copy", "--src-tls-verify=false", "--preserve-digests"),
        *(image(registry, "acme/one", "1.0.0"), f"oci:{tmp_path}/copied:1.0.0"),
    )

    assert copied.returncode == 0, copied.stderr
    found = read_content(Layout(tmp_path / "copied"), "1.0.0")
    assert (found.digest, found.package) == (content.root.digest, package)


def test_an_exported_image_is_an_image_to_others(registry: RunningRegistry, tmp_path: Path) -> None:
    """Labels, platforms and layers are where container tools look for them."""
    data = bpf_object("kinds")
    facts = read_elf_facts(data, OBJECT)
    manifest = a_manifest(programs=(a_program(object=OBJECT),))
    with repository(registry, "bpfman/one") as place:
        place.push(bytecode_content(manifest, {OBJECT: data}, {OBJECT: facts}), "v1")
    named = image(registry, "bpfman/one", "v1")

    for architecture in ("amd64", "arm64"):
        shown = skopeo("--override-arch", architecture, "inspect", "--tls-verify=false", named)
        assert shown.returncode == 0, shown.stderr
        assert json.loads(shown.stdout)["Labels"] == image_labels(facts)
        assert json.loads(shown.stdout)["Architecture"] == architecture
    every = ("copy", "--all", "--src-tls-verify=false", "--preserve-digests")
    copied = skopeo(*every, named, f"oci:{tmp_path}/copied:v1")
    assert copied.returncode == 0, copied.stderr
    assert read_content(Layout(tmp_path / "copied"), "v1").images is not None
