# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Who does not see a space is answered by each store as if its records had never come."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import accumulate
from pathlib import Path

import pytest
from msgspec import structs

from services.auditor.disclosure import audience_of, shown
from services.auditor.merkle import leaf_hash
from services.auditor.query import MAX_PAGE_BYTES, RecordQuery, StoredRecord
from services.auditor.records import StreamMessage, read_message
from services.auditor.store import LogStore
from shared.contracts.base import EVENTS
from shared.contracts.events import PUBLIC
from tests.integration.test_log_store_questions import random_query
from tests.support.log_stores import LogPlace, SqlitePlace, append
from tests.support.records import altered, an_event, message_of

PRIVATE = "p_acme"
EMBARGO = "r_0123456789abcdef"
AUDIENCES = (PUBLIC, PRIVATE, EMBARGO)
MANY = tuple(f"r_{number:016x}" for number in range(120))
CALLERS = {
    "stranger": frozenset({PUBLIC}),
    "private": frozenset({PUBLIC, PRIVATE}),
    "embargo": frozenset({PUBLIC, EMBARGO}),
    "both": frozenset(AUDIENCES),
    "only-the-embargo": frozenset({EMBARGO}),
    "nothing": frozenset(),
    "many": frozenset({PUBLIC, EMBARGO, *MANY}),
}
COUNT = 240


def told(count: int) -> list[StreamMessage]:
    """Events of three audiences, and among them messages that nobody can believe."""
    rng = random.Random(17)
    numbers = dict.fromkeys(AUDIENCES, 0)
    found = []
    for place in range(1, count + 1):
        audience = rng.choice(AUDIENCES)
        numbers[audience] += 1
        event = an_event(
            numbers[audience],
            audience=audience,
            time=f"2026-01-02T03:{rng.randrange(60):02d}:{rng.randrange(60):02d}Z",
            action=rng.choice(("chain.attach", "chain.request", "package.publish")),
            outcome=rng.choice(["accepted", "refused", "failed", "succeeded"]),
            package=rng.choice(["", "p0", "p1", "p2"]),
            node=rng.choice(["", "n0", "n1"]),
            deployment=rng.choice(["", "d0"]),
            correlation=rng.choice(["", "c1"]),
            details={"licence": rng.choice(["", "MIT", "GPL-2.0-only OR MIT"])},
        )
        message = message_of(event, place)
        kind = rng.randrange(12)
        if kind == 0:
            message = altered(message, specversion="2.0")
        elif kind == 1:
            # Its subject is no event's; what it says may be a space's all the same.
            message = message._replace(subject=f"{EVENTS}.{audience}.catalog.x", data=b"no event")
        elif kind == 2:
            message = message._replace(subject=f'{EVENTS}.p_"subject":"{EVENTS}.public.x.y')
        found.append(message)
    return found


def seen_by(audiences: frozenset[str]) -> list[bool]:
    """Of each message, whether its record is shown."""
    return [audience_of(read_message(one).leaf) in audiences for one in told(COUNT)]


async def fill(store: LogStore, messages: Sequence[StreamMessage]) -> None:
    """In batches of seven."""
    for start in range(0, len(messages), 7):
        await append(store, messages[start : start + 7])


def unnumbered(stored: Sequence[StoredRecord]) -> list[StoredRecord]:
    """The records without their numbers."""
    return [structs.replace(one, index=0) for one in stored]


def questions(
    audiences: frozenset[str], places: Sequence[int]
) -> Iterator[tuple[RecordQuery, ...]]:
    """A question, and the same one as it is put to a log that has no other records.

    Args:
        audiences: Those that are seen.
        places: Of each record its number there, or that of the next one that is there.
    """
    rng = random.Random(4)
    for _ in range(120):
        asked = replace(random_query(rng), audiences=audiences)
        above = places[asked.above + 1] - 1
        below = None if asked.below is None else places[min(asked.below, COUNT)]
        yield asked, replace(asked, above=above, below=below)


@pytest.mark.parametrize("audiences", CALLERS.values(), ids=CALLERS)
async def test_every_answer_is_that_of_a_log_without_the_hidden_records(
    place: LogPlace, tmp_path: Path, audiences: frozenset[str]
) -> None:
    """Records, their order, where a page ends and whether there are more: all but the numbers."""
    is_seen = seen_by(audiences)
    places = [0, *accumulate(is_seen)]
    visible = [one for one, is_kept in zip(told(COUNT), is_seen, strict=True) if is_kept]

    async with place.open() as whole, SqlitePlace(tmp_path / "alone").open() as alone:
        await fill(whole, told(COUNT))
        await fill(alone, visible)
        matched = 0
        for asked, there in questions(audiences, places):
            found, _, more = await whole.page(asked)
            wanted, _, more_there = await alone.page(there)
            assert unnumbered(found) == unnumbered(wanted), asked
            assert [places[one.index] for one in found] == [one.index for one in wanted]
            assert more == more_there
            matched += bool(found)
        assert matched > 30 or not audiences


async def test_a_listing_without_a_filter_shows_of_the_others_their_hash(place: LogPlace) -> None:
    """Index and leaf hash, and every record that is seen whole between them."""
    audiences = frozenset({PUBLIC})
    listing = replace(random_query(random.Random(1)), since_us=None, until_us=None, equal=(),
                      action="", licence="", above=-1, below=None, limit=1000)  # fmt: skip
    async with place.open() as store:
        await fill(store, told(COUNT))
        whole, _, _ = await store.page(replace(listing, audiences=None))
        asked = replace(listing, audiences=audiences, lists_restricted=True)
        found, _, more = await store.page(asked)

    assert not more
    assert found == [shown(one, audiences) for one in whole]
    hidden = [(one, kept) for one, kept in zip(found, whole, strict=True) if one != kept]
    assert 60 < len(hidden) < COUNT - 60
    for one, kept in hidden:
        nothing = StoredRecord(kept.index, b"", None, 0, 0, "", leaf_hash=leaf_hash(kept.leaf))
        assert one == nothing


async def test_how_large_hidden_records_are_ends_no_page(place: LogPlace) -> None:
    """A page of many bytes ends by those that are shown alone."""
    large = [
        message_of(an_event(number, audience=PRIVATE, details={"text": "x" * 40_000}), number)
        for number in range(1, 20)
    ]
    assert sum(len(one.data) for one in large) > MAX_PAGE_BYTES
    listing = RecordQuery(audiences=frozenset({PUBLIC}), since_us=None, until_us=None, equal=(),
                          action="", above=-1, below=None, limit=100,
                          lists_restricted=True)  # fmt: skip
    async with place.open() as store:
        await append(store, [*large, message_of(an_event(1), 20)])

        found, _, more = await store.page(listing)
        left_out, _, _ = await store.page(replace(listing, lists_restricted=False))

    assert (len(found), more) == (20, False)
    assert [one.index for one in left_out] == [19]
