# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Serves endpoints as a NATS service (ADR-32), without losing requests or telling secrets.

Rules:
 * Requests run side by side up to a limit; some more wait; the rest is refused at once.
 * A stop takes no new request and answers those it has.
 * A refusal says everything, a fault says what is missing, and a bug says nothing but ends the
   process: the exception leaves the block that serves.
 * Only one instance of a queue group gets a request; a node's subjects are its own.  Of instances
   that one of them leads, all get it and the leader answers: a frozen one in a queue group would
   keep its share for as long as the server takes it to be there.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, cast

import msgspec
import structlog
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from shared.adapters.callers import CallDeniedError, Caller, identify_caller
from shared.adapters.connection import Connection
from shared.adapters.fencing import FenceLostError
from shared.contracts.base import Endpoint, Message, Request
from shared.contracts.errors import ERROR_NUMBERS, ErrorCode
from shared.errors import FaultError, Refusal, RefusedError
from shared.validation import decode_document

QUEUE_GROUP: Final = "q"
WAITING_PER_RUNNING: Final = 16
"""How many requests may wait for each that may run."""
DRAIN_SECONDS: Final = 7.0
"""How long a stop waits for requests; supervisors give a process 10 s for the whole of it."""

ERROR_TEXT: Final = "Nats-Service-Error"
ERROR_NUMBER: Final = "Nats-Service-Error-Code"

Handler = Callable[[Any, Caller], Awaitable[Message]]
OnRefused = Callable[[Endpoint[Any, Any], Caller | None, RefusedError], Awaitable[None]]
"""Notes a command that was refused before anybody decided about it."""

Admit = Callable[[], Awaitable[bool]]
"""Whether this instance is the one to answer, which may not be known at once."""

_BUG: Final = Refusal(
    code="unavailable", message="the service met an error of its own and starts again"
)
_BUSY: Final = Refusal(code="unavailable", message="too many requests wait already; ask again")
_STOPPING: Final = Refusal(code="unavailable", message="the service is stopping; ask again")
_HEADER_TEXT_CHARACTERS: Final = 200

_log = structlog.get_logger()


@dataclass(slots=True)
class _Served:
    """One endpoint and what happened at it."""

    endpoint: Endpoint[Any, Any]
    handler: Handler
    subject: str
    requests: int = 0
    errors: int = 0
    last_error: str = ""
    processing_time_ns: int = 0
    pattern: re.Pattern[str] = field(init=False)

    def __post_init__(self) -> None:
        escaped = re.escape(self.endpoint.subject).replace(r"\{", "{").replace(r"\}", "}")
        self.pattern = re.compile(re.sub(r"{(\w+)}", r"(?P<\1>[^.]+)", escaped))

    @property
    def name(self) -> str:
        """Entity and verb, as ADR-32 allows in a name."""
        tokens = [token for token in self.endpoint.subject.split(".") if "{" not in token]
        return "-".join(tokens[-2:])

    def tokens(self, subject: str) -> dict[str, str]:
        """What stands for the placeholders in a subject that was asked."""
        match = self.pattern.fullmatch(subject)
        return match.groupdict() if match is not None else {}


