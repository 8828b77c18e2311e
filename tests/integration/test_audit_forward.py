# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af audit forward` against receivers: a web server, syslog over TLS, a file."""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from installation.certificates import issue_authority, issue_server
from shared.adapters.bus import Bus
from shared.contracts.audit import LIST_RECORDS, ListRecords
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

    def do_POST(self) -> None:
        """One batch."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.tokens.add(self.headers.get("Authorization", ""))
        status = self.refusals.pop() if self.refusals else 204
        if status == 204:
            self.bodies[self.headers["Idempotency-Key"]] = body
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Nothing is printed."""


@contextmanager
def a_receiver(*refusals: int) -> Iterator[str]:
    """Its address; it answers so first, last to first."""
    Receiver.bodies.clear()
    Receiver.tokens.clear()
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
