# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a companion sends costs the supervisor its share and no more."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

from services.companions.adapters.streams import ReadinessSocket

TURNS = 20


async def test_who_says_again_and_again_that_it_is_ready_waits(tmp_path: Path) -> None:
    """One datagram, then a pause, however many there are."""
    said: list[str] = []
    readiness = ReadinessSocket(
        tmp_path / "notify", lambda: said.append("ready"), pause_seconds=3600.0
    )
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as companion:
        for _ in range(3):
            companion.sendto(b"READY=1", str(readiness.path))
    for _ in range(TURNS):
        await asyncio.sleep(0)

    assert said == ["ready"]
    readiness.close()


async def test_what_waits_is_read_after_the_pause(tmp_path: Path) -> None:
    """Who says other things first is heard in the end."""
    is_ready = asyncio.Event()
    readiness = ReadinessSocket(tmp_path / "notify", is_ready.set, pause_seconds=0.0)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as companion:
        for message in (b"STATUS=a", b"STATUS=b", b"READY=1"):
            companion.sendto(message, str(readiness.path))

    async with asyncio.timeout(30):
        await is_ready.wait()
    readiness.close()
