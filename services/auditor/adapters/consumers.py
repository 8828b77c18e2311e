# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Pull consumers of the event stream: asked for, set to a place, read, given up.

Every consumer is a cursor that can be set (`CONSUMER.RESET`, nats-server 2.14): where it stands is
decided by whoever keeps the place, not by which acknowledgements arrived before somebody died.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from services.auditor.records import StreamMessage
from shared.adapters.connection import Connection
from shared.contracts.permissions import inbox_prefix
from shared.contracts.storage import EVENT_STREAM
from shared.errors import FaultError

API_SECONDS: Final = 5.0
NANOSECONDS: Final = 1_000_000_000
CONSUMER_NOT_FOUND: Final = 10014
"""nats-server errors.json: JSConsumerNotFoundErr."""
_MESSAGE_ID: Final = "Nats-Msg-Id"
_STATUS: Final = "Status"
_PENDING: Final = "Nats-Pending-Messages"
_HEARTBEAT: Final = "100"
_ENDED: Final = frozenset({"404", "408"})
"""A pull that found nothing, or whose time is up."""
_PLAIN_TOKENS: Final = 9
_SEQUENCE_TOKEN: Final = 5
_SEQUENCE_TOKEN_WITH_DOMAIN: Final = 7
"""Of an acknowledgement subject: the longer form has domain and account before the stream."""


class StreamFaultError(FaultError):
    """The event stream cannot be read right now."""


class Place(msgspec.Struct, frozen=True):
    """A pair of sequences in the server's answers."""

    stream_seq: int = 0


class ConsumerSettings(msgspec.Struct, frozen=True):
    """The part of a consumer's configuration that matters here."""

    filter_subject: str = ""
    filter_subjects: tuple[str, ...] = ()


class ConsumerInfo(msgspec.Struct, frozen=True):
    """How far a consumer is."""

    delivered: Place
    ack_floor: Place
    num_pending: int = 0
    config: ConsumerSettings = ConsumerSettings()


class StreamState(msgspec.Struct, frozen=True):
    """What a stream holds."""

    first_seq: int = 0
    last_seq: int = 0


class StreamInfo(msgspec.Struct, frozen=True):
    """The event stream."""

    created: str
    """Names this stream: another one under its name was created at another time."""
    state: StreamState


class _ApiError(msgspec.Struct, frozen=True):
    err_code: int = 0
    description: str = ""


class _ApiAnswer(msgspec.Struct, frozen=True):
    error: _ApiError | None = None


async def stream_info(connection: Connection) -> StreamInfo:
    """The event stream as it is now.

    Raises:
        FaultError: The server does not say.
    """
    found = await _call(connection, f"STREAM.INFO.{EVENT_STREAM}", b"")
    if found is None:
        raise StreamFaultError("the event stream does not exist")
    return msgspec.json.decode(found, type=StreamInfo)


async def consumer_info(connection: Connection, consumer: str) -> ConsumerInfo | None:
    """The consumer as it is now; None if there is none."""
    found = await _call(connection, f"CONSUMER.INFO.{EVENT_STREAM}.{consumer}", b"")
    return msgspec.json.decode(found, type=ConsumerInfo) if found is not None else None


async def create_consumer(connection: Connection, consumer: str, settings: dict[str, Any]) -> None:
    """The consumer exists with these settings."""
    body = {
        "stream_name": EVENT_STREAM,
        "config": {"name": consumer, "durable_name": consumer, **settings},
    }
    await _call(connection, f"CONSUMER.CREATE.{EVENT_STREAM}.{consumer}", msgspec.json.encode(body))


async def set_consumer(connection: Connection, consumer: str, sequence: int) -> None:
    """The consumer, which exists, gives stream sequence `sequence` or the first after it next."""
    body = msgspec.json.encode({"seq": sequence})
    await _call(connection, f"CONSUMER.RESET.{EVENT_STREAM}.{consumer}", body)


async def delete_consumer(connection: Connection, consumer: str) -> None:
    """The consumer does not exist."""
    await _call(connection, f"CONSUMER.DELETE.{EVENT_STREAM}.{consumer}", b"")


