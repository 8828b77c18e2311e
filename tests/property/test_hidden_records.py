# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""For any records, spaces and caller the log answers as one without what the caller does not see.

Only the numbers of records are others, and the log's size.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from datetime import timedelta
from itertools import accumulate
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from services.auditor.disclosure import audience_of
from services.auditor.inventory import inventory_page, runs_page
from services.auditor.searching import Chunk, parse_search
from services.auditor.store import LogStore
from shared.contracts.audit import AuditRecord, RecordChunk, StreamRecords
from shared.contracts.events import PUBLIC, Event
from shared.contracts.inventory import FindRuns, HookRun, InventoryShown, Run
from shared.contracts.spaces import SpaceRecord
from shared.moments import render_time
from shared.visibility import visible_spaces
from tests.support.inventories import EPOCH, a_reading, at, chain_event, digest_of, time_us
from tests.support.log_stores import SqlitePlace, append
from tests.support.records import an_event, message_of

NOW = EPOCH + timedelta(days=1)
SPACES = ("p_acme", "r_0123456789abcdef", "r_fedcba9876543210")
NAMES = ("ann", "bob")
PACKAGES = ("p0", "p1")

audiences = st.sampled_from((PUBLIC, *SPACES, "p_unknown"))
moments = st.sampled_from(["", render_time(NOW), render_time(NOW + timedelta(hours=1))])
spaces = st.fixed_dictionaries(
    {},
    optional={
        audience: st.builds(
            SpaceRecord,
            audience=st.just(audience),
            kind=st.just("embargo"),
            members=st.sampled_from([(), ("ann",), ("bob",), NAMES]),
            created_at=st.just(at(0)),
            created_by=st.just("U"),
            lifts_at=moments,
            lifted_at=moments,
        )
        for audience in SPACES
    },
)
told = st.lists(
    st.tuples(
        audiences,
        st.sampled_from(["package.publish", "chain.attach", "chain.drift", "state.rebuild"]),
        st.sampled_from(PACKAGES),
        st.sampled_from(["accepted", "refused"]),
        st.integers(0, 50),
    ),
    max_size=40,
)
questions = st.builds(
    StreamRecords,
    package=st.sampled_from(["", "", *PACKAGES, "missing"]),
    action=st.sampled_from(["", "", "chain.*", "package.publish"]),
    outcome=st.sampled_from(["", "", "refused"]),
    since=st.sampled_from(["", "", at(20)]),
    until=st.sampled_from(["", "", at(30)]),
    space=st.sampled_from(["", "", "", PUBLIC, *SPACES]),
    text=st.sampled_from(["", "", "P1"]),
    where=st.sampled_from(["", "", 'package == "p1"', 'audience startswith "r_"', "not has node"]),
    order=st.sampled_from(["newest", "oldest"]),
    limit=st.integers(1, 9),
    scan_limit=st.integers(1, 9),
)


def events_of(drawn: Sequence[tuple[Any, ...]]) -> list[Event]:
    """What catalog and node n1 said, each with a sequence of its own for each audience."""
    sequences: dict[tuple[str, bool], int] = {}
    found = []
    for audience, action, package, outcome, seconds in drawn:
        is_node = action != "package.publish"
        number = sequences[audience, is_node] = sequences.get((audience, is_node), 0) + 1
        said: dict[str, Any] = {"audience": audience}
        if not is_node:
            said |= {"outcome": outcome, "package": package, "time": at(seconds)}
            found.append(an_event(number, **said))
        elif action == "state.rebuild":
            said |= {"action": action, "outcome": "observed", "time": at(seconds)}
            found.append(an_event(number, emitter="node/n1", **said))
        else:
            reading = a_reading(package)
            said |= {"package": package, "seconds": seconds}
            found.append(chain_event(action, reading, node="n1", sequence=number, **said))
    return found


def unnumbered(record: AuditRecord) -> AuditRecord:
    """The record without its number."""
    return msgspec.structs.replace(record, index=0)


async def chunks(store: LogStore, seen: frozenset[str], asked: StreamRecords) -> list[RecordChunk]:
    """The whole answer, as the service makes it."""
    found = []
    while True:
        chunk = Chunk(parse_search(asked, audiences=seen))
        while (query := chunk.next_page()) is not None:
            page, tree_size, more = await store.page(query)
            chunk.take(page, tree_size, more=more)
        found.append(chunk.render())
        position = found[-1].position
        if position is None:
            return found
        end = "before_index" if asked.order == "newest" else "after_index"
        asked = msgspec.structs.replace(asked, **{end: position})


