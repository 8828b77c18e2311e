# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What the auditor does unasked: record what the stream holds, sign heads, say what is missing.

A fault is waited out; nothing is acknowledged that was not kept, and nothing is passed over.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Final, Protocol

import msgspec
import structlog

from services.auditor.admission import usable
from services.auditor.checkpoint import (
    LONGEST_INTERVAL,
    TreeHead,
    VerifierKey,
    checkpoint_due_at,
    checkpoint_event,
    is_checkpoint_leaf,
    sign_checkpoint,
    split_note,
    verifier_key,
    with_signatures,
)
from services.auditor.disclosure import gap_events
from services.auditor.log_keys import follow_keys, open_by_any, open_statement
from services.auditor.receipts import (
    NO_RECEIPTS,
    ReceiptHead,
    ReceiptStatement,
    sign_receipts,
)
from services.auditor.records import Draft, StreamEnd, StreamMessage, read_message, time_us_of
from services.auditor.store import LogStore, StoreFaultError, SupersededError
from shared.adapters.exception_groups import beside, plain_task_group
from shared.contracts.events import PUBLIC, Audience, EventBody
from shared.errors import FaultError

PAUSE_SECONDS: Final = 0.5
"""Between two attempts after a fault."""

BATCHES_WAITING: Final = 2
"""One being kept and one ready, so that the disk does not wait for the reading."""

_log = structlog.get_logger()


class Stream(Protocol):
    """The event stream, from a place on."""

    async def end(self) -> StreamEnd:
        """As it is now."""

    async def seek(self, sequence: int) -> None:
        """Go on from there."""

    async def fetch(self) -> list[StreamMessage] | None:
        """What comes next; None: the place was lost."""

    async def acknowledge(self, sequence: int) -> None:
        """Everything up to this sequence is kept."""


class SafeNote(Protocol):
    """A place for the newest signed head beside the log."""

    async def read(self) -> str | None:
        """The note that was written last."""

    async def write(self, note: str) -> None:
        """On disk when this returns."""


class Emitter(Protocol):
    """Says things."""

    async def emit(self, body: EventBody, *, event_id: str, audience: Audience = PUBLIC) -> None:
        """In the event stream, once under this id, for these to see."""


