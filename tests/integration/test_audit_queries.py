# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Questions to a running auditor: any field, any size, from anywhere on, and each recorded once."""

from __future__ import annotations

import asyncio
import csv
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cli.audit_query import Answer
from services.auditor.searching import SCANNED_AT_ONCE
from shared.canonical import canonical_bytes
from shared.contracts.audit import LIST_RECORDS, ListRecords, StreamRecords
from shared.contracts.events import (
    LONGEST_TEXT_BYTES,
    MAX_EVENT_BYTES,
    Actor,
    EventBody,
    digest_mark,
    with_texts,
)
from shared.errors import RefusedError
from shared.event_size import LEFT_OUT, fit_event_body
from tests.integration.conftest import Buses
from tests.support.auditing import EmittingBus
from tests.support.hostile.texts import HOSTILE_TEXTS
from tests.support.log_readers import Reader, reading
from tests.support.log_stores import ORIGIN

ALICE = Actor(key="U" + "A" * 55, role="operator", attested=True)
ROOM_OF_DIGESTS = 400
"""In the place of a long text, and beside it."""
BOB = Actor(key="U" + "B" * 55, role="operator", attested=True)


@pytest.fixture
async def reader(buses: Buses, tmp_path: Path) -> AsyncIterator[Reader]:
    """Somebody who may read, while the auditor runs."""
    async with reading(buses, tmp_path) as found:
        yield found


@pytest.fixture
async def catalog(buses: Buses) -> EmittingBus:
    """The catalog's voice."""
    return EmittingBus(await buses.open("service-catalog"), "catalog")


def phases(found: Any) -> list[str]:
    """What the events that were found say of their phase."""
    return [record["event"]["data"]["details"]["phase"] for record in found["records"]]


async def test_any_field_is_found_by_expression_text_licence_and_time(
    reader: Reader, catalog: EmittingBus
) -> None:
    """Each finds exactly what it says, and what cannot be read is refused with its column."""
    for phase, licence in (("asked", "MIT"), ("begun", "GPL-2.0-only OR MIT"), ("done", "")):
        await catalog.emit(reason=f"Größe of {phase}", details={"phase": phase, "licence": licence})
    await reader.until_recorded(3, action="package.publish")

    where = 'details.phase in ["asked", "done"] and not reason contains "of done"'
    zone = ("--zone", "Europe/Berlin", "--since", "2026-01-02 04:04:05")
    assert phases(await reader.must("log", "--where", where, *zone)) == ["asked"]
    assert (
        phases(await reader.must("log", "--where", where, *zone[:3], "2026-01-02 04:04:06")) == []
    )
    for question, count in (
        (StreamRecords(text="GRÖSSE OF B"), 1),
        (StreamRecords(licence="*MIT*"), 2),
        (StreamRecords(licence="MIT"), 1),
        (StreamRecords(licence="GPL*", text="done"), 0),
    ):
        assert len((await reader.all_of(question))[0]) == count
    refused = await reader.l3af("log", "--where", "details.phase == asked")
    assert (refused.status, refused.output) == (2, "")
    assert "column 18: a value: text in double quotes" in refused.message


async def test_an_answer_of_any_size_is_read_once_and_recorded_once(
    reader: Reader, catalog: EmittingBus
) -> None:
    """Thousands of records in chunks from either end, each once, and one `log.read` for both."""
    await catalog.emit_many(2200, package="rate-limit")
    await reader.until_recorded(1, package="rate-limit", after_index=2198)
    question = StreamRecords(package="rate-limit", limit=700)

    newest, answer = await reader.all_of(question)
    oldest, _ = await reader.all_of(msgspec.structs.replace(question, order="oldest"))

    assert (len(newest), answer.position, answer.count) == (2200, None, 2200)
    assert newest == oldest[::-1] == sorted(newest, reverse=True)
    readings = await reader.bus.request(LIST_RECORDS, ListRecords(action="log.read", limit=100))
    streamed = [one.event.data.details for one in readings.records if one.event]
    asked = [details for details in streamed if "order" in details]
    assert asked == [
        {"filters": {"package": "rate-limit"}, "limit": 1000, "order": order}
        for order in ("oldest", "newest")
    ]


async def test_a_scan_stops_where_it_says_and_goes_on_there(
    reader: Reader, catalog: EmittingBus
) -> None:
    """Nothing between two parts is lost or doubled, and none is larger than its limit."""
    await catalog.emit_many(2200, package="rate-limit")
    await reader.until_recorded(1, package="rate-limit", after_index=2198)
    question = StreamRecords(package="rate-limit", where="index < 40 or index > 2100")
    found, answer = await reader.all_of(question, scan_limit=SCANNED_AT_ONCE)
    wanted = (await reader.all_of(question))[0]

    parts = [found]
    while answer.position is not None:
        assert answer.scanned <= SCANNED_AT_ONCE
        later = msgspec.structs.replace(question, before_index=answer.position)
        found, answer = await reader.all_of(later, scan_limit=SCANNED_AT_ONCE)
        parts.append(found)

    assert len(parts) >= 3
    assert [index for part in parts for index in part] == wanted
    stopped = await reader.l3af("log", "--where", "has nothing", "--scan-limit", "100")
    assert "looked at 100 records; --before" in stopped.message


