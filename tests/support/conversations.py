# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""An endpoint that remembers what it was asked, and waiting for what must come true."""

from __future__ import annotations

import asyncio
from typing import Any

from shared.adapters.callers import Caller
from shared.contracts import catalog
from shared.contracts.base import Message


class Conversation:
    """What a served endpoint was asked, and what it shall answer."""

    def __init__(self) -> None:
        self.requests: list[Any] = []
        self.callers: list[Caller] = []
        self.answering = asyncio.Event()
        self.answering.set()
        self.running = 0
        self.most_running = 0

    async def list_packages(self, request: catalog.ListPackages, caller: Caller) -> Message:
        """The empty list, once `answering` is set."""
        self.requests.append(request)
        self.callers.append(caller)
        self.running += 1
        self.most_running = max(self.running, self.most_running)
        try:
            await self.answering.wait()
        finally:
            self.running -= 1
        return catalog.PackageList(packages=())


async def eventually(condition: Any, *, seconds: float = 5.0) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.002)