class Heads:
    """Signs the log's heads, collects what witnesses say of them, and knows the newest one."""

    def __init__(
        self,
        *,
        log: LogStore,
        safe: SafeNote,
        origin: str,
        seed: bytes,
        older_seeds: Sequence[bytes] = (),
        chain: Sequence[str] = (),
    ) -> None:
        self._log: Final = log
        self._safe: Final = safe
        self._seed: Final = seed
        self._older_seeds: Final = older_seeds
        self.chain: Final = tuple(chain)
        self._lock: Final = asyncio.Lock()
        self._turn: Final = asyncio.Condition()
        self.key: Final[VerifierKey] = verifier_key(origin, seed=seed)
        first = open_statement(chain[0]).old if chain else self.key
        self._known_keys: Final = follow_keys(first, chain)
        self._newest: tuple[TreeHead, str, datetime] | None = None
        self._kept: tuple[TreeHead, str] | None = None
        self._witnessed: tuple[TreeHead, str] | None = None
        self.receipts: ReceiptHead = NO_RECEIPTS
        """Signed beside the newest head."""

    async def open(self) -> None:
        """The log holds everything that was ever signed, by its own word and by the safe's.

        Raises:
            DamagedLogError: It was rolled back or altered; it must not go on.
        """
        kept = await self._log.newest_checkpoint()
        for note in (await self._safe.read(), kept[1] if kept is not None else None):
            if note is not None:
                head = self.read(note)
                await self._log.check_against(head)
                self._kept = (head, note)

    def read(self, note: str) -> TreeHead:
        """The head in a note that this log signed, with whichever of its keys.

        Raises:
            CheckpointError: It did not.
        """
        return open_by_any(note, self._known_keys)

    async def known(self) -> tuple[TreeHead, str]:
        """A head that was signed before anything new was recorded; the empty log's if none was."""
        if self._newest is not None:
            return self._newest[:2]
        return self._kept or (await self.sign())[:2]

    async def newest(self, *, at_least: int = 0) -> tuple[TreeHead, str, datetime]:
        """The newest signed head, its note and when it was signed; signed now if it is too small.

        Args:
            at_least: Smallest size wanted, at most that of the log.
        """
        newest = self._newest
        if newest is None or newest[0].size < at_least:
            return await self.sign()
        return newest

    async def for_proof(self, size: int) -> tuple[TreeHead, str]:
        """A head of at least `size` records and its note; one that witnesses cosigned, if any."""
        if self._witnessed is not None and self._witnessed[0].size >= size:
            return self._witnessed
        return (await self.newest(at_least=size))[:2]

    async def sign(self) -> tuple[TreeHead, str, datetime]:
        """The log as it is now, signed, kept in the log and in the safe."""
        async with self._lock:
            state, now = self._log.state, datetime.now(UTC)
            head = TreeHead(self.key.name, state.frontier.size, state.frontier.root())
            note = sign_checkpoint(head, seed=self._seed)
            for older in self._older_seeds:
                note = with_signatures(note, split_note(sign_checkpoint(head, seed=older))[1])
            known = self._newest or self._kept
            if known is not None and known[0] == head:
                # What witnesses said of the same head stays said.
                note = with_signatures(known[1], split_note(note)[1])
            said = ReceiptStatement(head.origin, head.size, time_us_of(now), state.receipts)
            await self._log.keep_checkpoint(
                head.size, note, signed_at=now, receipts=sign_receipts(said, seed=self._seed)
            )
            self.receipts = state.receipts
            return await self._show(head, note, now)

    async def add_cosignatures(self, head: TreeHead, note: str, lines: Sequence[str]) -> None:
        """The head, which was signed as `note`, has these verified lines of witnesses as well."""
        async with self._lock:
            newest, witnessed = self._newest, self._witnessed
            if witnessed is not None and witnessed[0] == head:
                note = witnessed[1]
            if newest is not None and newest[0] == head:
                note = with_signatures(newest[1], [*split_note(note)[1], *lines])
                await self._log.replace_note(head.size, note)
                await self._show(head, note, newest[2])
            else:
                note = with_signatures(note, lines)
                await self._log.replace_note(head.size, note)
            if witnessed is None or witnessed[0].size <= head.size:
                self._witnessed = (head, note)

    @property
    def witnessed(self) -> tuple[TreeHead, str] | None:
        """The newest head that a witness cosigned since the start, and its note."""
        return self._witnessed

    async def wait_for(
        self, is_wanted: Callable[[TreeHead, str], bool], *, wait_seconds: float
    ) -> tuple[TreeHead, str, datetime]:
        """The newest head as soon as it is wanted, at the latest after `wait_seconds`."""
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_seconds), self._turn:
                await self._turn.wait_for(
                    lambda: self._newest is not None and is_wanted(*self._newest[:2])
                )
        return await self.newest()

    @property
    def signed_at(self) -> datetime | None:
        """When the newest head was signed; None: not since the start."""
        return None if self._newest is None else self._newest[2]

    @property
    def signed_size(self) -> int:
        """Size of the newest head that this process signed; -1 if none."""
        return -1 if self._newest is None else self._newest[0].size

    def due_at(self, *, size: int, grown_at: datetime) -> datetime:
        """When the next head is to be signed; at once if none was."""
        if self._newest is None:
            return grown_at
        head, _, signed_at = self._newest
        return checkpoint_due_at(
            size=size, signed_size=head.size, signed_at=signed_at, grown_at=grown_at
        )

    async def _show(
        self, head: TreeHead, note: str, signed_at: datetime
    ) -> tuple[TreeHead, str, datetime]:
        await self._safe.write(note)
        self._newest = (head, note, signed_at)
        async with self._turn:
            self._turn.notify_all()
        return self._newest


