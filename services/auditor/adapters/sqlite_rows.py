# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The tables of the log in SQLite, and what is written to them and read.

One row of `log` says how far everything goes; whatever is beyond it does not exist.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final

from services.auditor.adapters.log_rows import (
    ARRIVAL_RUNS,
    WIDEN_SPANS,
    block_spans,
    channel_rows,
    json_text,
    numbered_receipts,
    read_ranges,
)
from services.auditor.adapters.sqlite_inventory import SCHEMA as INVENTORY_SCHEMA
from services.auditor.adapters.sqlite_inventory import TO_AUDIENCES
from services.auditor.adapters.sqlite_prunings import SCHEMA as PRUNING_SCHEMA
from services.auditor.adapters.sqlite_timelines import TO_TIMELINES
from services.auditor.admission import Channel, Gap, LogState
from services.auditor.merkle import Frontier
from services.auditor.persons.tokens import Token
from services.auditor.receipts import (
    NO_RECEIPTS,
    Receipt,
    ReceiptHead,
    extend_head,
    receipts_of_rows,
    unpack_head,
)
from services.auditor.tiles import Tile

SCHEMA: Final = """
CREATE TABLE log (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    origin TEXT NOT NULL,
    size INTEGER NOT NULL,
    root BLOB NOT NULL,
    stream_id TEXT NOT NULL,
    stream_sequence INTEGER NOT NULL
) STRICT;
CREATE TABLE records (
    idx INTEGER PRIMARY KEY,
    emitter TEXT NOT NULL,
    audience TEXT NOT NULL,
    event_id TEXT NOT NULL,
    time_us INTEGER NOT NULL,
    received_us INTEGER NOT NULL,
    stream_sequence INTEGER NOT NULL,
    leaf TEXT NOT NULL,
    body BLOB,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    outcome TEXT NOT NULL,
    package TEXT NOT NULL,
    node TEXT NOT NULL,
    deployment TEXT NOT NULL,
    correlation TEXT NOT NULL,
    problem TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX records_event ON records (emitter, event_id) WHERE event_id <> '';
CREATE INDEX records_time ON records (time_us);
CREATE INDEX records_action ON records (action);
CREATE INDEX records_actor ON records (actor) WHERE actor <> '';
CREATE INDEX records_package ON records (package) WHERE package <> '';
CREATE INDEX records_node ON records (node) WHERE node <> '';
CREATE INDEX records_deployment ON records (deployment) WHERE deployment <> '';
CREATE INDEX records_correlation ON records (correlation) WHERE correlation <> '';
CREATE INDEX records_trouble ON records (outcome) WHERE outcome IN ('refused', 'failed');
CREATE TABLE tiles (
    level INTEGER NOT NULL,
    position INTEGER NOT NULL,
    hashes BLOB NOT NULL,
    PRIMARY KEY (level, position)
) STRICT;
CREATE TABLE channels (
    emitter TEXT NOT NULL,
    audience TEXT NOT NULL,
    head INTEGER NOT NULL,
    missing TEXT NOT NULL,
    PRIMARY KEY (emitter, audience)
) STRICT;
CREATE TABLE gaps (
    number INTEGER PRIMARY KEY,
    gap TEXT NOT NULL,
    is_announced INTEGER NOT NULL
) STRICT;
CREATE TABLE checkpoints (
    size INTEGER PRIMARY KEY,
    note TEXT NOT NULL,
    signed_us INTEGER NOT NULL
) STRICT;
"""
"""Version 1, as it was released; it never changes.  A later version is a step of MIGRATIONS."""
_TO_VERSION_2: Final = """
ALTER TABLE records ADD COLUMN licence TEXT NOT NULL DEFAULT '';
UPDATE records SET licence = CAST(body AS TEXT) ->> '$.data.details.licence' WHERE CASE
    WHEN problem <> '' THEN 0
    ELSE json_type(CAST(body AS TEXT), '$.data.details.licence') = 'text' END;
CREATE INDEX records_licence ON records (licence) WHERE licence <> '';
CREATE INDEX records_actor_trouble ON records (actor, outcome)
    WHERE outcome IN ('refused', 'failed');
CREATE INDEX records_package_trouble ON records (package, outcome)
    WHERE outcome IN ('refused', 'failed');
CREATE INDEX records_node_trouble ON records (node, outcome)
    WHERE outcome IN ('refused', 'failed');
CREATE INDEX records_deployment_trouble ON records (deployment, outcome)
    WHERE outcome IN ('refused', 'failed');
CREATE TABLE spans (
    block INTEGER PRIMARY KEY,
    first_us INTEGER NOT NULL,
    last_us INTEGER NOT NULL
) STRICT;
INSERT INTO spans SELECT idx / 1024, min(time_us), max(time_us) FROM records GROUP BY 1;
"""
_TO_VERSION_5: Final = """
ALTER TABLE log ADD COLUMN receipts BLOB NOT NULL DEFAULT x'';
ALTER TABLE checkpoints ADD COLUMN receipts TEXT NOT NULL DEFAULT '';
CREATE TABLE receipts (
    number INTEGER PRIMARY KEY,
    idx INTEGER NOT NULL,
    received_us INTEGER NOT NULL,
    stream_sequence INTEGER NOT NULL,
    stream_id TEXT NOT NULL
) STRICT;
"""
_TO_VERSION_6: Final = """
DROP INDEX records_package;
CREATE INDEX records_package ON records (package, audience) WHERE package <> '';
DROP INDEX records_deployment;
CREATE INDEX records_deployment ON records (deployment, audience) WHERE deployment <> '';
DROP INDEX records_correlation;
CREATE INDEX records_correlation ON records (correlation, audience) WHERE correlation <> '';
DROP INDEX records_node;
CREATE INDEX records_node ON records (node, audience) WHERE node <> '';
DROP INDEX records_actor;
CREATE INDEX records_actor ON records (actor, audience) WHERE actor <> '';
DROP INDEX records_package_trouble;
CREATE INDEX records_package_trouble ON records (package, audience, outcome)
    WHERE outcome IN ('refused', 'failed');
DROP INDEX records_deployment_trouble;
CREATE INDEX records_deployment_trouble ON records (deployment, audience, outcome)
    WHERE outcome IN ('refused', 'failed');
DROP INDEX records_node_trouble;
CREATE INDEX records_node_trouble ON records (node, audience, outcome)
    WHERE outcome IN ('refused', 'failed');
DROP INDEX records_actor_trouble;
CREATE INDEX records_actor_trouble ON records (actor, audience, outcome)
    WHERE outcome IN ('refused', 'failed');
CREATE INDEX records_space ON records (audience) WHERE audience <> 'public';
"""
_TO_VERSION_9: Final = """
CREATE TABLE sealed (
    token TEXT PRIMARY KEY,
    words BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE erasures (
    number INTEGER PRIMARY KEY,
    statement TEXT NOT NULL,
    is_done INTEGER NOT NULL
) STRICT;
ALTER TABLE log ADD COLUMN masked INTEGER NOT NULL DEFAULT 0;
"""
"""Persons' words, their erasures that are not said yet, and up to which record there are none in
the records (those that are received from now on have none)."""
MIGRATIONS: Final[tuple[str, ...]] = (
    _TO_VERSION_2,
    INVENTORY_SCHEMA,
    TO_AUDIENCES,
    _TO_VERSION_5,
    _TO_VERSION_6,
    TO_TIMELINES,
    PRUNING_SCHEMA,
    _TO_VERSION_9,
)
"""What makes of each version the next one: the first of version 1 version 2."""
SCHEMA_VERSION: Final = 1 + len(MIGRATIONS)
_CHUNKS: Final = (500, 100, 20, 4, 1)
"""Rows a statement: one step of 500 rows gives the interpreter lock away once, not 500 times, and
few different sizes keep the statements prepared."""
_MADE_AT_ONCE: Final = 10_000