async def test_several_keys_are_one_answer(reader: Reader, catalog: EmittingBus) -> None:
    """Records of each in one order; a limit and a stopped scan say where both go on."""
    for number in range(40):
        await catalog.emit(actor=ALICE if number % 3 else BOB, details={"n": number})
    await reader.until_recorded(40, action="package.publish")
    questions = [
        StreamRecords(actor=actor.key, order=order, where="has details.n")
        for order in ("newest",)
        for actor in (ALICE, BOB)
    ]  # fmt: skip
    wanted, _ = await reader.all_of(*questions)
    assert wanted == sorted(wanted, reverse=True)
    assert len(wanted) == 40

    for options in ({"limit": 7}, {"scan_limit": 6}):
        gathered: list[int] = []
        asked = questions
        while True:
            found, answer = await reader.all_of(*asked, **options)
            gathered += found
            if answer.position is None:
                break
            asked = [
                msgspec.structs.replace(one, before_index=answer.position) for one in questions
            ]
        assert gathered == wanted


@pytest.mark.parametrize("suffix", ["ndjson", "csv", "log", "ocsf"])
async def test_an_export_goes_on_where_it_was_torn(
    reader: Reader, catalog: EmittingBus, suffix: str
) -> None:
    """Torn in the middle of a line and resumed it is the file that it would have been."""
    await catalog.emit_many(1200, package="rate-limit")
    await reader.until_recorded(1, package="rate-limit", after_index=1198)
    whole, torn = (reader.folder / f"{name}.{suffix}" for name in ("whole", "torn"))
    done = await reader.must("export", str(whole), "--package", "rate-limit")
    assert (done["records"], done.get("position")) == (1200, None)
    lines = whole.read_bytes().splitlines(keepends=True)

    for kept in (b"", lines[0][:5], b"".join(lines[:700]) + lines[700][:30]):
        torn.write_bytes(kept)
        await reader.must("export", str(torn), "--package", "rate-limit", "--resume")
        assert torn.read_bytes() == whole.read_bytes()
    again = await reader.l3af("export", str(whole))
    assert (again.status, "--resume goes on" in again.message) == (2, True)
    foreign = reader.folder / f"foreign.{suffix}"
    foreign.write_text("something else\n")
    assert (await reader.l3af("export", str(foreign), "--resume")).status == 2
    assert foreign.read_text() == "something else\n"


async def test_hostile_texts_are_kept_shown_and_exported_harmlessly(
    reader: Reader, catalog: EmittingBus
) -> None:
    """Found to the letter by expression and filter, exact in NDJSON, and nothing acts anywhere.

    Each is repeated until its event is full, in one field.
    """
    texts = list(HOSTILE_TEXTS)
    filling = [filled(catalog, text) for text in texts]
    for text, long in zip(texts, filling, strict=True):
        event = await catalog.emit(package=text, details={"text": long})
        spare = MAX_EVENT_BYTES - len(canonical_bytes(event))
        assert 0 <= spare <= ROOM_OF_DIGESTS + len(canonical_bytes(text))
    await reader.until_recorded(1, package=texts[-1])

    for text in texts:
        where = f"details.text startswith {json.dumps(text[:200], ensure_ascii=False)}"
        indexes, _ = await reader.all_of(StreamRecords(where=where, package=text))
        assert len(indexes) == 1, text[:50]
    asked = StreamRecords(text=texts[-1][-100:], action="package.publish")
    (found,), _ = await reader.all_of(asked)
    (last,), _ = await reader.all_of(StreamRecords(package=texts[-1]))
    assert found == last
    exported = reader.folder / "all.ndjson", reader.folder / "all.csv"
    for file in exported:
        await reader.must("export", str(file), "--action", "package.publish")
    records = [json.loads(line) for line in exported[0].read_text("ascii").splitlines()]
    events = [record["event"] for record in records]
    said = [with_texts(one["data"], one.get("contents", {}))["details"]["text"] for one in events]
    assert said == filling
    assert not [one for one in events if len(one["data"]["details"]["text"]) > LONGEST_TEXT_BYTES]
    with exported[1].open(newline="", encoding="utf-8") as opened:
        rows = list(csv.DictReader(opened))
    assert len(rows) == len(texts)
    cells = [cell for row in rows for cell in row.values()]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))]
    shown = await reader.l3af("log", "--all", "--action", "package.publish")
    told = await reader.l3af("history", "package", texts[3])
    for answer in (shown, told):
        assert answer.status == 0
        assert not {"\x1b", "\0", "\u202e", "\x07", "\u2028", "\x9b"} & set(answer.output)
    assert told.output.count("\n") == 1


