# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Somebody is erased from the log of a running auditor: who may ask, and what is said of it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from shared.contracts.audit import LIST_RECORDS, ListRecords
from shared.contracts.holds import (
    PLACE_HOLD,
    RELEASE_HOLD,
    HoldSelection,
    PlaceHold,
    ReleaseHold,
)
from shared.contracts.persons import ERASE_PERSON, ErasePerson
from shared.errors import RefusedError
from tests.integration.conftest import Buses
from tests.support.auditing import running_auditor, vkey
from tests.support.command_line import run_l3af

NAME = "wilhelmina"


async def test_an_administrator_erases_through_the_bus_unless_something_is_held(
    buses: Buses, tmp_path: Path
) -> None:
    """The log says it under a number; records stay readable, and no file names the person."""
    directory = tmp_path / "auditor"
    async with running_auditor(buses.server, directory):
        ann, bob = [await buses.open("administrator", name) for name in ("ann", "bob")]
        reason = f"by {NAME}"
        placed = await ann.request(
            PLACE_HOLD, PlaceHold(selection=HoldSelection(node="n1"), reason=reason)
        )
        await bob.request(RELEASE_HOLD, ReleaseHold(hold=placed.hold, reason="over"))
        request = ErasePerson(names=(NAME,), keys=(ann.key,), reason="request 12")
        held = await bob.request(PLACE_HOLD, PlaceHold(selection=HoldSelection(), reason="all"))
        with pytest.raises(RefusedError, match="a legal hold covers"):
            await bob.request(ERASE_PERSON, request)
        await ann.request(RELEASE_HOLD, ReleaseHold(hold=held.hold))
        for wrong in (ErasePerson(reason="x"), ErasePerson(names=(NAME,), reason=f"{NAME} asks")):
            with pytest.raises(RefusedError, match="nobody can be erased so"):
                await bob.request(ERASE_PERSON, wrong)
        tried = await bob.request(ERASE_PERSON, msgspec.structs.replace(request, dry_run=True))
        done = await bob.request(ERASE_PERSON, request)
        assert done.records == tried.records == 2
        found = await bob.request(LIST_RECORDS, ListRecords(action="person.erase"))
        (said,) = [one.event.data for one in found.records if one.event]
        assert said.outcome == "succeeded"
        assert said.actor is not None
        assert said.actor.key == bob.key
        placing = await bob.request(LIST_RECORDS, ListRecords(action="hold.place"))
        first = placing.records[-1]
        assert first.erased
        assert first.event is not None
        assert first.event.data.details["selection"]["node"] == "n1"
        with pytest.raises(RefusedError):
            await (await buses.open("auditor", "eve")).request(ERASE_PERSON, request)
    for file in directory.iterdir():
        assert not any(word.encode() in file.read_bytes() for word in (NAME, ann.key)), file


async def test_the_command_erases_and_what_is_shown_and_exported_says_so(
    buses: Buses, tmp_path: Path
) -> None:
    """Nothing without `--yes`; export and store are verified, with what was erased counted."""
    directory, whole = tmp_path / "auditor", tmp_path / "all.ndjson"
    async with running_auditor(buses.server, directory):
        bob = buses.server.credentials("administrator", "bob")
        ann = await buses.open("auditor", "ann")
        await ann.request(LIST_RECORDS, ListRecords(action="x.*"))
        erase = ("audit", "erase", NAME, "--also", ann.key, "--reason", "request 12")
        assert (await run_l3af(*erase, credentials=bob)).status == 2
        tried = (await run_l3af(*erase, "--dry-run", "--json", credentials=bob)).document
        done = (await run_l3af(*erase, "--yes", "--json", credentials=bob)).document
        assert (tried["records"], done["records"], tried["dry_run"]) == (1, 1, True)
        shown = await run_l3af("audit", "log", "--action", "log.read", credentials=bob)
        assert "erased (auditor)" in shown.output
        assert (await run_l3af("audit", "export", str(whole), credentials=bob)).status == 0
    key = ("--key", vkey(buses.server))
    export = await run_l3af("audit", "verify", str(whole), *key, "--json")
    assert (export.document["verified"], export.document["erased"]) == (True, 1)
    store = await run_l3af("audit", "verify", "--store", str(directory), *key, "--json")
    assert (store.document["verified"], store.document["erased"]) == (True, 1)
    assert ann.key.encode() not in whole.read_bytes()