def insert_records(connection: sqlite3.Connection, records: Sequence[tuple[Any, ...]]) -> None:
    """Insert rows of `record_row`, in the open transaction."""
    _write(connection, "INSERT INTO records", records)
    connection.executemany(WIDEN_SPANS.format("VALUES (?, ?, ?)"), block_spans(records))


def replace_tiles(connection: sqlite3.Connection, tiles: Mapping[Tile, bytes]) -> None:
    """The tiles have these contents, in the open transaction."""
    changed = [(*tile, hashes) for tile, hashes in tiles.items()]
    _write(connection, "INSERT OR REPLACE INTO tiles", changed)


def replace_channels(
    connection: sqlite3.Connection, state: LogState, changed: Iterable[Channel]
) -> None:
    """The channels are as in `state`, in the open transaction."""
    _write(connection, "INSERT OR REPLACE INTO channels", channel_rows(state, changed))


def add_gaps(connection: sqlite3.Connection, gaps: Iterable[Gap]) -> None:
    """The gaps are kept and not announced, in the open transaction."""
    connection.executemany(
        "INSERT INTO gaps (gap, is_announced) VALUES (?, 0)", [(json_text(gap),) for gap in gaps]
    )


def add_receipts(
    connection: sqlite3.Connection, receipts: Sequence[Receipt], *, head: ReceiptHead
) -> None:
    """The receipts are kept, the last of them as number `head.number`, in the open transaction."""
    _write(connection, "INSERT INTO receipts", numbered_receipts(receipts, head))


