# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which prunings of a log in PostgreSQL were carried out, and what is not known since."""

from __future__ import annotations

from typing import Final

from asyncpg import Connection
from asyncpg import Record as Row

from services.auditor.store import PrunedUntil, check_ran
from shared.contracts.events import Audience

SCHEMA: Final = """
CREATE TABLE prunings (
    record BIGINT PRIMARY KEY,
    audience TEXT COLLATE "C" NOT NULL,
    through_us BIGINT NOT NULL,
    ran_before_us BIGINT NOT NULL
);
"""
"""A row for each `log.prune` that was carried out."""


async def carried_out(connection: Connection[Row]) -> frozenset[int]:
    """Records that said prunings which were carried out."""
    return frozenset(row[0] for row in await connection.fetch("SELECT record FROM prunings"))


async def pruned_until(connection: Connection[Row], audiences: frozenset[Audience]) -> PrunedUntil:
    """Up to when records of these audiences may be missing."""
    found = await connection.fetchrow(
        "SELECT max(through_us), max(ran_before_us), max(record) FROM prunings "
        "WHERE audience = ANY($1)",
        sorted(audiences),
    )
    return PrunedUntil(*(one or 0 for one in found or ()))


async def demand_ran(
    connection: Connection[Row], at_us: int, *, audiences: frozenset[Audience]
) -> None:
    """What ran at a moment is known, and since.

    Raises:
        PrunedPastError: Records that said it were pruned.
    """
    check_ran(await pruned_until(connection, audiences), at_us)
