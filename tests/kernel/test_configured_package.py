# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A package with formats, defaults and variables, from its folder to its own tests' packets."""

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
name = "configured"
version = "1.0.0"
summary = "Everything that can be configured"
licence = "GPL-2.0-only OR BSD-2-Clause"

[[programs]]
name = "configured"
source = "configured.bpf.c"
function = "configured"
hooks = ["xdp"]

[maps.rules]
key_members.address.format = "ipv4"
key_members.port.format = "port"
value_members."next.mac".format = "mac"

[maps.networks]
default = { "0.0.0.0/32" = 7 }

[variables.limit]
minimum = 64
maximum = 9000

[variables.otherwise]
default = "BLOCK"

[[test]]
name = "the default network answers"
packets = [{ packet = "ipv4 / udp", verdict = "tx" }]

[[test]]
name = "long packets are dropped, by a constant"
config.networks = {}
variables = { limit = 64 }
packets = [
    { packet = "ipv4 / udp", verdict = "pass" },
    { packet = "ipv4 / udp / raw zeros=40", verdict = "drop" },
]

[[test]]
name = "and by what the package says of a variable"
config.networks = {}
packets = [
    { packet = "ipv4 / udp / raw zeros=400", verdict = "pass" },
    { packet = "ipv4 / udp / raw zeros=600", verdict = "drop" },
]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The package's folder."""
    return package_folder(tmp_path, "configured", SOURCE)


def test_tests_of_a_package_are_configured_as_deployments_are(folder: Path) -> None:
    """Defaults hold where a test says nothing; constants are set before the program is loaded."""
    tested = run_tests(build_package(folder))

    assert [(one.name, one.problem, one.differences) for one in tested.results] == [
        ("the default network answers", "", ()),
        ("long packets are dropped, by a constant", "", ()),
        ("and by what the package says of a variable", "", ()),
    ]


def test_variables_in_sections_of_other_names_are_set_too(folder: Path) -> None:
    """As a deployment sets them: `.data.own` is a section of variables like `.data`."""
    program = folder / "configured.bpf.c"
    source = program.read_text()
    placed = source.replace("enum action otherwise", 'enum action otherwise SEC(".data.own")')
    program.write_text(placed)

    tested = run_tests(build_package(folder))

    assert placed != source
    assert [(one.problem, one.differences) for one in tested.results] == [("", ())] * 3


def test_a_test_that_does_not_fit_is_refused_by_name(folder: Path) -> None:
    """With the path of everything."""
    wrong = SOURCE.replace("variables = { limit = 64 }", "variables = { limit = 63 }")
    (folder / "package.toml").write_text(wrong)

    tested = run_tests(build_package(folder))

    reasons = {one.name: [reason.path for reason in one.reasons] for one in tested.results}
    assert reasons["long packets are dropped, by a constant"] == ["variables.limit"]


def test_the_schema_of_a_folder_is_printed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is published."""
    with pytest.raises(SystemExit) as ended:
        app(["package", "show", str(folder), "--schema"])

    schema = msgspec.json.decode(capsys.readouterr().out)
    assert ended.value.code == 0
    assert schema["properties"]["config"]["properties"]["networks"]["default"] == {"0.0.0.0/32": 7}
    assert schema["properties"]["variables"]["properties"]["limit"]["minimum"] == 64
