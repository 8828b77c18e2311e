# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af package analyse` as a person runs it: of a folder, of an object, of what is published."""

from __future__ import annotations

import json
from pathlib import Path

from tests.integration.test_licence_command import PACKAGES, credentials, l3af
from tests.support.bpf_objects import bpf_object

__all__ = ["credentials"]


async def test_a_folder_and_an_object_are_analysed_without_an_installation(tmp_path: Path) -> None:
    """Whoever writes a package learns where it could run before publishing."""
    place = tmp_path / "classifiers.bpf.o"
    place.write_bytes(bpf_object("classifiers"))

    status, output = await l3af("package", "analyse", str(PACKAGES / "port-count"), "--json")
    assert status == 0
    (program, *_) = json.loads(output)["analysis"]["programs"]
    assert program["type"] == "xdp"
    assert program["linux"]["minimum"]
    status, output = await l3af("package", "analyse", str(place), "--json")
    assert status == 0
    found = json.loads(output)["analysis"]["programs"]
    assert {one["windows"]["blocker"] for one in found} == {"no programs of type sched_cls"}


async def test_what_is_published_keeps_its_analysis(credentials: Path) -> None:
    """`analyse` and `show` say what was recorded, the same as of the folder."""
    folder = str(PACKAGES / "rate-limit")
    status, output = await l3af("package", "publish", folder, credentials=credentials)
    assert status == 0, output

    _, of_folder = await l3af("package", "analyse", folder, "--json")
    asked = ("package", "analyse", "rate-limit", "--json")
    status, recorded = await l3af(*asked, credentials=credentials)
    assert status == 0
    assert json.loads(recorded)["is_recorded"] is True
    assert json.loads(recorded)["analysis"] == json.loads(of_folder)["analysis"]
    status, output = await l3af("package", "show", "rate-limit", credentials=credentials)
    assert status == 0
    assert "bpf_spin_lock" in output
    status, output = await l3af("package", "analyse", "no/such", credentials=credentials)
    assert status == 2
