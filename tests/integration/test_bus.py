# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Requests, services and telemetry over a real server in operator mode."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import msgspec
import pytest

from shared.adapters.bus import Bus
from shared.adapters.callers import Caller
from shared.adapters.connection import NotPermittedError
from shared.adapters.service_layer import ERROR_NUMBER, ERROR_TEXT, Handler
from shared.contracts import catalog, node, scheduler
from shared.contracts.base import Endpoint, Message
from shared.errors import FaultError, Reason, RefusedError
from tests.integration.conftest import Buses

VERSION = "0.1.0"


class Conversation:
    """What a served endpoint was asked, and what it shall answer."""

    def __init__(self) -> None:
        self.requests: list[Any] = []
        self.callers: list[Caller] = []
        self.answering = asyncio.Event()
        self.answering.set()
        self.running = 0
        self.most_running = 0

    async def list_packages(self, request: catalog.ListPackages, caller: Caller) -> Message:
        """The empty list, once `answering` is set."""
        self.requests.append(request)
        self.callers.append(caller)
        self.running += 1
        self.most_running = max(self.running, self.most_running)
        try:
            await self.answering.wait()
        finally:
            self.running -= 1
        return catalog.PackageList(packages=())


async def eventually(condition: Any, *, seconds: float = 5.0) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.002)


async def test_request_is_answered_and_the_caller_is_attested(buses: Buses) -> None:
    """The service learns key, role and a keyed address digest from the server, not the client."""
    service, alice = await buses.open("service-catalog"), await buses.open("viewer", "alice")
    seen = Conversation()

    async with service.serve(
        "catalog", {catalog.LIST_PACKAGES: seen.list_packages}, version=VERSION
    ):
        reply = await alice.request(catalog.LIST_PACKAGES, catalog.ListPackages(name="a*"))

    assert reply == catalog.PackageList(packages=())
    assert seen.requests == [catalog.ListPackages(name="a*")]
    caller = seen.callers[0]
    assert (caller.key, caller.role, caller.name, caller.attested) == (
        alice.key,
        "viewer",
        "alice",
        True,
    )
    assert len(caller.address) == 32
    assert "127" not in caller.address


async def test_empty_payload_is_the_empty_request(buses: Buses) -> None:
    """`nats request SUBJECT ''` means a request with every default."""
    service, alice = await buses.open("service-catalog"), await buses.open("viewer", "alice")
    seen = Conversation()

    async with service.serve(
        "catalog", {catalog.LIST_PACKAGES: seen.list_packages}, version=VERSION
    ):
        await alice.connection.ask(catalog.LIST_PACKAGES.subject, b"", timeout_seconds=2)

    assert seen.requests == [catalog.ListPackages()]


async def test_command_without_reply_subject_is_executed(buses: Buses) -> None:
    """Across the service import too, and with the caller attested."""
    service, alice = await buses.open("service-catalog"), await buses.open("viewer", "alice")
    seen = Conversation()

    async with service.serve(
        "catalog", {catalog.LIST_PACKAGES: seen.list_packages}, version=VERSION
    ):
        await alice.connection.publish(catalog.LIST_PACKAGES.subject, b"{}")
        await eventually(lambda: seen.requests)

    assert seen.callers[0].key == alice.key


async def test_every_problem_of_a_request_is_in_the_refusal(buses: Buses) -> None:
    """Unknown fields and wrong values come back together, by path, with a number in the header."""
    service, olga = await buses.open("service-scheduler"), await buses.open("operator", "olga")

    async def never(_request: scheduler.LabelNode, _caller: Caller) -> Message:
        raise AssertionError("must not be reached")

    async with service.serve("scheduler", {scheduler.LABEL_NODE: never}, version=VERSION):
        answer = await olga.connection.ask(
            scheduler.LABEL_NODE.subject,
            b'{"node": "N 1", "lables": {}, "set": {"zone": "a b"}}',
            timeout_seconds=2,
            headers={"Authorization": "secret"},
        )

    refusal = msgspec.json.decode(answer.data)
    assert refusal["code"] == "invalid_request"
    assert {reason["path"] for reason in refusal["reasons"]} == {"node", "lables", "set.zone"}
    headers = {str(name): value for name, value in (answer.headers or {}).items()}
    assert headers[ERROR_NUMBER] == "400"
    assert set(headers) == {ERROR_NUMBER, ERROR_TEXT}, "headers of the request are not echoed"


