# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The bus as a node has it: there, away, or not there yet.

Rules:
 * Who the node is and whom it trusts is read from its credentials directory; no bus is needed.
 * A bus that is away is a fault of the one call; coming and going ends nothing.
 * A bus that refuses the credentials is asked again later: they are replaced on the disk.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
import structlog

from shared.adapters.bus import Bus, connect
from shared.adapters.bus_errors import BusUnreachableError
from shared.adapters.direct_get import get_last
from shared.adapters.exception_groups import plain_task_group
from shared.adapters.identity import Identity
from shared.adapters.kv import KeyValue
from shared.contracts.base import Bucket, Endpoint, Message, Request, Topic
from shared.contracts.events import Audience, Event, EventBody, event_subject
from shared.contracts.node_actions import NODE_ACTIONS
from shared.contracts.storage import EVENT_STREAM
from shared.errors import FaultError, RefusedError

ROLE: Final = "node"
FIRST_RETRY_SECONDS: Final = 0.2
"""After an attempt that failed; doubled each time, up to LAST_RETRY_SECONDS."""
LAST_RETRY_SECONDS: Final = 5.0
REFUSED_RETRY_SECONDS: Final = 15.0
"""After the bus refused the credentials: somebody has to replace them."""

RequestT = TypeVar("RequestT", bound=Request)
ReplyT = TypeVar("ReplyT", bound=Message)
MessageT = TypeVar("MessageT", bound=msgspec.Struct)

Connecting = Callable[[Path], AbstractAsyncContextManager[Bus]]

log = structlog.get_logger()


def connect_node(credentials_dir: Path) -> AbstractAsyncContextManager[Bus]:
    """As `connect`, with the credentials of a node."""
    return connect(credentials_dir, role=ROLE)


class NodeBus:
    """The connection of one node, whenever there is one."""

    def __init__(self, credentials_dir: Path, *, connecting: Connecting = connect_node) -> None:
        """Nothing is connected.

        Args:
            credentials_dir: The node's own.
            connecting: Makes a connection with them, for the length of a block.

        Raises:
            RefusedError: The credentials directory holds something malformed.
            FaultError: It cannot be read.
        """
        self._credentials_dir: Final = credentials_dir
        self._connecting: Final = connecting
        identity = Identity(credentials_dir, role=ROLE)
        self.name: Final = identity.name
        self.trust_root: Final = bytes.fromhex(identity.facts.trust_root)
        self.log_origin: Final = identity.facts.log_origin
        self._bus: Bus | None = None
        self._arrived = asyncio.Event()
        self._tasks: asyncio.TaskGroup | None = None
        self._spawned: Final[set[asyncio.Task[None]]] = set()

    @property
    def is_there(self) -> bool:
        """Whether there is a server right now, as far as is known."""
        return self._bus is not None and self._bus.connection.is_connected

    @property
    def max_payload_bytes(self) -> int:
        """What the server takes in one message.

        Raises:
            BusUnreachableError: The bus is away.
        """
        return self._there().max_payload_bytes

    async def arrival(self) -> None:
        """The bus is there, or was a moment ago."""
        await self._arrived.wait()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs until `joining` ends, whether the bus is there or not."""
        assert self._tasks is not None
        task = self._tasks.create_task(work)
        self._spawned.add(task)
        task.add_done_callback(self._spawned.discard)

    async def request(
        self,
        endpoint: Endpoint[RequestT, ReplyT],
        message: RequestT,
        *,
        timeout_seconds: float,
    ) -> ReplyT:
        """As `Bus.request`; a fault at once if the bus is away."""
        return await self._there().request(endpoint, message, timeout_seconds=timeout_seconds)

    async def publish(self, topic: Topic[MessageT], message: MessageT) -> None:
        """As `Bus.publish`; a fault at once if the bus is away."""
        await self._there().publish(topic, message)

    async def publish_event(self, event: Event) -> None:
        """As `Bus.publish_event`, as soon as the bus is there."""
        await self.arrival()
        await self._there().publish_event(event)

    async def last_sequence(self, audience: Audience) -> int:
        """The highest sequence of this node's events that the bus has; 0: it has none.

        Waits until the bus is there.

        Raises:
            NotPermittedError: The accounts are those of an earlier release.
            FaultError: The server cannot say.
        """
        await self.arrival()
        connection, emitter = self._there().connection, f"node/{self.name}"
        sequences = [0]
        for action in NODE_ACTIONS:
            body = EventBody(action=action, outcome="observed")
            subject = event_subject(audience=audience, emitter=emitter, body=body)
            stored = await get_last(connection, EVENT_STREAM, subject)
            if stored is not None:
                sequences.append(msgspec.json.decode(stored.data, type=Event).sequence)
        return max(sequences)

    def bucket(self, bucket: Bucket[MessageT]) -> KeyValue[MessageT]:
        """As `Bus.bucket`.

        Raises:
            BusUnreachableError: The bus is away.
        """
        return self._there().bucket(bucket)

    async def joining(self, joined: Callable[[Bus], Awaitable[None]]) -> None:
        """`joined` runs whenever the bus is there, until the connection is lost for good.

        Never ends by itself.
        """
        async with plain_task_group() as self._tasks:
            try:
                await self._join_for_ever(joined)
            finally:
                for task in self._spawned:
                    task.cancel()

    async def _join_for_ever(self, joined: Callable[[Bus], Awaitable[None]]) -> None:
        pause_seconds = FIRST_RETRY_SECONDS
        while True:
            try:
                async with self._connecting(self._credentials_dir) as bus:
                    self._bus = bus
                    self._arrived.set()
                    pause_seconds = FIRST_RETRY_SECONDS
                    log.info("bus_joined", node=self.name)
                    await joined(bus)
            except RefusedError as error:
                log.error("bus_refuses", why=error.message)  # noqa: TRY400, a refusal has no trace
                pause_seconds = REFUSED_RETRY_SECONDS
            except FaultError as fault:
                log.warning("bus_away", why=fault.message)
            finally:
                self._bus = None
                self._arrived.clear()
            await asyncio.sleep(pause_seconds)
            pause_seconds = min(2 * pause_seconds, LAST_RETRY_SECONDS)

    def _there(self) -> Bus:
        if self._bus is None:
            raise BusUnreachableError("the bus is away")
        return self._bus
