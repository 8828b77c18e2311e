# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Archived records: a file for what was pruned together, which proves itself by the log's key.

Pure: bytes in, a verified segment out.

A segment is gzip of NDJSON: a head, then a record a line.  The head has a signed head of the log
and, for each tile of 256 leaves that a record is in, the tile's hashes and the tile's audit path.
So each record's leaf leads to the signed root, and nothing but the key is needed to see that.

Rules:
 * The same records under the same head are the same bytes.
 * A body leads to its leaf.  Where words of persons are kept apart, the body holds what stands for
   them, and only the file's digest, which the log has, says that it is the one that was archived.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

from services.auditor.checkpoint import CheckpointError, TreeHead, VerifierKey, open_checkpoint
from services.auditor.merkle import (
    HASH_BYTES,
    Hash,
    ProofError,
    check_inclusion,
    leaf_hash,
    node_hash,
)
from services.auditor.query import StoredRecord
from services.auditor.tiles import TILE_LEVELS, TILE_WIDTH
from services.auditor.verification.rows import derive_draft
from shared.errors import Reason, VerificationError

SEGMENT_KIND: Final = "l3af-segment/v1"
SUFFIX: Final = ".l3af-segment.gz"
MAX_SEGMENT_BYTES: Final = 1 << 30
"""Of a segment that is unpacked: 5,000 records of the largest events are a third of it."""


class SegmentTile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The tree above some records."""

    offset: int
    """Of the tile of level 0: its first leaf is 256 times as much."""
    hashes: bytes
    """Of all its leaves, one after another."""
    path: tuple[str, ...]
    """Audit path of the whole tile in the tree of the signed head, hexadecimal."""


class SegmentHead(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The first line."""

    kind: str = SEGMENT_KIND
    audience: str
    """The one that the records were told to."""
    rule: str
    """By which they were pruned."""
    records: int
    first: int
    last: int
    checkpoint: str
    """The signed head that the tiles lead to."""
    verifier_key: str
    key_chain: tuple[str, ...] = ()
    tiles: tuple[SegmentTile, ...]


class SegmentRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A record as the log kept it."""

    index: int
    leaf: str
    body: bytes | None
    received_us: int
    stream_sequence: int
    problem: str = ""


class SegmentError(VerificationError):
    """A segment is not what it must be."""


@dataclass(slots=True)
class VerifiedSegment:
    """A segment whose records are the log's."""

    head: SegmentHead
    tree: TreeHead
    records: list[SegmentRecord] = field(default_factory=list)
    unproved: int = 0
    """Bodies that do not lead to their leaves by themselves: words of persons are kept apart."""


def segment_name(first: int, last: int, digest: str) -> str:
    """Of the records between these numbers whose remains have this digest."""
    return f"{first:012d}-{last:012d}-{digest[:16]}{SUFFIX}"


def render_segment(head: SegmentHead, records: Iterable[StoredRecord]) -> bytes:
    """The file."""
    encoder = msgspec.json.Encoder(order="sorted")
    lines = [encoder.encode(head)]
    lines += [encoder.encode(_archived(one)) for one in records]
    return gzip.compress(b"\n".join(lines) + b"\n", compresslevel=6, mtime=0)


def verify_segment(data: bytes, *, key_of: Callable[[SegmentHead], VerifierKey]) -> VerifiedSegment:
    """The segment, every record of which the log's key vouches for.

    Args:
        data: The file.
        key_of: The key that signs its head, led to from the one that is trusted.

    Raises:
        SegmentError: It is none, or a record in it is not the log's; the first that is not.
    """
    head, lines = _read(data)
    try:
        tree = open_checkpoint(head.checkpoint, key=key_of(head))
    except CheckpointError as error:
        raise SegmentError(f"the segment's signed head: {error.message}") from error
    tiles = {tile.offset: _Tile(tile) for tile in head.tiles}
    found = VerifiedSegment(head, tree)
    for line in lines:
        try:
            record = msgspec.json.decode(line, type=SegmentRecord)
        except msgspec.MsgspecError as error:
            raise _refused(len(found.records), f"it cannot be read: {error}") from error
        if found.records and record.index <= found.records[-1].index:
            raise _refused(record.index, "it does not come behind the one before it")
        _check_leaf(record, tiles, tree)
        found.unproved += not _leads_to_leaf(record)
        found.records.append(record)
    said = (head.records, head.first, head.last)
    if not found.records or said != (
        len(found.records),
        found.records[0].index,
        found.records[-1].index,
    ):
        raise SegmentError("the segment does not have the records that its head says")
    return found


