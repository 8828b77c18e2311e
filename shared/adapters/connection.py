# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""One NATS connection: attempts for ever to be connected, answers or fails at once, never hangs.

What nats-py 2.16 leaves to its user is done here:
 * a message is measured with its headers before it is sent, because the server closes the
   connection on one that is too large;
 * a violated permission reaches the request or subscription that caused it, and not only a log;
 * a connection that is closed for good is a fault that ends the process;
 * credentials are read anew for every attempt to connect, and signed for without another library.
"""

from __future__ import annotations

import asyncio
import base64
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import nats.errors
import structlog
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from shared.adapters.bus_errors import (
    BusUnreachableError,
    MessageTooLargeError,
    NoAnswerInTimeError,
    NobodyAnswersError,
    NotPermittedError,
)
from shared.adapters.identity import Identity
from shared.adapters.messages import NO_RESPONDERS, message_bytes, status_of
from shared.adapters.noted_bugs import BugsNoted
from shared.adapters.ordered_client import OrderedClient
from shared.contracts.permissions import inbox_prefix
from shared.nkeys import Credentials

CONNECT_SECONDS: Final = 5
FIRST_ATTEMPTS: Final = 2
"""How many may fail when there has been no connection yet; later ones are made for ever."""
RECONNECT_WAIT_SECONDS: Final = 1
PING_SECONDS: Final = 20
"""Two pings without an answer and the connection is made anew, even if reading died silently."""
CLOSE_SECONDS: Final = 5

_VIOLATION: Final = re.compile(r'permissions violation for (publish|subscription) to "([^"]+)"')

MessageCallback = Callable[[Msg], Awaitable[None]]

_log = structlog.get_logger()


class Connection:
    """A connection in the name of one user."""

    def __init__(self, identity: Identity) -> None:
        self._identity: Final = identity
        self.facts: Final = identity.facts
        self.name: Final = identity.name
        self.key: Final = identity.key
        self.role: Final = identity.role
        self.address_secret: Final = identity.address_secret
        """Key for digests of client addresses."""
        self.closed: Final = asyncio.Event()
        self.problem: str = ""
        """The last thing that went wrong, for whoever reports that the connection closed."""
        self.bug: Exception | None = None
        """What a callback raised that is no fault; the connection counts as closed then."""
        self._client: Final = OrderedClient()
        self._inbox: Final = self.new_inbox()
        self._asked: Final[dict[str, tuple[str, asyncio.Queue[Msg | Exception]]]] = {}
        self._denied: Final[set[str]] = set()
        self._subscribing: Final[set[str]] = set()
        self._is_open = False
        self._reconnected: Final[list[Callable[[], Awaitable[None]]]] = []
        self._failed_attempts = 0
        self._hopeless: Final[asyncio.Future[Exception]] = (
            asyncio.get_running_loop().create_future()
        )

    @property
    def max_payload_bytes(self) -> int:
        """What the server takes, headers included."""
        return self._client.max_payload

    @property
    def is_connected(self) -> bool:
        """Whether a server is there right now."""
        return bool(self._client.is_connected)

    def new_inbox(self) -> str:
        """A subject of this user's own, to subscribe to below."""
        return f"{inbox_prefix(self.role, self.name)}.{secrets.token_hex(8)}"

    def on_reconnect(self, callback: Callable[[], Awaitable[None]]) -> None:
        """Have `callback` called after every reconnection: messages may have been missed."""
        self._reconnected.append(callback)

    async def publish(
        self,
        subject: str,
        data: bytes,
        *,
        headers: Mapping[str, str] | None = None,
        reply: str = "",
    ) -> None:
        """Sent, or kept to be sent when the server is back.

        Raises:
            MessageTooLargeError: It was not sent.
            BusUnreachableError: Closed, or too much is waiting to be sent.
        """
        self._check_size(subject, data, headers or {})
        try:
            await self._client.publish(
                subject, data, reply=reply, headers=dict(headers) if headers else None
            )
        except (nats.errors.Error, OSError) as error:
            raise BusUnreachableError(f"{subject}: the bus cannot be reached") from error

    async def ask(
        self,
        subject: str,
        data: bytes,
        *,
        timeout_seconds: float,
        headers: Mapping[str, str] | None = None,
    ) -> Msg:
        """The first answer.

        Raises:
            NotPermittedError: At once.
            NobodyAnswersError: At once.
            NoAnswerInTimeError: After the time, or as soon as the connection is lost.
        """
        return (
            await self.ask_until(
                lambda _: True, subject, data, timeout_seconds=timeout_seconds, headers=headers
            )
        )[0]

    async def ask_until(
        self,
        is_last: Callable[[Msg], bool],
        subject: str,
        data: bytes,
        *,
        timeout_seconds: float,
        headers: Mapping[str, str] | None = None,
    ) -> list[Msg]:
        """All answers up to the one that `is_last`, in order.

        Raises:
            As `ask`; the time counts anew for each answer.
        """
        token = secrets.token_hex(8)
        answers: asyncio.Queue[Msg | Exception] = asyncio.Queue()
        self._asked[token] = (subject.lower(), answers)
        received: list[Msg] = []
        try:
            await self.publish(subject, data, headers=headers, reply=f"{self._inbox}.{token}")
            while True:
                async with asyncio.timeout(timeout_seconds):
                    answer = await answers.get()
                if isinstance(answer, Exception):
                    raise answer
                if status_of(answer) == NO_RESPONDERS:
                    raise NobodyAnswersError(f"{subject}: nobody is there to answer")
                received.append(answer)
                if is_last(answer):
                    return received
        except TimeoutError as error:
            raise NoAnswerInTimeError(
                f"{subject}: no answer within {timeout_seconds:g} s"
            ) from error
        finally:
            del self._asked[token]

    async def subscribe(
        self, subject: str, callback: MessageCallback, *, queue: str = ""
    ) -> Subscription:
        """Subscribed, and the server agrees.

        A FaultError of `callback` is logged; anything else that it raises is a `bug`.

        Raises:
            NotPermittedError: The server does not.
            BusUnreachableError: Not connected.
        """

        async def guarded(message: Msg) -> None:
            with BugsNoted(self._on_bug):
                await callback(message)

        self._subscribing.add(subject.lower())
        try:
            subscription = await self._client.subscribe(subject, queue=queue, cb=guarded)
            await self.flush()
        except (nats.errors.Error, OSError) as error:
            raise BusUnreachableError(f"{subject}: the bus cannot be reached") from error
        finally:
            self._subscribing.discard(subject.lower())
        if subject.lower() in self._denied:
            raise NotPermittedError(f"{subject}: {self.role} {self.name} may not subscribe")
        return subscription

    async def drain_subscription(self, subscription: Subscription) -> None:
        """No new message comes, and those that came were given to the callback."""
        try:
            await subscription.drain()  # type: ignore[no-untyped-call]  # nats-py leaves it so
        except (nats.errors.Error, OSError) as error:
            # Not connected: the server has forgotten the subscription already.
            self.problem = str(error)

    async def flush(self) -> None:
        """Everything sent before has reached the server.

        Raises:
            BusUnreachableError: It may not have.
        """
        try:
            await self._client.flush(CLOSE_SECONDS)
        except (nats.errors.Error, OSError) as error:
            raise BusUnreachableError("the bus cannot be reached") from error

    async def open(self) -> None:
        """Connected, with the inbox ready.

        Raises:
            NotPermittedError: The server refuses the credentials.
            BusUnreachableError: FIRST_ATTEMPTS failed, or took longer than CONNECT_SECONDS.
        """
        attempt = asyncio.ensure_future(self._connect())
        try:
            await asyncio.wait(
                (attempt, self._hopeless),
                timeout=CONNECT_SECONDS,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if not attempt.done():
                if not self._hopeless.done():
                    self._give_up()
                raise self._hopeless.result()
        finally:
            attempt.cancel()
            await asyncio.wait((attempt,))
        attempt.result()
        self._is_open = True
        await self.subscribe(f"{self._inbox}.*", self._on_answer)

    async def close(self) -> None:
        """Everything sent is flushed if the server is there, and the connection is gone."""
        if self._client.is_connected:
            try:
                await self._client.flush(CLOSE_SECONDS)
            except (nats.errors.Error, OSError) as error:
                self.problem = str(error)
        with suppress(OSError):  # the server is gone, and with it the connection
            await self._client.close()

    async def _connect(self) -> None:
        context = self._identity.tls_context()
        tls: dict[str, Any] = {} if context is None else {"tls": context}
        await self._client.connect(
            self.facts.server_url,
            name=f"{self.role}/{self.name}",
            user_jwt_cb=self._present,
            signature_cb=self._sign,
            max_reconnect_attempts=-1,
            reconnect_time_wait=RECONNECT_WAIT_SECONDS,
            connect_timeout=CONNECT_SECONDS,
            ping_interval=PING_SECONDS,
            max_outstanding_pings=2,
            error_cb=self._on_error,
            disconnected_cb=self._on_disconnect,
            reconnected_cb=self._on_reconnect,
            closed_cb=self._on_closed,
            **tls,
        )

    def _present(self) -> bytes:
        """The user's JWT."""
        return self._current_credentials().jwt.encode()

    def _sign(self, nonce: str) -> bytes:
        """The answer to the server's challenge, given only to one that offered TLS if it has to.

        Raises:
            OSError: The attempt to connect fails; nothing was sent.
        """
        if self.facts.has_tls and not self._client.server_offers_tls:
            self._client.abandon_attempt()
            raise OSError("the server offers no TLS although the installation has it")
        return base64.b64encode(self._current_credentials().key.sign(nonce.encode()))

    def _current_credentials(self) -> Credentials:
        try:
            return self._identity.current_credentials()
        except OSError:
            self._client.abandon_attempt()
            raise

    def _check_size(self, subject: str, data: bytes, headers: Mapping[str, str]) -> None:
        size_bytes = message_bytes(data, headers)
        if size_bytes > self._client.max_payload > 0:
            raise MessageTooLargeError(
                f"{subject}: {size_bytes} bytes with headers, "
                f"at most {self._client.max_payload} fit"
            )

    async def _on_answer(self, message: Msg) -> None:
        asked = self._asked.get(message.subject.rpartition(".")[2])
        if asked is not None:
            asked[1].put_nowait(message)

    def _on_bug(self, error: Exception) -> None:
        self.bug = error
        self.closed.set()

    async def _on_error(self, error: Exception) -> None:
        self.problem = str(error)
        violation = _VIOLATION.search(str(error).lower())
        if violation is not None:
            self._on_violation(violation[1], violation[2])
        elif not self._is_open:
            self._on_failed_attempt()
        else:
            _log.warning("bus_connection_troubled", problem=repr(error))

    def _on_failed_attempt(self) -> None:
        self._failed_attempts += 1
        if self._hopeless.done():
            return
        if "authorization violation" in self.problem.lower():
            self._hopeless.set_result(
                NotPermittedError(f"{self.facts.server_url}: the bus refuses these credentials")
            )
        elif self._failed_attempts >= FIRST_ATTEMPTS:
            self._give_up()

    def _give_up(self) -> None:
        self._hopeless.set_result(
            BusUnreachableError(
                f"{self.facts.server_url}: no bus answers there ({self.problem or 'silence'})"
            )
        )

    def _on_violation(self, verb: str, subject: str) -> None:
        if verb == "subscription":
            self._denied.add(subject)
            if subject not in self._subscribing:
                _log.error("bus_subscription_denied", subject=subject)
                self.closed.set()
            return
        waiting = [answers for asked, answers in self._asked.values() if asked == subject]
        for answers in waiting:
            answers.put_nowait(
                NotPermittedError(f"{subject}: {self.role} {self.name} may not ask this")
            )
        if not waiting:
            _log.error("bus_publish_denied", subject=subject)

    async def _on_disconnect(self) -> None:
        for subject, answers in self._asked.values():
            answers.put_nowait(
                NoAnswerInTimeError(f"{subject}: the connection to the bus was lost")
            )

    async def _on_reconnect(self) -> None:
        _log.info("bus_reconnected", server=self.facts.server_url)
        for callback in self._reconnected:
            await callback()

    async def _on_closed(self) -> None:
        self.closed.set()
        await self._on_disconnect()


@asynccontextmanager
async def open_connection(
    credentials_dir: Path, *, role: str | None = None
) -> AsyncIterator[Connection]:
    """A connection for the length of the block.

    Raises:
        RefusedError: Facts or credentials are malformed, or the server refuses them.
        FaultError: They cannot be read, or no server answers.
    """
    connection = Connection(Identity(credentials_dir, role=role))
    try:
        await connection.open()
        yield connection
    finally:
        await connection.close()
