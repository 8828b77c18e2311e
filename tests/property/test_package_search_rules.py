# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What holds of every search, whatever is published and asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from services.catalog.search.asking import search
from services.catalog.search.index import SearchIndex
from services.catalog.search.postings import (
    Posting,
    as_bytes,
    bits_of,
    members_of,
    numbers_in,
    union,
)
from services.catalog.search.ranking import Known
from shared.contracts.events import PUBLIC
from shared.contracts.package_records import PackageFacets, PackageRecord, VersionEntry
from shared.contracts.search import FoundPackage, SearchPackages

SPACES = (PUBLIC, "p_acme", "r_0123456789abcdef")
NUMBERS = st.sets(st.integers(0, 2000), max_size=100)

_ENTRIES = st.builds(
    VersionEntry,
    version=st.sampled_from(["1.0.0", "1.0.0+a", "1.0.0+b", "1.1.0", "2.0.0-rc.1", "2.0.0"]),
    published_at=st.sampled_from([f"2026-01-0{day}T00:00:00.00000{day}Z" for day in range(1, 5)]),
    published_by=st.just("U"),
    manifest_sha256=st.just("a"),
    archive_sha256=st.just("b"),
    channels=st.sampled_from([("stable",), ("dev",), ("dev", "stable")]),
    facets=st.builds(
        PackageFacets,
        summary=st.sampled_from(["drops packets", "counts packets", ""]),
        licence=st.sampled_from(["MIT", "GPL-2.0-only OR MIT"]),
        hooks=st.sampled_from([("xdp",), ("xdp", "tc-ingress")]),
    ),
)
_RECORDS = st.lists(
    st.tuples(
        st.builds(
            PackageRecord,
            name=st.sampled_from(["a", "b", "limit", "rate-limit", "drops"]),
            versions=st.lists(_ENTRIES, max_size=4, unique_by=lambda one: one.version).map(tuple),
        ),
        st.sampled_from(SPACES),
    ),
    max_size=8,
)
_QUESTIONS = st.builds(
    SearchPackages,
    words=st.sampled_from(["", "drop", "limit", "packets", "zz"]),
    hooks=st.sampled_from([(), ("tc-ingress",)]),
    channels=st.sampled_from([(), ("dev",)]),
    every_version=st.booleans(),
    sort=st.sampled_from(["relevance", "name", "newest", "nodes", "stars"]),
    limit=st.integers(1, 4),
)


def _index(records: list[tuple[PackageRecord, str]]) -> SearchIndex:
    index = SearchIndex()
    for record, space in records:
        index.put(record, space)
    return index


def _known(index: SearchIndex) -> Known:
    numbers = range(len(index.documents))
    return Known(
        nodes={one: {SPACES[one % 3]: one % 4} for one in numbers},
        stars={one: (1, one % 5 + 1) for one in numbers if one % 2},
    )


def _pages(index: SearchIndex, asked: SearchPackages, seen: frozenset[str]) -> list[FoundPackage]:
    found: list[FoundPackage] = []
    while True:
        page = search(index, asked, seen, _known(index))
        found += page.packages
        if not page.next:
            assert len(found) == page.total
            return found
        asked = msgspec.structs.replace(asked, after=page.next)


@given(records=_RECORDS, asked=_QUESTIONS, seen=st.sets(st.sampled_from(SPACES)))
def test_pages_show_each_version_once_in_one_order(
    records: list[tuple[PackageRecord, str]], asked: SearchPackages, seen: set[str]
) -> None:
    """The order of one long page, whether it is sorted or looked for in the order of the index."""
    index = _index(records)

    pages = _pages(index, asked, frozenset(seen))

    whole = msgspec.structs.replace(asked, limit=100)
    assert list(search(index, whole, frozenset(seen), _known(index)).packages) == pages
    assert {one.space for one in pages} <= seen


@given(records=_RECORDS, asked=_QUESTIONS)
def test_a_large_result_is_ordered_like_a_small_one(
    records: list[tuple[PackageRecord, str]], asked: SearchPackages
) -> None:
    """Looking for what is shown gives what sorting gives; so do the two ways of counting."""
    index = _index(records)
    whole = msgspec.structs.replace(asked, limit=100)

    small = search(index, whole, frozenset(SPACES), _known(index))
    large = search(
        index, whole, frozenset(SPACES), _known(index), sorted_up_to=-1, counted_up_to=-1
    )

    assert small == large


@given(records=_RECORDS, asked=_QUESTIONS)
def test_what_was_put_again_is_as_if_it_had_always_been_so(
    records: list[tuple[PackageRecord, str]], asked: SearchPackages
) -> None:
    """States that were and are no more are found by nothing."""
    records = list(_consistent(records))
    last = {(record.name, space): record for record, space in records}

    twice = search(_index(records), asked, frozenset(SPACES), Known())
    once = search(
        _index([(record, space) for (_, space), record in last.items()]),
        asked,
        frozenset(SPACES),
        Known(),
    )

    assert twice == once


def _consistent(
    records: list[tuple[PackageRecord, str]],
) -> Iterator[tuple[PackageRecord, str]]:
    """A version's content, and when it was published, never change."""
    first: dict[tuple[str, str, str], VersionEntry] = {}
    for record, space in records:
        versions = []
        for one in record.versions:
            known = first.setdefault((record.name, space, one.version), one)
            versions.append(msgspec.structs.replace(known, channels=one.channels))
        yield msgspec.structs.replace(record, versions=tuple(versions)), space


@given(records=_RECORDS, asked=_QUESTIONS, seen=st.sets(st.sampled_from(SPACES)))
def test_exactly_what_holds_is_found(
    records: list[tuple[PackageRecord, str]], asked: SearchPackages, seen: set[str]
) -> None:
    """As somebody would find who looked at every version in turn."""
    records = list(_consistent(records))
    asked = msgspec.structs.replace(asked, every_version=True, limit=100)
    last = {(record.name, space): record for record, space in records}
    wanted = {
        (record.name, space, one.version)
        for (_, space), record in last.items()
        for one in record.versions
        if space in seen and _holds(asked, record.name, one)
    }

    found = search(_index(records), asked, frozenset(seen), Known())

    assert {(one.name, one.space, one.version) for one in found.packages} == wanted
    assert found.total == len(wanted)
    hooks = Counter(hook for one in found.packages for hook in one.hooks)
    assert {one.value: one.count for one in found.facets.get("hook", ())} == hooks


def _holds(asked: SearchPackages, name: str, one: VersionEntry) -> bool:
    words = f"{name} {one.facets.summary}".replace("-", " ").split()
    return (
        all(any(word.startswith(wanted) for word in words) for wanted in asked.words.split())
        and set(asked.hooks) <= set(one.facets.hooks)
        and set(asked.channels) <= set(one.channels)
    )


@given(numbers=NUMBERS, gone=NUMBERS, among=NUMBERS)
def test_a_posting_is_a_set(numbers: set[int], gone: set[int], among: set[int]) -> None:
    """Whether it is kept as a list or as bits."""
    few, many = Posting("f", "few"), Posting("f", "many")
    for posting, size in ((few, 1 << 20), (many, 1)):
        posting.add(sorted(numbers), size)
        for number in gone:
            posting.discard(number)
    left, wanted = numbers - gone, bits_of(sorted(among))

    for posting in (few, many):
        assert set(numbers_in(posting.bits)) == left
        assert posting.count_in(wanted, members_of(wanted, 2001)) == len(left & among)
    assert set(numbers_in(union((few, many), 2001))) == left
    assert int.from_bytes(as_bytes(wanted), "little") == wanted
