# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What nats-py 2.16 does wrong where we use it, beside what we do instead.

Each test fails when the workaround is taken out; where nats-py's own behaviour can be shown in
reasonable time it is asserted too, so that a better release is noticed.
"""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any, cast

import msgspec
import nats
import nats.errors
import nats.js.errors
import nats.micro
import pytest
from nats.aio.msg import Msg
from nats.micro.request import Request as MicroRequest

from services.auditor.adapters.consumers import Pull, acknowledge, consumer_info, stream_message
from shared.adapters.bus import connect
from shared.adapters.bus_errors import NotPermittedError
from shared.adapters.connection import open_connection
from shared.adapters.kv import KeyValue
from shared.adapters.provisioning import provision
from shared.contracts import catalog
from shared.contracts.base import Bucket, Message
from shared.contracts.events import Event, EventBody, draft_event
from shared.contracts.node import OBSERVED, ObservedNode
from shared.contracts.storage import AUDITOR_CONSUMER
from shared.errors import FaultError, RefusedError
from tests.integration.conftest import Buses
from tests.support.conversations import eventually
from tests.support.event_stream import stored_events
from tests.support.operator_mode import MAX_PAYLOAD_BYTES, OperatorModeServer
from tests.support.raw_nats import raw_client, unrestricted_client


def an_event(number: int, *, size_bytes: int = 0) -> Event:
    """An event of the scheduler's."""
    return draft_event(
        EventBody(action="node.label", outcome="accepted", reason="x" * size_bytes),
        event_id=f"event-{number}",
        emitter="scheduler",
        sequence=number,
        time="2026-01-01T00:00:00.000000Z",
        salt=bytes(16),
    )


class Lease(Message, frozen=True, kw_only=True):
    """A record of a bucket with expiry markers."""

    holder: str


async def test_expired_key_with_a_marker_is_absent(buses: Buses) -> None:
    """Defect 1: `KeyValue.get` ignores `Nats-Marker-Reason`: a lease is never taken again."""
    leases = Bucket("deployments", Lease, message_ttl=True)
    scheduler = await buses.open("service-scheduler")
    async with unrestricted_client(buses.server) as raw:
        js = raw.jetstream()
        await js.delete_stream("KV_deployments")
        bucket = await js.create_key_value(bucket="deployments", limit_marker_ttl=30, direct=True)
        await bucket.create("lease", msgspec.json.encode(Lease(holder="a")), msg_ttl=1)
        ours: KeyValue[Lease] = scheduler.bucket(leases)
        assert (await ours.get("lease")) is not None

        async with asyncio.timeout(60):
            while await ours.get("lease") is not None:
                await asyncio.sleep(0.05)
        found = await bucket.get("lease")
        with pytest.raises(nats.js.errors.KeyWrongLastSequenceError):
            await bucket.create("lease", b"b")

    assert not found.value, "nats-py gives an entry without a value"
    assert (await ours.snapshot()).entries == {}
    await ours.create("lease", Lease(holder="b"))
    taken = await ours.get("lease")
    assert taken is not None
    assert taken.value.holder == "b"


async def test_acknowledgements_of_the_second_form_are_read(tmp_path: Path) -> None:
    """Defect 2: an ordered consumer dies of V2 ack subjects and the client looks connected."""
    server = OperatorModeServer(tmp_path / "nats", feature_flags="js_ack_fc_v2: true")
    server.start()
    try:
        async with connect(server.credentials("provisioner")) as bus:
            await provision(bus.connection)
        async with (
            connect(server.credentials("service-scheduler")) as scheduler,
            connect(server.credentials("service-auditor")) as auditor,
        ):
            await scheduler.publish_event(an_event(1))
            pull = Pull(auditor.connection, AUDITOR_CONSUMER)
            await pull.open()
            await pull.ask(1, expires_seconds=5)
            assert await pull.wait(wait_seconds=5)
            (message,) = pull.take(10)
            await acknowledge(auditor.connection, message)
            await auditor.connection.flush()
            info = await consumer_info(auditor.connection, AUDITOR_CONSUMER)

            assert message.reply.count(".") > 9, "the server speaks V2"
            assert stream_message(message).sequence == 1
            assert info is not None
            assert info.ack_floor.stream_seq == 1
            await pull.close()
        async with unrestricted_client(server) as raw:
            subscription = await raw.jetstream().subscribe(
                "l3af.v1.evt.>", stream="EVT", ordered_consumer=True
            )
            with pytest.raises(nats.errors.TimeoutError):
                await subscription.next_msg(timeout=0.5)
            assert raw.is_connected, "nats-py reads no more but does not know it"
    finally:
        server.stop()


