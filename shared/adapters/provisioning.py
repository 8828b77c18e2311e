# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Creates the streams, buckets and the one shared consumer that the contract names.

Idempotent: what is there is brought to the contract's settings; nothing is ever deleted.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from shared.adapters.connection import Connection
from shared.contracts.base import Bucket
from shared.contracts.leadership import fence_subject
from shared.contracts.storage import (
    AUDITOR_CONSUMER,
    BUCKETS,
    DUPLICATE_WINDOW_SECONDS,
    EVENT_STREAM,
    STREAMS,
    Stream,
    kv_stream,
    kv_subject,
)
from shared.errors import FaultError

API_SECONDS: Final = 10.0
HEADER_ROOM_BYTES: Final = 1024
"""The server measures a record with its headers."""
AUDITOR_ACK_WAIT_SECONDS: Final = 30
AUDITOR_MAX_ACK_PENDING: Final = 20_000

_NANOSECONDS: Final = 1_000_000_000
_NAME_IN_USE: Final = 10058
"""nats-server errors.json: JSStreamNameExistErr."""


class ProvisioningError(FaultError):
    """The server did not create or update something."""


class _ApiError(msgspec.Struct, frozen=True):
    err_code: int = 0
    description: str = ""


class _ApiReply(msgspec.Struct, frozen=True):
    error: _ApiError | None = None


async def provision(connection: Connection) -> None:
    """All streams, buckets and the auditor's consumer are as the contract says.

    Args:
        connection: Of a provisioner.

    Raises:
        ProvisioningError: Naming what the server refused.
    """
    for stream in STREAMS:
        await _provide(connection, stream_settings(stream))
    for bucket in BUCKETS:
        await _provide(connection, bucket_settings(bucket))
    await _ask(
        connection,
        f"CONSUMER.DURABLE.CREATE.{EVENT_STREAM}.{AUDITOR_CONSUMER}",
        {"stream_name": EVENT_STREAM, "config": consumer_settings()},
    )


def stream_settings(stream: Stream) -> dict[str, Any]:
    """The server's configuration of a stream."""
    return {
        "name": stream.name,
        "subjects": list(stream.subjects),
        "retention": "limits",
        "storage": "file",
        "num_replicas": 1,
        "max_age": stream.max_age_seconds * _NANOSECONDS,
        "max_msgs_per_subject": stream.max_messages_per_subject,
        # Per subject is possible only with `new`, which a limit by age never refuses.
        "discard": "new" if stream.discard_new_per_subject else "old",
        "discard_new_per_subject": stream.discard_new_per_subject,
        "deny_delete": stream.deny_delete,
        "deny_purge": stream.deny_purge,
        "allow_direct": True,
        "duplicate_window": DUPLICATE_WINDOW_SECONDS * _NANOSECONDS,
    }


def bucket_settings(bucket: Bucket[Any]) -> dict[str, Any]:
    """The server's configuration of the stream behind a bucket (NATS ADR-8)."""
    return {
        "name": kv_stream(bucket.name),
        "subjects": [
            kv_subject(bucket.name, ">"),
            *([fence_subject(bucket.name)] if bucket.is_fenced else []),
        ],
        "retention": "limits",
        "storage": "file",
        "num_replicas": 1,
        **({} if bucket.is_synced else {"persist_mode": "async"}),
        "max_msgs_per_subject": bucket.history,
        "max_msg_size": bucket.max_value_bytes + HEADER_ROOM_BYTES,
        "discard": "new",
        "deny_delete": True,
        "allow_rollup_hdrs": True,
        "allow_direct": True,
        "allow_msg_ttl": bucket.message_ttl,
        "duplicate_window": DUPLICATE_WINDOW_SECONDS * _NANOSECONDS,
    }


def consumer_settings() -> dict[str, Any]:
    """The auditor's durable pull consumer: everything, in order, acknowledged by position."""
    return {
        "durable_name": AUDITOR_CONSUMER,
        "deliver_policy": "all",
        "ack_policy": "all",
        "ack_wait": AUDITOR_ACK_WAIT_SECONDS * _NANOSECONDS,
        "max_ack_pending": AUDITOR_MAX_ACK_PENDING,
        "max_deliver": -1,
        "replay_policy": "instant",
    }


async def _provide(connection: Connection, settings: dict[str, Any]) -> None:
    name = settings["name"]
    error = await _try(connection, f"STREAM.CREATE.{name}", settings)
    if error is not None and error.err_code == _NAME_IN_USE:
        error = await _try(connection, f"STREAM.UPDATE.{name}", settings)
    if error is not None:
        raise ProvisioningError(f"stream {name}: {error.description}")


async def _ask(connection: Connection, call: str, body: dict[str, Any]) -> None:
    error = await _try(connection, call, body)
    if error is not None:
        raise ProvisioningError(f"{call}: {error.description}")


async def _try(connection: Connection, call: str, body: dict[str, Any]) -> _ApiError | None:
    answer = await connection.ask(
        f"$JS.API.{call}", msgspec.json.encode(body), timeout_seconds=API_SECONDS
    )
    return msgspec.json.decode(answer.data, type=_ApiReply).error
