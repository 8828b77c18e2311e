# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Typed key-value buckets with compare-and-set, read without consumers.

Rules:
 * A key whose newest message is a delete, purge or expiry marker does not exist, whichever of its
   headers says so (NATS ADR-8 and ADR-48; nats-py knows only the first two).
 * A write that was not acknowledged is repeated under one id, and one that succeeded unheard is
   recognised by that id and not reported as a conflict.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final, Generic, TypeVar

import msgspec
import structlog

from shared.adapters.bus_errors import MessageTooLargeError
from shared.adapters.connection import Connection
from shared.adapters.direct_get import Stored, get_last, get_last_of_each, take_last_of_each
from shared.adapters.fencing import FencedWrites
from shared.adapters.following import Follower
from shared.adapters.stored_publish import Acknowledged, ExpectationFailedError, publish_stored
from shared.contracts.base import Bucket
from shared.contracts.errors import ErrorCode
from shared.contracts.storage import kv_stream, kv_subject
from shared.errors import FaultError, RefusedError

RecordT = TypeVar("RecordT", bound=msgspec.Struct)

TOMBSTONE_SECONDS: Final = 3600
"""How long a deleted key leaves a marker in a bucket whose keys may expire."""

_log = structlog.get_logger()

_OPERATION: Final = "KV-Operation"
_MARKER_REASON: Final = "Nats-Marker-Reason"
_MESSAGE_ID: Final = "Nats-Msg-Id"
_EXPECTED: Final = "Nats-Expected-Last-Subject-Sequence"
_EXPECTED_SUBJECT: Final = "Nats-Expected-Last-Subject-Sequence-Subject"
_TTL: Final = "Nats-TTL"


class RevisionConflictError(RefusedError):
    """The key, or the bucket, is not at the revision that was expected; nothing was written."""

    code: ClassVar[ErrorCode] = "conflict"


class UnreadableRecordError(FaultError):
    """A record is not of the bucket's type."""


@dataclass(frozen=True, slots=True)
class Entry(Generic[RecordT]):
    """One key's newest value."""

    key: str
    value: RecordT
    revision: int
    """Sequence in the bucket's stream; goes up with every write to any key."""


@dataclass(frozen=True, slots=True)
class Snapshot(Generic[RecordT]):
    """All keys at one moment."""

    entries: Mapping[str, Entry[RecordT]]
    sequence: int
    """Of the bucket's newest message, deletions included; 0 if there is none."""


