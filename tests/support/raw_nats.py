# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""nats-py as it is, to show what it does by itself."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import nats
from nats.aio.client import Client

from shared.nkeys import parse_credentials
from tests.support.operator_mode import OperatorModeServer


@asynccontextmanager
async def raw_client(credentials_dir: Path, url: str, **options: Any) -> AsyncIterator[Client]:
    """nats-py as it is, with the same user."""
    credentials = parse_credentials((credentials_dir / "user.creds").read_text())
    role, _, name = credentials_dir.name.rpartition("-")
    errors: list[Exception] = []

    async def note(error: Exception) -> None:
        errors.append(error)

    client = await nats.connect(
        url,
        user_jwt_cb=credentials.jwt.encode,
        signature_cb=lambda nonce: base64.b64encode(credentials.key.sign(nonce.encode())),
        inbox_prefix=f"_INBOX.{role}.{name}",
        error_cb=note,
        **options,
    )
    try:
        yield client
    finally:
        await _close(client)


@asynccontextmanager
async def unrestricted_client(server: OperatorModeServer) -> AsyncIterator[Client]:
    """nats-py as it is, with every right in the control account."""
    jwt, key = server.unrestricted()
    client = await nats.connect(
        server.url,
        user_jwt_cb=jwt.encode,
        signature_cb=lambda nonce: base64.b64encode(key.sign(nonce.encode())),
    )
    try:
        yield client
    finally:
        await _close(client)


async def _close(client: Client) -> None:
    """Closed with its socket, which nats-py leaves open when the other end closed first."""
    transport = client._transport
    with contextlib.suppress(OSError, TimeoutError):
        await asyncio.wait_for(client.close(), 1)
    if transport is not None:
        transport.close()  # type: ignore[no-untyped-call]  # nats-py leaves it so
        with contextlib.suppress(OSError):
            await transport.wait_closed()  # type: ignore[no-untyped-call]
