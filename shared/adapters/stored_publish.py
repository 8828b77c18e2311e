# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Publishes into streams: acknowledged, or a fault within a known time.

An acknowledgement that does not come says nothing about whether the message was stored, so every
message has an id and is sent again under the same one: inside the stream's duplicate window it is
stored once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final

import msgspec

from shared.adapters.connection import Connection
from shared.contracts.errors import ErrorCode
from shared.errors import FaultError, RefusedError

ACK_SECONDS: Final = 2.0
ATTEMPTS: Final = 3
FIRST_PAUSE_SECONDS: Final = 0.2
"""Doubled after each attempt."""

# nats-server errors.json: JSStreamWrongLastSequenceErrF, JSStreamWrongLastSequenceConstantErr.
_WRONG_LAST_SEQUENCE: Final = frozenset({10071, 10164})


class ExpectationFailedError(RefusedError):
    """Somebody else has written since; nothing was stored by the attempt that said so."""

    code: ClassVar[ErrorCode] = "conflict"

    def __init__(self, message: str, *, after_unknown: bool) -> None:
        super().__init__(message)
        self.after_unknown: Final = after_unknown
        """Whether an earlier attempt of ours got no answer, and may be who wrote."""


class NotStoredError(FaultError):
    """The stream refused, or nobody said whether it has the message."""


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """The message is on disk."""

    sequence: int
    is_duplicate: bool


class _AckError(msgspec.Struct, frozen=True):
    code: int = 0
    err_code: int = 0
    description: str = ""


class _Ack(msgspec.Struct, frozen=True):
    stream: str = ""
    seq: int = 0
    duplicate: bool = False
    error: _AckError | None = None


async def publish_stored(
    connection: Connection,
    subject: str,
    data: bytes,
    *,
    message_id: str,
    headers: Mapping[str, str] | None = None,
) -> Acknowledged:
    """Stored once, and acknowledged.

    Args:
        connection: Of a user who may publish there.
        subject: Of a stream.
        data: The payload.
        message_id: Equal for equal messages; becomes `Nats-Msg-Id`.
        headers: Further ones, as expectations.

    Raises:
        ExpectationFailedError: An expectation in `headers` does not hold.
        NotStoredError: Refused by the stream, or not acknowledged in any attempt.
        MessageTooLargeError, NotPermittedError: It was not stored.
    """
    sent = {**(headers or {}), "Nats-Msg-Id": message_id}
    unknown = False
    pause_seconds = FIRST_PAUSE_SECONDS
    for attempt in range(1, ATTEMPTS + 1):
        try:
            answer = await connection.ask(subject, data, timeout_seconds=ACK_SECONDS, headers=sent)
            return _acknowledged(subject, answer.data, after_unknown=unknown)
        except NotStoredError:
            raise
        except FaultError as fault:
            if attempt == ATTEMPTS:
                raise NotStoredError(
                    f"{subject}: not acknowledged in {ATTEMPTS} attempts: {fault.message}"
                ) from fault
        unknown = True
        await asyncio.sleep(pause_seconds)
        pause_seconds *= 2
    raise AssertionError("unreachable")


def _acknowledged(subject: str, data: bytes, *, after_unknown: bool) -> Acknowledged:
    try:
        ack = msgspec.json.decode(data, type=_Ack)
    except msgspec.DecodeError as error:
        raise NotStoredError(f"{subject}: not answered by a stream") from error
    if ack.error is None:
        return Acknowledged(ack.seq, ack.duplicate)
    if ack.error.err_code in _WRONG_LAST_SEQUENCE:
        raise ExpectationFailedError(
            f"{subject}: {ack.error.description}", after_unknown=after_unknown
        )
    raise NotStoredError(f"{subject}: not stored: {ack.error.description}")
