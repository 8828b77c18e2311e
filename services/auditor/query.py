# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What is asked of the log: filters, pages, and which questions are one reading.

Pure.  Reading the log is itself recorded.  A follower asks the same question every second for what
came since; that is one reading, recorded when it begins.

Rules:
 * A filter that cannot be read is refused, all of them at once; none is ignored.
 * A page ends at its limit or at MAX_PAGE_BYTES, whichever comes first, and says whether there is
   more.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Final, Protocol, TypeVar

import msgspec

from services.auditor.records import (
    UnbelievableError,
    parse_time_us,
    render_time_us,
    try_event,
)
from shared.canonical import canonical_bytes, canonical_digest
from shared.contracts.audit import (
    AuditRecord,
    ListRecords,
    PrunedNote,
    RecordFilters,
    RecordList,
)
from shared.contracts.base import Message
from shared.contracts.events import Audience
from shared.errors import Reason, RefusedError

MAX_PAGE_BYTES: Final = 384 * 1024
"""Of leaves and bodies: with JSON's quoting well below what one message may hold."""
FOLLOW_LAPSE: Final = timedelta(minutes=5)
"""A follower that was silent for longer begins a new reading."""
GLOB_CHARACTERS: Final = frozenset("*?[")
EQUAL_FILTERS: Final = (
    "event_id", "correlation", "deployment", "node", "package", "actor", "outcome",
)  # fmt: skip
"""Those with the fewest records for a value first, as far as that can be said."""
BY_AUDIENCE: Final = ("correlation", "deployment", "node", "package", "actor")
"""Filters by names of which a space may have records: stores find those of each audience apart, so
that records that are hidden cost no more than records that there are not."""
TROUBLED: Final = ("deployment", "node", "package", "actor")
TROUBLES: Final = frozenset({"refused", "failed"})
"""Outcomes that have an index together with each of the names TROUBLED."""
_RECORD: Final = msgspec.json.Decoder(AuditRecord)
received_at: Final = lru_cache(maxsize=64)(render_time_us)
"""Records are received in batches, all of one moment."""
_FILTERS: Final = ("since", "until", *EQUAL_FILTERS, "action", "licence", "space")


class StoredRecord(msgspec.Struct, frozen=True):
    """One record as it is kept."""

    index: int
    leaf: bytes
    body: bytes | None
    """The message's bytes; None if erased."""
    received_us: int
    stream_sequence: int
    problem: str
    leaf_hash: bytes = b""
    """Only of a record that is not shown, or pruned: then nothing else is said but the index."""
    pruned_by: int | None = None
    """Index of the record by whose word it was pruned; None: it was not, or that is not shown.  As
    the log itself has it, `leaf` is what remains of the leaf."""
    note: PrunedNote | None = None
    """What is told of that."""
    is_erased: bool = False
    """Whether words of a person were erased from the body: tokens stand there, or it is gone."""


@dataclass(frozen=True, slots=True)
class RecordQuery:
    """A question that can be put to a store."""

    audiences: frozenset[Audience] | None
    """Those that are seen; None: by the log itself, which sees all."""
    since_us: int | None
    until_us: int | None
    equal: tuple[tuple[str, str], ...]
    """Column and value, each column one of EQUAL_FILTERS."""
    action: str
    """A glob, or empty."""
    above: int
    """Only indexes greater than this."""
    below: int | None
    """Only indexes smaller than this."""
    limit: int
    licence: str = ""
    """A glob, or empty."""
    is_ascending: bool = False
    """Whether the oldest come first."""
    lists_restricted: bool = False
    """Whether there is an entry for each record of other audiences too; else there is no such."""

    @property
    def globs(self) -> tuple[tuple[str, str], ...]:
        """Column and pattern of what is asked for by a glob."""
        pairs = (("action", self.action), ("licence", self.licence))
        return tuple((column, pattern) for column, pattern in pairs if pattern)


def parse_query(request: RecordFilters, *, audiences: frozenset[Audience]) -> RecordQuery:
    """The question in the request.

    Args:
        request: As it came.
        audiences: Those that the caller sees.

    Raises:
        RefusedError: A time cannot be read; every one that cannot is named.
    """
    reasons: list[Reason] = []
    moments = {name: _moment(request, name, reasons) for name in ("since", "until")}
    if reasons:
        raise RefusedError("the times cannot be read", reasons)
    pairs = ((name, getattr(request, name)) for name in EQUAL_FILTERS)
    return RecordQuery(
        audiences=audiences & {request.space} if request.space else audiences,
        lists_restricted=not any(getattr(request, name) for name in _FILTERS),
        since_us=moments["since"],
        until_us=moments["until"],
        equal=tuple((name, value) for name, value in pairs if value),
        action=request.action,
        above=-1 if request.after_index is None else request.after_index,
        below=request.before_index,
        limit=request.limit,
        licence=request.licence,
    )


