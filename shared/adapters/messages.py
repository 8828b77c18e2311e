# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a NATS message weighs on the wire, and whether the server itself speaks in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from nats.aio.msg import Msg

NO_RESPONDERS: Final = "503"

_STATUS: Final = "Status"
_STORED_AT: Final = "Nats-Sequence"
_HEADER_FRAME_BYTES: Final = len(b"NATS/1.0\r\n\r\n")
_HEADER_LINE_BYTES: Final = len(b": \r\n")


def message_bytes(data: bytes, headers: Mapping[str, str]) -> int:
    """What counts against the server's `max_payload`: payload and header block."""
    if not headers:
        return len(data)
    lines_bytes = sum(
        len(name.encode()) + len(value.encode()) + _HEADER_LINE_BYTES
        for name, value in headers.items()
    )
    return len(data) + _HEADER_FRAME_BYTES + lines_bytes


def status_of(message: Msg) -> str:
    """The status in a message of the server's own; empty for any other.

    A stored message that is given back may hold whatever a client wrote, a status line too; but
    then the server has added where it is stored.
    """
    headers = message.headers or {}
    if message.data or _STORED_AT in headers:
        return ""
    return str(headers.get(_STATUS, ""))