async def test_node_follows_its_key_without_the_right_to_create_consumers(buses: Buses) -> None:
    """Defect 3: `kv.watch` makes an unnamed consumer, which no permission can confine."""
    n1 = await buses.open("node", "n1")
    seen: list[str] = []

    async def note(key: str, _value: ObservedNode | None, _revision: int) -> None:
        seen.append(key)

    record = ObservedNode(node="n1", desired_generation=1, chains=(), at="")
    bucket = n1.bucket(OBSERVED)
    await bucket.put("n1", record)
    async with raw_client(buses.server.credentials("node", "n1"), buses.server.url) as raw:
        js = raw.jetstream(timeout=0.3)
        with pytest.raises(nats.errors.TimeoutError):
            await js.subscribe("$KV.desired.n1", stream="KV_desired", ordered_consumer=True)

    entry = await bucket.get("n1")
    assert entry is not None
    assert entry.value == record


async def test_publish_without_acknowledgement_ends_in_a_fault(buses: Buses) -> None:
    """Defect 5: a `publish_async` whose server died is pending for ever."""
    scheduler = await buses.open("service-scheduler")
    async with raw_client(buses.server.credentials("service-scheduler"), buses.server.url) as raw:
        buses.server.stop()
        pending = await raw.jetstream().publish_async("l3af.v1.evt.public.scheduler.x.y", b"")
        with pytest.raises(FaultError):
            await asyncio.wait_for(scheduler.publish_event(an_event(1)), 15)

        assert not pending.done()
        pending.cancel()


async def test_event_published_during_an_outage_is_stored_once(buses: Buses) -> None:
    """Defect 6: a timeout says nothing; the buffered message may be stored after all."""
    scheduler = await buses.open("service-scheduler")
    buses.server.stop()
    publishing = asyncio.create_task(scheduler.publish_event(an_event(1)))
    await asyncio.sleep(0)
    await asyncio.to_thread(buses.server.start)
    with contextlib.suppress(FaultError):
        await publishing
    await eventually(lambda: scheduler.connection.is_connected)
    await scheduler.publish_event(an_event(1))

    events = await stored_events(await buses.open("service-auditor"))
    assert [event.id for event in events] == ["event-1"]


async def test_message_too_large_with_its_headers_is_refused_here(buses: Buses) -> None:
    """Defect 7: nats-py measures the payload alone, and the server then ends the connection."""
    scheduler = await buses.open("service-scheduler")
    subject, payload = "l3af.v1.evt.public.scheduler.x.y", b"x" * (MAX_PAYLOAD_BYTES - 10)
    async with raw_client(buses.server.credentials("service-scheduler"), buses.server.url) as raw:
        await raw.publish(subject, payload, headers={"Nats-Msg-Id": "a-long-enough-id"})
        await eventually(lambda: raw.is_closed)

    with pytest.raises(RefusedError) as refused:
        await scheduler.connection.publish(
            subject, payload, headers={"Nats-Msg-Id": "a-long-enough-id"}
        )
    assert refused.value.refusal_code == "too_large"
    with pytest.raises(RefusedError):
        await scheduler.publish_event(an_event(1, size_bytes=MAX_PAYLOAD_BYTES - 300))
    await scheduler.publish_event(an_event(2))
    assert scheduler.connection.is_connected


async def test_connection_closed_for_good_ends_the_block(buses: Buses) -> None:
    """Defect 7: after an expired JWT nats-py is closed and never comes back; nobody is told."""
    credentials_dir = buses.server.credentials("viewer", "brief", lives_seconds=2)

    async with asyncio.timeout(60):
        with pytest.raises(FaultError, match="closed the connection"):
            async with connect(credentials_dir):
                await asyncio.Event().wait()


async def test_reconnection_is_attempted_for_ever(buses: Buses) -> None:
    """Defect 7: nats-py gives up after 60 attempts unless told otherwise."""
    scheduler = await buses.open("service-scheduler")

    assert scheduler.connection._client.options["max_reconnect_attempts"] == -1


async def test_rotated_credentials_are_used_at_the_next_reconnection(buses: Buses) -> None:
    """The file is read anew, so a rotation needs no restart."""
    directory = buses.server.credentials("viewer", "alice")
    async with open_connection(directory) as connection:
        (directory / "user.creds").write_text("not credentials")
        await asyncio.to_thread(buses.server.restart)
        await eventually(lambda: "not" in connection.problem or "no user" in connection.problem)
        assert not connection.is_connected
        buses.server.credentials("viewer", "alice")
        await eventually(lambda: connection.is_connected)


async def test_denied_request_fails_at_once(buses: Buses) -> None:
    """Defect 8: to the caller a violated permission is a timeout."""
    bob = await buses.open("viewer", "bob")
    async with raw_client(buses.server.credentials("viewer", "bob"), buses.server.url) as raw:
        with pytest.raises(nats.errors.TimeoutError):
            await raw.request(catalog.PUBLISH_PACKAGE.subject, b"{}", timeout=0.3)

    async with asyncio.timeout(2):
        with pytest.raises(NotPermittedError):
            await bob.connection.ask(catalog.PUBLISH_PACKAGE.subject, b"{}", timeout_seconds=60)


