# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The unix socket that the node executor asks on."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from shared.contracts.companions import (
    MAX_LINE_BYTES,
    CompanionRefusal,
    CompanionReply,
    CompanionRequest,
    encode_line,
)
from shared.errors import FaultError, RefusedError

Answer = Callable[[CompanionRequest], Awaitable[CompanionReply]]

_OWNER_ALONE: Final = 0o600


class SocketError(FaultError):
    """The socket cannot be made."""


@asynccontextmanager
async def serving(path: Path, answer: Answer) -> AsyncIterator[None]:
    """Requests that come on the socket at `path` are answered, each connection's in order.

    Raises:
        SocketError: It cannot be made there.
    """
    open_now: set[asyncio.StreamWriter] = set()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_now.add(writer)
        try:
            while (line := await _line(reader)) is not None:
                writer.write(encode_line(await _reply(line, answer)))
                await writer.drain()
        except (ConnectionError, TimeoutError):
            pass
        finally:
            open_now.discard(writer)
            writer.close()

    listening = _listen(path)
    remove = partial(path.unlink, missing_ok=True)
    server = await asyncio.start_unix_server(talk, sock=listening, limit=MAX_LINE_BYTES)
    try:
        yield
    finally:
        server.close()
        for writer in tuple(open_now):
            writer.transport.abort()
        remove()


def _listen(path: Path) -> socket.socket:
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        listening.bind(str(path))
        # Nobody can connect before it listens.
        path.chmod(_OWNER_ALONE)
        listening.listen()
    except OSError as error:
        listening.close()
        raise SocketError(f"socket {path}: {error}") from error
    return listening


async def _line(reader: asyncio.StreamReader) -> bytes | None:
    """The next line; None: there is none any more, or it is too long to be one."""
    with suppress(asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        return await reader.readuntil(b"\n")
    return None


async def _reply(line: bytes, answer: Answer) -> CompanionReply:
    try:
        request = msgspec.json.decode(line, type=CompanionRequest)
    except msgspec.MsgspecError as error:
        return CompanionRefusal(
            code="invalid_request", message="the request cannot be read", problems=(str(error),)
        )
    try:
        return await answer(request)
    except (RefusedError, FaultError) as error:
        refusal = error.refusal()
        return CompanionRefusal(
            code=refusal.code,
            message=refusal.message,
            problems=tuple(f"{reason.path}: {reason.rule}" for reason in refusal.reasons),
        )
