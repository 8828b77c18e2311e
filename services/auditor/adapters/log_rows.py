# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""How records, gaps and channels become columns and come back: the same in every store."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from services.auditor.admission import Channel, Gap, LogState, Record
from services.auditor.query import StoredRecord
from shared.contracts.events import EventBody

STORED: Final = "idx, leaf, body, received_us, stream_sequence, problem"
_RANGES: Final = msgspec.json.Decoder(tuple[tuple[int, int], ...])
_GAP: Final = msgspec.json.Decoder(Gap)
_NOTHING: Final = EventBody(action="", outcome="observed")


def record_row(record: Record, received_us: int) -> tuple[Any, ...]:
    """The values of one row of `records`, in the order of its columns."""
    draft = record.draft
    event = draft.event
    body = event.data if event is not None else _NOTHING
    is_believed = event is not None and not draft.problem
    origin = draft.origin
    return (
        record.index,
        origin.emitter,
        origin.audience,
        event.id if event is not None and is_believed else "",
        draft.time_us or received_us,
        received_us,
        draft.message.sequence,
        draft.leaf.decode(),
        draft.message.data,
        body.actor.key if body.actor is not None else "",
        body.action or origin.action,
        body.outcome if event is not None else "",
        body.package,
        _node_of(origin.emitter) or body.node,
        body.deployment,
        body.correlation,
        draft.problem,
    )


def stored_record(row: Sequence[Any]) -> StoredRecord:
    """A row of the columns STORED."""
    index, leaf, body, received_us, stream_sequence, problem = row
    return StoredRecord(index, leaf.encode(), body, received_us, stream_sequence, problem)


def channel_rows(state: LogState, changed: Iterable[Channel]) -> list[tuple[str, str, int, str]]:
    """Emitter, audience, head and open gaps of the channels that changed."""
    return [
        (*channel, state.heads[channel], json_text(state.missing.get(channel, ())))
        for channel in changed
    ]


def read_ranges(text: str) -> tuple[tuple[int, int], ...]:
    """The open gaps of a channel."""
    return _RANGES.decode(text)


def read_gap(text: str) -> Gap:
    """The gap that was kept."""
    return _GAP.decode(text)


def json_text(value: object) -> str:
    """As JSON in one line."""
    return msgspec.json.encode(value).decode()


def _node_of(emitter: str) -> str:
    return emitter.removeprefix("node/") if emitter.startswith("node/") else ""
