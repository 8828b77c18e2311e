# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A line to a server that a test cuts: both ends stay open, and nothing arrives any more."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from shared.installation_facts import FACTS_FILE, parse_facts, render_facts

_CHUNK_BYTES = 65_536


class Line:
    """What goes through, and whether."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._whole = asyncio.Event()
        self._whole.set()

    def cut(self) -> None:
        """Nothing arrives from now on, in either direction."""
        self._whole.clear()

    def mend(self) -> None:
        """What was sent meanwhile arrives, late."""
        self._whole.set()

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, to its end."""
        await self._whole.wait()
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._port)
        await asyncio.gather(
            self._pump(reader, far_writer), self._pump(far_reader, writer), return_exceptions=True
        )

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(_CHUNK_BYTES):
                await self._whole.wait()
                writer.write(data)
                await writer.drain()
        finally:
            writer.close()


@asynccontextmanager
async def a_line(credentials: Path, to_port: int) -> AsyncIterator[tuple[Line, Path]]:
    """A line to the server, and credentials for whoever is to use it."""
    line = Line(to_port)
    carrying: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        carrying.add(task)
        try:
            await line.carry(reader, writer)
        finally:
            carrying.discard(task)
            writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    copy = credentials.with_name(f"{credentials.name}-by-line")
    shutil.copytree(credentials, copy)
    facts = parse_facts((copy / FACTS_FILE).read_bytes())
    elsewhere = msgspec.structs.replace(facts, server_url=f"nats://127.0.0.1:{port}")
    (copy / FACTS_FILE).write_bytes(render_facts(elsewhere))
    try:
        yield line, copy
    finally:
        server.close()
        for task in carrying:
            task.cancel()
        await asyncio.gather(*carrying, return_exceptions=True)
