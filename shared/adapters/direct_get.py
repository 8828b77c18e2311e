# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Reads stored messages without a consumer: JetStream's direct get (NATS ADR-31).

Nobody needs the right to create a consumer, and the server can check by subject who reads what.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from nats.aio.msg import Msg

from shared.adapters.connection import Connection
from shared.adapters.messages import status_of
from shared.errors import FaultError

READ_SECONDS: Final = 5.0
BATCH_MESSAGES: Final = 1000

_END_OF_BATCH: Final = "204"
_NOT_FOUND: Final = "404"
_TOO_MANY: Final = "413"


@dataclass(frozen=True, slots=True)
class Stored:
    """One message as the stream keeps it."""

    subject: str
    sequence: int
    headers: dict[str, str]
    data: bytes

    @property
    def stored_at(self) -> str:
        """When, by the server's clock; the later of two is the greater text, empty: not known."""
        # RFC 3339 with as many decimals as there are: without the Z a shorter one sorts first.
        return self.headers.get("Nats-Time-Stamp", "").removesuffix("Z")


class DirectGetError(FaultError):
    """The server did not give what was asked for."""


async def get_last(connection: Connection, stream: str, subject: str) -> Stored | None:
    """The newest message on one subject; None if there is none.

    Raises:
        FaultError: The server cannot say.
        NotPermittedError: The subject is not this user's to read.
    """
    answer = await connection.ask(
        f"$JS.API.DIRECT.GET.{stream}.{subject}", b"", timeout_seconds=READ_SECONDS
    )
    return None if status_of(answer) == _NOT_FOUND else _stored(answer)


async def get_last_of_each(
    connection: Connection, stream: str, filter_subject: str
) -> list[Stored]:
    """The newest message of every subject that matches, in stream order.

    Raises:
        As `take_last_of_each`.
    """
    newest: dict[str, Stored] = {}

    def take(stored: Stored) -> None:
        newest[stored.subject] = stored

    await take_last_of_each(connection, stream, filter_subject, take)
    return sorted(newest.values(), key=lambda stored: stored.sequence)


async def take_last_of_each(
    connection: Connection, stream: str, filter_subject: str, take: Callable[[Stored], None]
) -> None:
    """`take` was called with the newest message of every subject that matches, as they came.

    In stream order; of one subject it may be called with older ones before.  The server gives at
    most 1,024 subjects that way; when there are more, the stream is read.

    Raises:
        FaultError: The server cannot say.
        NotPermittedError: The stream is not this user's to read.
    """
    question: dict[str, Any] = {"multi_last": [filter_subject]}
    while True:
        *batch, end = await _batch(connection, stream, question)
        if status_of(end) == _TOO_MANY:
            await _take_all(connection, stream, filter_subject, take)
            return
        last = _take_batch(batch, take)
        if status_of(end) == _NOT_FOUND or _pending(end) == 0:
            return
        upper = int((end.headers or {})["Nats-UpTo-Sequence"])
        question = question | {"seq": last + 1, "up_to_seq": upper}


async def _take_all(
    connection: Connection, stream: str, filter_subject: str, take: Callable[[Stored], None]
) -> None:
    sequence = 1
    while True:
        question = {"next_by_subj": filter_subject, "seq": sequence, "batch": BATCH_MESSAGES}
        *batch, end = await _batch(connection, stream, question)
        sequence = max(sequence, _take_batch(batch, take) + 1)
        if status_of(end) == _NOT_FOUND or _pending(end) == 0:
            return


def _take_batch(batch: list[Msg], take: Callable[[Stored], None]) -> int:
    """The sequence of the last one; 0: there is none."""
    last = 0
    for message in batch:
        stored = _stored(message)
        last = stored.sequence
        take(stored)
    return last


async def _batch(connection: Connection, stream: str, question: dict[str, Any]) -> list[Msg]:
    return await connection.ask_until(
        lambda answer: status_of(answer) != "",
        f"$JS.API.DIRECT.GET.{stream}",
        msgspec.json.encode(question),
        timeout_seconds=READ_SECONDS,
    )


def _pending(end: Msg) -> int:
    if status_of(end) != _END_OF_BATCH:
        raise DirectGetError(f"{end.subject}: direct get failed with status {status_of(end)}")
    return int((end.headers or {}).get("Nats-Num-Pending", "0"))


def _stored(message: Msg) -> Stored:
    headers = {str(name): str(value) for name, value in (message.headers or {}).items()}
    try:
        sequence = int(headers["Nats-Sequence"])
        return Stored(headers["Nats-Subject"], sequence, headers, message.data)
    except (KeyError, ValueError) as error:
        status = status_of(message) or "unknown"
        raise DirectGetError(f"direct get failed with status {status}") from error
