# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Questions to the log as people put them, and their answers record by record, of any size."""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final, NamedTuple

import msgspec
from cyclopts import Parameter

from cli.moments import parse_moment, parse_zone
from cli.people import Names, keys_of
from cli.raw_records import STREAM_RAW_RECORDS, RawChunk, number_of, read_record
from shared.adapters.bus import Bus
from shared.contracts.audit import AuditRecord, StreamRecords
from shared.errors import FaultError
from shared.validation import convert_document

CHUNK_RECORDS: Final = 1000
CHUNK_SCANNED: Final = 20_000
CHUNKS_AHEAD: Final = 2
SCAN_LIMIT: Final = 1_000_000
PATIENCE_SECONDS: Final = 30.0
RETRY_SECONDS: Final = 1.0

_Head = tuple[int, bool, int, bytes | None]
"""What comes next of one question: place in the order, whether its scan stopped there, which."""
Advance = Callable[[int, int], None]
"""Told how many records were passed, and of how many."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Filters:
    """Which records are asked for; those that match all of these."""

    since: Annotated[
        str, Parameter(help="From then on: 1h, 7d, 2026-01-02, '2026-01-02 09:00', RFC 3339.")
    ] = ""
    until: Annotated[str, Parameter(help="Before then.")] = ""
    zone: Annotated[
        str, Parameter(help="Time zone of times without one, as Europe/Berlin; else UTC.")
    ] = ""
    actor: Annotated[str, Parameter(help="Who asked: a public key, or a name.")] = ""
    action: Annotated[str, Parameter(help="What, as deployment.apply or 'chain.*'.")] = ""
    package: str = ""
    node: str = ""
    deployment: str = ""
    outcome: Annotated[str, Parameter(help="accepted, refused, succeeded, failed or observed.")] = (
        ""
    )
    correlation: Annotated[str, Parameter(help="Command id.")] = ""
    event_id: Annotated[str, Parameter(help="Id of one event.")] = ""
    licence: Annotated[str, Parameter(help="SPDX expression, as MIT or `*GPL-2.0*`.")] = ""
    space: Annotated[str, Parameter(help="Told to this audience: public, or a space.")] = ""
    where: Annotated[
        str, Parameter(help="""Any field, as 'details.phase == "requested" and has actor'.""")
    ] = ""
    text: Annotated[str, Parameter(help="Text in any field, whatever the case.")] = ""


def requests_of(
    filters: Filters, names: Names, *, now: datetime, **more: Any
) -> list[StreamRecords]:
    """The questions: one for each key that the actor had.

    Args:
        filters: As they were given.
        names: Of actors.
        now: What times ago are counted from.
        more: Further fields of the request.

    Raises:
        RefusedError: Naming what cannot be asked.
    """
    zone = parse_zone(filters.zone)
    given: dict[str, Any] = {
        name: getattr(filters, name)
        for name in ("action", "package", "node", "deployment", "outcome", "correlation",
                     "event_id", "licence", "space", "where", "text")
    }  # fmt: skip
    for name in ("since", "until"):
        text = getattr(filters, name)
        given[name] = parse_moment(text, now=now, path=f"--{name}", zone=zone)
    return [
        convert_document({**given, **more, "actor": key}, StreamRecords, what="audit log")
        for key in (keys_of(filters.actor, names) if filters.actor else ("",))
    ]


class Answer:
    """The records that match any of some questions, which differ in their actor alone."""

    def __init__(
        self,
        bus: Bus,
        requests: Sequence[StreamRecords],
        *,
        limit: int | None = None,
        scan_limit: int = SCAN_LIMIT,
        advance: Advance = lambda _, __: None,
    ) -> None:
        """Nothing is asked yet.

        Args:
            bus: Where.
            requests: What.
            limit: Records at most; None for all.
            scan_limit: Records looked at one by one, at most, for each question.
            advance: Told about progress.
        """
        self._order: Final = 1 if requests[0].order == "oldest" else -1
        self._limit: Final = limit
        self._parts: Final = [
            _Part(bus, request, limit=limit, scan_limit=scan_limit, advance=advance)
            for request in requests
        ]
        self.position: int | None = None
        """Where to go on; None: everything that matches was given."""
        self.count = 0
        """Records that were given."""

    @property
    def tree_size(self) -> int:
        """Leaves in the log, as far as is known."""
        return max(part.tree_size for part in self._parts)

    @property
    def scanned(self) -> int:
        """Records that were looked at."""
        return sum(part.scanned for part in self._parts)

    async def records(self) -> AsyncIterator[AuditRecord]:
        """Each record once, in the order of the questions.

        Raises:
            FaultError: The auditor did not answer for a while; `position` says where to go on.
        """
        async for record in self._merged():
            yield read_record(record)

    async def batches(self) -> AsyncGenerator[Sequence[bytes], None]:
        """The same in JSON, many at once; while one is dealt with, the next is asked for.

        Raises:
            FaultError: As `records`.
        """
        if len(self._parts) == 1 and self._limit is None:
            async with aclosing(self._parts[0].chunks(ahead=True)) as chunks:
                async for chunk in chunks:
                    self.count += len(chunk.records)
                    self.position = chunk.position
                    yield chunk.records
            return
        batch: list[bytes] = []
        async for record in self._merged():
            batch.append(record)
            if len(batch) == CHUNK_RECORDS:
                yield batch
                batch = []
        yield batch

    async def _merged(self) -> AsyncIterator[bytes]:
        streams = [part.items() for part in self._parts]
        heads: list[_Head] = []
        for number in range(len(streams)):
            await self._pull(streams, number, heads)
        while heads:
            place, _, number, record = heapq.heappop(heads)
            self.position = place * self._order
            if record is None:
                return
            self.count += 1
            yield record
            if self.count == self._limit:
                if not heads and not self._parts[number].has_more:
                    self.position = None
                return
            await self._pull(streams, number, heads)
        self.position = None

    async def _pull(
        self,
        streams: Sequence[AsyncIterator[tuple[int, bytes | None]]],
        number: int,
        heads: list[_Head],
    ) -> None:
        async for index, record in streams[number]:
            heapq.heappush(heads, (index * self._order, record is None, number, record))
            return


class _Asked(NamedTuple):
    """A chunk that was asked for before the one before it was dealt with."""

    after: int
    end: int
    """Number of its last record, if it has as many as were asked for and none is left out."""
    answer: asyncio.Task[RawChunk]


async def _drop(asked: deque[_Asked]) -> None:
    """Nobody waits for these any more."""
    for one in asked:
        one.answer.cancel()
    await asyncio.gather(*(one.answer for one in asked), return_exceptions=True)
    asked.clear()


class _Part:
    """The answer to one question."""

    def __init__(
        self,
        bus: Bus,
        request: StreamRecords,
        *,
        limit: int | None,
        scan_limit: int,
        advance: Advance,
    ) -> None:
        self._bus: Final = bus
        at_once = CHUNK_RECORDS if limit is None else min(max(limit, 1), CHUNK_RECORDS)
        self._request = msgspec.structs.replace(request, limit=at_once)
        self._is_scan: Final = bool(request.where.strip() or request.text)
        self._scan_limit: Final = scan_limit
        self._advance: Final = advance
        self._width = 0
        """Records of the chunks that are asked for before it is known where they begin."""
        self.tree_size = 0
        self.scanned = 0
        self.has_more = False
        """Whether there may be records after the one given last."""

    async def items(self) -> AsyncIterator[tuple[int, bytes | None]]:
        """Indexes and records; None for a record is where the scan stopped."""
        position = None
        async with aclosing(self.chunks()) as chunks:
            async for chunk in chunks:
                position = chunk.position
                for place, record in enumerate(chunk.records, start=1):
                    self.has_more = position is not None or place < len(chunk.records)
                    yield number_of(record), record
        if position is not None:
            yield position, None

    async def chunks(self, *, ahead: bool = False) -> AsyncGenerator[RawChunk, None]:
        """The answer; a position in its last chunk is where the scan stopped.

        Args:
            ahead: Whether the next ones are asked for while one is dealt with.
        """
        asked: deque[_Asked] = deque()
        try:
            chunk = await self._ask(self._next(), is_patient=False)
            while True:
                count, after = len(chunk.records), self._after
                self._note(chunk)
                is_scanned = self._is_scan and self.scanned >= self._scan_limit
                if chunk.position is None or is_scanned:
                    yield chunk
                    return
                if ahead:
                    is_dense = not self._is_descending and chunk.position == after + count
                    await self._ask_ahead(asked, chunk.position, count if is_dense else 0)
                yield chunk
                known = asked.popleft().answer if asked else None
                chunk = await (known or self._ask(self._next(), is_patient=True))
        finally:
            await _drop(asked)

    async def _ask_ahead(self, asked: deque[_Asked], position: int, count: int) -> None:
        """What comes next is asked for; and what comes then, if it can be told where that begins.

        Args:
            asked: What was asked for already, in order.
            position: Where the newest chunk ended.
            count: Its records, with none left out before any of them; 0: some were.
        """
        if asked and asked[0].after != position:
            # A chunk may end before it has as many records as were asked for.
            await _drop(asked)
            self._width = 0
        grown = self._width + 1 if self._width else count * 7 // 8
        self._width = max(1, min(grown, CHUNK_RECORDS)) if count else 0
        if not self._width and not asked:
            request = self._next()
            asked.append(_Asked(position, position, self._soon(request)))
        while self._width and len(asked) < CHUNKS_AHEAD:
            start = asked[-1].end if asked else position
            if asked and start + 1 >= (self._request.before_index or 0):
                return
            request = msgspec.structs.replace(self._next(), after_index=start, limit=self._width)
            asked.append(_Asked(start, start + self._width, self._soon(request)))

    def _soon(self, request: StreamRecords) -> asyncio.Task[RawChunk]:
        return asyncio.create_task(self._ask(request, is_patient=True))

    @property
    def _after(self) -> int:
        after = self._request.after_index
        return -1 if after is None else after

    @property
    def _is_descending(self) -> bool:
        return self._request.order != "oldest"

    def _next(self) -> StreamRecords:
        """What comes next."""
        left = max(1, self._scan_limit - self.scanned)
        return msgspec.structs.replace(self._request, scan_limit=min(left, CHUNK_SCANNED))

    def _note(self, chunk: RawChunk) -> None:
        self.scanned += chunk.scanned
        self.tree_size = chunk.tree_size
        request = self._request
        after = self._after
        before = request.before_index
        before = chunk.tree_size if before is None else min(before, chunk.tree_size)
        position = chunk.position
        if not self._is_descending:
            # What is recorded meanwhile belongs to another answer.
            moved = {"before_index": before}
            moved |= {} if position is None else {"after_index": position}
            left = 0 if position is None else before - position - 1
        else:
            moved = {} if position is None else {"before_index": position}
            left = 0 if position is None else position - after - 1
        self._request = msgspec.structs.replace(request, **moved)
        self._advance(chunk.tree_size - left, chunk.tree_size)

    async def _ask(self, request: StreamRecords, *, is_patient: bool) -> RawChunk:
        """The next chunk; once there was one, a fault is waited out."""
        loop = asyncio.get_running_loop()
        gives_up_at = loop.time() + PATIENCE_SECONDS
        while True:
            try:
                return await self._bus.request(
                    STREAM_RAW_RECORDS, request, timeout_seconds=PATIENCE_SECONDS
                )
            except FaultError:
                if not is_patient or loop.time() > gives_up_at:
                    raise
                await asyncio.sleep(RETRY_SECONDS)
