# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The auditor's own reading of the event stream: in order, from the place that the log keeps."""

from __future__ import annotations

from typing import Any, Final

from nats.aio.msg import Msg

from services.auditor.adapters.consumers import (
    NANOSECONDS,
    Pull,
    acknowledge,
    consumer_info,
    create_consumer,
    set_consumer,
    stream_info,
    stream_message,
)
from services.auditor.records import StreamEnd, StreamMessage
from shared.adapters.connection import Connection
from shared.contracts.storage import AUDITOR_CONSUMER

BATCH_MESSAGES: Final = 500
AHEAD_MESSAGES: Final = 2_000
"""How many messages may be under way while others are being kept."""
LINGER_SECONDS: Final = 0.02
"""How long a batch that is not full waits for more: so many fewer fsyncs, so much later."""
EXPIRES_SECONDS: Final = 5.0
"""A paused auditor gets what it asked for, not the one that took over: so long at most."""
SILENCE_SECONDS: Final = 10.0
"""Longer than a pull lasts: if not even its end was heard of, it is lost."""
_SETTINGS: Final[dict[str, Any]] = {
    "deliver_policy": "all",
    "ack_policy": "all",
    "ack_wait": 30 * NANOSECONDS,
    "max_ack_pending": 20_000,
    "max_deliver": -1,
}
"""Only used if the consumer that the installation makes is gone."""


class EventStream:
    """Reads one message after another; `seek` first, and again whenever `fetch` says so."""

    def __init__(self, connection: Connection) -> None:
        self._connection: Final = connection
        self._pull: Pull | None = None
        self._fetched: Final[dict[int, Msg]] = {}
        connection.on_reconnect(self._on_reconnect)

    async def end(self) -> StreamEnd:
        """Which stream it is, and how far it goes now."""
        info = await stream_info(self._connection)
        return StreamEnd(info.created, info.state.last_seq)

    async def seek(self, sequence: int) -> None:
        """`fetch` goes on with `sequence`, or with the first message after it that is left.

        Raises:
            FaultError: The stream cannot be read right now.
        """
        await self.close()
        if await consumer_info(self._connection, AUDITOR_CONSUMER) is None:
            await create_consumer(self._connection, AUDITOR_CONSUMER, _SETTINGS)
        await set_consumer(self._connection, AUDITOR_CONSUMER, sequence)
        pull = Pull(self._connection, AUDITOR_CONSUMER)
        await pull.open()
        self._pull = pull

    async def fetch(self) -> list[StreamMessage] | None:
        """The next messages, at most BATCH_MESSAGES; None if the place was lost: seek again.

        An empty list means that nothing came for a while.
        """
        pull = self._pull
        if pull is None or pull.is_lost():
            return None
        under_way = pull.outstanding + len(pull)
        if under_way <= AHEAD_MESSAGES // 2:
            await pull.ask(AHEAD_MESSAGES - under_way, expires_seconds=EXPIRES_SECONDS)
        if not await pull.wait(wait_seconds=SILENCE_SECONDS) or pull.is_lost():
            return None
        if 0 < len(pull) < BATCH_MESSAGES:
            await pull.wait(wait_seconds=LINGER_SECONDS, count=BATCH_MESSAGES)
        taken = pull.take(BATCH_MESSAGES)
        messages = [stream_message(message) for message in taken]
        if taken:
            self._fetched[messages[-1].sequence] = taken[-1]
        return messages

    async def acknowledge(self, sequence: int) -> None:
        """Everything up to the last message of an answer was kept; only monitoring relies on it."""
        message = self._fetched.pop(sequence, None)
        if message is not None:
            await acknowledge(self._connection, message)

    async def close(self) -> None:
        """Nothing is under way."""
        pull, self._pull = self._pull, None
        self._fetched.clear()
        if pull is not None:
            await pull.close()

    async def _on_reconnect(self) -> None:
        if self._pull is not None:
            self._pull.lose()
