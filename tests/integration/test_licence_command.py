# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af package licence`, `l3af package notice` and `l3af licence waiver` as people run them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import Buses
from tests.support.catalog_process import ROOT, CatalogProcess, write_publisher
from tests.support.command_line import run_l3af
from tests.support.operator_mode import OperatorModeServer

PACKAGES = ROOT / "packages"


@pytest.fixture
async def credentials(
    provisioned: OperatorModeServer, buses: Buses, tmp_path: Path
) -> AsyncIterator[Path]:
    """Of a publisher, beside a catalog that answers."""
    catalog = CatalogProcess(provisioned, tmp_path / "state")
    await catalog.start(await buses.open("viewer", "vera"))
    publisher = provisioned.credentials("publisher", "acme")
    write_publisher(publisher)
    try:
        yield publisher
    finally:
        catalog.kill()


@pytest.fixture
def approver(provisioned: OperatorModeServer) -> Path:
    """Of somebody else."""
    return provisioned.credentials("approver", "bob")


async def l3af(*words: str, credentials: Path | None = None) -> tuple[int, str]:
    """Exit status and output of one command."""
    answer = await run_l3af(*words, credentials=credentials)
    return answer.status, answer.output


def outcomes(found: list[dict[str, Any]]) -> dict[str, str]:
    """By rule."""
    return {one["rule"]: one["outcome"] for one in found}


async def test_a_folder_is_judged_without_an_installation(tmp_path: Path) -> None:
    """Whoever writes a package learns what a policy would say before publishing."""
    folder = str(PACKAGES / "port-count")
    strict = tmp_path / "strict.toml"
    strict.write_text(
        'name = "strict"\nversion = "1.0.0"\nsummary = "MIT alone"\n'
        '[groups.kernel]\nallows = ["MIT"]\nbecause = "we say so"\n'
    )

    status, output = await l3af("package", "licence", folder)
    assert status == 0
    assert "policy gpl-ok 1.0.0: passed" in output
    assert "port_count.bpf.o" in output
    status, output = await l3af("package", "licence", folder, "--policy", str(strict), "--json")
    assert status == 2
    assert outcomes(json.loads(output)["verdict"]["findings"])["policy-groups"] == "refused"


async def test_what_is_published_shows_its_recorded_verdict_and_can_be_judged_again(
    credentials: Path,
) -> None:
    """Also for a chain: what follows from being linked is said beside it."""
    for name in ("port-count", "rate-limit"):
        status, output = await l3af(
            "package", "publish", str(PACKAGES / name), credentials=credentials
        )
        assert status == 0, output

    status, output = await l3af("package", "licence", "port-count", credentials=credentials)
    assert status == 0
    assert "as recorded when it was published" in output
    status, output = await l3af("package", "show", "port-count", credentials=credentials)
    assert "passed, policy gpl-ok 1.0.0" in output
    assert "taken under GPL-2.0-only" in output
    asked = ("--policy", "cncf", "--beside", "rate-limit", "--json")
    status, output = await l3af("package", "licence", "port-count", *asked, credentials=credentials)
    found = json.loads(output)
    assert status == 0
    assert found["verdict"]["policy"] == "cncf"
    assert found["verdict"]["elections"][0]["elected"] == "BSD-2-Clause"
    assert outcomes(found["chain"]) == {
        "segment-string": "passed",
        "segment-combines": "passed",
        "chain-mixed": "passed",
    }


async def test_a_published_version_has_the_bundle_of_its_folder(
    credentials: Path, tmp_path: Path
) -> None:
    """Byte for byte, on the terminal as in a file."""
    folder, file = str(PACKAGES / "port-count"), tmp_path / "NOTICE.txt"
    status, output = await l3af("package", "publish", folder, credentials=credentials)
    assert status == 0, output

    _, of_folder = await l3af("package", "notice", folder)
    status, published = await l3af("package", "notice", "port-count", credentials=credentials)
    await l3af("package", "notice", "port-count", "-o", str(file), credentials=credentials)

    assert status == 0
    assert published == of_folder == file.read_text()
    assert "SPDX-License" + "-Identifier" not in published
    assert "port_count.bpf.o (GPL-2.0-only): in the package: port_count.bpf.c" in published


async def test_a_waiver_is_requested_granted_and_listed(credentials: Path, approver: Path) -> None:
    """By two people, from the command line; whoever requested it is refused the grant."""
    asked = ("policy-groups", "port-count", "^1", "--days", "10", "--reason", "a test", "--json")
    status, output = await l3af("licence", "waiver", "request", *asked, credentials=credentials)
    assert status == 0, output
    waiver = json.loads(output)["waiver"]

    status, _ = await l3af("licence", "waiver", "grant", waiver, credentials=credentials)
    assert status == 2
    status, output = await l3af("licence", "waiver", "grant", waiver, credentials=approver)
    assert status == 0, output
    status, output = await l3af("licence", "waiver", "list", "--json", credentials=approver)
    assert [one["state"] for one in json.loads(output)["waivers"]] == ["granted"]
    status, output = await l3af("licence", "waiver", "revoke", waiver, credentials=approver)
    assert status == 0, output
    _, output = await l3af("licence", "waiver", "list", "--ended", credentials=credentials)
    assert "revoked" in output
    days = ("--days", "367", "--reason", "too long")
    status, _ = await l3af("licence", "waiver", "request", *asked[:3], *days)
    assert status == 2
