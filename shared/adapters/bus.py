# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The bus as everybody uses it: typed requests, telemetry, events, buckets and services."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
import structlog
from nats.aio.msg import Msg

from shared.adapters.bus_errors import BusUnreachableError, NobodyAnswersError
from shared.adapters.connection import Connection, open_connection
from shared.adapters.exception_groups import plain_task_group
from shared.adapters.fencing import FencedWrites
from shared.adapters.kv import KeyValue
from shared.adapters.service_layer import (
    DRAIN_SECONDS,
    ERROR_NUMBER,
    QUEUE_GROUP,
    Admit,
    Handler,
    OnRefused,
    Service,
)
from shared.adapters.stored_publish import publish_stored
from shared.canonical import canonical_bytes
from shared.contracts.base import Bucket, Endpoint, Message, Request, Topic
from shared.contracts.events import Event
from shared.errors import FaultError, Refusal, RefusedError
from shared.installation_facts import InstallationFacts
from shared.refusals import parse_refusal
from shared.validation import decode_document

RequestT = TypeVar("RequestT", bound=Request)
ReplyT = TypeVar("ReplyT", bound=Message)
MessageT = TypeVar("MessageT", bound=msgspec.Struct)

REQUEST_SECONDS: Final = 5.0

_log = structlog.get_logger()


class UnreadableReplyError(FaultError):
    """What came back is not what the contract says."""


class Bus:
    """One user's view of the bus."""

    def __init__(self, connection: Connection, tasks: asyncio.TaskGroup) -> None:
        self.connection: Final = connection
        self._tasks: Final = tasks
        self._spawned: Final[set[asyncio.Task[None]]] = set()
        self._writes: FencedWrites | None = None

    @property
    def facts(self) -> InstallationFacts:
        """Of the installation this is connected to."""
        return self.connection.facts

    @property
    def name(self) -> str:
        """The name in this user's JWT."""
        return self.connection.name

    @property
    def key(self) -> str:
        """This user's public nkey."""
        return self.connection.key

    @property
    def role(self) -> str:
        """This user's role."""
        return self.connection.role

    @property
    def max_payload_bytes(self) -> int:
        """What the server takes in one message, headers included."""
        return self.connection.max_payload_bytes

    @property
    def closed(self) -> asyncio.Event:
        """Set when the connection is closed for good; `connect`'s block then ends by a fault."""
        return self.connection.closed

    def fence_writes(self, writes: FencedWrites) -> None:
        """From now on events, and writes of buckets, are those of a leader."""
        self._writes = writes

    def on_reconnect(self, callback: Callable[[], Awaitable[None]]) -> None:
        """Have `callback` called after every reconnection; a FaultError of it is only logged."""

        async def call() -> None:
            try:
                await callback()
            except FaultError as fault:
                _log.warning("reconnection_not_handled", why=fault.message)

        async def schedule() -> None:
            self.spawn(call())

        self.connection.on_reconnect(schedule)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs until `connect`'s block ends, then is cancelled; what it raises ends the block."""
        task = self._tasks.create_task(work)
        self._spawned.add(task)
        task.add_done_callback(self._spawned.discard)

    def cancel_spawned(self) -> None:
        """Everything that was spawned is asked to end."""
        for task in self._spawned:
            task.cancel()

    async def request(
        self,
        endpoint: Endpoint[RequestT, ReplyT],
        message: RequestT,
        *,
        timeout_seconds: float = REQUEST_SECONDS,
    ) -> ReplyT:
        """The reply.

        Raises:
            RefusedError: The service's refusal; `not_permitted` at once if the bus itself refuses.
            FaultError: Nobody answers (at once), no answer in time, or the service's fault.
        """
        subject = endpoint.subject
        try:
            answer = await self.connection.ask(
                subject, msgspec.json.encode(message), timeout_seconds=timeout_seconds
            )
        except NobodyAnswersError as error:
            raise NobodyAnswersError(f"{_addressee(subject)} is not answering") from error
        if ERROR_NUMBER in (answer.headers or {}):
            raise _error(answer.data)
        try:
            return msgspec.json.decode(answer.data, type=endpoint.reply)
        except msgspec.DecodeError as error:
            raise UnreadableReplyError(f"{subject}: the reply is not readable: {error}") from error

    async def publish(self, topic: Topic[MessageT], message: MessageT) -> None:
        """Sent to whoever listens right now; nobody stores it."""
        await self.connection.publish(topic.subject, msgspec.json.encode(message))

    async def publish_event(self, event: Event) -> None:
        """In the event stream, once, however often this is called with the same event.

        Raises:
            FaultError: Not acknowledged; call again.
        """
        data = canonical_bytes(event)
        headers = {
            "Content-Type": "application/cloudevents+json",
            "ce-id": event.id,
            "ce-type": event.type,
        }
        if self._writes is not None:
            await self._writes.publish_event(
                event.subject, data, message_id=event.id, headers=headers
            )
            return
        await publish_stored(
            self.connection, event.subject, data, message_id=event.id, headers=headers
        )

    async def subscribe(
        self, subject: str, handler: Callable[[str, bytes], Awaitable[None]]
    ) -> None:
        """From now on `handler(subject, data)` gets every message, one after another.

        A FaultError of `handler` is logged; anything else that it raises ends `connect`'s block.

        Raises:
            RefusedError: `not_permitted`.
        """

        async def on_message(message: Msg) -> None:
            await handler(message.subject, message.data)

        await self.connection.subscribe(subject, on_message)

    async def answer(
        self,
        endpoint: Endpoint[RequestT, ReplyT],
        handler: Callable[[RequestT], Awaitable[ReplyT]],
    ) -> None:
        """From now on `handler` answers what is asked there, one question after another.

        For whoever is no service: a question that cannot be read gets no answer, and is logged.

        Raises:
            RefusedError: `not_permitted`.
        """

        async def on_question(message: Msg) -> None:
            try:
                question = decode_document(message.data, endpoint.request, what=endpoint.subject)
            except RefusedError as error:
                _log.warning("question_not_read", subject=message.subject, why=error.message)
                return
            data = msgspec.json.encode(await handler(question))
            await self.connection.publish(message.reply, data)

        await self.connection.subscribe(endpoint.subject, on_question)

    def bucket(self, bucket: Bucket[MessageT]) -> KeyValue[MessageT]:
        """A key-value bucket."""
        return KeyValue(self.connection, bucket, spawn=self.spawn, writes=lambda: self._writes)

    def serve(
        self,
        service: str,
        endpoints: Mapping[Endpoint[Any, Any], Handler],
        *,
        version: str,
        concurrency: int = 64,
        drain_seconds: float = DRAIN_SECONDS,
        tokens: Mapping[str, str] | None = None,
        on_refused: OnRefused | None = None,
        queue: str = QUEUE_GROUP,
        admit: Admit | None = None,
    ) -> AbstractAsyncContextManager[None]:
        """A block during which the endpoints are answered; leaving it drains them.

        Args:
            service: Name in `$SRV` (ADR-32).
            endpoints: As the contract has them, placeholders unfilled.
            version: SemVer.
            concurrency: Requests that run side by side.
            drain_seconds: How long the end of the block waits for requests that run.
            tokens: What to listen to for a placeholder, as {"node": name}; a placeholder without
                one is a wildcard, and `Caller.tokens` says what was asked.
            on_refused: Notes commands that are refused before their handler is asked.
            queue: Of the instances in one queue group, one gets a request; empty: all get all.
            admit: Says of each request whether this instance is the one to answer it.
        """
        return _serving(
            self.connection,
            name=service,
            endpoints=endpoints,
            version=version,
            concurrency=concurrency,
            drain_seconds=drain_seconds,
            tokens=tokens or {},
            on_refused=on_refused,
            queue=queue,
            admit=admit,
        )


