# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Answers of any size, chunk by chunk: what of each page belongs to one, and where the next begins.

Pure.  The store gives pages of what has an index; what has none is looked for in those, until the
chunk is full or enough was looked at.

Rules:
 * A chunk says where to go on exactly when there may be more; no record is left out between two
   chunks, and none is in both.
 * The chunks of one question are one reading of the log, recorded when it begins.  A chunk belongs
   to a reading only if the reading's record covers it: same caller, same question, and no record
   outside of those that were asked about then.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

from services.auditor.expressions import Expression, UnreadableExpressionError, parse_expression
from services.auditor.matching import has_text, matches, stored_document
from services.auditor.query import (
    EQUAL_FILTERS,
    MAX_PAGE_BYTES,
    RecordQuery,
    SpelledRecord,
    StoredRecord,
    parse_query,
    reading_details,
    render_record,
    spell_record,
)
from shared.canonical import canonical_digest
from shared.contracts.audit import RecordChunk, StreamRecords
from shared.contracts.base import Message
from shared.contracts.events import Audience
from shared.errors import RefusedError

READING_LAPSE: Final = timedelta(minutes=5)
"""Whoever was silent for longer begins a new reading."""
SCANNED_AT_ONCE: Final = 1000
_UNBOUNDED: Final = 2**63


@dataclass(frozen=True, slots=True)
class Search:
    """A question whose answer comes in chunks."""

    query: RecordQuery
    """Its limit is the records of a chunk, at most."""
    where: Expression | None
    text: str
    scan_limit: int

    @property
    def is_scan(self) -> bool:
        """Whether records have to be looked at one by one."""
        return self.where is not None or bool(self.text)

    def keeps(self, stored: StoredRecord) -> bool:
        """Whether a record that the store found belongs to the answer."""
        if not self.is_scan:
            return True
        document = stored_document(stored)
        return (self.where is None or matches(self.where, document)) and (
            not self.text or has_text(document, self.text)
        )


def parse_search(request: StreamRecords, *, audiences: frozenset[Audience]) -> Search:
    """The question in the request.

    Args:
        request: As it came.
        audiences: Those that the caller sees.

    Raises:
        RefusedError: A time or the expression cannot be read; each of them is named.
    """
    problems: list[RefusedError] = []
    query, where = None, None
    try:
        query = parse_query(request, audiences=audiences)
    except RefusedError as error:
        problems.append(error)
    try:
        where = parse_expression(request.where) if request.where.strip() else None
    except UnreadableExpressionError as error:
        problems.append(error)
    if query is None or problems:
        reasons = [reason for problem in problems for reason in problem.reasons]
        raise RefusedError("; ".join(problem.message for problem in problems), reasons)
    is_scan = where is not None or bool(request.text)
    ordered = replace(
        query,
        is_ascending=request.order == "oldest",
        lists_restricted=query.lists_restricted and not is_scan,
    )
    return Search(ordered, where, request.text, request.scan_limit)


class SpelledChunk(Message, frozen=True, kw_only=True):
    """A RecordChunk as it travels."""

    records: tuple[SpelledRecord, ...]
    tree_size: int
    scanned: int
    position: int | None = None


class Chunk:
    """One chunk while pages are put into it."""

    def __init__(self, search: Search) -> None:
        self._search: Final = search
        self._records: Final[list[StoredRecord]] = []
        self._bytes = 0
        self._scanned = 0
        self._position: int | None = None
        self._is_done = False
        self._tree_size = 0

    def next_page(self) -> RecordQuery | None:
        """What to ask the store for; None once the chunk is complete."""
        search = self._search
        if self._is_done:
            return None
        limit = search.query.limit
        if search.is_scan:
            limit = min(SCANNED_AT_ONCE, search.scan_limit - self._scanned)
        return self._after(replace(search.query, limit=limit))

    def take(self, page: list[StoredRecord], tree_size: int, *, more: bool) -> None:
        """Put in what `next_page` led to."""
        self._tree_size = tree_size
        search = self._search
        for place, stored in enumerate(page):
            if search.keeps(stored):
                size_bytes = len(stored.leaf) + len(stored.body or b"")
                if self._records and self._bytes + size_bytes > MAX_PAGE_BYTES:
                    self._is_done = True  # it begins the next chunk
                    return
                self._records.append(stored)
                self._bytes += size_bytes
            self._scanned += 1
            self._position = stored.index
            if len(self._records) == search.query.limit and (more or place < len(page) - 1):
                self._is_done = True
                return
        if not more:
            self._position = None
        is_enough = not search.is_scan or self._scanned >= search.scan_limit
        self._is_done = is_enough or not more

    def render(self) -> RecordChunk:
        """The chunk as whoever asked reads it."""
        return RecordChunk(
            records=tuple(render_record(stored) for stored in self._records),
            tree_size=self._tree_size,
            scanned=self._scanned,
            position=self._position,
        )

    def spell(self) -> SpelledChunk:
        """The same as it travels, in the bytes in which events were kept."""
        return SpelledChunk(
            records=tuple(spell_record(stored) for stored in self._records),
            tree_size=self._tree_size,
            scanned=self._scanned,
            position=self._position,
        )

    def _after(self, query: RecordQuery) -> RecordQuery:
        if self._position is None:
            return query
        if query.is_ascending:
            return replace(query, above=self._position)
        return replace(query, below=self._position)


def search_details(request: StreamRecords) -> dict[str, Any]:
    """What is recorded about a reading: the filters that were set, and how much was asked for."""
    details = reading_details(request)
    searched = {"where": request.where, "text": request.text}
    details["filters"] |= {name: value for name, value in searched.items() if value}
    return {**details, "order": request.order}


@dataclass(slots=True)
class StreamReadings:
    """Which questions were recorded, and about which records.

    Kept in memory: after a restart each caller's next chunk is recorded once more.
    """

    _begun: dict[tuple[str, str], tuple[int, int, datetime]] = field(default_factory=dict)

    def begins(self, request: StreamRecords, *, caller: str, now: datetime) -> bool:
        """Whether this question begins a reading; no means a recorded one goes on with it."""
        lapsed = [key for key, (*_, at) in self._begun.items() if now - at > READING_LAPSE]
        for key in lapsed:
            del self._begun[key]
        key = (caller, _question(request))
        asked = _range(request)
        above, below, _ = self._begun.get(key, (_UNBOUNDED, -1, now))
        is_part = above <= asked[0] and asked[1] <= below and asked != (above, below)
        self._begun[key] = (above, below, now) if is_part else (*asked, now)
        return not is_part


def _range(request: StreamRecords) -> tuple[int, int]:
    above = -1 if request.after_index is None else request.after_index
    return above, _UNBOUNDED if request.before_index is None else request.before_index


def _question(request: StreamRecords) -> str:
    """What stays the same from chunk to chunk."""
    names = (*EQUAL_FILTERS, "action", "licence", "space", "since", "until", "where", "text")
    return canonical_digest([getattr(request, name) for name in names])
