# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""An auditor that is told of a space, one member of it, and two who are none."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.adapters.bus import Bus
from shared.contracts.audit import LIST_RECORDS, AuditRecord, ListRecords
from shared.contracts.events import Event
from shared.contracts.spaces import SPACES, SpaceRecord
from tests.integration.conftest import Buses
from tests.support.auditing import EmittingBus, eventually, running_auditor
from tests.support.inventories import at

EMBARGO = "r_0123456789abcdef"
PRIVATE = "p_acme"
SECRET = "quiet-fix"
LATER = at(3600)


@dataclass
class Stage:
    """An auditor that is running, who asks it, and who emits."""

    buses: Buses
    tiles: Path
    catalog: EmittingBus
    member: Bus
    """An auditor by role, named in EMBARGO."""
    stranger: Bus
    """An auditor by role who is named nowhere."""
    administrator: Bus
    """Named nowhere either."""

    async def put_space(self, audience: str, **fields: Any) -> None:
        """The catalog has written this of the space."""
        record = SpaceRecord(
            **{
                "audience": audience,
                "kind": "private" if audience.startswith("p_") else "embargo",
                "members": ("ann",),
                "created_at": at(0),
                "created_by": "U" + "A" * 55,
                **fields,
            }
        )
        await self.catalog.bus.bucket(SPACES).put(audience, record)

    async def recorded(self, event: Event) -> int:
        """The number of the record of this event, once there is one."""
        found: list[AuditRecord] = []

        async def is_there() -> bool:
            asked = ListRecords(event_id=event.id)
            found[:] = (await self.member.request(LIST_RECORDS, asked)).records
            return bool(found)

        await eventually(is_there)
        return found[0].index


@asynccontextmanager
async def space_stage(buses: Buses, tmp_path: Path) -> AsyncIterator[Stage]:
    """EMBARGO is known, with one member, and one event was told to it."""
    tiles = tmp_path / "tiles"
    async with running_auditor(buses.server, tmp_path / "auditor", tiles_dir=str(tiles)):
        stage = Stage(
            buses,
            tiles,
            EmittingBus(await buses.open("service-catalog"), "catalog"),
            await buses.open("auditor", "ann"),
            await buses.open("auditor", "sam"),
            await buses.open("administrator", "root"),
        )
        await stage.put_space(EMBARGO)
        yield stage
