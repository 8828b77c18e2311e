# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af space`, and packages in a space, as people run it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.integration.conftest import Buses
from tests.support.catalog_process import ROOT, CatalogProcess, write_publisher
from tests.support.command_line import Answer, run_l3af
from tests.support.operator_mode import OperatorModeServer

PACKAGE = ROOT / "packages" / "rate-limit"


class People:
    """Who runs a command, by name."""

    def __init__(self, server: OperatorModeServer) -> None:
        self._credentials = {
            "ada": server.credentials("approver", "ada"),
            "acme": server.credentials("publisher", "acme"),
            "eve": server.credentials("administrator", "eve"),
        }
        write_publisher(self._credentials["acme"])

    async def run(self, name: str, *words: str) -> Answer:
        """One command of `l3af`."""
        return await run_l3af(*words, credentials=self._credentials[name])


@pytest.fixture
async def people(
    provisioned: OperatorModeServer, buses: Buses, tmp_path: Path
) -> AsyncIterator[People]:
    """A running catalog with nothing in it."""
    catalog = CatalogProcess(provisioned, tmp_path / "state")
    await catalog.start(await buses.open("viewer", "vera"))
    try:
        yield People(provisioned)
    finally:
        catalog.kill()


async def test_an_embargo_from_its_first_day_to_its_last(people: People) -> None:
    """Members see and publish; to others it is missing, until it is lifted."""
    day = (datetime.now(UTC) + timedelta(days=2)).date().isoformat()
    made = await people.run(
        "ada", "space", "create", "--embargo", "--title", "cve", "--until", day, "--json"
    )
    space = made.document["space"]
    added = await people.run("ada", "space", "update", space, "--add", "acme")
    published = await people.run(
        "acme", "package", "publish", str(PACKAGE), "--space", space, "--channel", "candidate"
    )
    shown = await people.run("acme", "space", "show", space)
    listed = await people.run("acme", "package", "list")
    hidden = await people.run("eve", "package", "show", "rate-limit")
    unknown = await people.run("eve", "space", "show", space)
    strange = await people.run("eve", "space", "list", "--lifted")
    lifted = await people.run("ada", "space", "lift", space, "--reason", "fixed")
    seen = await people.run("eve", "package", "show", "rate-limit")
    after = await people.run("eve", "space", "list", "--lifted")

    assert f"seen by acme, ada, opens at {day} 00:00" in added.output
    assert space in published.output
    assert [word in shown.output for word in ("cve", "rate-limit", "candidate")] == [True] * 3
    assert f"1.0.0 ({space})" in listed.output
    assert (hidden.status, "unknown package rate-limit" in hidden.message) == (2, True)
    assert (unknown.status, f"unknown space {space}" in unknown.message) == (2, True)
    assert "no space that you see" in strange.output
    assert lifted.status == 0
    assert space in seen.output
    assert space in after.output


async def test_a_private_namespace_and_what_its_people_own(people: People) -> None:
    """Owners, waivers and moves name the space; an embargo is made by saying so."""
    await people.run("ada", "space", "create", "acme", "--member", "acme", "--member", "eve")
    neither = await people.run("ada", "space", "create")
    both = await people.run("ada", "space", "create", "acme", "--embargo")
    owned = await people.run(
        "eve", "package", "owners", "set", "rate-*", "--owner", "ada", "--space", "p_acme"
    )
    waived = await people.run(
        "acme",
        *("licence", "waiver", "request", "policy-groups", "rate-limit", "*"),
        *("--reason", "a test", "--days", "5", "--space", "p_acme"),
    )
    waivers = await people.run("eve", "licence", "waiver", "list")
    await people.run(
        "acme", "package", "publish", str(PACKAGE), "--space", "p_acme", "--channel", "candidate"
    )
    moved = await people.run(
        "acme",
        *("package", "promote", "rate-limit", "1.0.0", "--to", "stable", "--space", "p_acme"),
    )
    elsewhere = await people.run(
        "acme", *("package", "standing", "rate-limit", "--space", "public")
    )
    never = await people.run("ada", "space", "lift", "p_acme")

    assert [one.status for one in (neither, both, elsewhere, never)] == [2] * 4
    assert "never lifted" in never.message
    assert "p_acme" in owned.output
    assert waived.status == 0
    assert "in p_acme" in waivers.output
    assert "released" in moved.output
