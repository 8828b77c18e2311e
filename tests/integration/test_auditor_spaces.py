# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The auditor over a real bus: what was told to a space its members see, and nobody else.

Neither role nor endpoint makes a difference; once the space is open everybody sees all of it.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from services.auditor.checkpoint import parse_verifier_key
from services.auditor.proofs import read_bundle, verify_bundle
from shared.adapters.bus import Bus
from shared.contracts.audit import (
    CREATE_SUBSCRIPTION,
    DELETE_SUBSCRIPTION,
    FETCH_EVENTS,
    LIST_RECORDS,
    PROVE_RECORD,
    STREAM_RECORDS,
    AuditRecord,
    CreateSubscription,
    DeleteSubscription,
    FetchEvents,
    ListRecords,
    ProveRecord,
    StreamRecords,
)
from shared.contracts.base import EVENTS, Endpoint, Request
from shared.contracts.events import PUBLIC
from shared.contracts.inventory import FIND_RUNS, GET_INVENTORY, FindRuns, GetInventory
from shared.contracts.log_health import GET_HEALTH, GetHealth
from shared.errors import RefusedError
from tests.integration.conftest import Buses
from tests.support.auditing import EmittingBus, eventually, vkey
from tests.support.inventories import a_reading, at, chain_event, digest_of
from tests.support.space_stage import EMBARGO, LATER, PRIVATE, SECRET, Stage, space_stage


@pytest.fixture
async def stage(buses: Buses, tmp_path: Path) -> AsyncIterator[Stage]:
    """Running."""
    async with space_stage(buses, tmp_path) as stage:
        yield stage


async def listed(bus: Bus, **fields: Any) -> tuple[AuditRecord, ...]:
    """Records, newest first."""
    return (await bus.request(LIST_RECORDS, ListRecords(limit=1000, **fields))).records


async def test_a_record_of_a_space_is_its_members_whatever_is_asked(stage: Stage) -> None:
    """Every filter, text and expression; to all others it is a number and a hash in listings."""
    secret = await stage.catalog.emit(audience=EMBARGO, package=SECRET, deployment=SECRET)
    await stage.catalog.emit(package="known")
    index = await stage.recorded(secret)
    questions = [
        StreamRecords(package=SECRET),
        StreamRecords(deployment=SECRET),
        StreamRecords(event_id=secret.id),
        StreamRecords(text=SECRET, action="package.*"),
        StreamRecords(where=f'package == "{SECRET}"'),
        StreamRecords(where=f"index == {index}"),
        StreamRecords(space=EMBARGO, action="package.publish"),
    ]
    for question in questions:
        chunk = await stage.member.request(STREAM_RECORDS, question)
        assert [record.index for record in chunk.records] == [index], question
    for bus in (stage.stranger, stage.administrator):
        for question in questions:
            chunk = await bus.request(STREAM_RECORDS, question)
            assert (chunk.records, chunk.position) == ((), None), question
        chunk = await bus.request(STREAM_RECORDS, StreamRecords(where="has index"))
        assert index not in {record.index for record in chunk.records}
        (restricted,) = [one for one in await listed(bus) if one.index == index]
        assert (restricted.leaf, restricted.event, restricted.received_at) == ("", None, "")
        assert len(restricted.leaf_hash) == 64


async def test_what_is_hidden_is_answered_as_what_does_not_exist(stage: Stage) -> None:
    """The same bytes but for the log's size, which the asking itself changes."""
    for number in range(30):
        await stage.catalog.emit(
            audience=EMBARGO, package=SECRET, deployment=SECRET, correlation=f"c{number}"
        )
    digest = digest_of("archive secret")
    node = EmittingBus(await stage.buses.open("node", "n1"), "node/n1")
    reading = a_reading("secret")
    hidden = chain_event(
        "chain.attach", reading, node="n1", sequence=1, seconds=5, audience=EMBARGO
    )
    await node.bus.publish_event(hidden)
    await stage.recorded(hidden)
    pairs: list[tuple[Endpoint[Any, Any], Request]] = [
        (STREAM_RECORDS, StreamRecords(package=name, scan_limit=10, text=text))
        for name in (SECRET, "missing")
        for text in ("", "a")
    ]
    pairs += [(LIST_RECORDS, ListRecords(deployment=name)) for name in (SECRET, "missing")]
    pairs += [(LIST_RECORDS, ListRecords(correlation=name)) for name in ("c7", "none")]
    pairs += [(LIST_RECORDS, ListRecords(space=name)) for name in (EMBARGO, "r_0000000000000000")]
    pairs += [(GET_INVENTORY, GetInventory(at=LATER, node=name)) for name in ("n1", "n2")]
    answers: dict[str, set[bytes]] = {}
    for endpoint, request in pairs:
        reply = await stage.stranger.request(endpoint, request)
        plain = msgspec.structs.replace(reply, tree_size=0)
        key = f"{endpoint.subject} {getattr(request, 'text', '')}"
        answers.setdefault(key, set()).add(msgspec.json.encode(plain))
    for name, found in answers.items():
        assert len(found) == 1, (name, found)
    for asked in (digest, "00" * 32):
        runs = await stage.stranger.request(FIND_RUNS, FindRuns(digest=asked))
        assert (runs.runs, runs.next) == ((), None)


