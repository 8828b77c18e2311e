# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The running nats-server, through its system account: new account claims, new certificates.

Each call connects as a user made for it that lives SYSTEM_USER_SECONDS; nothing that may do this
is kept on disk but the system account's own seed.
"""

from __future__ import annotations

import asyncio
import base64
import secrets
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
import nats
import nats.errors
from nats.aio.client import Client

from installation.claims import system_user_claims
from shared.errors import FaultError
from shared.nkeys import SEED_BYTES, NKey, render_jwt

ANSWER_SECONDS: Final = 5.0
_INBOX: Final = b"_INBOX.system"
_ACCEPTED: Final = 200


class ServerNotRunningError(FaultError):
    """Nothing listens where the server should."""


class ServerPushError(FaultError):
    """The server did not take over what was sent to it."""


async def push_account_jwts(
    url: str, jwts: Sequence[str], *, system: NKey, ca_pem: str | None, now: datetime
) -> None:
    """The server enforces these account claims: connections of users revoked in them are cut.

    Raises:
        ServerNotRunningError: Nothing listens at `url`.
        ServerPushError: The server refused one, or did not answer.
    """
    async with _connected(url, system=system, ca_pem=ca_pem, now=now) as client:
        for jwt in jwts:
            answer = await _asked(client, "$SYS.REQ.CLAIMS.UPDATE", jwt.encode())
            data = answer.get("data", {})
            if data.get("code") != _ACCEPTED:
                raise ServerPushError(f"nats-server refused account claims: {answer}")


async def reload_server(url: str, *, system: NKey, ca_pem: str | None, now: datetime) -> None:
    """The server has read its configuration and certificates again; connections stay.

    Raises:
        ServerNotRunningError: Nothing listens at `url`.
        ServerPushError: The server refused, or did not answer.
    """
    async with _connected(url, system=system, ca_pem=ca_pem, now=now) as client:
        about = await _asked(client, "$SYS.REQ.USER.INFO", b"")
        server_id = about.get("server", {}).get("id", "")
        answer = await _asked(client, f"$SYS.REQ.SERVER.{server_id}.RELOAD", b"")
        if "error" in answer:
            raise ServerPushError(f"nats-server did not reload: {answer['error']}")


@asynccontextmanager
async def _connected(
    url: str, *, system: NKey, ca_pem: str | None, now: datetime
) -> AsyncIterator[Client]:
    await _refuse_closed_port(url)
    key = NKey("user", secrets.token_bytes(SEED_BYTES))
    jwt = render_jwt(system_user_claims(key=key.public, now=now), signer=system)

    def signed(nonce: str) -> bytes:
        return base64.b64encode(key.sign(nonce.encode()))

    async def noted(error: Exception) -> None:
        problems.append(str(error))

    problems: list[str] = []
    try:
        client = await nats.connect(
            url,
            user_jwt_cb=jwt.encode,
            signature_cb=signed,
            error_cb=noted,
            inbox_prefix=_INBOX,
            allow_reconnect=False,
            connect_timeout=int(ANSWER_SECONDS),
            tls=ssl.create_default_context(cadata=ca_pem) if ca_pem else None,
        )
    except (OSError, ssl.SSLError, nats.errors.Error) as error:
        raise ServerPushError(f"{url}: {error} {' '.join(problems)}".strip()) from error
    try:
        yield client
    finally:
        await client.close()


async def _asked(client: Client, subject: str, data: bytes) -> dict[str, Any]:
    try:
        message = await client.request(subject, data, timeout=ANSWER_SECONDS)
        return msgspec.json.decode(message.data, type=dict[str, Any])
    except (nats.errors.Error, msgspec.DecodeError) as error:
        raise ServerPushError(f"nats-server: no usable answer on {subject}: {error}") from error


async def _refuse_closed_port(url: str) -> None:
    parts = urlsplit(url)
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            _, writer = await asyncio.open_connection(parts.hostname, parts.port)
    except ConnectionRefusedError as error:
        raise ServerNotRunningError(f"{url}: nothing listens there") from error
    except (OSError, TimeoutError) as error:
        raise ServerPushError(f"{url}: cannot be reached: {error}") from error
    writer.close()
    await writer.wait_closed()