@asynccontextmanager
async def connect(credentials_dir: Path, *, role: str | None = None) -> AsyncIterator[Bus]:
    """A bus for the length of the block.

    Raises:
        RefusedError: The credentials are malformed or refused.
        FaultError: No server answers; or, out of the block, the connection closed for good.
    """
    async with (
        open_connection(credentials_dir, role=role) as connection,
        plain_task_group() as tasks,
    ):
        bus = Bus(connection, tasks)
        bus.spawn(_fail_when_closed(connection))
        try:
            yield bus
        finally:
            bus.cancel_spawned()


@asynccontextmanager
async def _serving(
    connection: Connection, *, concurrency: int, **options: Any
) -> AsyncIterator[None]:
    async with plain_task_group() as tasks:
        service = Service(connection, concurrency=concurrency, tasks=tasks, **options)
        await service.start()
        try:
            yield
        finally:
            await service.stop()


async def _fail_when_closed(connection: Connection) -> None:
    await connection.closed.wait()
    if connection.bug is not None:
        raise connection.bug
    raise BusUnreachableError(f"the bus closed the connection: {connection.problem or 'no reason'}")


def _addressee(subject: str) -> str:
    """Who is meant by a subject: `catalog`, or `node n1`."""
    tokens = subject.split(".")[3:]
    return " ".join(tokens[: 2 if tokens[0] == "node" else 1])


def _error(data: bytes) -> RefusedError | FaultError:
    """A service's refusal as it was raised there."""
    try:
        refusal = msgspec.json.decode(data, type=Refusal)
    except msgspec.DecodeError:
        return UnreadableReplyError("the service answered with an error that is not readable")
    return parse_refusal(refusal)