class Service:
    """One instance of a service, from `start` to `stop`."""

    def __init__(
        self,
        connection: Connection,
        *,
        name: str,
        version: str,
        endpoints: Mapping[Endpoint[Any, Any], Handler],
        tokens: Mapping[str, str],
        concurrency: int,
        drain_seconds: float,
        tasks: asyncio.TaskGroup,
        on_refused: OnRefused | None = None,
        queue: str = QUEUE_GROUP,
        admit: Admit | None = None,
    ) -> None:
        self._queue: Final = queue
        self._admit: Final = admit
        self._connection: Final = connection
        self._name: Final = name
        self._version: Final = version
        self._id: Final = connection.key[-22:] + format(time.monotonic_ns(), "x")
        self._started_at: Final = datetime.now(UTC)
        self._metadata: Final = dict(tokens)
        self._served: Final = [
            _Served(endpoint, handler, _listening_subject(endpoint, tokens))
            for endpoint, handler in endpoints.items()
        ]
        self._drain_seconds: Final = drain_seconds
        self._on_refused: Final = on_refused
        self._tasks: Final = tasks
        self._running: Final = asyncio.Semaphore(concurrency)
        self._limit: Final = concurrency * (1 + WAITING_PER_RUNNING)
        self._accepted = 0
        self._performing: Final[set[asyncio.Task[None]]] = set()
        self._idle: Final = asyncio.Event()
        self._idle.set()
        self._subscriptions: Final[list[Subscription]] = []

    async def start(self) -> None:
        """Answering.

        Raises:
            NotPermittedError: The server does not let this user serve one of the subjects.
        """
        for served in self._served:
            await self._listen(served)
        for verb, answer in (("PING", self._ping), ("INFO", self._info), ("STATS", self._stats)):
            for suffix in ("", f".{self._name}", f".{self._name}.{self._id}"):
                await self._subscribe(f"$SRV.{verb}{suffix}", self._monitoring(answer))

    async def stop(self) -> None:
        """No new request is taken; the others are answered, or given up when the time is over."""
        for subscription in self._subscriptions:
            await self._connection.drain_subscription(subscription)
        try:
            async with asyncio.timeout(self._drain_seconds):
                await self._idle.wait()
        except TimeoutError:
            _log.warning("requests_abandoned", service=self._name, requests=self._accepted)
            for task in self._performing:
                task.cancel()

    async def _listen(self, served: _Served) -> None:
        async def take(message: Msg) -> None:
            await self._take(served, message)

        await self._subscribe(served.subject, take, queue=self._queue)

    async def _subscribe(
        self, subject: str, callback: Callable[[Msg], Awaitable[None]], *, queue: str = ""
    ) -> None:
        self._subscriptions.append(await self._connection.subscribe(subject, callback, queue=queue))

    async def _take(self, served: _Served, message: Msg) -> None:
        served.requests += 1
        if self._accepted >= self._limit:
            await self._refuse(served, message, _BUSY)
            return
        self._accepted += 1
        self._idle.clear()
        task = self._tasks.create_task(self._perform(served, message))
        self._performing.add(task)
        task.add_done_callback(self._performing.discard)

    async def _perform(self, served: _Served, message: Msg) -> None:
        has_started = False
        try:
            async with self._running:
                has_started = True
                started_ns = time.perf_counter_ns()
                await self._answer(served, message)
                served.processing_time_ns += time.perf_counter_ns() - started_ns
        finally:
            if not has_started:
                await self._refuse(served, message, _STOPPING)
            self._accepted -= 1
            if self._accepted == 0:
                self._idle.set()

    async def _answer(self, served: _Served, message: Msg) -> None:
        if self._admit is not None and not await self._admit():
            return
        answered = False
        try:
            request, caller = await self._read(served, message)
            reply = await served.handler(request, caller)
            await self._reply(message, msgspec.json.encode(reply))
            answered = True
        except FenceLostError:
            answered = True  # by the process that leads
        except (RefusedError, FaultError) as error:
            await self._refuse(served, message, error.refusal())
            answered = True
        finally:
            if not answered:
                await self._refuse(served, message, _BUG)

    async def _read(self, served: _Served, message: Msg) -> tuple[Request, Caller]:
        """Request and caller; a command that is refused here is noted first."""
        caller: Caller | None = None
        try:
            caller = identify_caller(
                cast("Mapping[str, str]", message.headers or {}),
                served.endpoint,
                tokens=served.tokens(message.subject),
                facts=self._connection.facts,
                address_secret=self._connection.address_secret,
            )
            data = message.data or b"{}"
            return decode_document(data, served.endpoint.request, what=served.name), caller
        except RefusedError as error:
            if self._on_refused is not None and served.endpoint.is_command:
                who = error.caller if isinstance(error, CallDeniedError) else caller
                await self._on_refused(served.endpoint, who, error)
            raise

    async def _refuse(self, served: _Served, message: Msg, refusal: Refusal) -> None:
        number = ERROR_NUMBERS[cast("ErrorCode", refusal.code)]
        served.errors += 1
        served.last_error = f"{number}:{refusal.code}"
        headers = {ERROR_TEXT: _header_text(refusal.message), ERROR_NUMBER: str(number)}
        await self._reply(message, msgspec.json.encode(refusal), headers)

    async def _reply(
        self, message: Msg, data: bytes, headers: Mapping[str, str] | None = None
    ) -> None:
        """Sent with headers of our own alone; a request without a reply subject gets none."""
        if message.reply:
            await self._connection.publish(message.reply, data, headers=headers)

    def _monitoring(self, answer: Callable[[], dict[str, Any]]) -> Callable[[Msg], Awaitable[None]]:
        async def take(message: Msg) -> None:
            await self._reply(message, msgspec.json.encode(answer()))

        return take

    def _identity(self, kind: str) -> dict[str, Any]:
        return {
            "type": f"io.nats.micro.v1.{kind}_response",
            "name": self._name,
            "id": self._id,
            "version": self._version,
            "metadata": self._metadata,
        }

    def _ping(self) -> dict[str, Any]:
        return self._identity("ping")

    def _info(self) -> dict[str, Any]:
        endpoints = [
            {
                "name": served.name,
                "subject": served.subject,
                "queue_group": self._queue,
                "metadata": {
                    "request": served.endpoint.request.__name__,
                    "reply": served.endpoint.reply.__name__,
                },
            }
            for served in self._served
        ]
        return self._identity("info") | {"description": "", "endpoints": endpoints}

    def _stats(self) -> dict[str, Any]:
        endpoints = [
            {
                "name": served.name,
                "subject": served.subject,
                "queue_group": self._queue,
                "num_requests": served.requests,
                "num_errors": served.errors,
                "last_error": served.last_error,
                "processing_time": served.processing_time_ns,
                "average_processing_time": served.processing_time_ns // max(served.requests, 1),
            }
            for served in self._served
        ]
        return self._identity("stats") | {
            "started": self._started_at.isoformat().replace("+00:00", "Z"),
            "endpoints": endpoints,
        }


def _listening_subject(endpoint: Endpoint[Request, Message], tokens: Mapping[str, str]) -> str:
    """The subject with its tokens filled in, and wildcards for those that callers fill."""
    return re.sub(r"{(\w+)}", lambda match: tokens.get(match[1], "*"), endpoint.subject)


def _header_text(text: str) -> str:
    """One line that fits into a header."""
    return " ".join(text.split())[:_HEADER_TEXT_CHARACTERS]
