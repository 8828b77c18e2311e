# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Messages of the event stream as emitters make them, and as they should not."""

from __future__ import annotations

from typing import Any

import msgspec

from services.auditor.records import StreamMessage
from shared.canonical import canonical_bytes
from shared.contracts.events import PUBLIC, Event, EventBody, draft_event

TIME = "2026-01-02T03:04:05.000006Z"


def an_event(number: int = 1, *, emitter: str = "catalog", **fields: Any) -> Event:
    """Event `number` of an emitter; fields of the body, or `audience`, `event_id` and such."""
    audience = fields.pop("audience", PUBLIC)
    place = f"{number}" if audience == PUBLIC else f"{audience}.{number}"
    event_id = fields.pop("event_id", f"{emitter.replace('/', '.')}.{place}")
    sequence = fields.pop("sequence", number)
    time = fields.pop("time", TIME)
    body = EventBody(**{"action": "package.publish", "outcome": "succeeded", **fields})
    return draft_event(
        body,
        event_id=event_id,
        emitter=emitter,
        sequence=sequence,
        time=time,
        salt=number.to_bytes(16, "big"),
        audience=audience,
    )


def message_of(event: Event, place: int) -> StreamMessage:
    """The event at a place of the stream."""
    return StreamMessage(place, event.subject, event.id, canonical_bytes(event))


def messages(count: int, *, first: int = 1, **fields: Any) -> list[StreamMessage]:
    """Events of one emitter, each at the place of its own number."""
    numbers = range(first, first + count)
    return [message_of(an_event(number, **fields), number) for number in numbers]


def altered(message: StreamMessage, **fields: Any) -> StreamMessage:
    """The message with parts of its event replaced, under the same subject and id."""
    event = msgspec.structs.replace(msgspec.json.decode(message.data, type=Event), **fields)
    return message._replace(data=canonical_bytes(event))
