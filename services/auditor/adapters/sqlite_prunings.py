# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Which prunings of a log in SQLite were carried out, and what is not known since."""

from __future__ import annotations

import sqlite3
from typing import Final

from services.auditor.adapters.log_rows import json_text
from services.auditor.store import PrunedUntil, check_ran
from shared.contracts.events import Audience

SCHEMA: Final = """
CREATE TABLE prunings (
    record INTEGER PRIMARY KEY,
    audience TEXT NOT NULL,
    through_us INTEGER NOT NULL,
    ran_before_us INTEGER NOT NULL
) STRICT;
"""
"""A row for each `log.prune` that was carried out."""


def carried_out(connection: sqlite3.Connection) -> frozenset[int]:
    """Records that said prunings which were carried out."""
    return frozenset(record for (record,) in connection.execute("SELECT record FROM prunings"))


def pruned_until(connection: sqlite3.Connection, audiences: frozenset[Audience]) -> PrunedUntil:
    """Up to when records of these audiences may be missing."""
    found = connection.execute(
        "SELECT max(through_us), max(ran_before_us), max(record) FROM prunings "
        "WHERE audience IN (SELECT value FROM json_each(?))",
        (json_text(sorted(audiences)),),
    ).fetchone()
    return PrunedUntil(*(one or 0 for one in found))


def demand_ran(
    connection: sqlite3.Connection, at_us: int, *, audiences: frozenset[Audience]
) -> None:
    """What ran at a moment is known, and since.

    Raises:
        PrunedPastError: Records that said it were pruned.
    """
    check_ran(pruned_until(connection, audiences), at_us)
