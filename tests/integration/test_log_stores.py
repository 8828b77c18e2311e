# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What every store of the log promises, asked of each of them."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest

from services.auditor.checkpoint import TreeHead
from services.auditor.merkle import Node, check_consistency, check_inclusion, leaf_hash
from services.auditor.query import RecordQuery
from services.auditor.records import read_message
from services.auditor.store import DamagedLogError, StoreFaultError
from shared.errors import RefusedError
from tests.support.hostile.texts import HOSTILE_TEXTS
from tests.support.independent_log import tree_hash
from tests.support.log_stores import (
    NOW,
    ORIGIN,
    LogPlace,
    SqlitePlace,
    append,
    leaves_in,
    root_in,
)
from tests.support.records import altered, an_event, message_of, messages

FEBRUARY = datetime(2026, 2, 3, tzinfo=UTC)
ALL = RecordQuery(
    audiences=None,
    since_us=None,
    until_us=None,
    equal=(),
    action="",
    above=-1,
    below=None,
    limit=1000,
)


async def test_batches_become_rows_and_a_tree_that_is_theirs(place: LogPlace) -> None:
    """Batches of many sizes, opened anew between them: every leaf in order, and their root."""
    batches = [messages(3), messages(300, first=4), messages(1, first=304), messages(40, first=305)]
    for batch in batches:
        async with place.open() as store:
            await append(store, batch)
            kept = store.state
        async with place.open() as store:
            assert store.state.frontier == kept.frontier
            assert store.state.heads == kept.heads
            assert store.state.stream_sequence == kept.stream_sequence
            await store.check_every_leaf()

    leaves = await leaves_in(place)
    assert [json.loads(leaf)["id"] for leaf in leaves] == [
        message.message_id for batch in batches for message in batch
    ]
    assert await root_in(place) == tree_hash(leaves)


async def test_an_event_that_comes_again_months_later_is_one_record(place: LogPlace) -> None:
    """The same bytes change nothing, and the same id with other bytes is a problem record."""
    again = [message._replace(sequence=message.sequence + 10) for message in messages(3)]
    other = altered(messages(1, first=2)[0], time="2026-01-02T03:04:06Z")
    async with place.open() as store:
        await append(store, messages(3), now=NOW)
        await append(store, again, now=FEBRUARY)
        assert store.size == 3
        await append(store, [other._replace(sequence=14), *messages(1, first=15)], now=FEBRUARY)

        assert store.size == 5
        assert store.state.stream_sequence == 15
        problem = await store.record(3)
        assert problem is not None
        assert "used before" in problem.problem
        await store.check_every_leaf()


async def test_what_follows_a_batch_that_was_not_kept_is_not_kept(place: LogPlace) -> None:
    """A batch that says it comes after another one than the last is a fault and changes nothing."""
    async with place.open() as store:
        with pytest.raises(StoreFaultError, match="was not kept"):
            await store.append([read_message(m) for m in messages(3, first=4)], after=3, now=NOW)

        assert store.size == 0
        await append(store, messages(3))
        assert store.size == 3


async def test_batches_given_without_waiting_are_kept_as_if_each_had_waited(
    place: LogPlace,
) -> None:
    """One of them holds events that were recorded before: those behind it are as they should be."""
    old = [message._replace(sequence=message.sequence + 3) for message in messages(3)]
    batches = [
        [*old, *messages(1, first=7)],
        *(messages(5, first=first) for first in range(8, 58, 5)),
    ]
    async with place.open() as store:
        await append(store, messages(3))
        kept = await asyncio.gather(
            *(
                store.append(
                    [read_message(message) for message in batch],
                    after=batch[0].sequence - 1,
                    now=NOW,
                )
                for batch in batches
            )
        )

        assert [len(admission.records) for admission in kept] == [1, *[5] * 10]
        assert store.state is kept[-1].state
        assert store.size == 54
        await store.check_every_leaf()
    leaves = await leaves_in(place)
    assert await root_in(place) == tree_hash(leaves)
    numbers = [json.loads(leaf)["sequence"] for leaf in leaves]
    assert numbers == [1, 2, 3, *range(7, 58)]


