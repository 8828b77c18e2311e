# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The auditor over a real bus: what ran where is answered from what nodes published."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from shared.adapters.bus import Bus
from shared.contracts.audit import LIST_RECORDS, ListRecords
from shared.contracts.events import Event
from shared.contracts.inventory import (
    FIND_RUNS,
    GET_INVENTORY,
    FindRuns,
    GetInventory,
    HookRun,
)
from shared.errors import RefusedError
from tests.integration.conftest import Buses
from tests.support.auditing import eventually, running_auditor
from tests.support.inventories import a_reading, at, chain_event, deployed, digest_of


@pytest.fixture
async def reader(buses: Buses, tmp_path: Path) -> AsyncIterator[Bus]:
    """Somebody who may read the log, while the auditor runs."""
    async with running_auditor(buses.server, tmp_path / "auditor"):
        yield await buses.open("auditor", "ann")


async def published(buses: Buses, reader: Bus, *events: Event) -> None:
    """The events of node n1 are recorded."""
    bus = await buses.open("node", "n1")
    for event in events:
        await bus.publish_event(event)

    async def is_there() -> bool:
        found = await reader.request(LIST_RECORDS, ListRecords(node="n1", limit=1))
        return [one.event.id for one in found.records if one.event] == [events[-1].id]

    await eventually(is_there)


async def all_pages(reader: Bus, request: GetInventory) -> tuple[list[HookRun], int]:
    """The whole answer, and how many pages it took."""
    found: list[HookRun] = []
    pages = 0
    while True:
        page = await reader.request(GET_INVENTORY, request)
        found += page.hook_points
        pages += 1
        if page.next is None:
            return found, pages
        request = msgspec.structs.replace(request, after=page.next)


async def readings_recorded(reader: Bus) -> list[dict[str, object]]:
    """What is recorded about who asked what ran, oldest first."""
    found = await reader.request(LIST_RECORDS, ListRecords(action="log.read"))
    details = [record.event.data.details for record in found.records if record.event]
    return [one for one in reversed(details) if {"inventory_at", "runs_of"} & one.keys()]


async def test_what_ran_is_answered_and_the_question_is_recorded(buses: Buses, reader: Bus) -> None:
    """By node and moment; each question once, by the key that asked."""
    await published(
        buses,
        reader,
        chain_event("chain.attach", a_reading("a", "b"), node="n1", sequence=1, seconds=10),
        chain_event("chain.detach", a_reading(), node="n1", sequence=2, seconds=20),
    )

    then = await reader.request(GET_INVENTORY, GetInventory(at=at(15), node="n1"))
    now = await reader.request(GET_INVENTORY, GetInventory(at=at(25)))
    runs = await reader.request(FIND_RUNS, FindRuns(digest=digest_of("object a")))

    assert deployed(then.hook_points) == {("n1", "eth0"): ("a@1.0.0", "b@1.0.0")}
    assert now.hook_points == ()
    assert [(run.place.node, run.since, run.until) for run in runs.runs] == [("n1", at(10), at(20))]

    async def are_recorded() -> bool:
        return await readings_recorded(reader) == [
            {"inventory_at": at(15), "node": "n1"},
            {"inventory_at": at(25)},
            {"runs_of": digest_of("object a")},
        ]

    await eventually(are_recorded)


async def test_an_answer_of_many_pages_is_one_reading(buses: Buses, reader: Bus) -> None:
    """Every hook point is on exactly one page; going on is not recorded again."""
    count = 300
    await published(
        buses,
        reader,
        *(
            chain_event(
                "chain.attach",
                a_reading(*(f"p{one}" for one in range(14)), place=(f"eth{number:03}", "xdp")),
                node="n1",
                sequence=number,
                seconds=number,
            )
            for number in range(1, 100)
        ),
    )

    found, pages = await all_pages(reader, GetInventory(at=at(count)))

    assert pages > 1
    assert [run.place.interface for run in found] == [f"eth{number:03}" for number in range(1, 100)]

    async def is_recorded_once() -> bool:
        return await readings_recorded(reader) == [{"inventory_at": at(count)}]

    await eventually(is_recorded_once)


@pytest.mark.usefixtures("reader")
async def test_who_may_not_read_the_log_may_not_ask_what_ran(buses: Buses) -> None:
    """The server itself does not let an operator ask."""
    operator = await buses.open("operator", "olga")

    with pytest.raises(RefusedError) as refused:
        await operator.request(GET_INVENTORY, GetInventory(at=at(0)))

    assert refused.value.refusal_code == "not_permitted"


async def test_what_cannot_be_read_is_refused_by_path(reader: Bus) -> None:
    """A time that is none, and a digest that is none."""
    with pytest.raises(RefusedError) as no_time:
        await reader.request(GET_INVENTORY, GetInventory(at="yesterday"))
    with pytest.raises(RefusedError) as no_digest:
        await reader.request(FIND_RUNS, FindRuns(digest="abc"))

    assert [reason.path for reason in no_time.value.reasons] == ["at"]
    assert [reason.path for reason in no_digest.value.reasons] == ["digest"]
