# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What the event stream holds, read as an auditor may."""

from __future__ import annotations

import msgspec

from shared.adapters.bus import Bus
from shared.adapters.consuming import PullConsumer
from shared.contracts.events import Event
from shared.contracts.storage import AUDITOR_CONSUMER, EVENT_STREAM


async def stored_events(auditor: Bus) -> list[Event]:
    """All events that were not read before, oldest first, with repetitions if there are any."""
    consumer = PullConsumer(auditor.connection, EVENT_STREAM, AUDITOR_CONSUMER)
    messages = await consumer.fetch(5000, wait_seconds=0.0)
    return [msgspec.json.decode(message.data, type=Event) for message in messages]
