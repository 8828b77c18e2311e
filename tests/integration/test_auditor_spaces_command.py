# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What the command line, exports and the log as files tell of a space, and to whom."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from shared.installation_facts import FACTS_FILE, render_facts
from tests.integration.conftest import Buses
from tests.support.auditing import eventually, vkey
from tests.support.command_line import run_l3af
from tests.support.inventories import a_reading, chain_event, digest_of
from tests.support.space_stage import EMBARGO, SECRET, Stage, space_stage


@pytest.fixture
async def stage(buses: Buses, tmp_path: Path) -> AsyncIterator[Stage]:
    """Running."""
    async with space_stage(buses, tmp_path) as stage:
        yield stage


async def test_files_and_exports_of_others_verify_and_hold_nothing_of_a_space(
    stage: Stage, tmp_path: Path
) -> None:
    """The range is proved with hashes in the place of what is hidden; so are the tiles."""
    for number in range(20):
        await stage.catalog.emit(audience=EMBARGO, package=SECRET)
        await stage.catalog.emit(package=f"known-{number}")
    await stage.recorded(await stage.catalog.emit("node.label"))
    server = stage.buses.server
    credentials = server.credentials("auditor", "sam")
    facts = msgspec.structs.replace(server.facts, log_verifier_key=vkey(server))
    (credentials / FACTS_FILE).write_bytes(render_facts(facts))
    whole, some = tmp_path / "all.ndjson", tmp_path / "some.ndjson"

    async def l3af(*words: str) -> Any:
        said = await run_l3af("audit", *words, "--json", credentials=credentials, folder=tmp_path)
        return said.document

    assert (await l3af("export", str(whole)))["is_proved"]
    await l3af("export", str(some), "--action", "package.*")

    key = ("--key", vkey(server))
    told = await l3af("verify", str(whole), *key)
    hashes = whole.read_text().count("leaf_hash")
    assert (told["verified"], told["restricted"], told["problem_count"]) == (True, hashes, 0)
    assert hashes >= 20
    assert (await l3af("verify", str(some), *key))["in_order"]
    assert len(some.read_text().splitlines()) == 20
    hidden = json.loads(next(one for one in whole.read_text().splitlines() if "leaf_hash" in one))
    assert hidden.keys() == {"index", "leaf", "received_at", "stream_sequence", "leaf_hash"}

    async def files_are_written() -> bool:
        note = stage.tiles / "checkpoint"
        return note.exists() and int(note.read_text().split("\n")[1]) > 40

    await eventually(files_are_written)
    files = await l3af("verify", "--store", str(stage.tiles), *key)
    assert files["verified"]
    assert files["withheld"] >= 20
    kept = b"".join(path.read_bytes() for path in stage.tiles.rglob("*") if path.is_file())
    for data in (kept, whole.read_bytes(), some.read_bytes()):
        assert EMBARGO.encode() not in data
        assert SECRET.encode() not in data


async def test_commands_tell_strangers_nothing_and_members_all(
    stage: Stage, tmp_path: Path
) -> None:
    """History, the course of a command, what ran, and a proof, as a person asks for them."""
    node = await stage.buses.open("node", "n1")
    ran = chain_event(
        "chain.attach", a_reading(SECRET), node="n1", sequence=1, seconds=5, audience=EMBARGO
    )
    await node.publish_event(ran)
    event = await stage.catalog.emit(audience=EMBARGO, package=SECRET, correlation="c-secret")
    index = await stage.recorded(event)
    await stage.recorded(ran)
    server = stage.buses.server
    facts = msgspec.structs.replace(server.facts, log_verifier_key=vkey(server))

    async def l3af(who: str, *words: str) -> tuple[int, str, str]:
        credentials = server.credentials("auditor", who)
        (credentials / FACTS_FILE).write_bytes(render_facts(facts))
        said = await run_l3af("audit", *words, credentials=credentials, folder=tmp_path)
        return said.status, said.output, said.message

    for hidden, missing in (
        (("history", "package", SECRET), ("history", "package", "nothing-x")),
        (("command", "c-secret"), ("command", "c-nothin")),
        (("log", "--space", EMBARGO), ("log", "--space", "r_0000000000000000")),
        (("as-of", "1m", "--node", "n1"), ("as-of", "1m", "--node", "n2")),
        (
            ("ran", digest_of(f"archive {SECRET}")),
            ("ran", digest_of("archive nothing")),
        ),
    ):
        answers = [await l3af("sam", *words, "--json") for words in (hidden, missing)]
        plain = [
            (status, without_numbers(output, words), without_numbers(message, words))
            for (status, output, message), words in zip(answers, (hidden, missing), strict=True)
        ]
        assert plain[0] == plain[1], hidden
        status, output, _ = await l3af("ann", *hidden, "--json")
        assert (status, SECRET in output or '"runs":[{' in output) == (0, True), hidden

    bundle = tmp_path / "proof.json"
    assert (await l3af("sam", "prove", str(index), "--out", str(bundle)))[0] == 0
    status, output, _ = await l3af("sam", "verify", str(bundle))
    assert (status, "restricted" in output) == (0, True)
    assert SECRET not in bundle.read_text()


def without_numbers(text: str, words: Sequence[str]) -> str:
    """What was said, without the size of the log and what was asked for."""
    for word in words:
        text = text.replace(word, "")
    return re.sub(r"[0-9]+", "", text)
