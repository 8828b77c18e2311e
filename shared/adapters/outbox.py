# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Commands whose effects happen exactly once, whichever instruction the process dies at.

The order of writes, each acknowledged before the next:

  1. `pending.<command id>`: the answer, the state change and the events, complete
  2. the state change, if nothing else was changed since the decision; of several, the first one
     so, and then all others
  3. side by side: the events in their order, under ids that follow from the command id;
     `heads.heads`, the last sequences; `done.<command id>`, the answer, COMMAND_MEMORY_SECONDS long
  4. `pending.<command id>` is deleted, and then the caller is answered

Whoever finds a pending record does 2 to 4 again; each of them is without effect if it was done.

Rules:
 * One process writes an outbox; its commands are decided one after another.
 * A step that the service takes by itself is written like a command; if the state moved, it is
   given up and decided anew.
 * A fault while deciding leaves nothing behind.  A fault while writing is repaired before
   anything else is decided, and from time to time until it is.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, TypeVar

import msgspec
import structlog

from shared.adapters.callers import Caller
from shared.adapters.exception_groups import plain_task_group
from shared.adapters.kv import RevisionConflictError
from shared.adapters.outbox_bus import OutboxBus
from shared.adapters.outbox_changes import StateMovedError, write_changes
from shared.adapters.service_layer import Handler
from shared.contracts.base import Command, Endpoint, Message
from shared.contracts.events import MAX_EVENT_BYTES, PUBLIC, Actor, Audience, Event, EventBody
from shared.contracts.storage import (
    BUCKETS,
    COMMAND_MEMORY_SECONDS,
    OutboxRecord,
    StateChange,
    outbox_bucket,
)
from shared.errors import FaultError, RefusedError
from shared.outbox_records import (
    DONE,
    HEADS_KEY,
    PENDING,
    SALT_BYTES,
    CommandReusedError,
    Decision,
    EffectTooLargeError,
    Origin,
    check_repeat,
    check_sizes,
    done_record,
    draft_emission,
    draft_heads,
    draft_record,
    draft_refused,
    draft_too_large,
    refused_body,
)
from shared.refusals import parse_refusal

DECISION_ATTEMPTS: Final = 5
REPAIR_PAUSE_SECONDS: Final = 1.0
HEADER_ROOM_BYTES: Final = 1024

CommandT = TypeVar("CommandT", bound=Command)
ReplyT = TypeVar("ReplyT", bound=Message)
AnyEndpoint = Endpoint[Any, Any]
Decide = Callable[[CommandT, Caller, str, datetime], Awaitable[Decision[ReplyT]]]
Concerned = Callable[[CommandT, Caller], Awaitable[Audience]]

_log = structlog.get_logger()


class _Command(NamedTuple):
    endpoint: AnyEndpoint
    decide: Decide[Any, Any]
    concerned: Concerned[Any] | None


class OutboxSharedError(FaultError):
    """Another process writes this outbox."""


