# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af audit` and `l3af events` as processes: what they print, and when they refuse."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from services.auditor.checkpoint import render_verifier_key, verifier_key
from shared.installation_facts import FACTS_FILE, render_facts
from tests.integration.conftest import Buses
from tests.support.auditing import (
    DEADLINE_SECONDS,
    EmittingBus,
    eventually,
    running_auditor,
    vkey,
)
from tests.support.bill_schemas import cyclonedx_problems, spdx_problems
from tests.support.inventories import a_reading, at, chain_event, digest_of
from tests.support.witnesses import a_witness

COMMAND = Path(sys.executable).parent / "l3af"


class Person:
    """Somebody with credentials at a terminal."""

    def __init__(self, credentials: Path, home: Path) -> None:
        self.home = home
        self.environ = {**os.environ, "L3AF_CREDENTIALS": str(credentials), "HOME": str(home)}
        for name in ("L3AF_INSTALLATION", "COLUMNS"):
            self.environ.pop(name, None)
        self.environ["COLUMNS"] = "200"

    async def l3af(self, *words: str) -> tuple[int, str, str]:
        """Status, stdout and stderr of one command."""
        process = await self.start(words)
        async with asyncio.timeout(DEADLINE_SECONDS):
            out, err = await process.communicate()
        assert process.returncode is not None
        return process.returncode, out.decode(), err.decode()

    async def must(self, *words: str) -> Any:
        """The JSON output of a command that has to work."""
        status, out, err = await self.l3af(*words, "--json")
        assert status == 0, err
        return json.loads(out)

    async def start(self, words: Sequence[str]) -> asyncio.subprocess.Process:
        """A command that runs."""
        return await asyncio.create_subprocess_exec(
            COMMAND, *words, env=self.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )


@pytest.fixture
async def ann(buses: Buses, tmp_path: Path) -> AsyncIterator[Person]:
    """An auditor by role, while the service runs."""
    credentials = buses.server.credentials("auditor", "ann")
    facts = msgspec.structs.replace(buses.server.facts, log_verifier_key=vkey(buses.server))
    (credentials / FACTS_FILE).write_bytes(render_facts(facts))
    async with running_auditor(buses.server, tmp_path / "auditor"):
        yield Person(credentials, tmp_path)


@pytest.fixture
async def catalog(buses: Buses) -> EmittingBus:
    """The catalog's voice."""
    return EmittingBus(await buses.open("service-catalog"), "catalog")


