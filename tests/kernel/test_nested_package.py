# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A package with maps of maps, from its folder to its own tests' packets."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from cli.app import app
from cli.package_build import build_package
from cli.package_test import run_tests
from tests.support.package_folders import package_folder

pytestmark = pytest.mark.kernel

SOURCE = """
[package]
name = "nested"
version = "1.0.0"
summary = "Maps of maps"
licence = "GPL-2.0-only OR BSD-2-Clause"

[[programs]]
name = "nested"
source = "nested.bpf.c"
function = "nested"
hooks = ["xdp"]

[maps.tenants]
key_members.vlan = { minimum = 1, maximum = 4094 }
inner = { key_format = "port", value_members.next.format = "ipv4" }

[maps.zones]
inner.mode = "merge"
default = { 0 = { "10.1.0.0/16" = 1 } }

[maps.stages]

[[test]]
name = "the default zone answers"
packets = [{ packet = "ipv4 / udp", verdict = "tx" }]

[[test]]
name = "a tenant's rule comes first"
packets = [{ packet = "ipv4 / udp", verdict = "drop" }]
[test.config.tenants.'{"vlan":7,"zone":1}']
80 = { action = "BLOCK", next = "192.0.2.1", name = "web" }

[[test]]
name = "values of processors, and no zone"
config.zones = {}
config.stages = { 0 = { 0 = 5, 1 = -5 } }
packets = [{ packet = "ipv4 / udp", verdict = "pass" }]

[[test]]
name = "what does not fit"
config.tenants = { '{"vlan":0,"zone":1}' = {} }
packets = [{ packet = "ipv4 / udp", verdict = "pass" }]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The package's folder."""
    return package_folder(tmp_path, "nested", SOURCE)


def test_maps_of_maps_are_configured_in_a_packages_own_tests(folder: Path) -> None:
    """By defaults and by what a test says; what does not fit is refused by its path."""
    tested = run_tests(build_package(folder))

    found = {one.name: one for one in tested.results}
    wrong = found.pop("what does not fit")
    assert [(one.name, one.problem, one.differences) for one in found.values()] == [
        ("the default zone answers", "", ()),
        ("a tenant's rule comes first", "", ()),
        ("values of processors, and no zone", "", ()),
    ]
    assert [one.path for one in wrong.reasons] == ['config.tenants.{"vlan":0,"zone":1}.vlan']


def test_the_schema_of_a_folder_knows_inner_maps(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Keys, values and room of each."""
    with pytest.raises(SystemExit) as ended:
        app(["package", "show", str(folder), "--schema"])

    config = msgspec.json.decode(capsys.readouterr().out)["properties"]["config"]["properties"]
    assert ended.value.code == 0
    inner = config["tenants"]["additionalProperties"]
    assert (config["tenants"]["maxProperties"], inner["maxProperties"]) == (3, 4)
    assert inner["additionalProperties"]["properties"]["next"] == {
        "type": "string",
        "format": "ipv4",
    }
    assert config["zones"]["default"] == {"0": {"10.1.0.0/16": 1}}
