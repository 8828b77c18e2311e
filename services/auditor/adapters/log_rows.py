# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""How records, gaps and channels become columns and come back: the same in every store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from services.auditor.admission import Channel, Gap, LogState, Record
from services.auditor.matching import values_at
from services.auditor.query import StoredRecord
from services.auditor.receipts import Receipt, ReceiptHead
from services.auditor.retention.remains import kept_of, read_remains
from shared.contracts.events import EventBody

COLUMNS: Final = (
    "idx",
    "emitter",
    "audience",
    "event_id",
    "time_us",
    "received_us",
    "stream_sequence",
    "leaf",
    "body",
    "actor",
    "action",
    "outcome",
    "package",
    "node",
    "deployment",
    "correlation",
    "problem",
    "licence",
)
"""Of `records`, as `record_row` fills them."""
STORED: Final = "idx, leaf, body, received_us, stream_sequence, problem"
BLOCK_RECORDS: Final = 1024
"""Records whose earliest and latest times are kept together, so that a range of times is looked
for only where it can be."""
WIDEN_SPANS: Final = """
INSERT INTO spans AS kept {} ON CONFLICT (block) DO UPDATE SET
    first_us = CASE WHEN excluded.first_us < kept.first_us THEN excluded.first_us
        ELSE kept.first_us END,
    last_us = CASE WHEN excluded.last_us > kept.last_us THEN excluded.last_us
        ELSE kept.last_us END
"""
ARRIVAL_RUNS: Final = """
SELECT idx, received_us, stream_sequence FROM (
    SELECT idx, received_us, stream_sequence,
        lag(received_us) OVER (ORDER BY idx) AS time_before,
        lag(stream_sequence) OVER (ORDER BY idx) AS place_before
    FROM records
) AS neighbours WHERE place_before IS NULL OR time_before <> received_us
    OR place_before + 1 <> stream_sequence ORDER BY idx
"""
"""First index, time and place of records that arrived together, as neighbours."""
Row = tuple[Any, ...]
"""The values of one row of `records`, in the order of its columns."""
_TIME: Final = 4
_RANGES: Final = msgspec.json.Decoder(tuple[tuple[int, int], ...])
_GAP: Final = msgspec.json.Decoder(Gap)
_NOTHING: Final = EventBody(action="", outcome="observed")


def record_row(record: Record, received_us: int) -> Row:
    """The row of a record."""
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
        licence_of(body),
    )


def licence_of(body: EventBody) -> str:
    """The SPDX expression that an event speaks of, as it was declared; empty if it names none.

    Of a chain whose programs have different ones: each of them once, between semicolons.
    """
    licence = body.details.get("licence", "")
    if licence:
        return licence if isinstance(licence, str) else ""
    if "running" not in body.details:
        return ""  # nearly always
    declared = values_at(body.details, ("running", "licence", "declared"))
    return "; ".join(sorted({one for one in declared if one and isinstance(one, str)}))


def block_spans(rows: Sequence[Row]) -> list[tuple[int, int, int]]:
    """Block, earliest and latest time of neighbouring rows of `record_row`."""
    return spans_of(rows[0][0], [row[_TIME] for row in rows]) if rows else []


def spans_of(first: int, times: Sequence[int]) -> list[tuple[int, int, int]]:
    """The same of neighbouring records, from the index of the first one and the times of all."""
    start, stop = first, first + len(times)
    found = []
    while start < stop:
        block = start // BLOCK_RECORDS
        end = min((block + 1) * BLOCK_RECORDS, stop)
        part = times[start - first : end - first]
        found.append((block, min(part), max(part)))
        start = end
    return found


def stored_record(row: Sequence[Any]) -> StoredRecord:
    """A row of the columns STORED."""
    index, leaf, body, received_us, stream_sequence, problem = row
    remains = read_remains(leaf.encode()) if body is None else None
    by = remains.by if remains is not None else None
    return StoredRecord(
        index, leaf.encode(), body, received_us, stream_sequence, problem, pruned_by=by
    )


def pruned_row(index: int, leaf: bytes, *, received_us: int, stream_sequence: int) -> Row:
    """The row of a record of which that leaf remains; by `record_row`'s columns."""
    of = kept_of(leaf)
    known = {
        "idx": index,
        "emitter": of.emitter,
        "event_id": of.id,
        "time_us": received_us,
        "received_us": received_us,
        "stream_sequence": stream_sequence,
        "leaf": leaf.decode(),
        "body": None,
    }
    return tuple(known.get(name, "") for name in COLUMNS)


def pruned_rows(
    records: Mapping[int, StoredRecord], leaves: Iterable[tuple[int, bytes]]
) -> list[Row]:
    """The rows of records of which these leaves remain.

    Args:
        records: As they are kept, by index.
        leaves: Index and what remains.
    """
    return [
        pruned_row(
            index,
            leaf,
            received_us=records[index].received_us,
            stream_sequence=records[index].stream_sequence,
        )
        for index, leaf in leaves
    ]


def channel_rows(state: LogState, changed: Iterable[Channel]) -> list[tuple[str, str, int, str]]:
    """Emitter, audience, head and open gaps of the channels that changed."""
    return [
        (*channel, state.heads[channel], json_text(state.missing.get(channel, ())))
        for channel in changed
    ]


def numbered_receipts(
    receipts: Sequence[Receipt], head: ReceiptHead
) -> list[tuple[int, int, int, int, str]]:
    """Rows of `receipts`, the last of which is number `head.number`."""
    return [
        (number, *receipt)
        for number, receipt in enumerate(receipts, head.number - len(receipts) + 1)
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
