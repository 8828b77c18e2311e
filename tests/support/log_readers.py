# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Whoever may read a log, while its auditor runs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from cli.audit_query import Answer
from shared.adapters.bus import Bus
from shared.contracts.audit import LIST_RECORDS, ListRecords, StreamRecords
from shared.installation_facts import FACTS_FILE, render_facts
from tests.integration.conftest import Buses
from tests.support.auditing import eventually, running_auditor, vkey
from tests.support.command_line import Answer as Said
from tests.support.command_line import run_l3af


class Reader:
    """An auditor by role: at a terminal, and on the bus."""

    def __init__(self, credentials: Path, folder: Path, bus: Bus, key: str) -> None:
        self.credentials = credentials
        self.folder = folder
        self.bus = bus
        self.key = key

    async def l3af(self, *words: str) -> Said:
        """One command."""
        return await run_l3af("audit", *words, credentials=self.credentials, folder=self.folder)

    async def must(self, *words: str) -> Any:
        """What a command prints as JSON that has to work."""
        said = await self.l3af(*words, "--json")
        assert said.status == 0, said.message
        return said.document

    async def until_recorded(self, count: int, **filters: Any) -> None:
        """So many records match."""

        async def enough() -> bool:
            found = await self.bus.request(LIST_RECORDS, ListRecords(limit=1000, **filters))
            return len(found.records) >= count

        await eventually(enough)

    async def all_of(self, *requests: StreamRecords, **options: Any) -> tuple[list[int], Answer]:
        """The indexes of an answer, and where it stopped."""
        answer = Answer(self.bus, requests, **options)
        return [record.index async for record in answer.records()], answer


@asynccontextmanager
async def reading(buses: Buses, folder: Path) -> AsyncIterator[Reader]:
    """A reader, and the auditor, whose state is in the folder too."""
    credentials = buses.server.credentials("auditor", "ann")
    facts = msgspec.structs.replace(buses.server.facts, log_verifier_key=vkey(buses.server))
    (credentials / FACTS_FILE).write_bytes(render_facts(facts))
    async with running_auditor(buses.server, folder / "auditor"):
        bus = await buses.open("auditor", "eve")
        yield Reader(credentials, folder, bus, vkey(buses.server))
