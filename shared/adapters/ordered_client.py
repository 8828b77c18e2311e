# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A NATS client whose flush comes after what was sent before it, and that leaves no socket open.

nats-py 2.16 writes the PING of `flush()` to the socket at once while commands wait for another
task to write them, so the PONG says nothing about them: a denied subscription is reported after
`flush()` returned, and `drain()` forgets a subscription that the server still delivers to.

Its flush waits with `wait_for`, which before Python 3.12 loses a cancellation that meets the PONG:
what was cancelled goes on.  And one that is cancelled, or takes too long, leaves a future that the
PONG finds cancelled: nats-py stops reading then, and the connection is there and silent.

Its close first writes what is pending: when the other end is gone that raises, and nobody is
ever told that the connection is closed.

And an attempt to reconnect that fails after the socket was open (the server says goodbye, or says
nothing) leaves that socket to the garbage collector when the next attempt begins.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Any, Final

from nats.aio.client import DEFAULT_BUFFER_SIZE, DEFAULT_FLUSH_TIMEOUT, Client, Srv
from nats.aio.transport import TcpTransport
from nats.errors import FlushTimeoutError

from shared.adapters.attestation import AttestingClient

_PING: Final = b"PING\r\n"


class OrderedClient(AttestingClient):
    """A nats-py client that pings in line, ends its closing and closes what it opened."""

    async def _send_ping(self, future: asyncio.Future[Any] | None = None) -> None:
        self._pongs.append(future or asyncio.get_running_loop().create_future())
        await self._send_command(_PING)
        await self._flush_pending()

    async def flush(self, timeout: int = DEFAULT_FLUSH_TIMEOUT) -> None:  # noqa: ASYNC109 because nats-py calls it so
        """Everything sent before has reached the server, which has answered."""
        if self.is_closed or self._reading_task is None or self._reading_task.done():
            await super().flush(timeout)  # which says so, or writes without asking
            return
        pong = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(timeout):
                await self._send_ping(pong)
                await asyncio.shield(pong)
        except TimeoutError as error:
            raise FlushTimeoutError from error

    async def _flush_pending(self, force_flush: bool = False) -> Any:  # noqa: FBT001, FBT002 because nats-py calls it so
        try:
            return await super()._flush_pending(force_flush)
        except (OSError, RuntimeError):  # uvloop's word for a transport that is closed already
            # The server is gone and nobody has noticed yet: what is pending goes to the next one.
            flushed = asyncio.get_running_loop().create_future()
            flushed.set_result(None)
            return flushed

    def abandon_attempt(self) -> None:
        """The socket of an attempt to connect that goes no further; nats-py would leave it open."""
        if self._transport is not None:
            self._transport.close()  # type: ignore[no-untyped-call]  # nats-py leaves it so

    async def _connect_to_server(self, s: Srv) -> None:
        s.last_attempt = monotonic()
        self.abandon_attempt()
        transport = TcpTransport()  # type: ignore[no-untyped-call]  # nats-py leaves it so
        # Not `wait_for`: before Python 3.12 it can lose a connection that is made while the
        # attempt is cancelled.
        async with asyncio.timeout(self.options["connect_timeout"]):
            reader, writer = await asyncio.open_connection(
                s.uri.hostname, s.uri.port, limit=DEFAULT_BUFFER_SIZE
            )
        transport._bare_io_reader = transport._io_reader = reader  # noqa: SLF001 because nats-py keeps them there
        transport._bare_io_writer = transport._io_writer = writer  # noqa: SLF001
        self._transport = transport

    @property
    def server_offers_tls(self) -> bool:
        """What the server that is being connected to has said of itself."""
        return bool(self._server_info.get("tls_required"))

    async def _close(self, status: int, do_cbs: bool = True) -> None:  # noqa: FBT001, FBT002 because nats-py calls it so
        try:
            await super()._close(status, do_cbs)
        except (OSError, RuntimeError):  # uvloop's word for a transport that is closed already
            self._pending = []
            self._pending_data_size = 0
            self._status = Client.DISCONNECTED
            await super()._close(status, do_cbs)
