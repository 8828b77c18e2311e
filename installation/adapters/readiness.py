# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Whether every process answers on the bus (ADR-32, `$SRV.PING`)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
from nats.aio.msg import Msg

from installation.supervision import ProcessSpec, answer_name, missing_answers
from shared.adapters.bus_errors import NobodyAnswersError
from shared.adapters.connection import Connection, open_connection
from shared.errors import FaultError

PING_SUBJECT: Final = "$SRV.PING"
ROUND_SECONDS: Final = 0.5
"""How long one question waits for the last answer."""
PAUSE_SECONDS: Final = 0.1


class _Ping(msgspec.Struct, frozen=True):
    name: str = ""
    metadata: dict[str, str] = {}


async def missing_after(
    credentials_dir: Path, specs: Sequence[ProcessSpec], stop: asyncio.Event, *, seconds: float
) -> tuple[ProcessSpec, ...]:
    """Who did not answer one and the same question before `seconds` were over; empty: all did.

    Args:
        credentials_dir: Of the supervisor.
        specs: Those without a service name are not waited for.
        stop: Ends the waiting early.
        seconds: Counted from now; the server may still be starting.

    Raises:
        RefusedError: The credentials are refused.
    """
    missing = missing_answers(specs, ())
    if not missing:
        return ()
    clock = asyncio.get_running_loop().time
    deadline = clock() + seconds
    while clock() < deadline and not stop.is_set():
        try:
            async with open_connection(credentials_dir) as connection:
                while clock() < deadline and not stop.is_set():
                    missing = await _missing_in_one_round(connection, specs)
                    if not missing:
                        return ()
                    await asyncio.sleep(PAUSE_SECONDS)
        except FaultError:
            await asyncio.sleep(PAUSE_SECONDS)
    return missing


async def _missing_in_one_round(
    connection: Connection, specs: Sequence[ProcessSpec]
) -> tuple[ProcessSpec, ...]:
    answered: set[str] = set()

    def is_last(message: Msg) -> bool:
        ping = msgspec.json.decode(message.data, type=_Ping)
        answered.add(answer_name(ping.name, ping.metadata.get("node", "")))
        return not missing_answers(specs, answered)

    try:
        await connection.ask_until(is_last, PING_SUBJECT, b"", timeout_seconds=ROUND_SECONDS)
    except NobodyAnswersError:
        return missing_answers(specs, ())
    except FaultError:
        return missing_answers(specs, answered)
    return ()