def has_records(data: bytes, records: Iterable[StoredRecord], *, key: VerifierKey) -> bool:
    """Whether a file is a segment of these records, as they are kept, that the key vouches for."""
    try:
        found = verify_segment(data, key_of=lambda _: key)
    except SegmentError:
        return False
    return found.records == [_archived(one) for one in records]


def tile_path(path: Sequence[Hash]) -> tuple[str, ...]:
    """Of a whole tile, from the audit path of any leaf in it."""
    return tuple(one.hex() for one in path[TILE_LEVELS:])


def _archived(record: StoredRecord) -> SegmentRecord:
    return SegmentRecord(
        index=record.index,
        leaf=record.leaf.decode(),
        body=record.body,
        received_us=record.received_us,
        stream_sequence=record.stream_sequence,
        problem=record.problem,
    )


def _read(data: bytes) -> tuple[SegmentHead, Iterator[bytes]]:
    unpack = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        text = unpack.decompress(data, MAX_SEGMENT_BYTES)
    except zlib.error as error:
        raise SegmentError(f"the segment cannot be unpacked: {error}") from error
    if not unpack.eof or unpack.unused_data:
        raise SegmentError("the segment is cut off, too large, or has something behind it")
    first, *lines = text.split(b"\n")[:-1] or [b""]
    try:
        head = msgspec.json.decode(first, type=SegmentHead)
    except msgspec.MsgspecError as error:
        raise SegmentError(f"this is no segment: {error}") from error
    if head.kind != SEGMENT_KIND:
        raise SegmentError(f"a segment of kind {head.kind!r} cannot be read")
    return head, iter(lines)


class _Tile:
    """The tree above the leaves of one tile."""

    def __init__(self, tile: SegmentTile) -> None:
        data = tile.hashes
        self.is_whole: Final = len(data) == TILE_WIDTH * HASH_BYTES
        self._above: Final = tile.path
        row = [Hash(data[at : at + HASH_BYTES]) for at in range(0, len(data), HASH_BYTES)]
        self._rows: Final = [row]
        while self.is_whole and len(row) > 1:
            pairs = zip(row[::2], row[1::2], strict=True)
            row = [node_hash(left, right) for left, right in pairs]
            self._rows.append(row)

    def path(self, place: int) -> list[Hash]:
        """Audit path of a leaf of it."""
        within = [row[(place >> level) ^ 1] for level, row in enumerate(self._rows[:-1])]
        return [*within, *(Hash(bytes.fromhex(one)) for one in self._above)]


def _check_leaf(record: SegmentRecord, tiles: Mapping[int, _Tile], tree: TreeHead) -> None:
    tile = tiles.get(record.index // TILE_WIDTH)
    if tile is None or not tile.is_whole:
        raise _refused(record.index, "there is no whole tile for it")
    try:
        check_inclusion(
            tile.path(record.index % TILE_WIDTH),
            leaf=leaf_hash(record.leaf.encode("utf-8", "surrogateescape")),
            index=record.index,
            size=tree.size,
            root=tree.root,
        )
    except (ProofError, ValueError) as error:
        raise _refused(record.index, f"its leaf is not the log's: {error}") from error


def _leads_to_leaf(record: SegmentRecord) -> bool:
    if record.body is None:
        return False
    draft, _ = derive_draft(record.leaf, record.body, record.stream_sequence)
    return draft is not None and draft.leaf.decode() == record.leaf


def _refused(index: int, why: str) -> SegmentError:
    reason = Reason(path=f"record {index}", rule=why)
    return SegmentError(f"record {index} of the segment: {why}", [reason])