def make_receipts(connection: sqlite3.Connection) -> None:
    """A log of an earlier release has receipts, in the open transaction."""
    kept, size, stream_id, stream_sequence = connection.execute(
        "SELECT receipts, size, stream_id, stream_sequence FROM log"
    ).fetchone()
    if kept:
        return
    head = NO_RECEIPTS
    every = receipts_of_rows(
        connection.execute(ARRIVAL_RUNS),
        size=size,
        stream_id=stream_id,
        stream_sequence=stream_sequence,
    )
    while made := list(islice(every, _MADE_AT_ONCE)):
        head = extend_head(head, made)
        add_receipts(connection, made, head=head)
    connection.execute("UPDATE log SET receipts = ?", (head.pack(),))


def add_seals(connection: sqlite3.Connection, seals: Mapping[Token, bytes]) -> None:
    """These sealed words are kept, in the open transaction; what is there already stays."""
    _write(connection, "INSERT OR IGNORE INTO sealed", list(seals.items()))


def known_leaves(
    connection: sqlite3.Connection, keys: Sequence[tuple[str, str]]
) -> Iterator[tuple[str, str, str, int]]:
    """Emitter, id, leaf and index of those of `keys` that are recorded."""
    for start in range(0, len(keys), _CHUNKS[0]):
        wanted = json_text(keys[start : start + _CHUNKS[0]])
        yield from connection.execute(
            "SELECT emitter, event_id, leaf, idx FROM json_each(?) AS wanted "
            "CROSS JOIN records ON event_id <> '' AND emitter = wanted.value ->> 0 "
            "AND event_id = wanted.value ->> 1",
            (wanted,),
        )


def read_state(connection: sqlite3.Connection) -> tuple[str, int, bytes, LogState]:
    """Origin, size, root, and the state with an empty frontier."""
    origin, size, root, stream_id, sequence, receipts = connection.execute(
        "SELECT origin, size, root, stream_id, stream_sequence, receipts FROM log"
    ).fetchone()
    heads, missing = {}, {}
    for emitter, audience, head, ranges in connection.execute("SELECT * FROM channels"):
        channel = Channel(emitter, audience)
        heads[channel] = head
        missing[channel] = read_ranges(ranges)
    state = LogState(Frontier(), stream_id, sequence, heads, missing, unpack_head(receipts))
    return origin, size, root, state


def read_tiles(connection: sqlite3.Connection, tiles: Sequence[Tile]) -> dict[Tile, bytes]:
    """Those of `tiles` that exist."""
    found = {}
    for tile in tiles:
        row = connection.execute(
            "SELECT hashes FROM tiles WHERE level = ? AND position = ?", tile
        ).fetchone()
        if row is not None:
            found[tile] = row[0]
    return found


def _write(connection: sqlite3.Connection, verb: str, written: Sequence[tuple[Any, ...]]) -> None:
    """Write rows of one width by `verb`, few to many in a statement."""
    start = 0
    for size in _CHUNKS:
        while len(written) - start >= size:
            chunk = written[start : start + size]
            row = f"({','.join('?' * len(chunk[0]))})"
            connection.execute(
                f"{verb} VALUES {','.join([row] * size)}",
                [value for values in chunk for value in values],
            )
            start += size
