# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""How an archive is cut into chunks, and which of them may be read by whom.

Pure.  All chunks are CHUNK_BYTES long but the last, which may be shorter and is never empty.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from typing import ClassVar, Final

from services.catalog.ticket import admits
from shared.contracts.catalog import (
    CHUNK_BYTES,
    MAX_MISSING_RANGES,
    ByteRange,
    ReadArtifact,
    WriteArtifact,
)
from shared.contracts.desired import DesiredNode
from shared.contracts.errors import ErrorCode
from shared.errors import Reason, RefusedError

KEPT_BYTES: Final = 4 << 30
"""What the chunks of unfinished uploads may take together, unless the catalog is told otherwise."""


class ChunkError(RefusedError):
    """The chunk does not fit the archive it claims to be of."""

    code: ClassVar[ErrorCode] = "invalid_request"


class ArchiveTooLargeError(RefusedError):
    """The archive is larger than this catalog takes."""

    code: ClassVar[ErrorCode] = "too_large"


class ArtifactDeniedError(RefusedError):
    """The node has nothing to do with this archive."""

    code: ClassVar[ErrorCode] = "not_permitted"


def chunk_count(size_bytes: int) -> int:
    """Chunks of an archive of `size_bytes`."""
    return -(-size_bytes // CHUNK_BYTES)


def chunk_number(offset_bytes: int, *, size_bytes: int) -> int:
    """Which chunk begins at the offset, from 0.

    Raises:
        ChunkError: None does.
    """
    if offset_bytes % CHUNK_BYTES or not 0 <= offset_bytes < max(size_bytes, 1):
        reason = Reason(
            path="offset_bytes",
            rule="no chunk begins there",
            got=offset_bytes,
            allowed=f"a multiple of {CHUNK_BYTES} below {size_bytes}",
        )
        raise ChunkError(f"offset_bytes: {reason.rule}", [reason])
    return offset_bytes // CHUNK_BYTES


def check_chunk(request: WriteArtifact) -> int:
    """The chunk's number, once its place and its length fit the whole.

    Raises:
        ChunkError: They do not.
    """
    number = chunk_number(request.offset_bytes, size_bytes=request.size_bytes)
    expected_bytes = min(CHUNK_BYTES, request.size_bytes - request.offset_bytes)
    if len(request.data) != expected_bytes:
        reason = Reason(
            path="data",
            rule="has another length than this chunk of the archive",
            got=len(request.data),
            allowed=expected_bytes,
        )
        raise ChunkError(f"data: {reason.rule}", [reason])
    return number


def check_archive_size(size_bytes: int, *, limit_bytes: int) -> None:
    """The catalog takes an archive of this size.

    Raises:
        ArchiveTooLargeError: It does not.
    """
    if size_bytes > limit_bytes:
        rule = "is more than this catalog takes (CATALOG_MAX_ARTIFACT_BYTES)"
        reason = Reason(path="size_bytes", rule=rule, got=size_bytes, allowed=limit_bytes)
        raise ArchiveTooLargeError(f"size_bytes: {rule}", [reason])


def missing_ranges(held: Collection[int], *, size_bytes: int) -> tuple[ByteRange, ...]:
    """The first MAX_MISSING_RANGES runs of bytes that are not there, in order.

    Args:
        held: Numbers of the chunks that are.
        size_bytes: Of the whole.
    """
    ranges: list[ByteRange] = []
    for number in range(chunk_count(size_bytes)):
        if number in held:
            continue
        first, end = number * CHUNK_BYTES, min((number + 1) * CHUNK_BYTES, size_bytes)
        if ranges and ranges[-1].end_bytes == first:
            ranges[-1] = ByteRange(first_bytes=ranges[-1].first_bytes, end_bytes=end)
        elif len(ranges) == MAX_MISSING_RANGES:
            break
        else:
            ranges.append(ByteRange(first_bytes=first, end_bytes=end))
    return tuple(ranges)


def upload_victims(sizes: Mapping[str, int], *, kept: str, limit_bytes: int) -> Iterator[str]:
    """Which uploads go until the others fit: always one of the owner who has most.

    Args:
        sizes: `<owner>-...` to bytes on disk, that without a new chunk for longest first.
        kept: The one at hand, which stays.
        limit_bytes: What they may have together.
    """
    left = dict(sizes)
    owned = Counter[str]()
    for name, size_bytes in left.items():
        owned[_owner(name)] += size_bytes
    while owned.total() > limit_bytes:
        others = [name for name in left if name != kept]
        if not others:
            return
        victim = max(others, key=lambda name: owned[_owner(name)])
        owned[_owner(victim)] -= left.pop(victim)
        yield victim


def _owner(upload: str) -> str:
    return upload.partition("-")[0]


def check_reader(
    request: ReadArtifact,
    *,
    node: str,
    desired: DesiredNode | None,
    ticket_key: bytes,
    now: datetime,
) -> None:
    """The node may read the archive: it shall run it, or the catalog gave a ticket for it.

    Args:
        request: What is asked.
        node: Who asks; the server vouches for it by the subject.
        desired: The node's desired record.
        ticket_key: From `derive_ticket_key`.
        now: By the catalog's clock.

    Raises:
        ArtifactDeniedError: Neither.
    """
    wanted = {
        program.signed.archive_sha256
        for chain in (desired.chains if desired else ())
        for program in chain.programs
    }
    if request.sha256 in wanted or admits(request.ticket, request.sha256, key=ticket_key, now=now):
        return
    reason = Reason(
        path="sha256",
        rule="no chain of this node runs this archive, and no valid ticket was shown",
        got=request.sha256,
    )
    raise ArtifactDeniedError(f"node {node} may not read this archive", [reason])
