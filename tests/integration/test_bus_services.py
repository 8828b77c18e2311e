# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Services under load, at their stop, at a bug, and as monitoring sees them."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from shared.adapters.bus import Bus
from shared.adapters.callers import Caller
from shared.adapters.service_layer import Handler
from shared.contracts import catalog
from shared.contracts.base import Endpoint, Message
from shared.errors import FaultError, RefusedError
from shared.version import VERSION
from tests.integration.conftest import Buses
from tests.support.conversations import Conversation, eventually


async def test_bug_ends_the_service_and_tells_the_caller_nothing(buses: Buses) -> None:
    """The exception leaves the block that serves; its text does not leave the process."""
    service, alice = await buses.open("service-catalog"), await buses.open("viewer", "alice")

    async def break_down(_request: catalog.ListPackages, _caller: Caller) -> Message:
        raise ZeroDivisionError("the password is 1234")

    async def serve() -> None:
        async with service.serve("catalog", {catalog.LIST_PACKAGES: break_down}, version=VERSION):
            serving.set()
            await asyncio.Event().wait()

    serving = asyncio.Event()
    running = asyncio.create_task(serve())
    await serving.wait()
    answer = await alice.connection.ask(catalog.LIST_PACKAGES.subject, b"{}", timeout_seconds=2)

    with pytest.raises(ZeroDivisionError):
        await asyncio.wait_for(running, 5)
    assert b"1234" not in answer.data + str(answer.headers).encode()
    assert msgspec.json.decode(answer.data)["code"] == "unavailable"


async def test_requests_run_side_by_side_up_to_the_limit_and_then_are_refused(
    buses: Buses,
) -> None:
    """Of 200 at once with a limit of 4, 4 run, 64 wait, the rest is told so without delay."""
    service, alice = await buses.open("service-catalog"), await buses.open("viewer", "alice")
    seen = Conversation()
    seen.answering.clear()
    async with service.serve(
        "catalog", {catalog.LIST_PACKAGES: seen.list_packages}, version=VERSION, concurrency=4
    ):
        asked = [
            asyncio.create_task(alice.request(catalog.LIST_PACKAGES, catalog.ListPackages()))
            for _ in range(200)
        ]
        await eventually(lambda: sum(task.done() for task in asked) == 200 - 68)
        seen.answering.set()
        done = await asyncio.gather(*asked, return_exceptions=True)

    assert seen.most_running == 4
    assert sum(isinstance(answer, catalog.PackageList) for answer in done) == 68
    refused = [answer for answer in done if isinstance(answer, FaultError)]
    assert len(refused) == 132
    assert all("too many requests" in fault.message for fault in refused)


async def test_stop_answers_what_it_took(buses: Buses) -> None:
    """Requests in flight when the service stops are answered; later ones find nobody."""
    service, alice = await buses.open("service-catalog"), await buses.open("viewer", "alice")
    seen = Conversation()
    seen.answering.clear()
    async with service.serve(
        "catalog", {catalog.LIST_PACKAGES: seen.list_packages}, version=VERSION
    ):
        asked = [
            asyncio.create_task(alice.request(catalog.LIST_PACKAGES, catalog.ListPackages()))
            for _ in range(10)
        ]
        await eventually(lambda: seen.running == 10)
        asyncio.get_running_loop().call_later(0.2, seen.answering.set)

    replies = await asyncio.gather(*asked)
    assert replies == [catalog.PackageList(packages=())] * 10
    with pytest.raises(FaultError, match="not answering"):
        await alice.request(catalog.LIST_PACKAGES, catalog.ListPackages())


async def test_stop_does_not_wait_for_ever(buses: Buses) -> None:
    """What does not end in time is given up, and its caller is told so."""
    service, alice = await buses.open("service-catalog"), await buses.open("viewer", "alice")
    seen = Conversation()
    seen.answering.clear()

    async with (
        asyncio.timeout(60),
        service.serve(
            "catalog",
            {catalog.LIST_PACKAGES: seen.list_packages},
            version=VERSION,
            drain_seconds=0.1,
        ),
    ):
        asked = asyncio.create_task(alice.request(catalog.LIST_PACKAGES, catalog.ListPackages()))
        await eventually(lambda: seen.running == 1)

    with pytest.raises(FaultError, match="starts again"):
        await asyncio.wait_for(asked, 5)