async def what_ran(
    store: LogStore, seen: frozenset[str]
) -> tuple[list[InventoryShown], list[Run], list[HookRun]]:
    """As of some moments, and of each archive when it ran."""
    shown = [
        inventory_page(
            await store.sightings(moment, audiences=seen, node="", after=None), at_us=moment
        )
        for moment in (time_us(an_event(1, time=at(second))) for second in (0, 10, 25, 60))
    ]
    runs: list[Run] = []
    for package in PACKAGES:
        asked = FindRuns(digest=digest_of(f"archive {package}"))
        found = await store.runs(asked.digest, audiences=seen, after=None)
        runs += runs_page(asked, found).runs
    return shown, runs, [run for page in shown for run in page.hook_points]


@given(drawn=told, spaces=spaces, name=st.sampled_from([*NAMES, "sam", ""]), asked=questions)
@settings(max_examples=60, deadline=None)
async def test_the_log_answers_as_one_without_what_is_hidden(
    drawn: list[tuple[Any, ...]],
    spaces: dict[str, SpaceRecord],
    name: str,
    asked: StreamRecords,
) -> None:
    """Records, their order, chunks, counts of what was looked at, and where each chunk ends.

    A listing without a filter is the same but for an entry with a hash for each hidden record.
    """
    seen = visible_spaces(spaces, name, now=NOW)
    events = events_of(drawn)
    messages = [message_of(event, place) for place, event in enumerate(events, start=1)]
    is_shown = [event.audience in seen for event in events]
    visible = [one for one, is_kept in zip(messages, is_shown, strict=True) if is_kept]
    numbers = [0, *accumulate(is_shown)]
    listing = StreamRecords(order=asked.order, limit=asked.limit)
    with tempfile.TemporaryDirectory() as folder:
        places = [SqlitePlace(Path(folder) / name) for name in ("whole", "alone")]
        async with places[0].open() as whole, places[1].open() as alone:
            for store, batch in ((whole, messages), (alone, visible)):
                if batch:
                    await append(store, batch)
            found, wanted = [await chunks(store, seen, asked) for store in (whole, alone)]
            listed, plain = [await chunks(store, seen, listing) for store in (whole, alone)]
            ran, ran_alone = [await what_ran(store, seen) for store in (whole, alone)]

    records = [one for chunk in found for one in chunk.records]
    if not any(one.leaf_hash for one in records):
        assert [chunk.scanned for chunk in found] == [chunk.scanned for chunk in wanted]
        assert [position_of(one, numbers) for one in found] == [one.position for one in wanted]
    shown = [one for one in records if not one.leaf_hash]
    assert [unnumbered(one) for one in shown] == [
        unnumbered(one) for chunk in wanted for one in chunk.records
    ]
    for chunk in (*found, *listed):
        for one in chunk.records:
            assert bool(one.leaf_hash) != is_shown[one.index]
            assert one.leaf_hash or audience_of(one.leaf.encode()) in seen
    entries = [one for chunk in listed for one in chunk.records]
    assert len(entries) == len(events)
    assert [unnumbered(one) for one in entries if not one.leaf_hash] == [
        unnumbered(one) for chunk in plain for one in chunk.records
    ]
    assert without_numbers(ran, numbers) == without_numbers(ran_alone, range(len(visible) + 1))


def position_of(chunk: RecordChunk, numbers: Sequence[int]) -> int | None:
    """Where the chunk ends, as the log without the hidden records numbers it."""
    return None if chunk.position is None else numbers[chunk.position]


def without_numbers(
    ran: tuple[list[InventoryShown], list[Run], list[HookRun]], numbers: Sequence[int]
) -> object:
    """What ran, with records as the log without the hidden ones numbers them."""
    shown, runs, points = ran
    return (
        [(page.at, page.next) for page in shown],
        [
            msgspec.structs.replace(
                run,
                record=numbers[run.record],
                until_record=None if run.until_record is None else numbers[run.until_record],
            )
            for run in runs
        ],
        [
            msgspec.structs.replace(
                point,
                record=numbers[point.record],
                confirmed_record=None
                if point.confirmed_record is None
                else numbers[point.confirmed_record],
            )
            for point in points
        ],
    )