class Pull:
    """Where one consumer's messages arrive, from `open` to `close`."""

    def __init__(self, connection: Connection, consumer: str) -> None:
        self._connection: Final = connection
        self._subject: Final = f"$JS.API.CONSUMER.MSG.NEXT.{EVENT_STREAM}.{consumer}"
        prefix = inbox_prefix(connection.role, connection.name)
        self._inbox: Final = f"{prefix}.{secrets.token_hex(8)}"
        self._subscription: Subscription | None = None
        self._arrived: Final[deque[Msg]] = deque()
        self._news: Final = asyncio.Event()
        self._wanted = 1
        self.outstanding = 0
        """Messages asked for that have not come."""
        self._is_lost = False

    async def open(self) -> None:
        """Messages can be asked for."""
        self._subscription = await self._connection.subscribe(self._inbox, self._on_message)

    async def close(self) -> None:
        """Nothing more comes; whoever waits is told so."""
        self.lose()
        if self._subscription is not None:
            await self._connection.drain_subscription(self._subscription)
            self._subscription = None

    def lose(self) -> None:
        """What was asked for will not come."""
        self._is_lost = True
        self._news.set()

    async def ask(self, count: int, *, expires_seconds: float) -> None:
        """Up to `count` messages come, until the time is up."""
        self.outstanding += count
        body = {"batch": count, "expires": int(expires_seconds * NANOSECONDS)}
        await self._connection.publish(self._subject, msgspec.json.encode(body), reply=self._inbox)

    def is_lost(self) -> bool:
        """Whether nothing more will come: the server or the consumer went away, or `close`."""
        return self._is_lost

    async def wait(self, *, wait_seconds: float, count: int = 1) -> bool:
        """Whether `count` messages are there or a pull ended, before the time was up."""
        if len(self._arrived) < count and not self._is_lost and self.outstanding > 0:
            self._wanted = count
            self._news.clear()
            try:
                async with asyncio.timeout(wait_seconds):
                    await self._news.wait()
            except TimeoutError:
                return False
        return True

    def __len__(self) -> int:
        """Messages that arrived and were not taken."""
        return len(self._arrived)

    def take(self, limit: int) -> list[Msg]:
        """The oldest messages that arrived."""
        return [self._arrived.popleft() for _ in range(min(limit, len(self._arrived)))]

    async def _on_message(self, message: Msg) -> None:
        # A stored message comes under its own subject, whatever headers its publisher gave it.
        if message.subject != self._inbox:
            self.outstanding -= 1
            self._arrived.append(message)
            if len(self._arrived) >= self._wanted or self.outstanding <= 0:
                self._news.set()
        else:
            self._on_status(message.headers or {})
            self._news.set()

    def _on_status(self, headers: Mapping[str, str]) -> None:
        status = headers.get(_STATUS, "")
        if status in _ENDED:
            self.outstanding -= int(headers.get(_PENDING, "0"))
        elif status != _HEARTBEAT:
            self._is_lost = True


def stream_message(message: Msg) -> StreamMessage:
    """A message that a consumer gave, with its place in the stream."""
    parts = message.reply.split(".")
    is_plain = len(parts) == _PLAIN_TOKENS
    sequence = int(parts[_SEQUENCE_TOKEN if is_plain else _SEQUENCE_TOKEN_WITH_DOMAIN])
    message_id = (message.headers or {}).get(_MESSAGE_ID, "")
    return StreamMessage(sequence, message.subject, message_id, message.data)


async def acknowledge(connection: Connection, message: Msg) -> None:
    """The consumer knows that this message was dealt with."""
    await connection.publish(message.reply, b"+ACK")


async def _call(connection: Connection, verb: str, body: bytes) -> bytes | None:
    """The server's answer; None if there is no such consumer."""
    answer = await connection.ask(f"$JS.API.{verb}", body, timeout_seconds=API_SECONDS)
    error = msgspec.json.decode(answer.data, type=_ApiAnswer).error
    if error is None:
        return answer.data
    if error.err_code == CONSUMER_NOT_FOUND:
        return None
    raise StreamFaultError(f"{verb}: {error.description}")
