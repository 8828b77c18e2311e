# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What is written to the tables of the log in PostgreSQL, and read from them.

PostgreSQL's text has no room for U+0000, and its indexes have none for long values; emitters may
write both.  U+0000 is kept as U+E000 and "0", and U+E000 itself twice; what is longer than
LONGEST_CHARACTERS is kept in an indexed column as its begin, U+E000, "#" and its SHA-256.  So
different texts stay different, and filters are changed alike; leaves and bodies hold the bytes as
they came.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeVar

from asyncpg import Connection, Record
from msgspec import structs

from services.auditor.adapters.log_rows import (
    COLUMNS,
    STORED,
    WIDEN_SPANS,
    Row,
    block_spans,
    channel_rows,
    json_text,
    numbered_receipts,
    read_ranges,
    record_row,
    stored_record,
)
from services.auditor.admission import Admission, Channel, EventKey, LogState, event_keys
from services.auditor.admission import Record as AdmittedRecord
from services.auditor.merkle import Hash, HashReader, Node, read_frontier
from services.auditor.query import StoredRecord
from services.auditor.receipts import unpack_head
from services.auditor.records import Draft
from services.auditor.retention.remains import drafted_leaves, recorded_leaf
from services.auditor.tiles import Tile, hash_reader
from shared.canonical import sha256_hex

ResultT = TypeVar("ResultT")

_INDEX: Final = COLUMNS.index("idx")
_EMITTER: Final = COLUMNS.index("emitter")
_EVENT_ID: Final = COLUMNS.index("event_id")
_PROBLEM: Final = COLUMNS.index("problem")
_TEXTS: Final = [
    COLUMNS.index(name)
    for name in ("event_id", "actor", "action", "package", "node", "deployment", "correlation",
                 "problem", "licence")
]  # fmt: skip
LONGEST_CHARACTERS: Final = 250
SHOWN_CHARACTERS: Final = 150
_MARK: Final = "\ue000"
SELECT_STORED: Final = f"SELECT {STORED} FROM records"  # noqa: S608 # a constant
KEEP_CHECKPOINT: Final = """
INSERT INTO checkpoints VALUES ($1, $2, $3, $4) ON CONFLICT (size) DO UPDATE
SET note = excluded.note, signed_us = excluded.signed_us, receipts = excluded.receipts
"""
_SPANS: Final = "SELECT * FROM unnest($17::bigint[], $18::bigint[], $19::bigint[])"
_KEEP: Final = f"""
WITH kept_tiles AS (
    INSERT INTO tiles SELECT * FROM unnest($1::int[], $2::bigint[], $3::bytea[])
    ON CONFLICT (level, position) DO UPDATE SET hashes = excluded.hashes
), kept_channels AS (
    INSERT INTO channels SELECT * FROM unnest($4::text[], $5::text[], $6::bigint[], $7::text[])
    ON CONFLICT (emitter, audience) DO UPDATE SET head = excluded.head, missing = excluded.missing
), kept_gaps AS (
    INSERT INTO gaps SELECT (SELECT coalesce(max(number), 0) FROM gaps) + place, gap, false
    FROM unnest($8::text[]) WITH ORDINALITY AS found (gap, place)
), kept_receipts AS (
    INSERT INTO receipts SELECT * FROM unnest(
        $20::bigint[], $21::bigint[], $22::bigint[], $23::bigint[], $24::text[])
), kept_ids AS (
    INSERT INTO event_ids SELECT * FROM unnest($14::text[], $15::text[], $16::bigint[])
), kept_spans AS ({WIDEN_SPANS.format(_SPANS)}
), covered AS (
    UPDATE inventory SET size = $9
)
UPDATE log SET size = $9, root = $10, stream_id = $11, stream_sequence = $12,
    seen_at = clock_timestamp(), receipts = $25
WHERE fence = $13 RETURNING true
"""  # noqa: S608 # constants
"""Everything but the rows in one statement: each that is sent is waited for."""


