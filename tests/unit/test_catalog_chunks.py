# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Chunks: which bytes of an archive they are, and who may read them."""

from __future__ import annotations

import pytest

from services.catalog.chunks import (
    ArtifactDeniedError,
    ChunkError,
    check_chunk,
    check_reader,
    chunk_count,
)
from services.catalog.ticket import issue_ticket
from shared.contracts.catalog import CHUNK_BYTES, ReadArtifact, WriteArtifact
from shared.contracts.desired import DesiredNode
from tests.package_builders import NOW

KEY = b"k" * 32
DIGEST = "a" * 64


def a_chunk(size_bytes: int, offset_bytes: int, length: int) -> WriteArtifact:
    """A chunk of so many bytes."""
    return WriteArtifact(
        sha256=DIGEST, size_bytes=size_bytes, offset_bytes=offset_bytes, data=bytes(length)
    )


@pytest.mark.parametrize(
    ("size_bytes", "count"),
    [(1, 1), (CHUNK_BYTES, 1), (CHUNK_BYTES + 1, 2), (3 * CHUNK_BYTES, 3)],
)
def test_an_archive_has_as_many_chunks_as_it_needs(size_bytes: int, count: int) -> None:
    """All are full but the last, which is never empty."""
    numbers = [
        check_chunk(a_chunk(size_bytes, offset, min(CHUNK_BYTES, size_bytes - offset)))
        for offset in range(0, size_bytes, CHUNK_BYTES)
    ]

    assert chunk_count(size_bytes) == count
    assert numbers == list(range(count))


@pytest.mark.parametrize(
    ("size_bytes", "offset_bytes", "length"),
    [
        (CHUNK_BYTES, 1, CHUNK_BYTES - 1),
        (CHUNK_BYTES, CHUNK_BYTES, 0),
        (10, 0, 9),
        (10, 0, 11),
        (CHUNK_BYTES * 2, 0, CHUNK_BYTES - 1),
    ],
)
def test_a_chunk_has_one_place_and_one_length(
    size_bytes: int, offset_bytes: int, length: int
) -> None:
    """What does not follow from the whole's size is refused."""
    with pytest.raises(ChunkError):
        check_chunk(a_chunk(size_bytes, offset_bytes, length))


@pytest.mark.parametrize("desired", [None, DesiredNode(node="n1", generation=3, chains=())])
def test_a_ticket_opens_what_the_desired_record_does_not_name_yet(
    desired: DesiredNode | None,
) -> None:
    """Staging comes before the desired record; without a ticket nothing is read."""
    with_ticket = ReadArtifact(sha256=DIGEST, ticket=issue_ticket(DIGEST, key=KEY, now=NOW))

    check_reader(with_ticket, node="n1", desired=desired, ticket_key=KEY, now=NOW)
    with pytest.raises(ArtifactDeniedError, match="node n1 may not read"):
        check_reader(
            ReadArtifact(sha256=DIGEST), node="n1", desired=desired, ticket_key=KEY, now=NOW
        )
