# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""How an archive is cut into chunks, and which of them may be read by whom.

Pure.  All chunks are CHUNK_BYTES long but the last, which may be shorter and is never empty.
"""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from services.catalog.ticket import admits
from shared.contracts.catalog import CHUNK_BYTES, ReadArtifact, WriteArtifact
from shared.contracts.desired import DesiredNode
from shared.contracts.errors import ErrorCode
from shared.errors import Reason, RefusedError


class ChunkError(RefusedError):
    """The chunk does not fit the archive it claims to be of."""

    code: ClassVar[ErrorCode] = "invalid_request"


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