async def test_refusals_and_faults_arrive_as_they_were_raised(buses: Buses) -> None:
    """Code, message and reasons survive; a fault is a fault at the other end too."""
    service, alice = await buses.open("service-catalog"), await buses.open("viewer", "alice")
    reasons = [Reason(path="name", rule="is not known", got="x", allowed=["y"])]

    async def refuse(_request: catalog.ListPackages, _caller: Caller) -> Message:
        raise RefusedError("no such thing\nat all", reasons, code="not_found")

    async def fail(_request: catalog.GetPackage, _caller: Caller) -> Message:
        raise FaultError("the disk is full")

    async with service.serve(
        "catalog", {catalog.LIST_PACKAGES: refuse, catalog.GET_PACKAGE: fail}, version=VERSION
    ):
        with pytest.raises(RefusedError) as refused:
            await alice.request(catalog.LIST_PACKAGES, catalog.ListPackages())
        with pytest.raises(FaultError) as failed:
            await alice.request(catalog.GET_PACKAGE, catalog.GetPackage(name="x"))

    assert refused.value.refusal_code == "not_found"
    assert refused.value.message == "no such thing\nat all"
    assert list(refused.value.reasons) == reasons
    assert failed.value.message == "the disk is full"


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


async def test_nobody_there_is_known_at_once(buses: Buses) -> None:
    """No responders is a fault that names who is missing, long before the time is over."""
    alice, control = await buses.open("viewer", "alice"), await buses.open("service-scheduler")
    started = time.perf_counter()

    with pytest.raises(FaultError, match=r"^catalog is not answering$"):
        await alice.request(catalog.LIST_PACKAGES, catalog.ListPackages(), timeout_seconds=30)
    with pytest.raises(FaultError, match=r"^node n7 is not answering$"):
        await control.request(
            node.STAGE_CHAINS.at(node="n7"), node.StageChains(chains=()), timeout_seconds=30
        )

    assert time.perf_counter() - started < 2


async def test_silence_is_a_fault_after_the_given_time(buses: Buses) -> None:
    """A service that does not answer costs the caller the time it allowed and no more."""
    service, alice = await buses.open("service-catalog"), await buses.open("viewer", "alice")
    seen = Conversation()
    seen.answering.clear()

    async with service.serve(
        "catalog", {catalog.LIST_PACKAGES: seen.list_packages}, version=VERSION
    ):
        with pytest.raises(FaultError, match="no answer within"):
            await alice.request(catalog.LIST_PACKAGES, catalog.ListPackages(), timeout_seconds=0.2)
        seen.answering.set()


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


async def monitoring(bus: Bus, question: str) -> dict[str, Any]:
    """One answer of the `$SRV` space."""
    answer = await bus.connection.ask(f"$SRV.{question}", b"", timeout_seconds=2)
    decoded: dict[str, Any] = msgspec.json.decode(answer.data)
    return decoded


async def test_role_is_checked_by_the_service_too(buses: Buses) -> None:
    """Should a server let a request through that the table forbids, the service refuses it."""
    service, alice = await buses.open("service-catalog"), await buses.open("viewer", "alice")
    seen = Conversation()
    # A viewer may publish to this subject; the endpoint behind it is not one of a viewer's.
    disguised = Endpoint(
        catalog.LIST_PACKAGES.subject, catalog.ListPackages, catalog.PackagePublished
    )

    async with service.serve("catalog", {disguised: seen.list_packages}, version=VERSION):
        with pytest.raises(RefusedError) as refused:
            await alice.request(catalog.LIST_PACKAGES, catalog.ListPackages())

    assert refused.value.refusal_code == "not_permitted"
    assert seen.requests == []


