# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Chunks: which bytes of an archive they are, and who may read them."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.catalog.chunks import (
    ArchiveTooLargeError,
    ArtifactDeniedError,
    ChunkError,
    check_archive_size,
    check_chunk,
    check_reader,
    chunk_count,
    missing_ranges,
    upload_victims,
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


def test_an_archive_may_be_as_large_as_the_catalog_says() -> None:
    """One byte more is refused, with the variable that says so."""
    check_archive_size(10, limit_bytes=10)

    with pytest.raises(ArchiveTooLargeError) as caught:
        check_archive_size(11, limit_bytes=10)

    assert "CATALOG_MAX_ARTIFACT_BYTES" in caught.value.reasons[0].rule


@given(held=st.sets(st.integers(0, 40)), count=st.integers(1, 41), last=st.integers(1, CHUNK_BYTES))
def test_what_is_missing_are_the_bytes_of_the_chunks_that_are_not_held(
    held: set[int], count: int, last: int
) -> None:
    """In order, without overlap, and no two ranges that touch."""
    size_bytes = (count - 1) * CHUNK_BYTES + last

    ranges = missing_ranges(held, size_bytes=size_bytes)

    chunks = [
        offset // CHUNK_BYTES
        for one in ranges
        for offset in range(one.first_bytes, one.end_bytes, CHUNK_BYTES)
    ]
    assert chunks == [number for number in range(count) if number not in held]
    assert all(one.end_bytes < other.first_bytes for one, other in pairwise(ranges))
    assert all(one.end_bytes in {size_bytes, *range(0, size_bytes, CHUNK_BYTES)} for one in ranges)


@given(
    sizes=st.dictionaries(
        st.builds("{}-{}".format, st.sampled_from("ABC"), st.integers(0, 9)), st.integers(0, 9)
    ),
    limit_bytes=st.integers(0, 30),
)
def test_room_for_uploads_is_made_at_the_cost_of_who_has_most(
    sizes: dict[str, int], limit_bytes: int
) -> None:
    """The upload at hand stays, all fit in the end if they can, and each victim had to go."""
    sizes["A-kept"] = 5

    victims = list(upload_victims(sizes, kept="A-kept", limit_bytes=limit_bytes))

    left = dict(sizes)
    for victim in victims:
        assert sum(left.values()) > limit_bytes
        owned = Counter[str]()
        for name, size_bytes in left.items():
            owned[name[0]] += size_bytes
        others = [name for name in left if name != "A-kept"]
        assert owned[victim[0]] == max(owned[name[0]] for name in others)
        del left[victim]
    assert sum(left.values()) <= limit_bytes or left == {"A-kept": 5}
