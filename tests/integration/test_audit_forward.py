# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af audit forward` against receivers: a web server, syslog over TLS, a file."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import struct
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from cli.forward_sinks import SyslogSink
from cli.forwarding import Batch
from installation.certificates import issue_authority, issue_server
from shared.adapters.bus import Bus
from shared.contracts.audit import LIST_RECORDS, ListRecords
from shared.errors import FaultError
from tests.integration.conftest import Buses
from tests.support.auditing import EmittingBus, eventually, running_auditor
from tests.support.command_line import Answer, run_l3af
from tests.support.syslog_parser import parsed_syslog

COUNT = 700
"""More than one batch."""


@pytest.fixture
async def reader(buses: Buses, tmp_path: Path) -> AsyncIterator[Bus]:
    """Somebody who may read a log with COUNT publications."""
    catalog = EmittingBus(await buses.open("service-catalog"), "catalog")
    async with running_auditor(buses.server, tmp_path / "auditor"):
        bus = await buses.open("auditor", "eve")
        await catalog.emit_many(COUNT, package="rate-limit")

        async def recorded() -> bool:
            return (await bus.request(LIST_RECORDS, ListRecords(limit=1))).tree_size >= COUNT

        await eventually(recorded)
        yield bus


class Receiver(BaseHTTPRequestHandler):
    """Takes batches; refuses the first ones as a server that is busy."""

    bodies: ClassVar[dict[str, bytes]] = {}
    refusals: ClassVar[list[int]] = []
    tokens: ClassVar[set[str]] = set()
    is_down: ClassVar[bool] = False
    dropped: ClassVar[list[str]] = []
    """Keys of batches that it says it took and did not keep."""
    drops: ClassVar[int] = 0
    """So many batches, from the second one on."""

    def do_HEAD(self) -> None:
        """What it holds, as it does behind every batch."""
        self.answer(204)

    def do_POST(self) -> None:
        """One batch."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.tokens.add(self.headers.get("Authorization", ""))
        status = self.refusals.pop() if self.refusals else 503 if self.is_down else 204
        key = self.headers["Idempotency-Key"]
        if status == 204 and self.bodies and len(self.dropped) < self.drops:
            self.dropped.append(key)
        elif status == 204:
            self.bodies[key] = body
        self.answer(status)

    def answer(self, status: int) -> None:
        """With what it holds, if it is one that says so."""
        self.send_response(status)
        if self.drops:
            numbers = numbers_of(self.bodies)
            self.send_header("L3AF-Received", str(numbers[-1] if numbers else -1))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Nothing is printed."""


def numbers_of(bodies: dict[str, bytes]) -> list[int]:
    """Numbers of the records in them, as they came."""
    return [json.loads(line)["index"] for body in bodies.values() for line in body.splitlines()]


@contextmanager
def a_receiver(*refusals: int) -> Iterator[str]:
    """Its address; it answers so first, last to first."""
    Receiver.bodies.clear()
    Receiver.tokens.clear()
    Receiver.dropped.clear()
    Receiver.drops, Receiver.is_down = 0, False
    Receiver.refusals[:] = refusals
    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/records"
        finally:
            server.shutdown()
            thread.join()


async def forward(buses: Buses, folder: Path, *words: str) -> Answer:
    """The command, as somebody who may read the log."""
    credentials = buses.server.credentials("auditor", "ann")
    return await run_l3af(
        "audit", "forward", *words, "--once", "--json", credentials=credentials, folder=folder
    )


@pytest.mark.usefixtures("reader")
async def test_a_busy_web_server_gets_every_record_once(buses: Buses, tmp_path: Path) -> None:
    """It is asked again until it takes a batch; what a second command sends comes behind."""
    (tmp_path / "token").write_text("s3cret\n")
    words = ("--state", "state", "--package", "rate-limit", "--token-file", "token")
    with a_receiver(429, 503) as url:
        done = await forward(buses, tmp_path, url, *words, "--format", "ocsf")
        again = await forward(buses, tmp_path, url, *words, "--format", "ocsf")
        other = await forward(buses, tmp_path, url, *words, "--format", "cef")

    assert (done.status, done.document["records"]) == (0, COUNT), done.message
    assert "answers 503" in done.message
    assert (again.status, again.document["records"]) == (0, 0)
    assert other.status == 2
    assert Receiver.tokens == {"Bearer s3cret"}
    lines = [line for body in Receiver.bodies.values() for line in body.splitlines()]
    numbers = [json.loads(line)["metadata"]["sequence"] for line in lines]
    assert len(Receiver.bodies) >= 2
    assert (len(numbers), numbers) == (COUNT, sorted(set(numbers)))


@pytest.mark.usefixtures("reader")
async def test_a_server_that_refuses_ends_it(buses: Buses, tmp_path: Path) -> None:
    """What will never be taken is said with the status, and nothing counts as received."""
    with a_receiver(403) as url:
        done = await forward(buses, tmp_path, url, "--state", "state")
        assert (done.status, "403" in done.message) == (2, True)
        assert not Receiver.bodies
        done = await forward(buses, tmp_path, url, "--state", "state")
    assert (done.status, done.document["records"] >= COUNT) == (0, True)