async def test_what_ran_in_a_space_is_told_to_its_members_as_fully_as_what_is_public(
    stage: Stage,
) -> None:
    """Hook points, times and digests; and to everybody once the space is open."""
    node = await stage.buses.open("node", "n1")
    place: dict[str, Any] = {"node": "n1", "sequence": 1}
    public = chain_event("chain.attach", a_reading("open"), seconds=1, **place)
    hidden = chain_event(
        "chain.attach", a_reading("open", "secret"), seconds=5, audience=EMBARGO, **place
    )
    for event in (public, hidden):
        await node.publish_event(event)
        await stage.recorded(event)

    async def running(bus: Bus) -> list[str]:
        shown = await bus.request(GET_INVENTORY, GetInventory(at=LATER))
        return [one.package for run in shown.hook_points for one in run.reading.running or ()]

    async def runs(bus: Bus, name: str) -> int:
        asked = FindRuns(digest=digest_of(f"archive {name}"))
        return len((await bus.request(FIND_RUNS, asked)).runs)

    assert await running(stage.member) == ["open", "secret"]
    assert await running(stage.stranger) == await running(stage.administrator) == ["open"]
    assert [await runs(bus, "secret") for bus in (stage.member, stage.stranger)] == [1, 0]

    await stage.put_space(EMBARGO, lifted_at=at(10))

    async def is_open() -> bool:
        return await running(stage.stranger) == ["open", "secret"]

    await eventually(is_open)
    assert await runs(stage.stranger, "secret") == 1


async def test_everybody_sees_all_of_a_space_that_is_open(stage: Stage) -> None:
    """Its records of before too, whole, and its proofs with bodies."""
    secret = await stage.catalog.emit(audience=EMBARGO, package=SECRET)
    index = await stage.recorded(secret)
    assert not await listed(stage.stranger, package=SECRET)
    await stage.put_space(EMBARGO, lifts_at=at(10))

    async def is_open() -> bool:
        return bool(await listed(stage.stranger, package=SECRET))

    await eventually(is_open)
    (record,) = await listed(stage.stranger, package=SECRET)
    assert record.event == secret
    assert [one for one in await listed(stage.stranger) if one.leaf_hash] == []
    bundle = await stage.stranger.request(PROVE_RECORD, ProveRecord(index=index))
    assert bundle.event == secret


async def test_every_record_is_proved_to_everybody(stage: Stage) -> None:
    """Of a hidden one it is shown that the log holds it, and nothing that is in it."""
    secret = await stage.catalog.emit(audience=EMBARGO, package=SECRET)
    index = await stage.recorded(secret)
    bundle = await stage.stranger.request(PROVE_RECORD, ProveRecord(index=index))
    raw = msgspec.json.encode(bundle)
    key = parse_verifier_key(vkey(stage.buses.server))

    proved = verify_bundle(read_bundle(raw), key=key)

    assert (proved.index, proved.leaf, proved.event) == (index, None, None)
    assert EMBARGO.encode() not in raw
    assert secret.id.encode() not in raw
    whole = await stage.member.request(PROVE_RECORD, ProveRecord(index=index))
    assert whole.event == secret


