# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The order of what a client writes, seen by a server that only listens."""

from __future__ import annotations

import asyncio
import gc
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from nats.aio.client import Client

from shared.adapters.ordered_client import OrderedClient

INFO = b'INFO {"server_id":"x","version":"2.15.1","max_payload":1048576,"headers":true}\r\n'


@asynccontextmanager
async def listening_server() -> AsyncIterator[tuple[str, list[bytes]]]:
    """Its address, and the verbs it is sent; answers pings and nothing else."""
    verbs: list[bytes] = []

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(INFO)
        while line := await reader.readline():
            verbs.append(line.partition(b" ")[0].strip())
            if line.startswith(b"PING"):
                writer.write(b"PONG\r\n")
        writer.close()

    server = await asyncio.start_server(converse, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    try:
        yield f"nats://{host}:{port}", verbs
    finally:
        server.close()


@pytest.mark.parametrize(
    ("client", "order"),
    [(Client(), [b"PING", b"SUB"]), (OrderedClient(), [b"SUB", b"PING"])],
    ids=["nats-py", "ours"],
)
async def test_flush_comes_after_what_was_sent_before_it(
    client: Client, order: list[bytes]
) -> None:
    """A subscription is with the server when `flush` returns; nats-py's ping overtakes it."""

    async def ignore(_message: object) -> None:
        pass

    async with listening_server() as (url, verbs):
        await client.connect(url)
        verbs.clear()
        await client.subscribe("a", cb=ignore)
        await client.flush()
        async with asyncio.timeout(60):
            while len(verbs) < len(order):
                await asyncio.sleep(0.001)
        await client.close()

    assert verbs[:2] == order


async def test_a_flush_that_is_cancelled_stays_cancelled_and_the_next_one_works() -> None:
    """Before its PONG came, and at the very moment; the answers go on being read."""
    client = OrderedClient()
    async with listening_server() as (url, _):
        await client.connect(url)
        early = asyncio.create_task(client.flush())
        while not client._pongs:
            await asyncio.sleep(0)
        early.cancel()
        await client.flush()
        late = asyncio.create_task(client.flush())
        while not client._pongs:
            await asyncio.sleep(0)
        while client._pongs:
            await asyncio.sleep(0)
        late.cancel()
        await asyncio.wait((early, late))
        await client.flush()
        await client.close()

    assert early.cancelled()
    assert late.cancelled()


async def test_a_failed_attempt_to_reconnect_leaves_no_socket_open() -> None:
    """Each socket of an attempt that failed is closed by us, not by the garbage collector."""
    attempts = 0
    client = OrderedClient()

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Takes the first connection and ends it; of later ones, only the fifth is taken."""
        nonlocal attempts
        attempts += 1
        if attempts in (1, 5):
            writer.write(INFO)
            while line := await reader.readline():
                if line.startswith(b"PING"):
                    writer.write(b"PONG\r\n")
                    if attempts == 1:
                        break
        writer.close()

    async def ignore(_error: Exception) -> None:
        pass

    server = await asyncio.start_server(converse, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        await client.connect(
            f"nats://{host}:{port}",
            reconnect_time_wait=0,
            max_reconnect_attempts=-1,
            error_cb=ignore,
        )
        async with asyncio.timeout(60):
            while attempts < 5 or not client.is_connected:
                await asyncio.sleep(0.005)
        await client.close()
        gc.collect()
    server.close()

    assert [str(one.message) for one in seen if one.category is ResourceWarning] == []


async def test_what_is_sent_while_the_server_vanishes_goes_to_the_next() -> None:
    """The transport is closed and the client does not know yet; uvloop raises then."""
    client = OrderedClient()
    async with listening_server() as (url, verbs):
        await client.connect(url, reconnect_time_wait=0)
        assert client._flusher_task is not None
        client._flusher_task.cancel()
        await asyncio.wait([client._flusher_task])
        transport = client._transport
        client._transport = _ClosedTransport()  # type: ignore[assignment]
        await client.publish("a", b"kept")
        client._transport = transport
        verbs.clear()
        await client._process_op_err(ConnectionResetError())
        async with asyncio.timeout(60):
            while b"PUB" not in verbs:
                await asyncio.sleep(0.001)
        await client.close()


class _ClosedTransport:
    """As uvloop's is once its handle is closed."""

    def writelines(self, _lines: object) -> None:
        """What uvloop says."""
        raise RuntimeError("unable to perform operation on <TCPTransport closed=True>")
