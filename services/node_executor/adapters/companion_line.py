# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The line to the companion supervisor of this node: a unix socket, one JSON document a line."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final, Protocol, TypeVar

import msgspec

from shared.contracts.companions import (
    MAX_LINE_BYTES,
    CompanionRefusal,
    CompanionReply,
    CompanionRequest,
    encode_line,
)
from shared.contracts.errors import ErrorCode
from shared.errors import FaultError, Reason, RefusedError

REPLY_SECONDS: Final = 10.0
"""Beside the time that a request itself asks to wait."""

_FAILURES: Final = (
    OSError,
    asyncio.IncompleteReadError,
    asyncio.LimitOverrunError,
    msgspec.MsgspecError,
)
ReplyT = TypeVar("ReplyT", bound=msgspec.Struct)


class SupervisorAwayError(FaultError):
    """Nobody answers on the socket, or not as agreed."""


class Supervisor(Protocol):
    """Asks the supervisor."""

    async def ask(
        self, request: CompanionRequest, reply: type[ReplyT], *, wait_seconds: float = 0.0
    ) -> ReplyT:
        """What it answers."""

    async def close(self) -> None:
        """The next request begins anew."""


class SupervisorLine:
    """One connection, made when it is needed; requests wait for one another."""

    def __init__(self, path: Path) -> None:
        """Nothing is connected yet."""
        self._path: Final = path
        self._turn = asyncio.Lock()
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._decoder = msgspec.json.Decoder(CompanionReply)

    async def ask(
        self, request: CompanionRequest, reply: type[ReplyT], *, wait_seconds: float = 0.0
    ) -> ReplyT:
        """What the supervisor answers.

        Args:
            request: What is asked.
            reply: The kind of answer that belongs to it.
            wait_seconds: How long the supervisor may wait before it answers.

        Raises:
            RefusedError: It does not do it; nothing was changed.
            SupervisorAwayError: It is not there, or answers something else.
        """
        async with self._turn:
            try:
                async with asyncio.timeout(REPLY_SECONDS + wait_seconds):
                    answer = self._decoder.decode(await self._exchange(encode_line(request)))
            except _FAILURES as error:
                await self.close()
                why = str(error) or type(error).__name__
                raise SupervisorAwayError(
                    f"the companion supervisor does not answer on {self._path}: {why}"
                ) from error
            except asyncio.CancelledError:
                await self.close()  # the answer would be taken for that to the next request
                raise
        if isinstance(answer, CompanionRefusal):
            code = answer.code if answer.code in ("not_found", "too_large") else "invalid_request"
            reasons = [Reason(path="companions", rule=one) for one in answer.problems]
            raise RefusedError(answer.message, reasons, code=msgspec.convert(code, ErrorCode))
        if not isinstance(answer, reply):
            await self.close()
            raise SupervisorAwayError(
                f"the companion supervisor on {self._path} answered something else"
            )
        return answer

    async def close(self) -> None:
        """The next request connects anew."""
        if self._streams is None:
            return
        _, writer = self._streams
        self._streams = None
        writer.close()

    async def _exchange(self, line: bytes) -> bytes:
        if self._streams is None:
            self._streams = await asyncio.open_unix_connection(
                str(self._path), limit=MAX_LINE_BYTES
            )
        reader, writer = self._streams
        writer.write(line)
        await writer.drain()
        return await reader.readuntil(b"\n")


def supervisor_line(path: str) -> SupervisorLine | None:
    """A line of its own to the supervisor; None: this node has none."""
    return SupervisorLine(Path(path)) if path else None