async def until_recorded(person: Person, count: int, *words: str) -> list[dict[str, Any]]:
    """Records once there are so many."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            found = await person.must("audit", "log", *words)
            if len(found["records"]) >= count:
                records: list[dict[str, Any]] = found["records"]
                return records


async def test_the_log_is_shown_newest_first(ann: Person, catalog: EmittingBus) -> None:
    """The table has a line for each record, and the filters apply."""
    await catalog.emit(package="rate-limit", version="1.0.0", reason="first")
    await catalog.emit(package="rate-limit", version="1.1.0", outcome="refused", reason="second")
    await until_recorded(ann, 2, "--package", "rate-limit")

    status, out, _ = await ann.l3af("audit", "log", "--package", "rate-limit")
    assert status == 0
    assert out.index("second") < out.index("first")
    assert "rate-limit 1.1.0" in out

    found = await ann.must("audit", "log", "--action", "package.*", "--outcome", "refused")
    assert [r["event"]["data"]["version"] for r in found["records"]] == ["1.1.0"]


async def test_a_proof_verifies_offline_and_not_when_altered(
    ann: Person, catalog: EmittingBus, buses: Buses, tmp_path: Path
) -> None:
    """Without server and credentials: 0 for the bundle as it is, 2 with any other claim in it."""
    await catalog.emit(package="rate-limit")
    (record,) = await until_recorded(ann, 1, "--package", "rate-limit")
    bundle = tmp_path / "proof.json"
    status, _, err = await ann.l3af("audit", "prove", str(record["index"]), "--out", str(bundle))
    assert status == 0, err
    offline = Person(tmp_path / "nowhere", tmp_path)
    buses.server.stop()

    status, out, err = await offline.l3af("audit", "verify", str(bundle))
    assert status == 0, err
    assert out.startswith("verified")
    assert "the bundle's own word: compare it" in out
    given = await offline.must("audit", "verify", str(bundle), "--key", vkey(buses.server))
    assert given["verified"] is True
    assert given["event"]["data"]["package"] == "rate-limit"

    forged = bundle.read_text().replace("rate-limit", "port-count", 1)
    bundle.write_text(forged)
    status, _, err = await offline.l3af("audit", "verify", str(bundle))
    assert status == 2
    assert err.startswith("refused: ")
    buses.server.start()


async def test_a_proof_is_cosigned_by_as_many_witnesses_as_are_demanded(
    buses: Buses, catalog: EmittingBus, tmp_path: Path
) -> None:
    """In both formats, offline: 0 if so many of the witnesses named cosigned, 2 if fewer did."""
    server = buses.server
    credentials = server.credentials("auditor", "ann")
    facts = msgspec.structs.replace(server.facts, log_verifier_key=vkey(server))
    (credentials / FACTS_FILE).write_bytes(render_facts(facts))
    ann = Person(credentials, tmp_path)
    with (
        a_witness(tmp_path / "w1", vkey(server), name="w.example/1") as first,
        a_witness(tmp_path / "w2", vkey(server), name="w.example/2") as second,
        a_witness(tmp_path / "w3", name="w.example/3") as third,
    ):
        witnesses = {one.key: one.url for one in (first, second, third)}
        async with running_auditor(server, tmp_path / "auditor", witnesses=witnesses):
            await catalog.emit(package="rate-limit")
            (record,) = await until_recorded(ann, 1, "--package", "rate-limit")

            async def standings() -> list[str] | None:
                found = await ann.must("audit", "checkpoint")
                seen = found["witnesses"]
                sizes = [one.get("tree_size", 0) for one in seen]
                return seen if min(sizes[:2]) > record["index"] else None

            seen: list[Any] = await eventually(standings)
            assert "404" in seen[2]["problem"]
            _, shown, _ = await ann.l3af("audit", "checkpoint")
            assert "w.example/1 cosigned" in shown
            assert "w.example/3 has cosigned nothing" in shown
            for name, options in (("proof.json", ()), ("proof", ("--format", "tlog-proof"))):
                words = ("audit", "prove", str(record["index"]), "--out", str(tmp_path / name))
                status, _, err = await ann.l3af(*words, *options)
                assert status == 0, err

    offline = Person(tmp_path / "nowhere", tmp_path)
    for name in ("proof.json", "proof"):
        proof = ("audit", "verify", str(tmp_path / name), "--key", vkey(server))
        both = ("--witness", first.key, "--witness", second.key)
        status, out, err = await offline.l3af(*proof, *both)
        assert status == 0, err
        assert "Cosigned by w.example/1" in out
        found = await offline.must(*proof, *both, "--witness", third.key, "--witnesses", "2")
        assert {one["verifier_key"] for one in found["witnesses"]} == {first.key, second.key}
        status, _, err = await offline.l3af(*proof, *both, "--witness", third.key)
        assert status == 2
        assert "by 2 of the witnesses named, not by 3" in err
        assert "w.example/3" in err
        status, _, err = await offline.l3af(*proof, *both, "--witnesses", "3")
        assert (status, "more witnesses are demanded" in err) == (2, True)
    status, _, err = await offline.l3af("audit", "verify", str(tmp_path / "proof"))
    assert (status, "--key" in err) == (2, True)


async def test_a_bundle_of_another_log_is_refused(
    ann: Person, catalog: EmittingBus, tmp_path: Path
) -> None:
    """A trusted key that did not sign it is named in the refusal."""
    await catalog.emit(package="rate-limit")
    (record,) = await until_recorded(ann, 1, "--package", "rate-limit")
    bundle = tmp_path / "proof.json"
    await ann.must("audit", "prove", str(record["index"]), "--out", str(bundle))
    key = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"

    status, _, err = await ann.l3af("audit", "verify", str(bundle), "--key", key)

    assert status == 2
    assert "another log" in err


async def test_heads_are_compared_with_older_ones(
    ann: Person, catalog: EmittingBus, tmp_path: Path
) -> None:
    """A log that only grew is consistent with the head that was kept."""
    older = tmp_path / "older"
    await catalog.emit()
    await until_recorded(ann, 1, "--action", "package.publish")
    await ann.must("audit", "checkpoint", "--out", str(older))
    await catalog.emit_many(5)
    records = await until_recorded(ann, 6, "--action", "package.publish")
    await ann.must("audit", "prove", str(records[0]["index"]))

    status, out, err = await ann.l3af("audit", "checkpoint", "--older", str(older))

    assert status == 0, err
    assert "unchanged" in out
    older.write_text(older.read_text().replace("\n", "\n\n", 1))
    assert (await ann.l3af("audit", "checkpoint", "--older", str(older)))[0] == 2


async def test_following_shows_what_comes(ann: Person, catalog: EmittingBus) -> None:
    """`--follow` prints each new record once, as a line of JSON each."""
    process = await ann.start(["audit", "log", "--follow", "--action", "package.*", "--json"])
    assert process.stdout is not None
    try:
        seen = []
        for number in range(3):
            await catalog.emit(package=f"p{number}")
            async with asyncio.timeout(DEADLINE_SECONDS):
                line = await process.stdout.readline()
            seen.append(json.loads(line)["event"]["data"]["package"])
    finally:
        process.kill()
        await process.communicate()

    assert seen == ["p0", "p1", "p2"]


async def test_a_subscription_is_made_drained_and_given_up(
    ann: Person, catalog: EmittingBus
) -> None:
    """What came while nobody fetched is there, once it was acknowledged it is not."""
    subject = "l3af.v1.evt.public.catalog.>"
    await ann.must("events", "subscribe", "billing", "--subject", subject)
    await catalog.emit_many(3)

    status, out, _ = await ann.l3af(
        "events", "fetch", "billing", "--drain", "--wait", "0.3", "--json"
    )
    again = await ann.must("events", "fetch", "billing", "--wait", "0.2")

    assert status == 0
    assert [json.loads(line)["sequence"] for line in out.splitlines()] == [1, 2, 3]
    assert again.get("events", []) == []
    await ann.must("events", "unsubscribe", "billing")
    status, _, err = await ann.l3af("events", "fetch", "billing")
    assert (status, "no subscription billing" in err) == (2, True)


async def test_live_events_are_printed_as_they_happen(ann: Person, catalog: EmittingBus) -> None:
    """`events follow` needs no durable place."""
    process = await ann.start(["events", "follow", "--json"])
    assert process.stdout is not None
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while True:
                await catalog.emit(package="live")
                try:
                    line = await asyncio.wait_for(process.stdout.readline(), 0.3)
                except TimeoutError:
                    continue
                break
    finally:
        process.kill()
        await process.communicate()

    assert json.loads(line)["data"]["package"] == "live"


@pytest.mark.parametrize(
    "words",
    [
        ["audit", "log", "--since", "yesterday"],
        ["audit", "log", "--actor", "nobody"],
        ["audit", "log", "--outcome", "perhaps"],
        ["audit", "log", "--limit", "0"],
        ["audit", "prove", "-1"],
        ["audit", "prove", "1000000"],
        ["audit", "verify", "/nowhere/bundle.json"],
        ["events", "subscribe", "Not A Name"],
        ["events", "subscribe", "wide", "--subject", "l3af.v1.evt.>"],
    ],
)
async def test_what_cannot_be_is_refused(ann: Person, words: list[str]) -> None:
    """Status 2, one readable line, no traceback."""
    status, out, err = await ann.l3af(*words)

    assert (status, out) == (2, "")
    assert err.startswith("refused: ")
    assert "Traceback" not in err


async def test_what_ran_is_shown_and_compared(ann: Person, buses: Buses) -> None:
    """`as-of`, `diff` and `ran` print tables for people and whole answers as JSON, `sbom` bills."""
    node = await buses.open("node", "n1")
    for event in (
        chain_event("chain.attach", a_reading("a"), node="n1", sequence=1, seconds=10),
        chain_event("chain.attach", a_reading("b"), node="n1", sequence=2, seconds=20),
    ):
        await node.publish_event(event)
    await until_recorded(ann, 2, "--node", "n1")

    status, out, _ = await ann.l3af("audit", "as-of", at(15), "--node", "n1")
    shown = await ann.must("audit", "as-of", at(25))
    differing = await ann.must("audit", "diff", at(15), at(25))
    ran = await ann.must("audit", "ran", digest_of("archive a"))

    assert status == 0
    assert "a: a 1.0.0 main" in out
    assert "GPL-2.0-only ('GPL', GPL-compatible)" in out
    assert shown["hook_points"][0]["reading"]["running"][0]["package"] == "b"
    assert [one["place"]["interface"] for one in differing["differences"]] == ["eth0"]
    assert [(run["since"], run["until"]) for run in ran["runs"]] == [(at(10), at(20))]
    status, out, _ = await ann.l3af("audit", "sbom", at(15), "--node", "n1")
    assert (status, cyclonedx_problems(out)) == (0, [])
    assert digest_of("archive a") in out
    status, out, _ = await ann.l3af("audit", "sbom", at(25), "--format", "spdx")
    assert (status, spdx_problems(out)) == (0, [])
    assert digest_of("archive b") in out
    status, out, _ = await ann.l3af("audit", "sbom", "--since", at(15), "--until", at(25))
    assert (status, cyclonedx_problems(out)) == (0, [])
    assert digest_of("archive a") in out
    assert digest_of("archive b") in out
    status, _, err = await ann.l3af("audit", "sbom", at(15), "--since", at(15))
    assert (status, "say one moment, or a range" in err) == (2, True)
    for words in (("diff", at(15), at(25)), ("ran", digest_of("archive a"))):
        status, out, _ = await ann.l3af("audit", *words)
        assert (status, "n1/eth0/xdp" in out) == (0, True)


async def test_a_checklist_says_what_there_is_to_show(ann: Person, buses: Buses) -> None:
    """What should not be there is to be looked at, and the question that found it is said."""
    catalog = EmittingBus(await buses.open("service-catalog"), "catalog")
    await catalog.emit(outcome="accepted")
    await until_recorded(ann, 1, "--action", "package.publish")

    status, out, _ = await ann.l3af(
        "audit", "evidence", "pci-dss", "--since", "2020-01-01", "--json"
    )

    found = {one["number"]: one for one in json.loads(out)["items"]}
    assert status == 1
    assert (found["10.2.2"]["verdict"], found["10.2.2"]["records"]) == ("look", 1)
    assert "not has actor" in found["10.2.2"]["command"]
    assert (found["10.2.1.3"]["verdict"], found["10.3.1"]["verdict"]) == ("shown", "people")
    assert found["10.2.1.7"]["verdict"] == "nothing"


@pytest.mark.parametrize(
    "words",
    [("verify", "/dev/zero"), ("verify", "--store", "{log}", "--checkpoint", "/dev/zero")],
)
def test_a_file_without_an_end_is_refused(words: tuple[str, ...], tmp_path: Path) -> None:
    """A proof or a head has a size: nothing is read for ever, or into all of the memory."""
    (tmp_path / "tile").mkdir()
    key = render_verifier_key(verifier_key("l3af.test/log", seed=bytes(32)))
    asked = [word.format(log=tmp_path) for word in words]
    done = subprocess.run(
        [COMMAND, "audit", *asked, "--key", key],
        capture_output=True,
        check=False,
        timeout=DEADLINE_SECONDS,
    )
    assert done.returncode == 2
    assert b"/dev/zero: is neither a proof nor a signed head" in done.stderr