async def test_a_subscription_shows_what_its_owner_sees_when_it_is_fetched(stage: Stage) -> None:
    """A space is subscribed to by its members alone, and only for as long as they are."""
    subject = f"{EVENTS}.{EMBARGO}.catalog.>"
    refusals = set()
    for name in (subject, f"{EVENTS}.r_0000000000000000.catalog.>"):
        request = CreateSubscription(name="eyes", subjects=(name,))
        with pytest.raises(RefusedError) as refused:
            await stage.stranger.request(CREATE_SUBSCRIPTION, request)
        refusals.add((refused.value.message, refused.value.reasons[0].rule))
    assert len(refusals) == 1
    await stage.member.request(
        CREATE_SUBSCRIPTION,
        CreateSubscription(name="quiet", subjects=(subject, f"{EVENTS}.{PUBLIC}.catalog.>")),
    )
    await stage.catalog.emit(audience=EMBARGO, package=SECRET)
    await stage.catalog.emit(package="known")

    async def fetched(acknowledge: int = 0) -> list[tuple[int, str]]:
        request = FetchEvents(name="quiet", acknowledge=acknowledge, wait_seconds=1)
        found = (await stage.member.request(FETCH_EVENTS, request)).events
        return [(one.position, one.event.data.package) for one in found]

    first = await fetched()
    assert [name for _, name in first] == [SECRET, "known"]
    await stage.put_space(EMBARGO, members=("bob",))

    async def is_left_out() -> bool:
        return [name for _, name in await fetched()] == ["known"]

    await eventually(is_left_out)
    await stage.member.request(DELETE_SUBSCRIPTION, DeleteSubscription(name="quiet"))


async def test_that_a_space_is_subscribed_to_is_told_to_it_alone(stage: Stage) -> None:
    """Whether it is granted, refused or given up; two spaces in one are refused."""
    await stage.put_space(PRIVATE)
    subject = f"{EVENTS}.{EMBARGO}.>"
    for request in (
        CreateSubscription(name="quiet", subjects=(subject,)),
        CreateSubscription(name="quiet", subjects=(subject, f"{EVENTS}.{PUBLIC}.>")),
        CreateSubscription(name="both", subjects=(subject, f"{EVENTS}.{PRIVATE}.>")),
    ):
        try:
            await stage.member.request(CREATE_SUBSCRIPTION, request)
        except RefusedError:
            continue
    await stage.member.request(DELETE_SUBSCRIPTION, DeleteSubscription(name="quiet"))

    async def told(bus: Bus) -> list[tuple[str, str, str]]:
        found = [one.event for one in await listed(bus, action="subscription.*") if one.event]
        return [(one.data.action, one.data.outcome, one.audience) for one in found]

    expected = [
        ("subscription.delete", "accepted", EMBARGO),
        ("subscription.create", "refused", PUBLIC),
        ("subscription.create", "refused", EMBARGO),
        ("subscription.create", "accepted", EMBARGO),
    ]

    async def is_told() -> bool:
        return await told(stage.member) == expected

    await eventually(is_told)
    assert await told(stage.stranger) == expected[1:2]
    text = msgspec.json.encode(await listed(stage.stranger)).decode()
    assert EMBARGO not in text
    assert PRIVATE not in text


async def test_what_a_member_asks_for_by_name_is_told_to_the_space(stage: Stage) -> None:
    """That they read everybody knows."""
    await listed(stage.member, package=SECRET)

    async def readings(bus: Bus) -> list[dict[str, Any]]:
        found = await listed(bus, action="log.read")
        return [one.event.data.details for one in found if one.event]

    async def is_told_to_all() -> bool:
        return any(one.get("withheld") == ["package"] for one in await readings(stage.stranger))

    async def is_told_to_members() -> bool:
        found = await readings(stage.member)
        return any(one.get("filters", {}).get("package") == SECRET for one in found)

    await eventually(is_told_to_all)
    await eventually(is_told_to_members)
    assert SECRET not in json.dumps(await readings(stage.stranger))


async def test_a_gap_in_a_space_is_an_alarm_to_everybody_and_named_to_members(
    stage: Stage,
) -> None:
    """Health counts it, and the log says that there is one."""
    await stage.catalog.emit(audience=EMBARGO)
    stage.catalog.draft(audience=EMBARGO)
    await stage.catalog.emit(audience=EMBARGO)

    async def said(bus: Bus) -> list[dict[str, Any]]:
        found = await listed(bus, action="log.gap")
        return [one.event.data.details for one in found if one.event]

    async def is_said() -> bool:
        return len(await said(stage.member)) == 2

    await eventually(is_said)
    (public,) = await said(stage.stranger)
    assert public.keys() == {"audience", "kind", "found_at_index"}
    assert public["audience"] == "restricted"
    health = await stage.stranger.request(GET_HEALTH, GetHealth())
    (gaps,) = [one for one in health.conditions if one.condition == "gaps"]
    assert (gaps.value, gaps.summary) == (1, "1 open: restricted missing")
