# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What the event stream holds, read as an auditor may."""

from __future__ import annotations

import asyncio

import msgspec
from nats.aio.msg import Msg

from services.auditor.adapters.consumers import Pull, consumer_info, stream_info
from shared.adapters.bus import Bus
from shared.contracts.events import Event
from shared.contracts.storage import AUDITOR_CONSUMER

READ_SECONDS = 30.0


async def stored_events(auditor: Bus) -> list[Event]:
    """All events that were not read before, oldest first, with repetitions if there are any."""
    stream = await stream_info(auditor.connection)
    consumer = await consumer_info(auditor.connection, AUDITOR_CONSUMER)
    assert consumer is not None, "the installation makes it"
    count = stream.state.last_seq - consumer.delivered.stream_seq
    messages: list[Msg] = []
    pull = Pull(auditor.connection, AUDITOR_CONSUMER)
    await pull.open()
    if count:
        await pull.ask(count, expires_seconds=READ_SECONDS)
    async with asyncio.timeout(READ_SECONDS):
        while len(messages) < count:
            assert await pull.wait(wait_seconds=READ_SECONDS)
            assert not pull.is_lost()
            messages += pull.take(count)
    await pull.close()
    return [msgspec.json.decode(message.data, type=Event) for message in messages]
