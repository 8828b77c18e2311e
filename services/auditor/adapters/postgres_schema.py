# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The tables of the log in PostgreSQL, how they came to be, and a partition for each month.

Records are partitioned by the month in which they were received.  No unique index can span
partitions without holding the month, and the same event may come in two months: so ids have a
table of their own, written in the same transaction, whose primary key is what makes an event
recorded once.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Final

from asyncpg import Connection, Record

from services.auditor.adapters.log_rows import ARRIVAL_RUNS, licence_of, numbered_receipts
from services.auditor.adapters.postgres_inventory import SCHEMA as INVENTORY_SCHEMA
from services.auditor.adapters.postgres_inventory import TO_AUDIENCES, catch_up
from services.auditor.adapters.postgres_prunings import SCHEMA as PRUNING_SCHEMA
from services.auditor.adapters.postgres_rows import key_text
from services.auditor.adapters.postgres_timelines import TO_TIMELINES
from services.auditor.receipts import NO_RECEIPTS, extend_head, receipts_of_rows
from services.auditor.records import time_us_of, try_event
from shared.errors import RefusedError

NAMESPACE: Final = "l3af_audit"
"""The schema that holds the tables: the database may hold other things too."""
MONTHS_AHEAD: Final = 2
SCHEMA: Final = """
CREATE TABLE log (
    one BOOLEAN PRIMARY KEY CHECK (one),
    format INTEGER NOT NULL,
    origin TEXT NOT NULL,
    size BIGINT NOT NULL,
    root BYTEA NOT NULL,
    stream_id TEXT NOT NULL,
    stream_sequence BIGINT NOT NULL,
    fence BIGINT NOT NULL,
    holder TEXT NOT NULL,
    seen_at TIMESTAMPTZ NOT NULL
);
CREATE TABLE records (
    idx BIGINT NOT NULL,
    emitter TEXT COLLATE "C" NOT NULL,
    audience TEXT COLLATE "C" NOT NULL,
    event_id TEXT COLLATE "C" NOT NULL,
    time_us BIGINT NOT NULL,
    received_us BIGINT NOT NULL,
    stream_sequence BIGINT NOT NULL,
    leaf TEXT COLLATE "C" NOT NULL,
    body BYTEA,
    actor TEXT COLLATE "C" NOT NULL,
    action TEXT COLLATE "C" NOT NULL,
    outcome TEXT COLLATE "C" NOT NULL,
    package TEXT COLLATE "C" NOT NULL,
    node TEXT COLLATE "C" NOT NULL,
    deployment TEXT COLLATE "C" NOT NULL,
    correlation TEXT COLLATE "C" NOT NULL,
    problem TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (idx, received_us)
) PARTITION BY RANGE (received_us);
CREATE INDEX records_time ON records (time_us);
CREATE INDEX records_action ON records (action, idx);
CREATE INDEX records_actor ON records (actor, idx) WHERE actor <> '';
CREATE INDEX records_package ON records (package, idx) WHERE package <> '';
CREATE INDEX records_node ON records (node, idx) WHERE node <> '';
CREATE INDEX records_deployment ON records (deployment, idx) WHERE deployment <> '';
CREATE INDEX records_correlation ON records (correlation, idx) WHERE correlation <> '';
CREATE INDEX records_trouble ON records (outcome, idx) WHERE outcome IN ('refused', 'failed');
CREATE TABLE event_ids (
    emitter TEXT COLLATE "C" NOT NULL,
    event_id TEXT COLLATE "C" NOT NULL,
    idx BIGINT NOT NULL,
    PRIMARY KEY (emitter, event_id)
);
CREATE TABLE tiles (
    level INTEGER NOT NULL,
    position BIGINT NOT NULL,
    hashes BYTEA NOT NULL,
    PRIMARY KEY (level, position)
);
ALTER TABLE tiles ALTER COLUMN hashes SET STORAGE EXTERNAL;
CREATE TABLE channels (
    emitter TEXT COLLATE "C" NOT NULL,
    audience TEXT COLLATE "C" NOT NULL,
    head BIGINT NOT NULL,
    missing TEXT NOT NULL,
    PRIMARY KEY (emitter, audience)
);
CREATE TABLE gaps (
    number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    gap TEXT NOT NULL,
    is_announced BOOLEAN NOT NULL
);
CREATE TABLE checkpoints (
    size BIGINT PRIMARY KEY,
    note TEXT NOT NULL,
    signed_us BIGINT NOT NULL
);
"""
"""Format 1, as it was released; it never changes.  A later format is a step of MIGRATIONS."""
_TO_FORMAT_2: Final = """
ALTER TABLE records ADD COLUMN licence TEXT COLLATE "C" NOT NULL DEFAULT '';
UPDATE records SET licence = CASE
    WHEN problem <> '' OR body IS NULL OR position('\\u0000' IN convert_from(body, 'UTF8')) > 0
        THEN ''
    WHEN json_typeof(convert_from(body, 'UTF8')::json #> '{data,details,licence}') = 'string'
        THEN left(convert_from(body, 'UTF8')::json #>> '{data,details,licence}', 250)
    ELSE '' END;
CREATE INDEX records_licence ON records (licence, idx) WHERE licence <> '';
CREATE INDEX records_actor_trouble ON records (actor, outcome, idx)
    WHERE outcome IN ('refused', 'failed');
CREATE INDEX records_package_trouble ON records (package, outcome, idx)
    WHERE outcome IN ('refused', 'failed');
CREATE INDEX records_node_trouble ON records (node, outcome, idx)
    WHERE outcome IN ('refused', 'failed');
CREATE INDEX records_deployment_trouble ON records (deployment, outcome, idx)
    WHERE outcome IN ('refused', 'failed');
CREATE TABLE spans (
    block BIGINT PRIMARY KEY,
    first_us BIGINT NOT NULL,
    last_us BIGINT NOT NULL
);
INSERT INTO spans SELECT idx / 1024, min(time_us), max(time_us) FROM records GROUP BY 1;
"""
_TO_FORMAT_5: Final = """
ALTER TABLE log ADD COLUMN receipts BYTEA NOT NULL DEFAULT '';
ALTER TABLE checkpoints ADD COLUMN receipts TEXT NOT NULL DEFAULT '';
CREATE TABLE receipts (
    number BIGINT PRIMARY KEY,
    idx BIGINT NOT NULL,
    received_us BIGINT NOT NULL,
    stream_sequence BIGINT NOT NULL,
    stream_id TEXT NOT NULL
);
ALTER TABLE gaps ALTER COLUMN number DROP IDENTITY;
UPDATE gaps SET number = -place FROM
    (SELECT number AS old, row_number() OVER (ORDER BY number) AS place FROM gaps) AS places
    WHERE number = old;
UPDATE gaps SET number = -number;
"""
_TO_FORMAT_6: Final = """
DROP INDEX records_package, records_deployment, records_correlation, records_node, records_actor,
    records_package_trouble, records_deployment_trouble, records_node_trouble,
    records_actor_trouble;
CREATE INDEX records_package ON records (package, audience, idx) WHERE package <> '';
CREATE INDEX records_deployment ON records (deployment, audience, idx) WHERE deployment <> '';
CREATE INDEX records_correlation ON records (correlation, audience, idx) WHERE correlation <> '';
CREATE INDEX records_node ON records (node, audience, idx) WHERE node <> '';
CREATE INDEX records_actor ON records (actor, audience, idx) WHERE actor <> '';
CREATE INDEX records_package_trouble ON records (package, audience, outcome, idx)
    WHERE outcome IN ('refused', 'failed');
CREATE INDEX records_deployment_trouble ON records (deployment, audience, outcome, idx)
    WHERE outcome IN ('refused', 'failed');
CREATE INDEX records_node_trouble ON records (node, audience, outcome, idx)
    WHERE outcome IN ('refused', 'failed');
CREATE INDEX records_actor_trouble ON records (actor, audience, outcome, idx)
    WHERE outcome IN ('refused', 'failed');
CREATE INDEX records_space ON records (audience, idx) WHERE audience <> 'public';
"""
_TO_FORMAT_9: Final = """
CREATE TABLE sealed (
    token TEXT COLLATE "C" PRIMARY KEY,
    words BYTEA NOT NULL
);
CREATE TABLE erasures (
    number BIGINT PRIMARY KEY,
    statement TEXT NOT NULL,
    is_done BOOLEAN NOT NULL
);
ALTER TABLE log ADD COLUMN masked BIGINT NOT NULL DEFAULT 0;
"""
"""Persons' words, their erasures that are not said yet, and up to which record there are none in
the records (those that are received from now on have none)."""
MIGRATIONS: Final[tuple[str, ...]] = (
    _TO_FORMAT_2,
    INVENTORY_SCHEMA,
    TO_AUDIENCES,
    _TO_FORMAT_5,
    _TO_FORMAT_6,
    TO_TIMELINES,
    PRUNING_SCHEMA,
    _TO_FORMAT_9,
)
"""What makes of each format the next one: the first of format 1 format 2."""
FORMAT: Final = 1 + len(MIGRATIONS)
_FRESH: Final = "INSERT INTO log VALUES (true, 1, $1, 0, $2, '', 0, 0, '', clock_timestamp())"
_LICENCES_MENDED: Final = 5
_MADE_AT_ONCE: Final = 10_000