async def test_gaps_are_kept_until_they_are_said(place: LogPlace) -> None:
    """A missing sequence is found once, has a number, and is forgotten when it was announced."""
    async with place.open() as store:
        await append(store, [message_of(an_event(number), place) for place, number in
                             enumerate((1, 4, 9), start=1)])  # fmt: skip
    async with place.open() as store:
        first, second = await store.unannounced_gaps()
        assert [(gap.kind, gap.first, gap.last) for _, gap in (first, second)] == [
            ("missing", 2, 3),
            ("missing", 5, 8),
        ]
        await store.mark_announced(first[0])
        assert await store.unannounced_gaps() == [second]


async def test_another_stream_is_begun_and_said(place: LogPlace) -> None:
    """The place starts over, what was read before it is named as a gap."""
    async with place.open() as store:
        await store.start_stream("first", last_sequence=0)
        await append(store, messages(5))
        await store.start_stream("second", last_sequence=2)
    async with place.open() as store:
        assert (store.state.stream_id, store.state.stream_sequence) == ("second", 0)
        ((_, gap),) = await store.unannounced_gaps()
        assert (gap.kind, gap.first, gap.last) == ("rewound", 3, 5)
        assert store.size == 5


async def test_the_newest_head_is_given_back(place: LogPlace) -> None:
    """Heads are kept by size; signing one again replaces its note."""
    async with place.open() as store:
        assert await store.newest_checkpoint() is None
        await store.keep_checkpoint(0, "nothing", signed_at=NOW)
        await store.keep_checkpoint(7, "seven", signed_at=NOW)
        await store.keep_checkpoint(3, "three", signed_at=NOW)
        await store.keep_checkpoint(7, "seven again", signed_at=FEBRUARY)
        assert await store.newest_checkpoint() == (7, "seven again")


async def test_every_record_is_proved_in_every_tree(place: LogPlace) -> None:
    """Inclusion in a few sizes and consistency between them, checked by the verifier's rules."""
    sizes = (1, 2, 255, 256, 257, 600)
    async with place.open() as store:
        await append(store, messages(600))
        roots = {size: await store.root(size) for size in sizes}
        for size in sizes:
            for index in {0, size // 2, size - 1}:
                stored = await store.record(index)
                assert stored is not None
                check_inclusion(
                    await store.inclusion(index, size),
                    leaf=leaf_hash(stored.leaf),
                    index=index,
                    size=size,
                    root=roots[size],
                )
        for old, new in pairwise(sizes):
            check_consistency(
                await store.consistency(old, new),
                old_size=old,
                old_root=roots[old],
                new_size=new,
                new_root=roots[new],
            )
        assert await store.record(600) is None


async def test_hostile_text_is_kept_and_found_to_the_letter(place: LogPlace) -> None:
    """Whatever emitters write comes back as it was, and a filter finds it and nothing else."""
    events = [an_event(number, package=text, reason=text) for number, text in
              enumerate(HOSTILE_TEXTS, start=1)]  # fmt: skip
    batch = [message_of(event, number) for number, event in enumerate(events, start=1)]
    async with place.open() as store:
        await append(store, batch)

        for index, text in enumerate(HOSTILE_TEXTS):
            found, _, _ = await store.page(replace(ALL, equal=(("package", text),)))
            assert [record.index for record in found] == [index]
            assert found[0].body == batch[index].data
        await store.check_every_leaf()


async def test_records_of_some_actions_are_given_oldest_first(place: LogPlace) -> None:
    """Only believed ones, of one emitter or of all, and of a range alone if one is named."""
    actions = ("package.publish", "package.mark", "package.release")
    batch = [
        message_of(an_event(number, action=actions[number % 3]), number) for number in range(1, 10)
    ]
    batch.append(altered(message_of(an_event(10, action=actions[0]), 10), id="another"))
    async with place.open() as store:
        await append(store, batch)
        await append(store, [message_of(an_event(1, emitter="scheduler", action=actions[0]), 11)])

        async def indexes(**asked: Any) -> list[int]:
            return [one.index for one in await store.of_actions(actions[:2], **asked)]

        assert await indexes(emitter="catalog") == [0, 2, 3, 5, 6, 8]
        assert await indexes() == [0, 2, 3, 5, 6, 8, 10]
        assert await indexes(first=3, stop=8) == [3, 5, 6]
        assert await indexes(emitter="scheduler", first=4) == [10]
        assert await indexes(emitter="nobody") == []


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM records WHERE idx = 2",
        "DELETE FROM records WHERE idx = 4",
        "UPDATE tiles SET hashes = (SELECT root FROM log) WHERE level = 0",
        "UPDATE log SET size = 4",
        "DELETE FROM tiles",
    ],
)
async def test_parts_that_do_not_belong_together_are_refused(place: LogPlace, damage: str) -> None:
    """A row, hash or size that is missing or wrong is noticed before anything is added."""
    async with place.open() as store:
        await append(store, messages(5))
    await place.execute(damage)

    with pytest.raises(DamagedLogError):
        async with place.open():
            pass


