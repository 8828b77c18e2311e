# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Chunks that are asked for before it is known where they begin, and lines taken many at once."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any, cast

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from cli.audit_query import Answer
from cli.raw_records import RawChunk, number_of, numbers_of
from services.auditor.exports import Lines
from shared.adapters.bus import Bus
from shared.contracts.audit import StreamRecords


class Auditor:
    """Answers as the auditor does: a chunk ends when it has so many bytes, or so many records."""

    def __init__(self, sizes: dict[int, int], *, tree_size: int, most: int) -> None:
        self._sizes = sizes
        self._tree_size = tree_size
        self._most = most

    async def request(self, _: object, asked: StreamRecords, **__: Any) -> RawChunk:
        """The next chunk."""
        await asyncio.sleep(0)
        after = -1 if asked.after_index is None else asked.after_index
        stop = self._tree_size if asked.before_index is None else asked.before_index
        left = [index for index in sorted(self._sizes) if after < index < stop]
        kept: list[int] = []
        for index in left:
            full = sum(self._sizes[one] for one in kept) + self._sizes[index] > self._most
            if len(kept) == asked.limit or (kept and full):
                break
            kept.append(index)
        return RawChunk(
            records=tuple(msgspec.Raw(b'{"index":%d,"leaf":""}' % one) for one in kept),
            tree_size=self._tree_size,
            scanned=len(kept),
            position=kept[-1] if len(kept) < len(left) else None,
        )


@given(
    sizes=st.dictionaries(st.integers(0, 80), st.integers(1, 9), max_size=60)
    | st.lists(st.integers(1, 9), max_size=80).map(lambda found: dict(enumerate(found))),
    most=st.integers(1, 60),
)
def test_every_record_comes_once(sizes: dict[int, int], most: int) -> None:
    """Wherever chunks end and whichever records match, each comes once and in order."""
    auditor = cast("Bus", Auditor(sizes, tree_size=81, most=most))

    async def found() -> list[int]:
        answer = Answer(auditor, [StreamRecords(order="oldest")])
        indexes = [number_of(one) async for some in answer.batches() for one in some]
        assert (answer.count, answer.scanned, answer.position) == (len(sizes), len(sizes), None)
        return indexes

    assert asyncio.run(found()) == sorted(sizes)


@given(indexes=st.sets(st.integers(0, 1200), max_size=60), cuts=st.sets(st.integers(0, 60)))
def test_lines_at_once_are_lines_one_by_one(indexes: set[int], cuts: set[int]) -> None:
    """A file's digests do not depend on how its lines came."""
    records = [b'{"index":%d,"leaf":"%d"}' % (one, one) for one in sorted(indexes)]
    one_by_one, at_once = Lines(), Lines()
    for record in records:
        one_by_one.take(number_of(record), record)
    places = [0, *sorted(cuts), len(records)]
    for start, stop in pairwise(places):
        some = records[start:stop]
        at_once.take_all(numbers_of(some, some), some)
    assert at_once.proof(None, None) == one_by_one.proof(None, None)
    assert (at_once.first, at_once.last) == (one_by_one.first, one_by_one.last)