async def prepare(connection: Connection[Record], origin: str, *, empty_root: bytes) -> None:
    """The tables are there, of this release's format, and are those of `origin`.

    The caller holds the log's lock.

    Raises:
        RefusedError: The tables are another log's, or a later release's.
    """
    async with connection.transaction():
        if await connection.fetchval("SELECT to_regclass($1)", f"{NAMESPACE}.log") is None:
            await connection.execute(f"CREATE SCHEMA IF NOT EXISTS {NAMESPACE}")
            await connection.execute(SCHEMA)
            await connection.execute(_FRESH, origin, empty_root)
        kept, found = await connection.fetchrow("SELECT origin, format FROM log") or ("", 0)
        if kept != origin:
            raise RefusedError(f"the store holds the log {kept}, not {origin}")
        if not 1 <= found <= FORMAT:
            raise RefusedError(
                f"the log is of format {found}; this release reads formats 1 to {FORMAT}: "
                "start the release that wrote it, or a later one"
            )
        for step in MIGRATIONS[found - 1 :]:
            await connection.execute(step)
        if found < _LICENCES_MENDED:
            await _mend_licences(connection)
        await connection.execute("UPDATE log SET format = $1", FORMAT)
        await catch_up(connection)
        await make_receipts(connection)


async def _mend_licences(connection: Connection[Record]) -> None:
    """The statements of format 2 could not read bodies with U+0000, nor keep long licences."""
    doubtful = await connection.fetch(
        "SELECT idx, received_us, body FROM records WHERE problem = '' AND (length(licence) >= 250 "
        "OR (licence = '' AND position('\\u0000' IN convert_from(body, 'UTF8')) > 0))"
    )
    for index, received_us, body in doubtful:
        event = try_event(body)
        licence = key_text(licence_of(event.data)) if event is not None else ""
        await connection.execute(
            "UPDATE records SET licence = $3 WHERE idx = $1 AND received_us = $2",
            index,
            received_us,
            licence,
        )