async def test_stop_tells_those_that_still_wait_for_their_turn(buses: Buses) -> None:
    """Requests that never ran are answered too, so that their callers ask elsewhere at once."""
    service, alice = await buses.open("service-catalog"), await buses.open("viewer", "alice")
    seen = Conversation()
    seen.answering.clear()

    async with service.serve(
        "catalog",
        {catalog.LIST_PACKAGES: seen.list_packages},
        version=VERSION,
        concurrency=1,
        drain_seconds=0.1,
    ):
        asked = [
            asyncio.create_task(
                alice.request(catalog.LIST_PACKAGES, catalog.ListPackages(), timeout_seconds=5)
            )
            for _ in range(6)
        ]
        await eventually(lambda: seen.running == 1)
        # The sixth is refused neither for lack of room nor before it was taken.
        await monitored_requests(await buses.open("supervisor"), 6)

    async with asyncio.timeout(2):
        answers = await asyncio.gather(*asked, return_exceptions=True)
    told = [answer.message for answer in answers if isinstance(answer, FaultError)]
    assert sum("is stopping" in message for message in told) == 5
    assert len(told) == 6
    assert len(seen.requests) == 1


async def test_no_request_is_lost_when_one_of_two_instances_stops(buses: Buses) -> None:
    """Under steady requests an instance can be taken away without anybody noticing."""
    alice = await buses.open("viewer", "alice")
    first, second = await buses.open("service-catalog"), await buses.open("service-catalog")
    seen = Conversation()
    endpoints: dict[Endpoint[Any, Any], Handler] = {catalog.LIST_PACKAGES: seen.list_packages}
    answers: list[object] = []
    stopped = asyncio.Event()

    async def ask() -> None:
        while not stopped.is_set():
            answers.append(await alice.request(catalog.LIST_PACKAGES, catalog.ListPackages()))

    async with second.serve("catalog", endpoints, version=VERSION), asyncio.TaskGroup() as tasks:
        async with first.serve("catalog", endpoints, version=VERSION):
            for _ in range(8):
                tasks.create_task(ask())
            await eventually(lambda: len(answers) > 100)
        before = len(answers)
        await eventually(lambda: len(answers) > before + 100)
        stopped.set()

    assert len(answers) == len(seen.requests)


async def test_monitoring_speaks_adr_32(buses: Buses) -> None:
    """PING, INFO and STATS answer in all three forms, and statistics name codes, not texts."""
    service, supervisor = await buses.open("service-catalog"), await buses.open("supervisor")
    alice = await buses.open("viewer", "alice")

    async def refuse(_request: catalog.ListPackages, _caller: Caller) -> Message:
        raise RefusedError("secret", code="not_found")

    async with service.serve("catalog", {catalog.LIST_PACKAGES: refuse}, version=VERSION):
        with pytest.raises(RefusedError):
            await alice.request(catalog.LIST_PACKAGES, catalog.ListPackages())
        ping = await monitoring(supervisor, "PING")
        info = await monitoring(supervisor, "INFO.catalog")
        stats = await monitoring(supervisor, f"STATS.catalog.{ping['id']}")

    assert {answer["name"] for answer in (ping, info, stats)} == {"catalog"}
    assert {answer["id"] for answer in (ping, info, stats)} == {ping["id"]}
    assert ping["type"] == "io.nats.micro.v1.ping_response"
    assert info["endpoints"][0]["subject"] == catalog.LIST_PACKAGES.subject
    assert (stats["endpoints"][0]["num_requests"], stats["endpoints"][0]["num_errors"]) == (1, 1)
    assert stats["endpoints"][0]["last_error"] == "404:not_found"


async def monitored_requests(supervisor: Bus, count: int) -> None:
    """Wait until the catalog has taken that many requests."""
    async with asyncio.timeout(60):
        while True:
            stats = await monitoring(supervisor, "STATS.catalog")
            if stats["endpoints"][0]["num_requests"] == count:
                return


async def monitoring(bus: Bus, question: str) -> dict[str, Any]:
    """One answer of the `$SRV` space."""
    answer = await bus.connection.ask(f"$SRV.{question}", b"", timeout_seconds=2)
    decoded: dict[str, Any] = msgspec.json.decode(answer.data)
    return decoded
