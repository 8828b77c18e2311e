# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Records of a log in PostgreSQL that are pruned, in one transaction with the indexes beside them.

The same rules as in SQLite (`sqlite_pruning`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final

from asyncpg import Connection
from asyncpg import Record as Row

from services.auditor.adapters.log_rows import BLOCK_RECORDS, COLUMNS, pruned_rows
from services.auditor.adapters.postgres_pages import read_actions
from services.auditor.adapters.postgres_rows import (
    SELECT_STORED,
    postgres_values,
    read_record,
)
from services.auditor.adapters.postgres_timelines import make_spans
from services.auditor.query import StoredRecord
from services.auditor.retention.holds import HOLD_ACTIONS, holds_of
from services.auditor.retention.remains import Pruning
from services.auditor.retention.selection import removed_leaves, said_of_places
from services.auditor.sightings import Sighting

Opened = Callable[[Sequence[StoredRecord]], Awaitable[Sequence[StoredRecord]]]
_POINT: Final = (
    "SELECT number FROM hook_points "
    "WHERE node = $1 AND netns = $2 AND interface = $3 AND hook = $4 AND audience = $5"
)
_NEWEST: Final = (
    "SELECT sequence, idx FROM sightings WHERE point = $1 AND is_observed = $2 AND from_us <= $3 "
    "ORDER BY from_us DESC, sequence DESC, idx DESC LIMIT 1"
)
_SETTLE: Final = """
UPDATE sightings AS s SET from_us = (SELECT min(r.time_us) FROM sightings l
    JOIN records r ON r.idx = l.idx
    WHERE l.point = s.point AND (l.ctid = s.ctid OR l.sequence > s.sequence))
WHERE point = ANY($1) AND from_us <> (SELECT time_us FROM records WHERE records.idx = s.idx)
"""
_SPANS: Final = f"""
UPDATE spans SET first_us = found.first_us, last_us = found.last_us FROM (
    SELECT idx / {BLOCK_RECORDS} AS block, min(time_us) AS first_us, max(time_us) AS last_us
    FROM records JOIN unnest($1::bigint[]) AS wanted (block)
    ON idx >= wanted.block * {BLOCK_RECORDS} AND idx < (wanted.block + 1) * {BLOCK_RECORDS}
    GROUP BY 1) AS found
WHERE spans.block = found.block
"""  # noqa: S608 # constants
_TYPES: Final = {
    "idx": "bigint",
    "time_us": "bigint",
    "received_us": "bigint",
    "stream_sequence": "bigint",
    "body": "bytea",
}
_ARRAYS: Final = ", ".join(
    f"${place}::{_TYPES.get(name, 'text')}[]" for place, name in enumerate(COLUMNS, start=1)
)
_ASSIGNED: Final = ", ".join(
    f"{name} = w.{name}" for name in COLUMNS if name not in {"idx", "received_us"}
)
_REPLACE: Final = (
    f"UPDATE records AS r SET {_ASSIGNED} FROM unnest({_ARRAYS}) AS w ({', '.join(COLUMNS)}) "  # noqa: S608
    "WHERE r.idx = w.idx AND r.received_us = w.received_us"
)
"""Its month stays a record's own."""


async def standing(
    connection: Connection[Row], said: Iterable[tuple[Sighting, int]]
) -> frozenset[int]:
    """Records without which it would not be known what ran at the given time and since."""
    found = set()
    for one, at_us in said:
        number = await _number(connection, one)
        newest = await connection.fetchrow(_NEWEST, number, one.is_observed, at_us)
        if newest is None or (newest[0], newest[1]) <= (one.sequence, one.record):
            found.add(one.record)
            continue
        from_us = await connection.fetchval(
            "SELECT from_us FROM sightings WHERE point = $1 AND sequence = $2 AND idx = $3",
            number,
            one.sequence,
            one.record,
        )
        found |= {one.record} if from_us > at_us else set()
    return frozenset(found)


async def carry_out(connection: Connection[Row], pruning: Pruning, *, opened: Opened) -> int:
    """The records that it names are pruned, but for those that are held; how many.

    Args:
        connection: In a transaction that writes.
        pruning: As the log has recorded it.
        opened: Gives records as they were received: so holds select them.
    """
    holds = holds_of(await opened(await hold_records(connection)))
    rows = await connection.fetch(
        f"{SELECT_STORED} WHERE idx = ANY($1) ORDER BY idx", list(pruning.indexes)
    )
    records = {row[0]: read_record(row) for row in rows}
    leaves = removed_leaves(pruning, await opened(list(records.values())), holds)
    await replace_rows(connection, pruned_rows(records, leaves))
    await forget_places(connection, said_of_places(records[index] for index, _ in leaves))
    await connection.execute(
        "INSERT INTO prunings VALUES ($1, $2, $3, $4) ON CONFLICT (record) DO NOTHING",
        pruning.record,
        pruning.audience,
        pruning.through_us,
        pruning.ran_before_us,
    )
    return len(leaves)


async def replace_rows(connection: Connection[Row], rows: Sequence[Sequence[Any]]) -> None:
    """The records have these rows, in the open transaction."""
    kept = [postgres_values(tuple(row)) for row in rows]
    columns = [[row[place] for row in kept] for place in range(len(COLUMNS))]
    await connection.execute(_REPLACE, *columns)
    await connection.execute(_SPANS, sorted({row[0] // BLOCK_RECORDS for row in rows}))


async def forget_places(connection: Connection[Row], said: Sequence[Sighting]) -> None:
    """The index of what ran where holds nothing of these, in the open transaction."""
    if not said:
        return
    numbered = [(await _number(connection, one), one) for one in said]
    await connection.executemany(
        "DELETE FROM sightings WHERE point = $1 AND sequence = $2 AND idx = $3",
        [(number, one.sequence, one.record) for number, one in numbered],
    )
    await connection.executemany(
        "DELETE FROM sighted_digests WHERE digest = $1 AND point = $2 AND sequence = $3 "
        "AND idx = $4",
        [
            (digest, number, one.sequence, one.record)
            for number, one in numbered
            for digest in sorted(one.digests)
        ],
    )
    points = sorted({number for number, _ in numbered})
    await connection.execute(_SETTLE, points)
    await make_spans(connection, points)


async def _number(connection: Connection[Row], one: Sighting) -> int:
    place = one.place
    key = (place.node, place.netns, place.interface, place.hook, one.audience)
    return int(await connection.fetchval(_POINT, *key) or 0)


async def hold_records(connection: Connection[Row]) -> list[StoredRecord]:
    """Those that say what is held, oldest first, as they are kept."""
    return await read_actions(connection, HOLD_ACTIONS, "auditor", 0, None)