class Recording:
    """Moves the stream into the log and looks after it, until it is cancelled."""

    def __init__(self, *, stream: Stream, log: LogStore, heads: Heads, emitter: Emitter) -> None:
        self._stream: Final = stream
        self._log: Final = log
        self._heads: Final = heads
        self._emitter: Final = emitter
        self._moved: Final = asyncio.Condition()
        self._grown_at = datetime.now(UTC)
        self._said_at = datetime.min.replace(tzinfo=UTC)
        self.stopped = ""
        """Why nothing can be kept; empty: what comes is kept."""

    async def record(self) -> None:
        """Everything the stream holds and will hold is recorded."""
        while True:
            try:
                await self._record_until_lost()
            except SupersededError:
                raise
            except FaultError as fault:
                if isinstance(fault, StoreFaultError):
                    self.stopped = fault.message
                _log.warning("recording_delayed", why=fault.message)
                await asyncio.sleep(PAUSE_SECONDS)

    async def look_after(self) -> None:
        """Heads are signed when they are due, and gaps are said."""
        while True:
            try:
                await self._look_after()
            except SupersededError:
                raise
            except FaultError as fault:
                _log.warning("signing_delayed", why=fault.message)
                await asyncio.sleep(PAUSE_SECONDS)

    async def hold(self) -> None:
        """The log stays this process's; ends if another one has taken it over."""
        await self._log.hold()

    async def reached(self, sequence: int) -> None:
        """Returns when everything up to this stream sequence is recorded."""
        async with self._moved:
            await self._moved.wait_for(lambda: self._log.state.stream_sequence >= sequence)

    async def _record_until_lost(self) -> None:
        end = await self._stream.end()
        state = self._log.state
        if end.stream_id != state.stream_id or end.sequence < state.stream_sequence:
            _log.info("stream_started", stream_created_at=end.stream_id)
            await self._log.start_stream(end.stream_id, last_sequence=end.sequence)
        after = self._log.state.stream_sequence
        await self._stream.seek(after + 1)
        async with plain_task_group() as tasks:
            await self._record_on(after, tasks)

    async def _record_on(self, after: int, tasks: asyncio.TaskGroup) -> None:
        """Until the place is lost; batches are read while others are being kept."""
        is_sought = True
        room = asyncio.Semaphore(BATCHES_WAITING)
        while (messages := await self._stream.fetch()) is not None:
            if not messages and (await self._stream.end()).sequence > after:
                return  # what comes next went to somebody else: to an auditor that had the log
            fitting, is_torn = usable(messages, after=after, is_sought=is_sought)
            drafts = await asyncio.to_thread(_read, fitting)
            if drafts:
                await room.acquire()
                tasks.create_task(self._keep(drafts, after, room))
                after, is_sought = drafts[-1].message.sequence, False
            if is_torn:
                return
            await asyncio.sleep(0)  # what was read begins to be kept before more is read

    async def _keep(self, drafts: Sequence[Draft], after: int, room: asyncio.Semaphore) -> None:
        now = datetime.now(UTC)
        admission = await self._log.append(drafts, after=after, now=now)
        self.stopped = ""
        room.release()
        await self._stream.acknowledge(drafts[-1].message.sequence)
        for record in admission.records:
            if record.draft.problem:
                _log.warning("problem_recorded", index=record.index, problem=record.draft.problem)
        async with self._moved:
            self._grown_at = now
            self._moved.notify_all()

    async def _look_after(self) -> None:
        for number, gap in await self._log.unannounced_gaps():
            for body, event_id, audience in gap_events(gap):
                await self._emitter.emit(body, event_id=event_id, audience=audience)
            _log.warning("gap_found", **msgspec.to_builtins(gap))
            await self._log.mark_announced(number)
        size = self._log.state.frontier.size
        due_at = self._heads.due_at(size=size, grown_at=self._grown_at)
        wait_seconds = (due_at - datetime.now(UTC)).total_seconds()
        if wait_seconds > 0:
            await self._wait_for_growth(wait_seconds)
            return
        head, note, signed_at = await self._heads.sign()
        if signed_at - self._said_at >= LONGEST_INTERVAL and await self._has_news(head.size):
            body, event_id = checkpoint_event(head, note, self._heads.receipts)
            await self._emitter.emit(body, event_id=event_id)
            self._said_at = signed_at

    async def _wait_for_growth(self, wait_seconds: float) -> None:
        """Until the time is up, or there is something to sign."""
        if self._log.state.frontier.size > self._heads.signed_size:
            await asyncio.sleep(wait_seconds)
            return
        try:
            async with asyncio.timeout(wait_seconds), self._moved:
                await self._moved.wait_for(
                    lambda: self._log.state.frontier.size > self._heads.signed_size
                )
        except TimeoutError:
            return

    async def _has_news(self, size: int) -> bool:
        """Whether anything was recorded since the last head was said, but that saying itself."""
        last = await self._log.record(size - 1) if size else None
        return last is not None and not is_checkpoint_leaf(last.leaf)


@asynccontextmanager
async def at_work(recording: Recording) -> AsyncIterator[None]:
    """A block during which the stream is recorded; what cannot be waited out ends it."""
    async with beside(recording.record(), recording.look_after(), recording.hold()):
        yield


def _read(messages: Sequence[StreamMessage]) -> list[Draft]:
    return [read_message(message) for message in messages]