async def make_receipts(connection: Connection[Record]) -> None:
    """A log of an earlier release has receipts, in the open transaction."""
    row = await connection.fetchrow("SELECT receipts, size, stream_id, stream_sequence FROM log")
    assert row is not None
    kept, size, stream_id, stream_sequence = row
    if kept:
        return
    runs = await connection.fetch(ARRIVAL_RUNS)
    every = receipts_of_rows(
        [(one[0], one[1], one[2]) for one in runs],
        size=size,
        stream_id=stream_id,
        stream_sequence=stream_sequence,
    )
    head = NO_RECEIPTS
    while made := list(islice(every, _MADE_AT_ONCE)):
        head = extend_head(head, made)
        rows = numbered_receipts(made, head)
        await connection.copy_records_to_table("receipts", records=rows)
    await connection.execute("UPDATE log SET receipts = $1", head.pack())


def month_of(received_us: int) -> tuple[int, int]:
    """Year and month in which something was received."""
    moment = datetime.fromtimestamp(received_us // 1_000_000, UTC)
    return moment.year, moment.month


def months_from(month: tuple[int, int], count: int) -> Iterator[tuple[int, int]]:
    """A month and those after it."""
    year, number = month
    for later in range(count):
        passed = number - 1 + later
        yield year + passed // 12, passed % 12 + 1


async def make_partition(connection: Connection[Record], month: tuple[int, int]) -> None:
    """There is a partition for what is received in this month.

    Attached, not created in place: so nobody who reads is waited for, nor waits.
    """
    year, number = month
    name = f"records_{year:04d}_{number:02d}"
    first, after = (time_us_of(datetime(*part, 1, tzinfo=UTC)) for part in months_from(month, 2))
    async with connection.transaction():
        if await connection.fetchval("SELECT to_regclass($1)", f"{NAMESPACE}.{name}") is None:
            await connection.execute(
                f"CREATE TABLE {name} (LIKE records INCLUDING DEFAULTS INCLUDING CONSTRAINTS, "
                f"CHECK (received_us >= {first} AND received_us < {after}))"
            )
            await connection.execute(
                f"ALTER TABLE records ATTACH PARTITION {name} "
                f"FOR VALUES FROM ({first}) TO ({after})"
            )