def column_text(text: str) -> str:
    """The text as a column can hold it."""
    if "\0" in text or _MARK in text:
        return text.replace(_MARK, _MARK * 2).replace("\0", f"{_MARK}0")
    return text


def key_text(text: str) -> str:
    """The text as an indexed column can hold it."""
    kept = column_text(text)
    if len(kept) > LONGEST_CHARACTERS:
        return f"{kept[:SHOWN_CHARACTERS]}{_MARK}#{sha256_hex(text.encode())}"
    return kept


def plain_text(column: str) -> str:
    """The text that a column holds."""
    if _MARK not in column:
        return column
    parts = column.split(_MARK * 2)
    return _MARK.join(part.replace(f"{_MARK}0", "\0") for part in parts)


def postgres_row(record: AdmittedRecord, received_us: int) -> Row:
    """A row of `record_row` as PostgreSQL can hold it."""
    return postgres_values(record_row(record, received_us))


def postgres_values(row: Row) -> Row:
    """The values of a row as PostgreSQL can hold them."""
    texts = "".join([row[column] for column in _TEXTS])
    if len(texts) <= LONGEST_CHARACTERS and texts.isprintable() and _MARK not in texts:
        return row  # nearly always
    values = list(row)
    for column in _TEXTS:
        values[column] = key_text(row[column])
    values[_PROBLEM] = column_text(row[_PROBLEM])
    return tuple(values)


def read_record(row: Iterable[Any]) -> StoredRecord:
    """A row of the columns STORED."""
    *others, problem = row
    return stored_record((*others, plain_text(problem)))


async def write_batch(
    connection: Connection[Record],
    admission: Admission,
    records: Sequence[Row],
    tiles: dict[Tile, bytes],
    *,
    fence: int,
) -> bool:
    """Rows, ids, tree, what the inventory covers, and place in the stream, in the open transaction.

    Returns:
        Whether the log still has this fence; if not, nothing may be committed.
    """
    if records:
        await connection.copy_records_to_table("records", records=records, columns=COLUMNS)
    state = admission.state
    channels = channel_rows(state, admission.changed)
    named = [row for row in records if row[_EVENT_ID]]
    spans = block_spans(records)
    receipts = numbered_receipts(admission.receipts, state.receipts)
    return bool(
        await connection.fetchval(
            _KEEP,
            [tile.level for tile in tiles],
            [tile.offset for tile in tiles],
            list(tiles.values()),
            *([row[column] for row in channels] for column in range(4)),
            [json_text(gap) for gap in admission.gaps],
            state.frontier.size,
            state.frontier.root(),
            state.stream_id,
            state.stream_sequence,
            fence,
            *([row[column] for row in named] for column in (_EMITTER, _EVENT_ID, _INDEX)),
            *([span[column] for span in spans] for column in range(3)),
            *([receipt[column] for receipt in receipts] for column in range(5)),
            state.receipts.pack(),
        )
    )


async def known_leaves(
    connection: Connection[Record], drafts: Sequence[Draft]
) -> dict[EventKey, bytes]:
    """The leaves that were recorded under the ids of the drafts."""
    keys = event_keys(drafts)
    wanted = {(key.emitter, key_text(key.event_id)): key for key in keys}
    found = await connection.fetch(
        "SELECT records.emitter, records.event_id, leaf, records.idx FROM "
        "unnest($1::text[], $2::text[]) AS wanted (emitter, event_id) "
        "JOIN event_ids USING (emitter, event_id) JOIN records USING (idx)",
        [emitter for emitter, _ in wanted],
        [event_id for _, event_id in wanted],
    )
    nodes = [Node(0, index) for *_, index in found]
    hashes = await hashes_of(connection, nodes)
    known = {}
    for (emitter, event_id, leaf, _), kept in zip(found, hashes, strict=True):
        key = wanted[emitter, event_id]
        drafted = drafted_leaves(drafts, key.emitter, key.event_id)
        known[key] = recorded_leaf(leaf.encode(), drafted, kept)
    return known