@pytest.mark.usefixtures("reader")
async def test_a_web_server_gets_again_what_it_lost(buses: Buses, tmp_path: Path) -> None:
    """It answers 204 to batches that it does not keep, and says what it holds: that decides."""
    with a_receiver() as url:
        Receiver.drops = 2
        words = (url, "--state", "state", "--package", "rate-limit")
        done = await forward(buses, tmp_path, *words)
        first = numbers_of(Receiver.bodies)
        # And later it is set back to what it had an hour ago.
        Receiver.bodies.pop(list(Receiver.bodies)[-1])
        again = await forward(buses, tmp_path, *words)

    assert (done.status, len(Receiver.dropped)) == (0, 2), done.message
    assert "is sent again" in done.message
    assert again.status == 0, again.message
    assert len(first) == COUNT
    assert numbers_of(Receiver.bodies) == first == sorted(set(first))


async def test_recording_goes_on_while_a_sink_is_down(
    reader: Bus, buses: Buses, tmp_path: Path
) -> None:
    """Everything is recorded meanwhile, and when the sink is back it gets each record once."""
    scheduler = EmittingBus(await buses.open("service-scheduler"), "scheduler")

    async def recorded(action: str) -> int:
        found = await reader.request(LIST_RECORDS, ListRecords(limit=1000, action=action))
        return len(found.records)

    with a_receiver() as url:
        Receiver.is_down = True
        words = (url, "--state", "state", "--action", "*.publish")
        sending = asyncio.create_task(forward(buses, tmp_path, *words))
        await eventually((tmp_path / "state").exists)
        await scheduler.emit_many(300, action="deployment.publish")

        async def all_of_them() -> bool:
            return await recorded("deployment.publish") == 300

        await eventually(all_of_them)
        assert (sending.done(), Receiver.bodies) == (False, {})
        Receiver.is_down = False
        done = await sending

    assert done.status == 0, done.message
    numbers = numbers_of(Receiver.bodies)
    assert (len(numbers), numbers) == (COUNT + 300, sorted(set(numbers)))


async def test_syslog_that_was_not_taken_is_not_received() -> None:
    """A receiver that reads nothing and dies has taken nothing, whatever our machine sent off."""
    batch = Batch(0, 0, (b"x" * 3_000_000 + b"\n",))
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        listening.setblocking(False)
        sink = SyslogSink("127.0.0.1", listening.getsockname()[1], None)
        sending = asyncio.create_task(sink.deliver(batch, key="k"))
        taken, _ = await loop.sock_accept(listening)
        await loop.sock_recv(taken, 1)
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        taken.close()
        with pytest.raises(FaultError, match="syslog receiver"):
            await sending

        sending = asyncio.create_task(sink.deliver(batch, key="k"))
        taken, _ = await loop.sock_accept(listening)
        received = 0
        while received < len(b"3000000 ") + 3_000_000:
            received += len(await loop.sock_recv(taken, 65_536))
        assert await sending is None
        taken.close()
        await sink.aclose()


@pytest.mark.usefixtures("reader")
async def test_syslog_over_tls_is_framed_and_the_receivers_name_is_checked(
    buses: Buses, tmp_path: Path
) -> None:
    """RFC 5425 frames that hold RFC 5424 messages; a certificate of nobody is not trusted."""
    frames: list[str] = []
    now = datetime.now(UTC)
    curve = ec.SECP256R1()
    authority = issue_authority(
        name="receiver", key=ec.generate_private_key(curve), serial=1, now=now
    )
    own = issue_server(
        authority, hosts=("127.0.0.1",), key=ec.generate_private_key(curve), serial=2, now=now
    )
    (tmp_path / "ca.pem").write_bytes(authority.certificate)
    (tmp_path / "own.pem").write_bytes(own.certificate + own.key)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "own.pem")

    async def receive(from_it: asyncio.StreamReader, to_it: asyncio.StreamWriter) -> None:
        try:
            while size := (await from_it.readuntil(b" ")).strip():
                frames.append((await from_it.readexactly(int(size))).decode())
        except asyncio.IncompleteReadError:
            to_it.close()

    async with await asyncio.start_server(receive, "127.0.0.1", 0, ssl=tls) as server:
        url = f"syslog+tls://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        words = (url, "--state", "state", "--package", "rate-limit")
        done = await forward(buses, tmp_path, *words, "--ca", "ca.pem")

        async def received() -> bool:
            return len(frames) == COUNT

        await eventually(received)
    assert (done.status, done.document["records"]) == (0, COUNT), done.message
    found = parsed_syslog([f"{frame}\n" for frame in frames])
    assert {one["message_id"] for one in found} == {"package.publish"}
    assert len({one["structured_data"]["meta"]["sequenceId"] for one in found}) == COUNT


@pytest.mark.usefixtures("reader")
async def test_a_file_grows_and_one_command_feeds_it(buses: Buses, tmp_path: Path) -> None:
    """Its form is that of its name; a file of something else is refused and stays as it is."""
    done = await forward(buses, tmp_path, "all.csv", "--state", "state", "--package", "rate-limit")
    assert (done.status, done.document["records"]) == (0, COUNT), done.message
    assert len((tmp_path / "all.csv").read_text().splitlines()) == COUNT + 1
    (tmp_path / "other.csv").write_text("something else\n")
    refused = await forward(buses, tmp_path, "other.csv", "--state", "other")
    assert (refused.status, (tmp_path / "other.csv").read_text()) == (2, "something else\n")