async def test_placeholders_tell_which_node_asks(buses: Buses) -> None:
    """A wildcard endpoint hands on what stood there; a node can only stand for itself."""
    service, n1 = await buses.open("service-catalog"), await buses.open("node", "n1")
    asked: list[Caller] = []

    async def read(_request: catalog.ReadArtifact, caller: Caller) -> Message:
        asked.append(caller)
        return catalog.ArtifactChunk(data=b"x", size_bytes=1)

    async with service.serve("catalog", {catalog.READ_ARTIFACT: read}, version=VERSION):
        request = catalog.ReadArtifact(sha256="0" * 64)
        await n1.request(catalog.READ_ARTIFACT.at(node="n1"), request)
        with pytest.raises(NotPermittedError):
            await n1.request(catalog.READ_ARTIFACT.at(node="n2"), request)

    assert [caller.tokens for caller in asked] == [{"node": "n1"}]
    assert not asked[0].attested


async def test_node_serves_its_own_subjects_only(buses: Buses) -> None:
    """Serving as another node is refused when the service starts, not silently ignored."""
    n1, alice = await buses.open("node", "n1"), await buses.open("viewer", "alice")

    async def show(_request: node.GetChains, _caller: Caller) -> Message:
        return node.ChainsShown(node="n1", chains=())

    endpoints: dict[Endpoint[Any, Any], Handler] = {node.GET_CHAINS: show}
    async with n1.serve("node", endpoints, version=VERSION, tokens={"node": "n1"}):
        reply = await alice.request(node.GET_CHAINS.at(node="n1"), node.GetChains())
    with pytest.raises(NotPermittedError):
        async with n1.serve("node", endpoints, version=VERSION, tokens={"node": "n2"}):
            raise AssertionError("must not be reached")

    assert reply.node == "n1"


async def test_telemetry_reaches_subscribers_in_order(buses: Buses) -> None:
    """Core messages arrive typed as they were sent."""
    n1, service = await buses.open("node", "n1"), await buses.open("service-scheduler")
    received: list[tuple[str, node.Heartbeat]] = []

    async def note(subject: str, data: bytes) -> None:
        received.append((subject, msgspec.json.decode(data, type=node.Heartbeat)))

    await service.subscribe(node.HEARTBEAT.at(node="*").subject, note)
    for generation in range(3):
        beat = node.Heartbeat(
            node="n1",
            at="2026-01-01T00:00:00Z",
            desired_generation=generation,
            chains_attached=0,
            chains_failed=0,
        )
        await n1.publish(node.HEARTBEAT.at(node="n1"), beat)
    await eventually(lambda: len(received) == 3)

    assert [beat.desired_generation for _, beat in received] == [0, 1, 2]
    assert received[0][0] == node.HEARTBEAT.at(node="n1").subject


async def test_server_restart_is_survived_by_everything(buses: Buses) -> None:
    """After a crash of the server services serve, callbacks run, and nothing was restarted."""
    service, alice = await buses.open("service-catalog"), await buses.open("viewer", "alice")
    seen = Conversation()
    reconnected = asyncio.Event()

    async def note() -> None:
        reconnected.set()

    service.on_reconnect(note)
    async with service.serve(
        "catalog", {catalog.LIST_PACKAGES: seen.list_packages}, version=VERSION
    ):
        seen.answering.clear()
        hanging = asyncio.create_task(
            alice.request(catalog.LIST_PACKAGES, catalog.ListPackages(), timeout_seconds=60)
        )
        await eventually(lambda: seen.running == 1)
        await asyncio.to_thread(buses.server.restart)

        with pytest.raises(FaultError, match="connection to the bus was lost"):
            await asyncio.wait_for(hanging, 5)
        await asyncio.wait_for(reconnected.wait(), 10)
        seen.answering.set()
        await eventually(lambda: alice.connection.is_connected, seconds=10)
        reply = await alice.request(catalog.LIST_PACKAGES, catalog.ListPackages())

    assert reply == catalog.PackageList(packages=())
