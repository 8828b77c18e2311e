# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A node's line to the bus, which can be cut and mended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from services.node_executor.adapters.node_bus import connect_node
from shared.adapters.bus import Bus
from shared.adapters.bus_errors import BusUnreachableError


class Line:
    """Whole at first."""

    def __init__(self) -> None:
        """Nothing is connected."""
        self._whole = asyncio.Event()
        self._whole.set()
        self._is_cut = asyncio.Event()
        self._connected = asyncio.Event()

    def cut(self) -> None:
        """A connection that goes over it ends, and none is made."""
        self._whole.clear()
        self._connected.clear()
        self._is_cut.set()

    def mend(self) -> None:
        """Connections are made again."""
        self._is_cut.clear()
        self._whole.set()

    async def connection(self) -> None:
        """One was made since it was whole."""
        await self._connected.wait()

    @asynccontextmanager
    async def connected(self, credentials_dir: Path) -> AsyncIterator[Bus]:
        """As `connect_node`, once the line is whole.

        Raises:
            FaultError: As `connect_node`; or, out of the block, the line was cut.
        """
        await self._whole.wait()
        async with connect_node(credentials_dir) as bus:
            bus.spawn(self._fail_when_cut())
            if self._whole.is_set():
                self._connected.set()
            yield bus

    async def _fail_when_cut(self) -> None:
        await self._is_cut.wait()
        raise BusUnreachableError("the line to the bus was cut")
