# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Records of a log in SQLite that are pruned, in one transaction with the indexes beside them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from services.auditor.adapters.log_rows import (
    BLOCK_RECORDS,
    COLUMNS,
    STORED,
    json_text,
    pruned_rows,
    stored_record,
)
from services.auditor.adapters.sqlite_pages import read_actions
from services.auditor.adapters.sqlite_timelines import make_spans
from services.auditor.query import StoredRecord
from services.auditor.retention.holds import HOLD_ACTIONS, holds_of
from services.auditor.retention.remains import Pruning
from services.auditor.retention.selection import removed_leaves, said_of_places
from services.auditor.sightings import Sighting

Opened = Callable[[Sequence[StoredRecord]], list[StoredRecord]]
_POINT: Final = (
    "SELECT number FROM hook_points "
    "WHERE node = ? AND netns = ? AND interface = ? AND hook = ? AND audience = ?"
)
_NEWEST: Final = (
    "SELECT sequence, idx FROM sightings WHERE point = ? AND is_observed = ? AND from_us <= ? "
    "ORDER BY from_us DESC, sequence DESC, idx DESC LIMIT 1"
)
_SETTLE: Final = """
UPDATE sightings AS s SET from_us = (SELECT min(r.time_us) FROM sightings l
    JOIN records r ON r.idx = l.idx
    WHERE l.point = s.point AND (l.rowid = s.rowid OR l.sequence > s.sequence))
WHERE point = ? AND from_us <> (SELECT time_us FROM records WHERE records.idx = s.idx)
"""
"""Those that count from the time of a later one, which may be gone."""
_SPANS: Final = f"""
UPDATE spans SET
    first_us = (SELECT min(time_us) FROM records
        WHERE idx >= block * {BLOCK_RECORDS} AND idx < (block + 1) * {BLOCK_RECORDS}),
    last_us = (SELECT max(time_us) FROM records
        WHERE idx >= block * {BLOCK_RECORDS} AND idx < (block + 1) * {BLOCK_RECORDS})
WHERE block = ?
"""  # noqa: S608 # constants
_ASSIGNED: Final = ", ".join(f"{name} = ?" for name in COLUMNS[1:])
_REPLACE: Final = f"UPDATE records SET {_ASSIGNED} WHERE idx = ?"  # noqa: S608 # constants


def standing(
    connection: sqlite3.Connection, said: Iterable[tuple[Sighting, int]]
) -> frozenset[int]:
    """Records without which it would not be known what ran at the given time and since.

    Args:
        connection: In a transaction.
        said: What records say of hook points, each with a time, microseconds since 1970.
    """
    found = set()
    for one, at_us in said:
        number = _number(connection, one)
        newest = connection.execute(_NEWEST, (number, one.is_observed, at_us)).fetchone()
        if newest is None or newest[:2] <= (one.sequence, one.record):
            found.add(one.record)
        else:
            (from_us,) = connection.execute(
                "SELECT from_us FROM sightings WHERE point = ? AND sequence = ? AND idx = ?",
                (number, one.sequence, one.record),
            ).fetchone()
            found |= {one.record} if from_us > at_us else set()
    return frozenset(found)


def carry_out(connection: sqlite3.Connection, pruning: Pruning, *, opened: Opened) -> int:
    """The records that it names are pruned, but for those that are held; how many.

    Args:
        connection: In a transaction that writes.
        pruning: As the log has recorded it.
        opened: Gives records as they were received: so holds select them.
    """
    holds = holds_of(opened(hold_records(connection)))
    named = json_text(list(pruning.indexes))
    rows = connection.execute(
        f"SELECT {STORED} FROM records WHERE idx IN (SELECT value FROM json_each(?)) "  # noqa: S608
        "ORDER BY idx",
        (named,),
    )
    records = {row[0]: stored_record(row) for row in rows}
    leaves = removed_leaves(pruning, opened(list(records.values())), holds)
    replace_rows(connection, pruned_rows(records, leaves))
    forget_places(connection, said_of_places(records[index] for index, _ in leaves))
    connection.execute(
        "INSERT OR REPLACE INTO prunings VALUES (?, ?, ?, ?)",
        (pruning.record, pruning.audience, pruning.through_us, pruning.ran_before_us),
    )
    return len(leaves)


def replace_rows(connection: sqlite3.Connection, rows: Sequence[Sequence[object]]) -> None:
    """The records have these rows, in the open transaction."""
    connection.executemany(_REPLACE, [(*row[1:], row[0]) for row in rows])
    blocks = sorted({int(str(row[0])) // BLOCK_RECORDS for row in rows})
    connection.executemany(_SPANS, [(block,) for block in blocks])


def forget_places(connection: sqlite3.Connection, said: Sequence[Sighting]) -> None:
    """The index of what ran where holds nothing of these, in the open transaction."""
    points = set()
    for one in said:
        number = _number(connection, one)
        points.add(number)
        connection.execute(
            "DELETE FROM sightings WHERE point = ? AND sequence = ? AND idx = ?",
            (number, one.sequence, one.record),
        )
        connection.executemany(
            "DELETE FROM sighted_digests WHERE digest = ? AND point = ? AND sequence = ? "
            "AND idx = ?",
            [(digest, number, one.sequence, one.record) for digest in sorted(one.digests)],
        )
    connection.executemany(_SETTLE, [(point,) for point in sorted(points)])
    if points:
        make_spans(connection, points)


def _number(connection: sqlite3.Connection, one: Sighting) -> int:
    place = one.place
    key = (place.node, place.netns, place.interface, place.hook, one.audience)
    row: tuple[int] | None = connection.execute(_POINT, key).fetchone()
    return row[0] if row is not None else 0


def hold_records(connection: sqlite3.Connection) -> list[StoredRecord]:
    """Those that say what is held, oldest first, as they are kept."""
    return read_actions(connection, HOLD_ACTIONS, "auditor", 0, None)