async def test_denied_subscription_is_raised(buses: Buses) -> None:
    """Defect 8: to the subscriber a violated permission is silence.

    nats-py's flush would return long before a subscription that waits behind a megabyte.
    """
    bob = await buses.open("viewer", "bob")
    async with raw_client(buses.server.credentials("viewer", "bob"), buses.server.url) as raw:
        await raw.subscribe("l3af.v1.evt.r_secret.>")

    async def ignore(_subject: str, _data: bytes) -> None:
        pass

    for number in range(5):
        for _ in range(3):
            await bob.connection.publish(catalog.LIST_PACKAGES.subject, b"x" * 1_000_000)
        with pytest.raises(NotPermittedError):
            await bob.subscribe(f"l3af.v1.evt.r_secret{number}.>", ignore)


async def test_errors_of_handlers_stay_inside(buses: Buses) -> None:
    """Defect 9: `nats.micro` sends `repr` of any exception to whoever asked.

    That ours does not is shown where a bug ends the service.
    """

    async def break_down(_request: MicroRequest) -> None:
        raise ValueError("the password is 1234")

    async with unrestricted_client(buses.server) as raw:
        service = await nats.micro.add_service(raw, name="leaky", version="0.1.0")
        await service.add_endpoint(name="x", subject="leaky.x", handler=break_down)
        answer = await raw.request("leaky.x", timeout=2)
        await service.stop()

    assert "1234" in str(answer.headers)


async def test_reply_has_no_header_of_the_request(buses: Buses) -> None:
    """Defect 10: `msg.respond` sends the request's headers back, credentials included."""

    async def respond(message: Msg) -> None:
        await message.respond(b"")

    async with unrestricted_client(buses.server) as raw:
        await raw.subscribe("echo", cb=respond)
        answer = await raw.request("echo", headers={"Authorization": "secret"}, timeout=2)
    assert (answer.headers or {}).get("Authorization") == "secret"

    service, alice = await buses.open("service-catalog"), await buses.open("viewer", "alice")

    async def reply(_request: Any, _caller: Any) -> Message:
        return catalog.PackageList(packages=())

    async with service.serve("catalog", {catalog.LIST_PACKAGES: reply}, version="0.1.0"):
        ours = await alice.connection.ask(
            catalog.LIST_PACKAGES.subject,
            b"{}",
            timeout_seconds=2,
            headers={"Authorization": "secret"},
        )
    assert not ours.headers


async def test_header_texts_are_one_line(buses: Buses) -> None:
    """Defect 12: line ends in header values become blanks; ours are made so on purpose."""
    service, alice = await buses.open("service-catalog"), await buses.open("viewer", "alice")

    async def refuse(_request: Any, _caller: Any) -> Message:
        raise RefusedError("one\r\nNats-Service-Error-Code: 200\r\n" + "x" * 9000)

    async with service.serve("catalog", {catalog.LIST_PACKAGES: refuse}, version="0.1.0"):
        answer = await alice.connection.ask(catalog.LIST_PACKAGES.subject, b"{}", timeout_seconds=2)

    headers = cast("dict[str, str]", answer.headers)
    assert headers["Nats-Service-Error-Code"] == "400"
    assert len(headers["Nats-Service-Error"]) == 200
    assert msgspec.json.decode(answer.data)["message"].startswith("one\r\n")


async def test_missing_stream_is_asked_again(nats_server: OperatorModeServer) -> None:
    """Defect 13: while a stream has no leader nobody responds, and nats-py gives up at once."""
    async with (
        connect(nats_server.credentials("service-scheduler")) as scheduler,
        connect(nats_server.credentials("provisioner")) as provisioner,
    ):
        publishing = asyncio.create_task(scheduler.publish_event(an_event(1)))
        await asyncio.sleep(0)
        await provision(provisioner.connection)
        await publishing


async def test_stored_headers_cannot_pass_for_the_servers(buses: Buses) -> None:
    """A node may write any header into its own record; nobody who reads it is misled or stopped."""
    scheduler, n1 = await buses.open("service-scheduler"), await buses.open("node", "n1")
    n2 = await buses.open("node", "n2")
    record = ObservedNode(node="n1", desired_generation=1, chains=(), at="")
    await n2.bucket(OBSERVED).put("n2", msgspec.structs.replace(record, node="n2"))
    good = msgspec.json.encode(record)
    for data, forged in (
        (good, {"Nats-Subject": "$KV.observed.n2", "Nats-Sequence": "99"}),
        (good, {"Nats-Sequence ": "x"}),
        (b"", {"Status": "503"}),
        (b"", {"Status": "204", "Nats-Num-Pending": "0"}),
        (b"", {"Status": "404"}),
        (b"rubbish", {}),
        (good, {}),
    ):
        await n1.connection.ask("$KV.observed.n1", data, timeout_seconds=2, headers=forged)
        entries = {entry.key: entry for entry in await scheduler.bucket(OBSERVED).entries()}

        assert entries["n2"].value.node == "n2"
        assert ("n1" in entries) == (data == good)
        if data == good:
            single = await scheduler.bucket(OBSERVED).get("n1")
            assert single == entries["n1"]
            assert single.value == record
