# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What one leader may still write, as the server and no clock decides it.

Rules:
 * Every write to a fenced bucket names the last sequence of the bucket's stream.  A leader learns
   it by writing its fence there, and from then on by its own writes alone.  So a write is refused
   once anybody else has written, and a later leader writes its fence first of all.
 * A fence is written by compare-and-set on the fence before, and never over a larger token.
 * After a write whose outcome is not known the fence is written again before anything else: what
   is still under way comes too late then.
 * Every event names the last LEADER_TAKE of its emitter, for the same effect.
 * Writes to one bucket are sent one after another.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Collection, Mapping
from typing import Any, Final

import msgspec
import structlog

from shared.adapters.connection import Connection
from shared.adapters.direct_get import Stored, get_last
from shared.adapters.stored_publish import Acknowledged, ExpectationFailedError, publish_stored
from shared.contracts.base import Bucket
from shared.contracts.leadership import Fence, fence_subject, take_subject
from shared.contracts.storage import EVENT_STREAM, kv_stream
from shared.errors import FaultError

FENCE_ATTEMPTS: Final = 5

LAST_SEQUENCE: Final = "Nats-Expected-Last-Sequence"
LAST_ON_SUBJECT: Final = "Nats-Expected-Last-Subject-Sequence"
THAT_SUBJECT: Final = "Nats-Expected-Last-Subject-Sequence-Subject"
_MESSAGE_ID: Final = "Nats-Msg-Id"

_log = structlog.get_logger()


class FenceLostError(FaultError):
    """Another process leads; nothing was written."""


class FencedWrites:
    """The writes of one leader, for as long as it leads."""

    def __init__(
        self,
        connection: Connection,
        buckets: Collection[Bucket[Any]],
        *,
        token: int,
        instance: str,
        emitter: str,
    ) -> None:
        self.lost: Final = asyncio.Event()
        """Set once the server has refused a write because another process leads."""
        self._connection: Final = connection
        self._fence: Final = Fence(token=token, instance=instance)
        self._streams: Final = {bucket.name: _FencedStream(self, bucket) for bucket in buckets}
        self._take_subject: Final = take_subject(emitter)
        self._taken_at = 0
        """Sequence of the newest LEADER_TAKE that this leader knows."""

    async def open(self) -> None:
        """No earlier leader writes any more; its events are refused once LEADER_TAKE is said.

        Raises:
            FenceLostError: A later one leads already.
            FaultError: The bus does not answer.
        """
        for stream in self._streams.values():
            await stream.take()
        said = await self._last_take()
        self._taken_at = said.sequence if said is not None else 0

    def stream(self, bucket: str) -> _FencedStream | None:
        """Where the bucket is written; None if it is not fenced."""
        return self._streams.get(bucket)

    async def publish_event(
        self, subject: str, data: bytes, *, message_id: str, headers: Mapping[str, str]
    ) -> None:
        """In the event stream, once.

        Raises:
            FenceLostError: Another process leads, and has said so.
            FaultError: Not acknowledged; call again.
        """
        fenced = {**headers, LAST_ON_SUBJECT: str(self._taken_at), THAT_SUBJECT: self._take_subject}
        try:
            stored = await publish_stored(
                self._connection, subject, data, message_id=message_id, headers=fenced
            )
            sequence = stored.sequence
        except ExpectationFailedError as failed:
            sequence = await self._sequence_of(message_id, subject, failed)
        if subject == self._take_subject:
            self._taken_at = max(sequence, self._taken_at)

    def check(self, stored: Stored | None) -> int:
        """The sequence of a fence that may be replaced by ours.

        Raises:
            FenceLostError: It may not.
        """
        if stored is None:
            return 0
        there = msgspec.json.decode(stored.data, type=Fence)
        if there.token < self._fence.token or there == self._fence:
            return stored.sequence
        raise self.lose(f"{there.instance} leads by token {there.token}")

    async def write_fence(self, subject: str, *, after: int) -> int:
        """The fence is ours; its sequence.

        Raises:
            ExpectationFailedError: Somebody else wrote it meanwhile.
        """
        acknowledged = await publish_stored(
            self._connection,
            subject,
            msgspec.json.encode(self._fence),
            message_id=secrets.token_hex(16),
            headers={LAST_ON_SUBJECT: str(after)},
        )
        return acknowledged.sequence

    def lose(self, why: str) -> FenceLostError:
        """The error that says that nothing more will be written."""
        if not self.lost.is_set():
            _log.warning("lead_lost", token=self._fence.token, why=why)
            self.lost.set()
        return FenceLostError(f"this process does not lead any more: {why}")

    @property
    def connection(self) -> Connection:
        """What the writes go through."""
        return self._connection

    async def _sequence_of(
        self, message_id: str, subject: str, failed: ExpectationFailedError
    ) -> int:
        """Of the event if it is stored although the last attempt was refused."""
        said = await self._last_take()
        if said is not None and said.headers.get(_MESSAGE_ID) == message_id:
            return said.sequence
        stored_at = said.sequence if said is not None else 0
        if stored_at > self._taken_at:
            raise self.lose("another process has said that it leads") from failed
        # The stream keeps events for a while only: ours is gone, and nobody's came after it.
        self._taken_at = stored_at
        raise FaultError(f"{subject}: not stored; once more") from failed

    async def _last_take(self) -> Stored | None:
        return await get_last(self._connection, EVENT_STREAM, self._take_subject)


class _FencedStream:
    """One bucket's stream, and what the leader knows to be its last sequence."""

    def __init__(self, writes: FencedWrites, bucket: Bucket[Any]) -> None:
        self._writes: Final = writes
        self._stream: Final = kv_stream(bucket.name)
        self._subject: Final = fence_subject(bucket.name)
        self._lock: Final = asyncio.Lock()
        self._last: int | None = None
        """None: not known; the fence is written before anything else."""

    async def take(self) -> None:
        """The stream's last message is our fence.

        Raises:
            FenceLostError: A later leader's is there.
            FaultError: The bus does not answer.
        """
        async with self._lock:
            await self._take()

    async def publish(
        self, subject: str, data: bytes, *, message_id: str, headers: Mapping[str, str]
    ) -> Acknowledged:
        """Stored, directly after what this leader wrote before.

        Raises:
            FenceLostError: Another process leads.
            ExpectationFailedError: Another expectation does not hold, or somebody who does not lead
                wrote meanwhile.
            FaultError: It may not be stored.
        """
        async with self._lock:
            if self._last is None:
                await self._take()
            expected, self._last = self._last, None
            try:
                stored = await publish_stored(
                    self._writes.connection,
                    subject,
                    data,
                    message_id=message_id,
                    headers={**headers, LAST_SEQUENCE: str(expected)},
                )
            except ExpectationFailedError:
                await self._take()
                raise
            self._last = stored.sequence
            return stored

    async def _take(self) -> None:
        for _ in range(FENCE_ATTEMPTS):
            if self._writes.lost.is_set():
                raise self._writes.lose("its fence was replaced")
            connection = self._writes.connection
            there = self._writes.check(await get_last(connection, self._stream, self._subject))
            try:
                self._last = await self._writes.write_fence(self._subject, after=there)
            except ExpectationFailedError:
                continue
            return
        raise FaultError(f"{self._subject}: is written by somebody else all the time")
