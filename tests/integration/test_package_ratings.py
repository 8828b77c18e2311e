# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af package rate`, `unrate` and `ratings` as people run them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shared.contracts.permissions import UserRole
from tests.integration.conftest import Buses
from tests.support.catalog_process import ROOT, CatalogProcess, write_publisher
from tests.support.command_line import Answer, run_l3af
from tests.support.operator_mode import OperatorModeServer

ONE = ("port-count", "1.0.0")
HOSTILE = "\x1b[2J\u202egood <script>alert(1)</script> '; DROP TABLE ratings; --"
ROLES: dict[str, UserRole] = {
    "acme": "publisher",
    "bob": "operator",
    "vera": "viewer",
    "root": "administrator",
}


class People:
    """Who runs a command, by name."""

    def __init__(self, server: OperatorModeServer) -> None:
        self._credentials = {name: server.credentials(role, name) for name, role in ROLES.items()}
        write_publisher(self._credentials["acme"])

    async def run(self, name: str, *words: str) -> Answer:
        """One command of `l3af package`."""
        return await run_l3af("package", *words, credentials=self._credentials[name])


@pytest.fixture
async def people(
    provisioned: OperatorModeServer, buses: Buses, tmp_path: Path
) -> AsyncIterator[People]:
    """A catalog with one package."""
    catalog = CatalogProcess(provisioned, tmp_path / "state")
    await catalog.start(await buses.open("viewer", "eye"))
    people = People(provisioned)
    try:
        published = await people.run("acme", "publish", str(ROOT / "packages" / "port-count"))
        assert published.status == 0, published.message
        yield people
    finally:
        catalog.kill()


async def test_a_rating_is_given_changed_found_and_removed(people: People) -> None:
    """By its author; others and the publisher are refused, and viewers change nothing."""
    await people.run("bob", "rate", *ONE, "--stars", "2")
    again = await people.run("bob", "rate", *ONE, "--stars", "4", "--text", "counts", "--json")
    own = await people.run("acme", "rate", *ONE, "--stars", "5")
    viewer = await people.run("vera", "rate", *ONE, "--stars", "5")
    six = await people.run("bob", "rate", *ONE, "--stars", "6")
    listed = await people.run("vera", "ratings", "port-count", "--json")
    found = await people.run("vera", "search", "--min-stars", "4", "--json")
    other = await people.run("acme", "unrate", *ONE, "--author", "bob")
    removed = await people.run("root", "unrate", *ONE, "--author", "bob", "--reason", "spam")
    gone = await people.run("vera", "ratings", "port-count")

    assert again.document["stars"] == 4
    assert [one.status for one in (own, viewer, six, other)] == [2, 2, 2, 2]
    assert [(one["author"], one["stars"]) for one in listed.document["ratings"]] == [("bob", 4)]
    assert [(one["stars"], one["ratings"]) for one in found.document["packages"]] == [(4.0, 1)]
    assert removed.status == 0
    assert "nobody has rated" in gone.output


async def test_hostile_words_are_words(people: People) -> None:
    """They come back as they were, and a terminal is told nothing by them."""
    given = await people.run("bob", "rate", *ONE, "--stars", "1", "--text", HOSTILE)
    too_long = await people.run("bob", "rate", *ONE, "--stars", "1", "--text", "x" * 1001)
    listed = await people.run("vera", "ratings", *ONE, "--json")
    shown = await people.run("vera", "ratings", *ONE)

    assert given.status == 0, given.message
    assert too_long.status == 2
    assert listed.document["ratings"][0]["text"] == HOSTILE
    assert "\x1b" not in shown.output
    assert "\u202e" not in shown.output