class KeyValue(Generic[RecordT]):
    """One bucket, over one connection."""

    def __init__(
        self,
        connection: Connection,
        bucket: Bucket[RecordT],
        *,
        spawn: Callable[[Coroutine[Any, Any, None]], None],
        writes: Callable[[], FencedWrites | None] = lambda: None,
    ) -> None:
        """`writes` gives those of a leader; while there are none, whoever has the right writes."""
        self.bucket: Final = bucket
        self._writes: Final = writes
        self._connection: Final = connection
        self._spawn: Final = spawn
        self._stream: Final = kv_stream(bucket.name)
        self._prefix: Final = kv_subject(bucket.name, "")

    async def get(self, key: str) -> Entry[RecordT] | None:
        """The key's newest value; None if there is none.

        Raises:
            FaultError: It cannot be read.
        """
        stored = await self._last(key)
        return None if stored is None else self._entry(stored)

    async def snapshot(
        self, *, kept_as: Callable[[RecordT], RecordT] = lambda record: record
    ) -> Snapshot[RecordT]:
        """All keys, and the sequence that `update_in_bucket` takes.

        Each record is what `kept_as` makes of it, asked as records come: of many large ones no more
        is held at a time than that, and what has just come.  In a bucket where each key has its own
        writer, an unreadable record is logged and left out.

        Raises:
            UnreadableRecordError: In any other bucket.
        """
        return await self._snapshot(">", kept_as)

    async def entries(self, prefix: str = "") -> list[Entry[RecordT]]:
        """All keys that start with the tokens of `prefix`, by key.

        Args:
            prefix: Empty, or whole tokens with a final `.`.
        """
        found = await self._snapshot(f"{prefix}>", lambda record: record)
        return sorted(found.entries.values(), key=lambda entry: entry.key)

    async def create(self, key: str, value: RecordT, *, ttl_seconds: int | None = None) -> int:
        """The key exists and did not before.

        Raises:
            RevisionConflictError: It does.
        """
        try:
            return await self._write(key, value, expected=0, ttl_seconds=ttl_seconds)
        except RevisionConflictError:
            stored = await self._last(key)
            if stored is None or self._entry(stored) is not None:
                raise
        # What is there is only a marker.
        return await self._write(key, value, expected=stored.sequence, ttl_seconds=ttl_seconds)

    async def update(self, key: str, value: RecordT, *, revision: int) -> int:
        """The key has the value; it was at `revision` (0: it had never been written).

        Raises:
            RevisionConflictError: It was not.
        """
        return await self._write(key, value, expected=revision)

    async def update_in_bucket(self, key: str, value: RecordT, *, sequence: int) -> int:
        """The key has the value; nothing in the whole bucket was written after `sequence`.

        Raises:
            RevisionConflictError: Something was.
        """
        return await self._write(key, value, expected=sequence, expected_on=f"{self._prefix}>")

    async def put(self, key: str, value: RecordT, *, ttl_seconds: int | None = None) -> int:
        """The key has the value, whatever it had; for keys that one process writes.

        Raises:
            MessageTooLargeError: Here and in the other writes; nothing was stored.
            FaultError: It may not be stored.
        """
        return await self._write(key, value, ttl_seconds=ttl_seconds)

    async def delete(self, key: str) -> None:
        """The key does not exist."""
        headers = {_OPERATION: "PURGE", "Nats-Rollup": "sub"}
        if self.bucket.message_ttl:
            headers[_TTL] = str(TOMBSTONE_SECONDS)
        await self._publish(key, b"", headers)

    async def follow(
        self,
        key_filter: str,
        handler: Callable[[str, RecordT | None, int], Awaitable[None]],
        *,
        relist_seconds: float = 60.0,
    ) -> asyncio.Event:
        """From now on `handler(key, value, revision)` is told what is stored.

        Called for every key that exists, then for every change (None: deleted), one call at a
        time, newest value first and intermediate ones left out.  All keys are read again after a
        reconnection and every `relist_seconds`, so a change is at worst late.  A FaultError of the
        handler makes it be called again; anything else ends the process.  A record that cannot be
        read is logged and left out.

        Args:
            key_filter: A key, or a NATS wildcard as `>`.
            handler: Told only what is stored: a refused compare-and-set is never seen.
            relist_seconds: See above.

        Returns:
            What is set once every key that existed was handed on.

        Raises:
            NotPermittedError: The keys are not this user's to follow.
        """

        async def hand_on(stored: Stored) -> None:
            try:
                value = self._value(stored)
            except UnreadableRecordError as fault:
                _log.error("record_skipped", why=fault.message)
                return
            await handler(self._key(stored), value, stored.sequence)

        follower = Follower(
            read=self._stored,
            handler=hand_on,
            subject=f"{self._prefix}{key_filter}",
            relist_seconds=relist_seconds,
        )
        self._connection.on_reconnect(follower.relist)
        await self._connection.subscribe(follower.subject, follower.on_message)
        self._spawn(follower.run())
        return follower.has_listed

    async def _snapshot(
        self, key_filter: str, kept_as: Callable[[RecordT], RecordT]
    ) -> Snapshot[RecordT]:
        entries: dict[str, Entry[RecordT]] = {}
        sequence = 0

        def take(stored: Stored) -> None:
            nonlocal sequence
            sequence = max(sequence, stored.sequence)
            entry = self._listed(stored)
            entries.pop(self._key(stored), None)
            if entry is not None:
                entries[entry.key] = replace(entry, value=kept_as(entry.value))

        subject = f"{self._prefix}{key_filter}"
        await take_last_of_each(self._connection, self._stream, subject, take)
        return Snapshot(entries, sequence)

    async def _stored(self, subject: str) -> list[Stored]:
        if "*" in subject or subject.endswith(">"):
            return await get_last_of_each(self._connection, self._stream, subject)
        stored = await get_last(self._connection, self._stream, subject)
        return [] if stored is None else [stored]

    async def _last(self, key: str) -> Stored | None:
        return await get_last(self._connection, self._stream, f"{self._prefix}{key}")

    async def _write(
        self,
        key: str,
        value: RecordT,
        *,
        expected: int | None = None,
        expected_on: str = "",
        ttl_seconds: int | None = None,
    ) -> int:
        headers: dict[str, str] = {}
        if expected is not None:
            headers[_EXPECTED] = str(expected)
        if expected_on:
            headers[_EXPECTED_SUBJECT] = expected_on
        if ttl_seconds is not None:
            headers[_TTL] = str(ttl_seconds)
        data = msgspec.json.encode(value)
        if len(data) > self.bucket.max_value_bytes:
            raise MessageTooLargeError(
                f"{self.bucket.name}/{key}: {len(data)} bytes, "
                f"at most {self.bucket.max_value_bytes} fit"
            )
        return await self._publish(key, data, headers)

    async def _publish(self, key: str, data: bytes, headers: Mapping[str, str]) -> int:
        message_id = secrets.token_hex(16)
        try:
            acknowledged = await self._store(
                f"{self._prefix}{key}", data, message_id=message_id, headers=headers
            )
        except ExpectationFailedError as failed:
            stored = await self._last(key) if failed.after_unknown else None
            if stored is not None and stored.headers.get(_MESSAGE_ID) == message_id:
                return stored.sequence
            raise RevisionConflictError(
                f"{self.bucket.name}/{key} was changed by somebody else meanwhile"
            ) from failed
        return acknowledged.sequence

    async def _store(
        self, subject: str, data: bytes, *, message_id: str, headers: Mapping[str, str]
    ) -> Acknowledged:
        writes = self._writes()
        fenced = None if writes is None else writes.stream(self.bucket.name)
        if fenced is not None:
            return await fenced.publish(subject, data, message_id=message_id, headers=headers)
        return await publish_stored(
            self._connection, subject, data, message_id=message_id, headers=headers
        )

    def _listed(self, stored: Stored) -> Entry[RecordT] | None:
        try:
            return self._entry(stored)
        except UnreadableRecordError as fault:
            if not self.bucket.has_writer_per_key:
                raise
            _log.warning("record_left_out", why=fault.message)
            return None

    def _entry(self, stored: Stored) -> Entry[RecordT] | None:
        value = self._value(stored)
        return None if value is None else Entry(self._key(stored), value, stored.sequence)

    def _key(self, stored: Stored) -> str:
        return stored.subject.removeprefix(self._prefix)

    def _value(self, stored: Stored) -> RecordT | None:
        if _OPERATION in stored.headers or _MARKER_REASON in stored.headers:
            return None
        try:
            return msgspec.json.decode(stored.data, type=self.bucket.record)
        except msgspec.DecodeError as error:
            raise UnreadableRecordError(
                f"{self.bucket.name}/{self._key(stored)}: not readable: {error}"
            ) from error
