# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The consumers behind durable subscriptions, each of them a cursor.

A subscriber that names the position up to which it dealt with everything moves the cursor there;
one that does not is given the same events again.  So nothing depends on which of its earlier
questions arrived, or on this process having been the same one.
"""

from __future__ import annotations

import asyncio
from typing import Final

from nats.aio.msg import Msg

from services.auditor.adapters.consumers import (
    ConsumerInfo,
    Pull,
    StreamFaultError,
    acknowledge,
    consumer_info,
    create_consumer,
    delete_consumer,
    set_consumer,
    stream_info,
    stream_message,
)
from services.auditor.records import Draft, read_message
from services.auditor.subscriptions import Subscription, consumer_settings
from shared.adapters.connection import Connection
from shared.contracts.events import Audience
from shared.errors import Reason, RefusedError

LINGER_SECONDS: Final = 0.02
SHORTEST_WAIT_SECONDS: Final = 0.1
MAX_FETCH_BYTES: Final = 512 * 1024
"""Of events in one answer: below what one message may hold."""


class UnreachedPositionError(RefusedError):
    """The caller claims to have dealt with events that do not exist."""


class Places:
    """Makes, reads and removes the consumers."""

    def __init__(self, connection: Connection) -> None:
        self._connection: Final = connection
        self._pulls: Final[dict[str, Pull]] = {}

    async def newest_sequence(self) -> int:
        """The stream's last sequence."""
        return (await stream_info(self._connection)).state.last_seq

    async def ensure(self, subscription: Subscription) -> None:
        """The consumer exists; where it stands is left alone."""
        if await consumer_info(self._connection, subscription.consumer) is None:
            await create_consumer(
                self._connection, subscription.consumer, consumer_settings(subscription)
            )

    async def remove(self, consumer: str) -> None:
        """The consumer does not exist."""
        await delete_consumer(self._connection, consumer)

    async def fetch(
        self,
        subscription: Subscription,
        *,
        audiences: frozenset[Audience],
        acknowledged: int,
        limit: int,
        wait_seconds: float,
    ) -> list[Draft]:
        """The next believable events of these audiences, oldest first; empty if none came in time.

        A newer call for the same subscription ends an older one that still waits.

        Raises:
            UnreachedPositionError: `acknowledged` is beyond the stream's end.
            FaultError: The stream cannot be read right now.
        """
        consumer = subscription.consumer
        earlier = self._pulls.get(consumer)
        pull = self._pulls[consumer] = Pull(self._connection, consumer)
        try:
            if earlier is not None:
                await earlier.close()
            await self._settle(subscription, acknowledged)
            await pull.open()
            return await self._gather(
                pull, audiences=audiences, limit=limit, wait_seconds=wait_seconds
            )
        finally:
            if self._pulls.get(consumer) is pull:
                del self._pulls[consumer]
            await pull.close()

    async def _settle(self, subscription: Subscription, acknowledged: int) -> None:
        """The consumer gives next what follows on what the subscriber dealt with."""
        consumer = subscription.consumer
        info = await consumer_info(self._connection, consumer)
        if info is None:
            await self.ensure(subscription)
            info = await self._existing(consumer)
        if acknowledged > info.delivered.stream_seq:
            newest = await self.newest_sequence()
            if acknowledged > newest:
                reason = Reason(
                    path="acknowledge",
                    rule="is beyond the newest event",
                    got=acknowledged,
                    allowed=f"at most {newest}",
                )
                raise UnreachedPositionError("there is no such position yet", [reason])
        floor = max(info.ack_floor.stream_seq, acknowledged)
        if floor != info.ack_floor.stream_seq or floor != info.delivered.stream_seq:
            await set_consumer(self._connection, consumer, floor + 1)

    async def _existing(self, consumer: str) -> ConsumerInfo:
        info = await consumer_info(self._connection, consumer)
        if info is None:
            raise StreamFaultError("the subscription's consumer could not be made")
        return info

    async def _gather(
        self, pull: Pull, *, audiences: frozenset[Audience], limit: int, wait_seconds: float
    ) -> list[Draft]:
        loop = asyncio.get_running_loop()
        left_seconds = max(wait_seconds, SHORTEST_WAIT_SECONDS)
        ends_at = loop.time() + left_seconds
        while left_seconds > 0 and not pull.is_lost():
            if pull.outstanding <= 0:
                await pull.ask(limit, expires_seconds=left_seconds)
            await pull.wait(wait_seconds=left_seconds)
            if pull.is_lost():
                return []
            if 0 < len(pull) < limit:
                await asyncio.sleep(LINGER_SECONDS)
            drafts = await self._readable(pull.take(limit), audiences)
            if drafts:
                return drafts
            left_seconds = ends_at - loop.time()
        return []

    async def _readable(self, messages: list[Msg], audiences: frozenset[Audience]) -> list[Draft]:
        """What may be shown, up to MAX_FETCH_BYTES; what may not is passed for good."""
        drafts: list[Draft] = []
        size_bytes = 0
        for message in messages:
            draft = read_message(stream_message(message))
            if draft.problem or draft.origin.audience not in audiences:
                await acknowledge(self._connection, message)
                continue
            size_bytes += len(message.data)
            if drafts and size_bytes > MAX_FETCH_BYTES:
                break
            drafts.append(draft)
        return drafts
