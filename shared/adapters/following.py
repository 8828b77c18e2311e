# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Follows the keys of a bucket by a core subscription, and believes only what is stored.

A core message on a key's subject is a hint: it comes before the stream has stored it, it comes
even if the stream refuses it, and it can be missed.  So each hint leads to a read, each reading
is handed on once, and everything is read again after a reconnection and from time to time.  A
bucket that was deleted and made anew counts from 1 again; what it holds is known by being later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

import structlog
from nats.aio.msg import Msg

from shared.adapters.direct_get import Stored
from shared.errors import FaultError

STORED_WITHIN_SECONDS: Final = (0.0, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128)
"""Pauses between looking whether a hint has been stored; after the last it was refused."""
FAULT_PAUSE_SECONDS: Final = 0.5
GONE: Final = {"KV-Operation": "DEL"}
"""Headers that say that a key does not exist (NATS ADR-8)."""

_log = structlog.get_logger()


class Follower:
    """What was handed on of each key, and what is still to be looked at."""

    def __init__(
        self,
        *,
        read: Callable[[str], Awaitable[list[Stored]]],
        handler: Callable[[Stored], Awaitable[None]],
        subject: str,
        relist_seconds: float,
    ) -> None:
        self.subject: Final = subject
        self.has_listed: Final = asyncio.Event()
        """Set once everything that was stored had been handed on."""
        self._read: Final = read
        self._handler: Final = handler
        self._relist_seconds: Final = relist_seconds
        self._handed: Final[dict[str, Stored]] = {}
        self._hints: Final[dict[str, bytes]] = {}
        self._relist_wanted = True
        self._wake: Final = asyncio.Event()

    async def on_message(self, message: Msg) -> None:
        """Notes that a key may have changed; only the newest hint of a key counts."""
        self._hints[message.subject] = message.data
        self._wake.set()

    async def relist(self) -> None:
        """Notes that anything may have been missed."""
        self._relist_wanted = True
        self._wake.set()

    async def run(self) -> None:
        """For ever."""
        while True:
            try:
                await self._catch_up()
            except FaultError as fault:
                _log.warning("following_interrupted", subject=self.subject, why=fault.message)
                self._relist_wanted = True
                await asyncio.sleep(FAULT_PAUSE_SECONDS)

    async def _catch_up(self) -> None:
        if self._relist_wanted:
            self._relist_wanted = False
            await self._list()
            self.has_listed.set()
        while self._hints:
            subject, data = next(iter(self._hints.items()))
            del self._hints[subject]
            await self._settle(subject, data)
        self._wake.clear()
        if self._relist_wanted:
            return
        try:
            async with asyncio.timeout(self._relist_seconds):
                await self._wake.wait()
        except TimeoutError:
            self._relist_wanted = True

    async def _list(self) -> None:
        found = await self._read(self.subject)
        for stored in found:
            await self._hand_on(stored)
        for subject in set(self._handed) - {stored.subject for stored in found}:
            # Deleted, and the marker of it has expired.
            await self._handler(replace(self._handed[subject], headers=GONE, data=b""))
            del self._handed[subject]

    async def _settle(self, subject: str, data: bytes) -> None:
        """What the hint announced was handed on, or was refused by the stream, or is outdated."""
        for pause_seconds in STORED_WITHIN_SECONDS:
            await asyncio.sleep(pause_seconds)
            for stored in await self._read(subject):
                await self._hand_on(stored)
                if stored.data == data:
                    return
            if subject in self._hints:
                return

    async def _hand_on(self, stored: Stored) -> None:
        """Handed on, once for each revision; only afterwards it counts as handed on."""
        before = self._handed.get(stored.subject)
        if before is None or _is_newer(stored, before):
            await self._handler(stored)
            self._handed[stored.subject] = replace(stored, data=b"")


def _is_newer(stored: Stored, before: Stored) -> bool:
    """Whether it was stored after `before`, in the same stream or in one made anew."""
    return stored.sequence > before.sequence or stored.stored_at > before.stored_at
