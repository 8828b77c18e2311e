# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which of the messages that arrived become records, in which places, and what is missing.

Pure: state and messages in, records and the next state out.  The store keeps all of it in one
transaction, so that whatever the process dies of, each event has exactly one record.

Rules:
 * What was recorded before is passed over: by stream sequence, and by emitter and id.
 * An id that comes again with other bytes is a problem record of its own.
 * A sequence that an emitter left out is a gap: found once, said once, closed if it comes late.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, NamedTuple

import msgspec

from services.auditor.merkle import Frontier, Run, leaf_hash
from services.auditor.receipts import (
    NO_RECEIPTS,
    Receipt,
    ReceiptHead,
    batch_receipts,
    extend_head,
)
from services.auditor.records import Draft, StreamMessage, as_problem
from shared.contracts.events import EventBody

GapKind = Literal["missing", "repeated", "expired", "rewound"]
GAP_ACTION: Final = "log.gap"
STREAM_EMITTER = "stream"
"""Names the stream itself as the place of a gap; no emitter is called so."""


class Channel(NamedTuple):
    """Where sequences run from 1 without gaps."""

    emitter: str
    audience: str


class EventKey(NamedTuple):
    """What makes an event the same event (CloudEvents: source and id)."""

    emitter: str
    event_id: str


@dataclass(frozen=True, slots=True)
class Gap:
    """A place where the log knows that it does not know."""

    kind: GapKind
    """`missing`: sequences were left out.  `repeated`: a sequence came again with another event.
    `expired`: the stream dropped messages before they were read.  `rewound`: the stream is
    another one than before, or ends before what was read."""
    channel: Channel
    first: int
    """First sequence concerned; for `expired` and `rewound` a stream sequence."""
    last: int
    found_at_index: int
    """Leaf index of the record that showed it."""


class Record(msgspec.Struct, frozen=True, gc=False):
    """One row of the log."""

    index: int
    draft: Draft


@dataclass(frozen=True, slots=True)
class LogState:
    """What the log must know to take the next message."""

    frontier: Frontier
    stream_id: str
    """The stream's creation time: another stream under the same name is another stream."""
    stream_sequence: int
    """Last sequence dealt with; 0: none."""
    heads: Mapping[Channel, int]
    """Last sequence of each emitter and audience."""
    missing: Mapping[Channel, tuple[tuple[int, int], ...]]
    """Gaps that may still close: first and last sequence."""
    receipts: ReceiptHead = NO_RECEIPTS
    """Of everything that was received."""


@dataclass(frozen=True, slots=True)
class Admission:
    """What one batch adds, to be kept as a whole or not at all."""

    state: LogState
    records: tuple[Record, ...]
    completed: tuple[Run, ...]
    """Subtrees that became complete."""
    changed: frozenset[Channel]
    """Channels whose head or gaps changed."""
    gaps: tuple[Gap, ...]
    receipts: tuple[Receipt, ...]


Ranges = tuple[tuple[int, int], ...]
"""First and last sequence of each."""


class PlacedSequence(NamedTuple):
    """What a sequence makes of its channel."""

    head: int
    missing: Ranges
    gap: tuple[GapKind, int, int] | None
    """Kind, first and last of the gap that it shows."""


EMPTY_LOG = LogState(Frontier(), "", 0, {}, {})


def usable(
    messages: Sequence[StreamMessage], *, after: int, is_sought: bool
) -> tuple[Sequence[StreamMessage], bool]:
    """The messages that go on from sequence `after` without a hole, and whether to seek anew.

    A consumer may give messages again, or later ones first after a lost connection; only right
    after a seek is a hole known to be one in the stream itself.

    Args:
        messages: As they came.
        after: Last sequence dealt with.
        is_sought: Whether the consumer was just set to `after` + 1.
    """
    fresh = [message for message in messages if message.sequence > after]
    expected = after + 1
    for position, message in enumerate(fresh):
        if message.sequence != expected and not (is_sought and position == 0):
            return fresh[:position], True
        expected = message.sequence + 1
    return fresh, False


def event_keys(drafts: Sequence[Draft]) -> list[EventKey]:
    """The events whose earlier records decide what becomes of these."""
    return [
        EventKey(draft.event.emitter, draft.event.id)
        for draft in drafts
        if draft.event is not None and not draft.problem
    ]


def admit(
    state: LogState,
    drafts: Sequence[Draft],
    known: Mapping[EventKey, bytes],
    *,
    received_us: int,
) -> Admission:
    """The batch that follows from `drafts`, which go on from `state` in stream order.

    Args:
        state: Of the log before.
        drafts: With growing stream sequences.
        known: Leaf recorded under each of `event_keys(drafts)`, if there is one.  Equal leaves
            are equal events, for everything an event says is in its envelope or its body.
        received_us: When all of them were received.
    """
    batch = _Batch(state, known)
    for draft in drafts:
        batch.take(draft)
    return batch.admission(received_us)


def rewind(state: LogState, *, stream_id: str, last_sequence: int) -> Admission:
    """The batch that starts over with a stream that is not the one read so far."""
    gap = Gap(
        "rewound",
        Channel(STREAM_EMITTER, ""),
        last_sequence + 1,
        state.stream_sequence,
        state.frontier.size,
    )
    receipt = Receipt(state.frontier.size, 0, 1, stream_id)
    started = replace(
        state,
        stream_id=stream_id,
        stream_sequence=0,
        receipts=extend_head(state.receipts, [receipt]),
    )
    gaps = (gap,) if state.stream_sequence else ()
    return Admission(started, (), (), frozenset(), gaps, (receipt,))


