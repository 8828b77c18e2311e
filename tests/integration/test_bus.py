# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Requests, services and telemetry over a real server in operator mode."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import msgspec
import pytest

from shared.adapters.bus import connect
from shared.adapters.bus_errors import NotPermittedError
from shared.adapters.callers import Caller
from shared.adapters.service_layer import ERROR_NUMBER, ERROR_TEXT, Handler
from shared.contracts import catalog, node, scheduler
from shared.contracts.base import Endpoint, Message
from shared.errors import FaultError, Reason, RefusedError
from shared.version import VERSION
from tests.integration.conftest import Buses
from tests.support.conversations import Conversation, eventually


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


async def test_bug_in_a_subscription_ends_the_block(buses: Buses) -> None:
    """What nats-py would only log ends the process; a fault does not."""
    n1 = await buses.open("node", "n1")
    received: list[bytes] = []

    async def note(_subject: str, data: bytes) -> None:
        received.append(data)
        if len(received) == 1:
            raise FaultError("not now")
        raise ZeroDivisionError

    async def listen() -> None:
        async with connect(buses.server.credentials("service-scheduler")) as service:
            await service.subscribe("l3af.v1.tel.>", note)
            for _ in range(2):
                await n1.connection.publish("l3af.v1.tel.node.n1.heartbeat", b"{}")
            await asyncio.Event().wait()

    with pytest.raises(ZeroDivisionError):
        await asyncio.wait_for(listen(), 5)

    assert len(received) == 2


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
        await eventually(lambda: alice.connection.is_connected)
        reply = await alice.request(catalog.LIST_PACKAGES, catalog.ListPackages())

    assert reply == catalog.PackageList(packages=())