async def test_leaves_and_hashes_are_those_of_the_tree(place: LogPlace) -> None:
    """Any run of leaves, and the root of any complete subtree over the leaves below it."""
    async with place.open() as store:
        await append(store, messages(300))
        leaves = await leaves_in(place)

        assert await store.leaves(0, 300) == leaves
        assert await store.leaves(255, 257) == leaves[255:257]
        assert await store.leaves(7, 7) == []
        wanted = [Node(0, 299), Node(8, 0), Node(3, 5), Node(1, 128)]
        assert await store.hashes(wanted) == [
            tree_hash(leaves[offset << level : offset + 1 << level]) for level, offset in wanted
        ]


async def test_an_altered_record_is_found(place: LogPlace) -> None:
    """Hashing every leaf anew shows a record that was rewritten behind the tree's back."""
    async with place.open() as store:
        await append(store, messages(5))
    await place.execute("UPDATE records SET leaf = '{}' WHERE idx = 1")

    async with place.open() as store:
        with pytest.raises(DamagedLogError, match="not those that the tree"):
            await store.check_every_leaf()


async def test_a_log_is_measured_against_what_was_signed(place: LogPlace) -> None:
    """One that is smaller was rolled back; one with another root was written anew."""
    async with place.open() as store:
        await append(store, messages(5))
        size, root = store.size, store.state.frontier.root()
        await append(store, messages(3, first=6))
        await store.check_against(TreeHead(ORIGIN, size, root))
        with pytest.raises(DamagedLogError, match="rolled back"):
            await store.check_against(TreeHead(ORIGIN, 9, root))
        with pytest.raises(DamagedLogError, match="not those that were signed"):
            await store.check_against(TreeHead(ORIGIN, 4, root))


async def test_another_installations_log_is_refused(place: LogPlace) -> None:
    """Both are named."""
    async with place.open():
        pass
    with pytest.raises(RefusedError, match=rf"{ORIGIN}, not l3af\.other/log"):
        async with place.open("l3af.other/log"):
            pass


async def test_a_log_of_a_later_release_is_refused(place: LogPlace) -> None:
    """It is said which formats this release reads, and nothing is changed."""
    async with place.open():
        pass
    await place.execute(
        "PRAGMA user_version = 99"
        if isinstance(place, SqlitePlace)
        else "UPDATE log SET format = 99"
    )

    with pytest.raises(RefusedError, match="format 99; this release reads formats 1 to"):
        async with place.open():
            pass