def gap_event(gap: Gap) -> tuple[EventBody, str]:
    """What is said about a gap, and the id under which it is said once."""
    emitter, audience = gap.channel
    identity = f"{gap.kind}|{emitter}|{audience}|{gap.first}|{gap.last}|{gap.found_at_index}"
    body = EventBody(
        action=GAP_ACTION,
        outcome="observed",
        node=emitter.removeprefix("node/") if emitter.startswith("node/") else "",
        details={
            "kind": gap.kind,
            "emitter": emitter,
            "audience": audience,
            "first": gap.first,
            "last": gap.last,
            "found_at_index": gap.found_at_index,
        },
    )
    return body, f"log-gap-{hashlib.sha256(identity.encode()).hexdigest()[:32]}"


def place_sequence(head: int, missing: Ranges, sequence: int) -> PlacedSequence:
    """What becomes of a channel when an event with this sequence arrives.

    Args:
        head: Sequence of the event before; 0: none.
        missing: Those that may still come late.
        sequence: From 1.
    """
    if sequence == head + 1:
        return PlacedSequence(sequence, missing, None)
    if sequence > head:
        gap = (head + 1, sequence - 1)
        return PlacedSequence(sequence, (*missing, gap), ("missing", *gap))
    left = _without(missing, sequence)
    if left != missing:
        return PlacedSequence(head, left, None)
    return PlacedSequence(sequence, missing, ("repeated", sequence, sequence))


class _Batch:
    """The state while one batch is taken in."""

    def __init__(self, state: LogState, known: Mapping[EventKey, bytes]) -> None:
        self._before = state
        self._known = dict(known)
        self._stream_sequence = state.stream_sequence
        self._heads: dict[Channel, int] = {}
        self._missing: dict[Channel, tuple[tuple[int, int], ...]] = {}
        self._records: list[Record] = []
        self._gaps: list[Gap] = []

    def take(self, draft: Draft) -> None:
        """Decide about one message."""
        sequence = draft.message.sequence
        if sequence <= self._stream_sequence:
            return
        if sequence != self._stream_sequence + 1:
            channel = Channel(STREAM_EMITTER, "")
            self._note_gap("expired", channel, self._stream_sequence + 1, sequence - 1)
        self._stream_sequence = sequence
        event = draft.event
        if draft.problem or event is None:
            self._record(draft)
            return
        key = EventKey(event.emitter, event.id)
        earlier = self._known.get(key)
        if earlier == draft.leaf:
            return
        if earlier is not None:
            self._record(as_problem(draft, "its id was used before for another event"))
            return
        self._known[key] = draft.leaf
        self._note_sequence(Channel(event.emitter, event.audience), event.sequence)
        self._record(draft)

    def admission(self, received_us: int) -> Admission:
        """Everything taken so far."""
        before = self._before
        leaves = [leaf_hash(record.draft.leaf) for record in self._records]
        frontier, completed = before.frontier.append(leaves)
        receipts = batch_receipts(
            [record.draft.message.sequence for record in self._records],
            first=before.frontier.size,
            received_us=received_us,
            reached=self._stream_sequence,
            before=before.stream_sequence,
        )
        state = LogState(
            frontier,
            before.stream_id,
            self._stream_sequence,
            {**before.heads, **self._heads},
            {**before.missing, **self._missing},
            extend_head(before.receipts, receipts),
        )
        changed = frozenset(self._heads) | frozenset(self._missing)
        return Admission(
            state,
            tuple(self._records),
            tuple(completed),
            changed,
            tuple(self._gaps),
            tuple(receipts),
        )

    def _record(self, draft: Draft) -> None:
        self._records.append(Record(self._index(), draft))

    def _index(self) -> int:
        return self._before.frontier.size + len(self._records)

    def _note_gap(self, kind: GapKind, channel: Channel, first: int, last: int) -> None:
        self._gaps.append(Gap(kind, channel, first, last, self._index()))

    def _note_sequence(self, channel: Channel, sequence: int) -> None:
        head = self._heads.get(channel)
        if head is None:
            head = self._before.heads.get(channel, 0)
        if sequence == head + 1:  # nearly always; as `place_sequence` has it
            self._heads[channel] = sequence
            return
        missing = self._missing.get(channel, self._before.missing.get(channel, ()))
        placed = place_sequence(head, missing, sequence)
        if placed.gap is not None:
            kind, first, last = placed.gap
            self._note_gap(kind, channel, first, last)
        if placed.missing != missing:
            self._missing[channel] = placed.missing
        if placed.head != head or placed.gap is not None:
            self._heads[channel] = placed.head


def _without(ranges: tuple[tuple[int, int], ...], sequence: int) -> tuple[tuple[int, int], ...]:
    """The ranges with one sequence taken out."""
    left: list[tuple[int, int]] = []
    for first, last in ranges:
        if first <= sequence <= last:
            left += [
                part for part in ((first, sequence - 1), (sequence + 1, last)) if part[0] <= part[1]
            ]
        else:
            left.append((first, last))
    return tuple(left)
