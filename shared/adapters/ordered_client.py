# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A NATS client whose flush comes after what was sent before it.

nats-py 2.16 writes the PING of `flush()` to the socket at once while commands wait for another
task to write them, so the PONG says nothing about them: a denied subscription is reported after
`flush()` returned, and `drain()` forgets a subscription that the server still delivers to.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from shared.adapters.attestation import AttestingClient

_PING: Final = b"PING\r\n"


class OrderedClient(AttestingClient):
    """A nats-py client that sends its pings in line."""

    async def _send_ping(self, future: asyncio.Future[Any] | None = None) -> None:
        self._pongs.append(future or asyncio.get_running_loop().create_future())
        await self._send_command(_PING)
        await self._flush_pending()