def filled(emitter: EmittingBus, text: str) -> str:
    """The text again and again, as often as one event has room for beside the text itself."""
    frame = len(canonical_bytes(emitter.draft(package=text, details={"text": ""})))
    emitter.sequence -= 1
    room = MAX_EVENT_BYTES - frame - ROOM_OF_DIGESTS
    return text * (room // (len(canonical_bytes(text)) - 2))


async def test_a_field_of_64_kib_is_said_by_its_digest(
    reader: Reader, catalog: EmittingBus
) -> None:
    """It has no room in one event: digest and size stand in its place, and the rest is there."""
    text = HOSTILE_TEXTS[-1].ljust(65_536, "\u202e")
    body = EventBody(action="package.publish", outcome="succeeded", details={"text": text, "n": 1})
    await catalog.emit(details=fit_event_body(body).details)
    await reader.until_recorded(1, action="package.publish")

    mark = digest_mark(text.encode())
    where = f'details.text == "{mark}" and details.n == 1 and details.{LEFT_OUT}.texts == 1'
    found, _ = await reader.all_of(StreamRecords(where=where))

    assert len(found) == 1


async def test_a_command_and_the_life_of_a_node_are_told(reader: Reader, buses: Buses) -> None:
    """From who asked to the kernel, in order; and a line for each event, newest last."""
    scheduler = EmittingBus(await buses.open("service-scheduler"), "scheduler")
    node = EmittingBus(await buses.open("node", "n1"), "node/n1")
    place = {"node": "n1", "interface": "eth0", "hook": "xdp", "correlation": "command-1"}
    await scheduler.emit(
        "deployment.apply", outcome="accepted", deployment="edge", correlation="command-1",
        actor=ALICE, reason="because",
    )  # fmt: skip
    await node.emit("chain.request", outcome="accepted", actor=ALICE, **place)
    await node.emit("chain.attach", details={"program_id": 77}, actor=ALICE, **place)
    await scheduler.emit("deployment.complete", deployment="edge", correlation="command-1")
    await reader.until_recorded(4, correlation="command-1")

    trace = await reader.must("command", "command-1")
    assert [step["stage"] for step in trace["steps"]] == ["decided", "begun", "in kernel", "ended"]
    assert (trace["action"], trace["actor"]["key"]) == ("deployment.apply", ALICE.key)
    assert "n1/eth0/xdp" in (await reader.l3af("command", "command-1")).output
    assert (await reader.l3af("command", "command-2")).status == 2

    for kind, name, actions in (
        ("node", "n1", ["chain.request", "chain.attach"]),
        ("deployment", "edge", ["deployment.apply", "deployment.complete"]),
        ("principal", ALICE.key, ["deployment.apply", "chain.request", "chain.attach"]),
    ):
        lines = (await reader.l3af("history", kind, name)).output.splitlines()
        assert [line.split()[2] for line in lines] == actions
    assert "the log holds nothing" in (await reader.l3af("history", "package", "none")).output


async def test_who_may_not_read_gets_nothing(reader: Reader, buses: Buses) -> None:
    """The server itself refuses the question to every other role."""
    viewer = await buses.open("viewer", "vic")

    with pytest.raises(RefusedError) as refused:
        async with asyncio.timeout(60):
            await Answer(viewer, [StreamRecords()]).records().__anext__()
    assert refused.value.refusal().code == "not_permitted"
    assert (await reader.bus.request(LIST_RECORDS, ListRecords(actor=viewer.key))).records == ()


async def test_an_export_is_verified_by_whoever_has_it(
    reader: Reader, catalog: EmittingBus
) -> None:
    """All records of a range, also resumed, are the log's; a selection and CSV are not proved."""
    await catalog.emit_many(300, package="rate-limit")
    await catalog.emit(package="firewall")
    await catalog.emit(package="rate-limit")
    await reader.until_recorded(301, package="rate-limit")
    whole, some, cells = (reader.folder / name for name in ("all.ndjson", "some.ndjson", "a.csv"))
    done = await reader.must("export", str(whole), "--after", "20")
    assert (done["is_proved"], done["proof"]) == (True, f"{whole}.proof")
    await reader.must("export", str(whole), "--resume")
    await reader.must("export", str(some), "--package", "rate-limit")
    await reader.must("export", str(cells))

    key = ("--key", reader.key)
    told = await reader.must("verify", str(whole), *key)
    assert (told["verified"], told["first"], told["origin"]) == (True, 21, ORIGIN)
    assert told["last"] > 300
    selected = await reader.l3af("verify", str(some), *key, "--json")
    assert (selected.status, selected.document["in_order"]) == (2, True)
    assert not selected.document["verified"]
    assert "CSV" in (await reader.l3af("verify", str(cells), *key)).message

    text = whole.read_text("ascii")
    whole.write_text(text.replace('"package":"rate-limit"', '"package":"rate-LIMIT"', 1))
    changed = await reader.l3af("verify", str(whole), *key, "--json")
    assert (changed.status, changed.document["problems"][0]["at"]) == (2, "21")
    Path(f"{whole}.proof").unlink()
    assert "both are needed" in (await reader.l3af("verify", str(whole), *key)).message
