# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a package states, from `package.toml` to the hook of a node that it fits."""

from __future__ import annotations

import platform
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.package_new import begin_package
from demo.stage import Stage

OWN = f"linux-{platform.machine()}"
OTHER = "linux-aarch64" if OWN != "linux-aarch64" else "linux-x86_64"
DEPLOYMENT = """\
name = "terms"
package = "terms"
hook = "xdp"
interfaces = ["data0"]
nodes = { names = ["host-1"] }
[config.blocked]
23 = 1
"""

Publish = Callable[..., None]


@pytest.fixture
def publish(system: Stage, tmp_path: Path) -> Publish:
    """Publishes a version of the package with these changes to its `package.toml`."""

    def publish(version: str, **changes: str) -> None:
        folder = Path(
            begin_package(
                "terms",
                "xdp",
                tmp_path / version,
                owners=["kim"],
                repository="https://git.example.org/terms.git",
            ).folder
        )
        described = folder / "package.toml"
        text = described.read_text().replace('version = "1.0.0"', f'version = "{version}"')
        text = text.replace("order = 500 ", "order = 300\nother_platforms = false\n{targets}# ")
        targets = changes.get("targets", f"targets.{OWN} = {{ defines = [] }}\n")
        text = text.replace("{targets}", targets)
        described.write_text(text.replace(">=5.15", changes.get("kernel", ">=5.15")))
        system.must("package", "publish", str(folder))

    return publish


def test_what_a_package_states_decides_where_and_in_which_place_it_runs(
    system: Stage, publish: Publish
) -> None:
    """Kernels and platforms that do not fit are named; the object and the place are its own."""
    file = str(system.document("terms.toml", DEPLOYMENT))

    publish("1.0.0", kernel=">=99")
    refused = system.l3af("deploy", file, "--dry-run")
    reasons = [one["rule"] for one in refused.output["reasons"]]
    assert (refused.status, refused.output["code"]) == (2, "no_eligible_node")
    assert f"its kernel is {platform.release()}, and the package needs >=99" in reasons

    publish("1.0.1", targets=f"targets.{OTHER} = {{ defines = [] }}\n")
    refused = system.l3af("deploy", file, "--dry-run")
    reasons = [one["rule"] for one in refused.output["reasons"]]
    assert f"it is {OWN}, and the package is for {OTHER}" in reasons

    publish("1.0.2")
    done = system.must("deploy", file)
    try:
        (chain,) = done["accepted"]["plan"]["chains"]
        (place,) = [one for one in chain["programs"] if one["deployment"] == "terms"]
        assert (place["order"], place["has_packages_order"]) == (300, True)
        (explained,) = system.must("chain", "explain", "--node", "host-1")["nodes"]
        places = [place for one in explained["chains"] for place in one["places"]]
        assert {"deployment": "terms", "order": 300, "has_packages_order": True} in places
    finally:
        system.must("undeploy", "terms")


def test_what_a_package_states_is_shown(system: Stage, publish: Publish) -> None:
    """Owners, sources, needs, platforms and the place, to people and to programs."""
    publish("2.0.0")

    manifest = system.must("package", "show", "terms", "2.0.0")["package"]["manifest"]

    assert manifest["owners"] == ["kim"]
    assert manifest["source"]["repository"] == "https://git.example.org/terms.git"
    assert manifest["needs"] == {"kernel": ">=5.15"}
    assert manifest["programs"][0]["objects"] == {OWN: f"terms.bpf.{OWN}.o"}
