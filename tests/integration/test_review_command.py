# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af package` reviews, releases and takes back, as people run it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.conftest import Buses
from tests.support.catalog_process import ROOT, CatalogProcess, write_publisher
from tests.support.command_line import Answer, run_l3af
from tests.support.operator_mode import OperatorModeServer

PACKAGE = ROOT / "packages" / "rate-limit"
VERSION = ("rate-limit", "1.0.0")


class People:
    """Who runs a command, by name."""

    def __init__(self, server: OperatorModeServer) -> None:
        self._credentials = {
            "acme": server.credentials("publisher", "acme"),
            "alice": server.credentials("code-owner", "alice"),
            "bob": server.credentials("code-owner", "bob"),
            "root": server.credentials("administrator", "root"),
        }
        write_publisher(self._credentials["acme"])

    async def run(self, name: str, *words: str) -> Answer:
        """One command of `l3af package`."""
        return await run_l3af("package", *words, credentials=self._credentials[name])


@pytest.fixture
async def people(
    provisioned: OperatorModeServer, buses: Buses, tmp_path: Path
) -> AsyncIterator[People]:
    """A catalog whose `stable` demands two approvals."""
    settings = {"CATALOG_APPROVALS": "stable=2"}
    catalog = CatalogProcess(provisioned, tmp_path / "state", settings=settings)
    await catalog.start(await buses.open("viewer", "vera"))
    try:
        yield People(provisioned)
    finally:
        catalog.kill()


async def test_a_version_goes_from_the_publisher_to_its_end(people: People, tmp_path: Path) -> None:
    """Every step says where the version stands, as text and as JSON; a refusal lists what lacks."""
    notes = tmp_path / "NOTES.md"
    notes.write_text("Counts per port.\n")
    await people.run("root", "owners", "set", "rate-*", "--owner", "alice", "--owner", "bob")
    published = await people.run("acme", "publish", str(PACKAGE))
    early = await people.run("acme", "promote", *VERSION, "--to", "stable")
    looked = await people.run("alice", "review", *VERSION, "--reason", "reading")
    await people.run("alice", "approve", *VERSION)
    standing = (await people.run("alice", "standing", "rate-limit", "--json")).document
    digest = standing["manifest_sha256"]
    approved = await people.run("bob", "approve", *VERSION, "--digest", digest, "--json")
    words = ("--to", "stable", "--notes", str(notes), "--tag", "lts")
    promoted = await people.run("acme", "promote", *VERSION, *words)
    yanked = await people.run("acme", "yank", *VERSION, "--reason", "wrong")
    forbidden = await people.run("acme", "revoke", *VERSION, "--reason", "bad")
    revoked = await people.run("root", "revoke", *VERSION, "--reason", "bad", "--json")
    shown = await people.run("acme", "show", *VERSION)

    assert "submitted for" in published.output
    assert early.status == 2
    assert "0 of 2 different code owners have approved it" in early.message
    assert "in-review" in looked.output
    assert standing["approvals"] == ["alice"]
    assert approved.document["state"] == "approved"
    assert "released" in promoted.output
    assert (yanked.status, forbidden.status) == (0, 2)
    assert revoked.document["state"] == "revoked"
    assert all(word in shown.output for word in ("Counts per port.", "lts", "wrong", "bad"))


async def test_the_table_of_owners_is_listed_and_changed(people: People) -> None:
    """A rule is set, shown for a package, and removed; what is malformed is refused by name."""
    empty = await people.run("alice", "owners", "list")
    made = await people.run(
        "root", "owners", "set", "rate-*", "--paths", "*.c", "--owner", "alice", "--json"
    )
    bad = await people.run("root", "owners", "set", "rate-*", "--owner", "Not A Name")
    listed = await people.run("alice", "owners", "list", "rate-limit")
    removed = await people.run("root", "owners", "remove", "rate-*", "--paths", "*.c", "--json")

    assert "nobody owns anything" in empty.output
    assert made.document["rules"][0]["owners"] == ["alice"]
    assert bad.status == 2
    assert "owners[0]" in bad.message
    assert "*.c" in listed.output
    assert removed.document["rules"] == []


async def test_submitting_needs_a_version_and_notes_a_file(people: People) -> None:
    """Both problems are said in words, with exit status 2."""
    await people.run("acme", "publish", str(PACKAGE), "--channel", "dev")
    missing = await people.run("acme", "submit", *VERSION, "--notes", "/nowhere/NOTES.md")
    unknown = await people.run("acme", "submit", "rate-limit", "9.9.9")
    submitted = await people.run("acme", "submit", *VERSION, "--json")

    assert (missing.status, unknown.status) == (2, 2)
    assert "notes" in missing.message
    assert "9.9.9" in unknown.message
    assert submitted.document["targets"] == ["stable"]
    assert submitted.document["waits_for"]
