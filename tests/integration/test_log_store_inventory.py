# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What ran where, out of each store: as the plainest model of the rules says it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from services.auditor.inventory import StoredRun, StoredSighting, hook_runs, merged_runs
from services.auditor.store import LogStore
from shared.contracts.events import PUBLIC, Event
from shared.contracts.inventory import HookPlace
from tests.support.inventories import (
    SPACE,
    ModelIndex,
    a_reading,
    at,
    chain_event,
    digest_of,
    key_of,
    random_events,
    time_us,
)
from tests.support.log_stores import LogPlace, append
from tests.support.records import an_event, message_of

ALL = frozenset({PUBLIC, SPACE})
TABLES = ("hook_points", "sightings", "sighted_digests")


async def everything(
    store: LogStore, at_us: int, *, node: str = "", audiences: frozenset[str] = ALL
) -> list[StoredSighting]:
    """All pages."""
    stored, _, is_end = await store.sightings(at_us, audiences=audiences, node=node, after=None)
    assert is_end
    return stored


async def kept(store: LogStore, events: Sequence[Event]) -> None:
    """The events are in the log, in batches of seven."""
    messages = [message_of(event, number) for number, event in enumerate(events, start=1)]
    for start in range(0, len(messages), 7):
        await append(store, messages[start : start + 7])


@pytest.mark.parametrize("seed", range(3))
async def test_answers_are_those_of_the_model(place: LogPlace, seed: int) -> None:
    """At any moment, for events in any order and clocks that were wrong for a while.

    To whom fewer audiences are told, everything is as if the other events had never come.
    """
    events = random_events(150, seed=seed)
    moments = sorted({time_us(event) for event in events})

    async with place.open() as store:
        await kept(store, events)
        for audiences in (ALL, frozenset({PUBLIC}), frozenset({SPACE}), frozenset({"p_other"})):
            model = ModelIndex(events, audiences)
            for moment in [0, *moments[::7], moments[-1] + 10**9]:
                found = await everything(store, moment, audiences=audiences)
                assert hook_runs(found) == model.inventory(moment)
                only = await everything(store, moment, node="n2", audiences=audiences)
                assert only == [one for one in found if one.place.node == "n2"]
            for name in ("p0", "p1", "p2", "p3"):
                digest = digest_of(f"archive {name}")
                runs, _, _ = await store.runs(digest, audiences=audiences, after=None)
                assert merged_runs(runs) == merged_runs(model.runs(digest))


async def test_the_index_is_made_again_from_the_records(place: LogPlace) -> None:
    """It holds nothing that the records do not say: lost or never made, it comes out the same."""
    events = random_events(120, seed=9)
    moment = max(map(time_us, events))
    async with place.open() as store:
        await kept(store, events)
        before = await everything(store, moment)
        runs_before = await all_runs(store)

    for table in TABLES:
        await place.execute(f"DELETE FROM {table}")
    await place.execute("UPDATE inventory SET size = 0")

    async with place.open() as store:
        assert await everything(store, moment) == before
        assert await all_runs(store) == runs_before


async def test_pages_go_on_behind_the_last_place(place: LogPlace) -> None:
    """Whatever the page ends with, the rest follows, and a node's word on itself is repeated."""
    events = random_events(150, seed=4)
    moment = max(map(time_us, events))

    async with place.open() as store:
        await kept(store, events)
        whole = await everything(store, moment)
        for after in {key_of(one.place): one.place for one in whole}.values():
            rest, _, _ = await store.sightings(moment, audiences=ALL, node="", after=after)
            assert rest == [one for one in whole if follows(one, after)]


async def test_a_run_ends_where_its_node_lost_its_memory(place: LogPlace) -> None:
    """And begins anew where it was found again; another node's runs go on."""
    rebuilt = an_event(2, emitter="node/n1", action="state.rebuild", outcome="observed", time=at(7))
    events = [
        chain_event("chain.attach", a_reading("a"), node="n1", sequence=1, seconds=1),
        chain_event("chain.attach", a_reading("a"), node="n2", sequence=1, seconds=2),
        rebuilt,
        chain_event("chain.adopt", a_reading("a"), node="n1", sequence=3, seconds=9),
    ]
    async with place.open() as store:
        await kept(store, events)
        found, _, _ = await store.runs(digest_of("archive a"), audiences=ALL, after=None)

    ends = [(run.record, run.until_record) for run in merged_runs(found)]
    assert ends == [(0, 2), (3, None), (1, None)]


async def test_records_and_index_are_kept_together_or_not_at_all(place: LogPlace) -> None:
    """A batch that is refused leaves no word on any hook point."""
    event = chain_event("chain.attach", a_reading("a"), node="n1", sequence=1, seconds=1)
    async with place.open() as store:
        await append(store, [message_of(event, 1)])
        await append(store, [message_of(event, 2)])

        stored = await everything(store, time_us(event))

    assert [one.record for one in stored] == [0]
    assert await place.execute("SELECT count(*) FROM sightings") == [(1,)]


def follows(one: StoredSighting, after: HookPlace) -> bool:
    """Whether it is behind the place, or the word of its node on itself."""
    return key_of(one.place) > key_of(after) or (
        one.place.node == after.node and not one.place.hook
    )


async def all_runs(store: LogStore) -> list[list[StoredRun]]:
    """Every sighting of every archive."""
    return [
        (await store.runs(digest_of(f"archive p{number}"), audiences=ALL, after=None))[0]
        for number in range(4)
    ]