async def hashes_of(connection: Connection[Record], nodes: Sequence[Node]) -> Sequence[Hash]:
    """Hashes of complete subtrees, in the order asked."""
    return await with_hashes(connection, lambda read: read(nodes)) if nodes else ()


async def with_kept_hashes(
    connection: Connection[Record], found: Sequence[StoredRecord]
) -> list[StoredRecord]:
    """The records; those that are pruned with the hashes that the tree has of their leaves."""
    nodes = [Node(0, one.index) for one in found if one.pruned_by is not None]
    if not nodes:
        return list(found)
    hashes = iter(await hashes_of(connection, nodes))
    return [
        one if one.pruned_by is None else structs.replace(one, leaf_hash=next(hashes))
        for one in found
    ]


async def read_state(connection: Connection[Record]) -> tuple[Hash, LogState]:
    """Root, and the state with the frontier that the tiles lead to.

    Raises:
        LookupError: The tiles do not hold the tree.
    """
    row = await connection.fetchrow(
        "SELECT size, root, stream_id, stream_sequence, receipts FROM log"
    )
    assert row is not None
    size, root, stream_id, sequence, receipts = row
    heads, missing = {}, {}
    for emitter, audience, head, ranges in await connection.fetch("SELECT * FROM channels"):
        channel = Channel(emitter, audience)
        heads[channel] = head
        missing[channel] = read_ranges(ranges)
    frontier = await with_hashes(connection, lambda read: read_frontier(size, read))
    state = LogState(frontier, stream_id, sequence, heads, missing, unpack_head(receipts))
    return Hash(root), state


async def read_tiles(connection: Connection[Record], tiles: Sequence[Tile]) -> dict[Tile, bytes]:
    """Those of `tiles` that exist."""
    found = await connection.fetch(
        "SELECT level, position, hashes FROM unnest($1::int[], $2::bigint[]) "
        "AS wanted (level, position) JOIN tiles USING (level, position)",
        [tile.level for tile in tiles],
        [tile.offset for tile in tiles],
    )
    return {Tile(level, offset): hashes for level, offset, hashes in found}


async def read_leaves(connection: Connection[Record], first: int, stop: int) -> list[bytes]:
    """The leaves from index `first` to before `stop`."""
    found = await connection.fetch(
        "SELECT leaf FROM records WHERE idx >= $1 AND idx < $2 ORDER BY idx", first, stop
    )
    return [leaf.encode() for (leaf,) in found]


async def with_hashes(
    connection: Connection[Record], work: Callable[[HashReader], ResultT]
) -> ResultT:
    """What `work` computes from the tree's hashes, read as soon as it is known which it wants."""
    tiles = _ReadTiles()
    while True:
        try:
            return work(hash_reader(tiles.of))
        except _UnreadError:
            tiles.take(await read_tiles(connection, tiles.wanted))


class _ReadTiles:
    """The tiles that were read, and those that somebody asked for in vain."""

    def __init__(self) -> None:
        self.wanted: list[Tile] = []
        self._asked: Final[set[Tile]] = set()
        self._known: Final[dict[Tile, bytes]] = {}

    def of(self, tiles: Sequence[Tile]) -> dict[Tile, bytes]:
        """Those of `tiles` that exist."""
        self.wanted = [tile for tile in tiles if tile not in self._asked]
        if self.wanted:
            raise _UnreadError
        return {tile: self._known[tile] for tile in tiles if tile in self._known}

    def take(self, found: Mapping[Tile, bytes]) -> None:
        """`wanted` was read, and these exist."""
        self._asked.update(self.wanted)
        self._known.update(found)


class _UnreadError(Exception):
    """A tile is wanted that was not read yet."""