NO_EVENT: Final = msgspec.Raw(b"null")
"""Of a record that has none; left out as it travels."""


class SpelledRecord(Message, frozen=True, kw_only=True):
    """An AuditRecord as it travels, its event in the canonical bytes that it was kept in."""

    index: int
    leaf: str
    event: msgspec.Raw = NO_EVENT
    received_at: str
    stream_sequence: int
    problem: str = ""
    erased: bool = False
    leaf_hash: str = ""
    pruned: PrunedNote | None = None


def spell_record(stored: StoredRecord) -> SpelledRecord:
    """The record as it travels."""
    if stored.leaf_hash:
        return SpelledRecord(
            index=stored.index,
            leaf="",
            received_at="",
            stream_sequence=0,
            leaf_hash=stored.leaf_hash.hex(),
            pruned=stored.note,
        )
    return SpelledRecord(
        index=stored.index,
        leaf=stored.leaf.decode(),
        event=_spelled_event(stored),
        received_at=received_at(stored.received_us),
        stream_sequence=stored.stream_sequence,
        problem=stored.problem,
        erased=stored.is_erased,
    )


def render_record(stored: StoredRecord) -> AuditRecord:
    """The record as whoever asked reads it."""
    return _RECORD.decode(msgspec.json.encode(spell_record(stored)))


def _spelled_event(stored: StoredRecord) -> msgspec.Raw:
    """The event's canonical bytes, if there is one that can be read."""
    event = try_event(stored.body) if stored.body is not None else None
    if event is None or stored.body is None:
        return NO_EVENT
    # What was believed was kept in canonical form, with fields that this release does not know.
    return msgspec.Raw(canonical_bytes(event) if stored.problem else stored.body)


class Keyed(Protocol):
    """A row that something tells from all others."""

    @property
    def key(self) -> str:
        """By which rows are in order."""


RowT = TypeVar("RowT", bound=Keyed)


def page_behind(rows: Iterable[RowT], after: str) -> tuple[tuple[RowT, ...], str]:
    """The rows behind a key that one answer has room for, and where the next page goes on.

    One row is always there, however large; empty: this is the end.
    """
    kept: list[RowT] = []
    size_bytes = 0
    for row in rows:
        if row.key <= after:
            continue
        size_bytes += len(canonical_bytes(row))
        if kept and size_bytes > MAX_PAGE_BYTES:
            return tuple(kept), kept[-1].key
        kept.append(row)
    return tuple(kept), ""


def render_page(stored: list[StoredRecord], *, tree_size: int, more: bool) -> RecordList:
    """The page as it travels."""
    records = tuple(render_record(record) for record in stored)
    return RecordList(records=records, tree_size=tree_size, more=more)


def reading_details(request: RecordFilters) -> dict[str, Any]:
    """What is recorded about a reading: the filters that were set, and how much was asked for."""
    given = {name: getattr(request, name) for name in (*_FILTERS, "before_index", "after_index")}
    filters = {name: value for name, value in given.items() if value not in {"", None}}
    return {"filters": filters, "limit": request.limit}


@dataclass(slots=True)
class Readings:
    """Who is following the log, with which question, and how far they came.

    Kept in memory: after a restart each follower's next question is recorded once more.
    """

    _followed: dict[tuple[str, str], tuple[int, datetime]] = field(default_factory=dict)

    def begins(self, request: ListRecords, *, caller: str, tree_size: int, now: datetime) -> bool:
        """Whether this question begins a reading; no means it goes on with one.

        A question goes on with a reading if the same caller set the same filters before, not long
        ago, and asks only for what was added since the first answer.
        """
        key = (caller, _question(request))
        followed = self._followed.get(key)
        self._forget(now)
        is_continued = (
            followed is not None
            and request.after_index is not None
            and request.after_index >= followed[0] - 1
            and now - followed[1] <= FOLLOW_LAPSE
        )
        first = followed[0] if is_continued and followed is not None else tree_size
        self._followed[key] = (first, now)
        return not is_continued

    def _forget(self, now: datetime) -> None:
        lapsed = [key for key, (_, at) in self._followed.items() if now - at > FOLLOW_LAPSE]
        for key in lapsed:
            del self._followed[key]


def _question(request: ListRecords) -> str:
    """What stays the same while somebody follows."""
    return canonical_digest(
        [getattr(request, name) for name in (*EQUAL_FILTERS, "action", "licence", "space")]
    )


def _moment(request: RecordFilters, name: str, reasons: list[Reason]) -> int | None:
    text = getattr(request, name)
    if not text:
        return None
    try:
        return parse_time_us(text)
    except UnbelievableError as error:
        rule = error.message.replace("its time", "the time")
        reasons.append(Reason(path=name, rule=rule, got=text, allowed="2026-01-02T03:04:05Z"))
        return None
