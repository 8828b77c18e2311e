# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A NATS client whose flush comes after what was sent before it, and whose close ends.

nats-py 2.16 writes the PING of `flush()` to the socket at once while commands wait for another
task to write them, so the PONG says nothing about them: a denied subscription is reported after
`flush()` returned, and `drain()` forgets a subscription that the server still delivers to.

And its close first writes what is pending: when the other end is gone that raises, and nobody is
ever told that the connection is closed.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from nats.aio.client import Client

from shared.adapters.attestation import AttestingClient

_PING: Final = b"PING\r\n"


class OrderedClient(AttestingClient):
    """A nats-py client that sends its pings in line and always gets to the end of closing."""

    async def _send_ping(self, future: asyncio.Future[Any] | None = None) -> None:
        self._pongs.append(future or asyncio.get_running_loop().create_future())
        await self._send_command(_PING)
        await self._flush_pending()

    def abandon_attempt(self) -> None:
        """The socket of an attempt to connect that goes no further; nats-py would leave it open."""
        if self._transport is not None:
            self._transport.close()  # type: ignore[no-untyped-call]  # nats-py leaves it so

    @property
    def server_offers_tls(self) -> bool:
        """What the server that is being connected to has said of itself."""
        return bool(self._server_info.get("tls_required"))

    async def _close(self, status: int, do_cbs: bool = True) -> None:  # noqa: FBT001, FBT002 because nats-py calls it so
        try:
            await super()._close(status, do_cbs)
        except OSError:
            self._pending = []
            self._pending_data_size = 0
            self._status = Client.DISCONNECTED
            await super()._close(status, do_cbs)
