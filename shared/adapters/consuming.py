# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Takes messages from a durable pull consumer that exists already.

Rules:
 * A message says by its own stream and subject what it is, never by where it was received.
 * What is not acknowledged comes again.
"""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass, field
from typing import Final

import msgspec
from nats.aio.msg import Msg

from shared.adapters.bus_errors import NobodyAnswersError
from shared.adapters.connection import Connection
from shared.adapters.messages import NO_RESPONDERS, status_of
from shared.errors import FaultError

ANSWER_SLACK_SECONDS: Final = 2.0
"""How much longer than asked for a server may take to say that nothing came."""
ACK_SECONDS: Final = 2.0

_V1_TOKENS: Final = 9
"""`$JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending>`"""
_V2_PREFIX_TOKENS: Final = 2
"""V2 has domain and account hash after `$JS.ACK` (nats-server, feature flag js_ack_fc_v2)."""
_END_STATUS: Final = frozenset({"404", "408", "409"})
"""No messages; the time is over; the consumer's limits or its deletion ended the request."""


class ConsumerError(FaultError):
    """The consumer does not give messages."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """One message of a stream."""

    subject: str
    stream_sequence: int
    data: bytes
    headers: dict[str, str]
    ack_subject: str = field(repr=False)
    deliveries: int
    """How often it was delivered, this time included."""


class PullConsumer:
    """One durable consumer, over one connection."""

    def __init__(self, connection: Connection, stream: str, consumer: str) -> None:
        self._connection: Final = connection
        self._next: Final = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._inbox: Final = connection.new_inbox()
        self._received: Final[asyncio.Queue[Msg]] = asyncio.Queue()
        self._is_listening = False

    async def fetch(self, max_messages: int, *, wait_seconds: float) -> list[Delivered]:
        """Up to `max_messages`, oldest first; fewer if no more came in time.

        Args:
            max_messages: At least 1.
            wait_seconds: How long to wait for a first message; once one came, what is there is
                taken and nothing is waited for.

        Raises:
            ConsumerError: There is no such consumer, or the bus does not answer.
        """
        if not self._is_listening:
            await self._connection.subscribe(f"{self._inbox}.*", self._on_message)
            self._is_listening = True
        found = await self._fetch(max_messages, wait_seconds=0.0)
        if found or wait_seconds <= 0:
            return found
        found = await self._fetch(1, wait_seconds=wait_seconds)
        if found and max_messages > 1:
            found += await self._fetch(max_messages - 1, wait_seconds=0.0)
        return found

    async def acknowledge(self, message: Delivered) -> None:
        """The server has noted it (with ack policy `all`: and every one before it).

        Raises:
            FaultError: It may not have; the message may come again.
        """
        await self._connection.ask(message.ack_subject, b"+ACK", timeout_seconds=ACK_SECONDS)

    async def _on_message(self, message: Msg) -> None:
        self._received.put_nowait(message)

    async def _fetch(self, max_messages: int, *, wait_seconds: float) -> list[Delivered]:
        request: dict[str, object] = {"batch": max_messages}
        if wait_seconds > 0:
            request["expires"] = int(wait_seconds * 1e9)
        else:
            request["no_wait"] = True
        token = secrets.token_hex(8)
        await self._connection.publish(
            self._next, msgspec.json.encode(request), reply=f"{self._inbox}.{token}"
        )
        found: list[Delivered] = []
        while len(found) < max_messages:
            message = await self._answer(wait_seconds + ANSWER_SLACK_SECONDS)
            if message.reply:
                found.append(_delivered(message))
            elif message.subject.endswith(f".{token}") and self._is_end(message):
                break
        return found

    async def _answer(self, timeout_seconds: float) -> Msg:
        try:
            async with asyncio.timeout(timeout_seconds):
                return await self._received.get()
        except TimeoutError as error:
            raise ConsumerError(f"{self._next}: the server does not answer") from error

    def _is_end(self, message: Msg) -> bool:
        status = status_of(message)
        if status == NO_RESPONDERS:
            raise NobodyAnswersError(f"{self._next}: there is no such consumer")
        return status in _END_STATUS


def _delivered(message: Msg) -> Delivered:
    tokens = message.reply.split(".")
    if len(tokens) > _V1_TOKENS:
        del tokens[2 : 2 + _V2_PREFIX_TOKENS]
    return Delivered(
        subject=message.subject,
        stream_sequence=int(tokens[5]),
        data=message.data,
        headers={str(name): str(value) for name, value in (message.headers or {}).items()},
        ack_subject=message.reply,
        deliveries=int(tokens[4]),
    )