class Outbox:
    """The outbox of one service."""

    def __init__(
        self,
        bus: OutboxBus,
        service: str,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._bus: Final = bus
        self._now: Final = now
        self._service: Final = service
        self._bucket: Final = outbox_bucket(service)
        self._records: Final = bus.bucket(self._bucket)
        self._actor: Final = Actor(key=bus.key, role=bus.role, attested=False)
        self._commands: Final[dict[str, _Command]] = {}
        self._lock: Final = asyncio.Lock()
        self._heads: dict[Audience, int] = {}
        self._is_clean = False
        self._is_being_repaired = False

    async def open(self) -> None:
        """Every command that was recorded before is done.  Register all commands first.

        Raises:
            FaultError: The bus does not answer; call again.
        """
        async with self._lock:
            await self._recover()

    def command(
        self,
        endpoint: Endpoint[CommandT, ReplyT],
        decide: Decide[CommandT, ReplyT],
        *,
        concerned: Concerned[CommandT] | None = None,
    ) -> Handler:
        """The handler that serves `endpoint` by what `decide(request, caller, id, now)` says.

        A RefusedError of `decide` is a decision too: answered the same way again, and told to the
        audit log as `<entity>.<verb>`, `refused`.  So is `too_large`, if its effects have no room.

        Args:
            endpoint: Of a command.
            decide: See above; a decision says itself whom its events are for.
            concerned: To which audience it is told that `decide` raised a refusal; None: `public`.
        """
        self._commands[endpoint.subject] = _Command(endpoint, decide, concerned)

        async def handle(request: CommandT, caller: Caller) -> ReplyT:
            command_id = request.command_id or secrets.token_hex(16)
            origin = Origin(
                self._service, command_id, endpoint.subject, request, caller.actor(), caller.name
            )
            try:
                async with self._lock:
                    await self._recover_if_needed()
                    remembered = await self._remembered(origin)
                    record = remembered or await self._execute(origin, caller)
            except CommandReusedError as error:
                audience = await concerned(request, caller) if concerned else PUBLIC
                await self.note_refusal(endpoint, caller, error, audience=audience)
                raise
            if record.outcome.refusal is not None:
                raise parse_refusal(record.outcome.refusal)
            return msgspec.convert(record.outcome.reply, endpoint.reply, str_keys=True)

        return handle

    async def emit(self, body: EventBody, *, event_id: str, audience: Audience = PUBLIC) -> None:
        """The event is in the stream, once, however often this is called with its id.

        Args:
            body: What happened; of one that has no room in the audit log, as much as has.
            event_id: Of letters, digits, `.`, `_` and `-`.
            audience: Whom it is for.

        Raises:
            FaultError: It is not certain yet; call again.
        """
        async with self._lock:
            await self._recover_if_needed()
            if await self._records.get(f"{DONE}{event_id}") is not None:
                return
            record = draft_emission(
                body,
                event_id=event_id,
                service=self._service,
                actor=self._actor,
                heads=self._heads,
                salt=secrets.token_bytes(SALT_BYTES),
                now=self._now(),
                audience=audience,
                event_limit_bytes=min(
                    MAX_EVENT_BYTES, self._bus.max_payload_bytes - HEADER_ROOM_BYTES
                ),
            )
            await self._commit(record)

    async def step(self, decision: Decision[Any], *, step_id: str) -> bool:
        """Whether the change and its events happened, once, however often this is called.

        If not, the state had moved since the decision, and nothing happened.

        Args:
            decision: That no command asked for; what it changes is marked with `step_id`.
            step_id: Of letters, digits, `.`, `_` and `-`.

        Raises:
            EffectTooLargeError: There is no room for what it leads to.
            FaultError: It is not certain yet; call again.
        """
        origin = Origin(self._service, step_id, "", Command(), self._actor)
        async with self._lock:
            await self._recover_if_needed()
            if await self._records.get(f"{DONE}{step_id}") is not None:
                return True
            return await self._commit(self._drafted(origin, decision, self._now()))

    async def note_refusal(
        self,
        at: AnyEndpoint,
        caller: Caller | None,
        why: RefusedError,
        *,
        audience: Audience = PUBLIC,
    ) -> None:
        """The audit log knows of a command that was refused before anybody decided about it."""
        told = refused_body(at, why, caller.actor() if caller else None)
        await self.emit(told, event_id=f"refused-{secrets.token_hex(16)}", audience=audience)

    async def _remembered(self, origin: Origin) -> OutboxRecord | None:
        done = await self._records.get(f"{DONE}{origin.command_id}")
        if done is None:
            return None
        check_repeat(done.value, origin)
        return done.value

    async def _execute(self, origin: Origin, caller: Caller) -> OutboxRecord:
        """Decided and done; decided again if the state moved meanwhile."""
        for _ in range(DECISION_ATTEMPTS):
            record = await self._decide(origin, caller)
            if await self._commit(record):
                return record
        raise StateMovedError("the state changes faster than can be decided; ask again")

    async def _decide(self, origin: Origin, caller: Caller) -> OutboxRecord:
        endpoint, decide, concerned = self._commands[origin.subject]
        now = self._now()
        decision: Decision[Any]
        try:
            decision = await decide(origin.request, caller, origin.command_id, now)
        except RefusedError as error:
            audience = await concerned(origin.request, caller) if concerned else PUBLIC
            decision = draft_refused(endpoint, error, audience=audience)
        try:
            return self._drafted(origin, decision, now)
        except EffectTooLargeError as error:
            decision = draft_too_large(endpoint, error, audience=decision.audience)
            return self._drafted(origin, decision, now)

    def _drafted(self, origin: Origin, decision: Decision[Any], now: datetime) -> OutboxRecord:
        payload_limit_bytes = self._bus.max_payload_bytes - HEADER_ROOM_BYTES
        record = draft_record(
            origin,
            decision,
            heads=self._heads,
            salts=[secrets.token_bytes(SALT_BYTES) for _ in decision.events],
            now=now,
            event_limit_bytes=min(MAX_EVENT_BYTES, payload_limit_bytes),
        )
        check_sizes(
            record,
            record_limit_bytes=min(self._bucket.max_value_bytes, payload_limit_bytes),
            change_limit_bytes=min(_limit_bytes(record.change), payload_limit_bytes),
        )
        return record

    async def _commit(self, record: OutboxRecord) -> bool:
        """Whether all writes are done; if not, the state had moved and nothing is left behind."""
        self._is_clean = False
        try:
            await self._create_pending(record)
            is_done = await self._finish(record)
            if not is_done:
                await self._records.delete(f"{PENDING}{record.command_id}")
        except FaultError:
            self._repair_soon()
            raise
        self._is_clean = True
        return is_done

    async def _create_pending(self, record: OutboxRecord) -> None:
        try:
            await self._records.create(f"{PENDING}{record.command_id}", record)
        except RevisionConflictError as error:
            raise OutboxSharedError("another process writes this outbox") from error

    async def _finish(self, record: OutboxRecord) -> bool:
        """Everything after the pending record; False, and nothing done, if the state had moved."""
        if not await write_changes(self._bus, record):
            return False
        heads = {
            audience: max(sequence, self._heads.get(audience, 0))
            for audience, sequence in (self._heads | record.heads).items()
        }
        async with plain_task_group() as tasks:
            tasks.create_task(self._publish(record.events))
            tasks.create_task(self._write_heads(heads))
            tasks.create_task(self._remember(record))
        self._heads = heads
        await self._records.delete(f"{PENDING}{record.command_id}")
        return True

    async def _publish(self, events: tuple[Event, ...]) -> None:
        for event in events:
            await self._bus.publish_event(event)

    async def _remember(self, record: OutboxRecord) -> None:
        await self._records.put(
            f"{DONE}{record.command_id}",
            done_record(record),
            ttl_seconds=COMMAND_MEMORY_SECONDS,
        )

    async def _write_heads(self, heads: dict[Audience, int]) -> None:
        record = draft_heads(heads, actor=self._actor, now=self._now())
        await self._records.put(HEADS_KEY, record)

    async def _recover_if_needed(self) -> None:
        if not self._is_clean:
            await self._recover()

    async def _recover(self) -> None:
        """No pending record is left, and the heads are those that were used last."""
        stored = await self._records.get(HEADS_KEY)
        self._heads = dict(stored.value.heads) if stored is not None else {}
        # Writes of one connection are stored in order: after this one is acknowledged, all that
        # were sent before it, and given up waiting for, can be read.
        await self._write_heads(self._heads)
        pending = await self._records.entries(PENDING)
        for entry in sorted(pending, key=lambda entry: entry.revision):
            await self._resume(entry.value)
        self._is_clean = True

    async def _resume(self, record: OutboxRecord) -> None:
        """All of the record's writes are done; decided again if the state moved before them."""
        _log.info("command_resumed", command_id=record.command_id, subject=record.subject)
        for _ in range(DECISION_ATTEMPTS):
            if await self._finish(record):
                return
            if not record.subject:
                await self._records.delete(f"{PENDING}{record.command_id}")
                return
            if record.subject not in self._commands:
                raise StateMovedError(f"{record.subject}: a command waits that nobody here decides")
            endpoint = self._commands[record.subject].endpoint
            request = msgspec.convert(record.request, endpoint.request, str_keys=True)
            actor, name = record.actor, record.name
            origin = Origin(self._service, record.command_id, record.subject, request, actor, name)
            record = await self._decide(origin, _caller(actor, name))
            await self._records.put(f"{PENDING}{record.command_id}", record)
        raise StateMovedError("the state changes faster than can be decided")

    def _repair_soon(self) -> None:
        if not self._is_being_repaired:
            self._is_being_repaired = True
            self._bus.spawn(self._repair())

    async def _repair(self) -> None:
        """What a fault left behind is finished, even if no further command comes."""
        while not self._is_clean:
            await asyncio.sleep(REPAIR_PAUSE_SECONDS)
            try:
                async with self._lock:
                    await self._recover_if_needed()
            except FaultError as fault:
                _log.warning("outbox_repair_delayed", why=fault.message)
        self._is_being_repaired = False


def _caller(actor: Actor, name: str) -> Caller:
    return Caller(actor.key, actor.role, name, attested=actor.attested, address=actor.address)


def _limit_bytes(change: StateChange | None) -> int:
    """What the changed bucket takes."""
    name = "" if change is None else change.bucket
    return next((bucket.max_value_bytes for bucket in BUCKETS if bucket.name == name), 0)
