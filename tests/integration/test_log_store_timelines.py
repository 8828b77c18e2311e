# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""From when to when what ran, out of each store: at each moment it is what as-of answers."""

from __future__ import annotations

import asyncio

import pytest

from services.auditor.store import LogStore
from services.auditor.timelines import OPEN_US, chain_text, read_chain
from services.auditor.told_places import Range, RanSpans
from services.auditor.verification.adapters.verifying import verify_store
from shared.contracts.events import PUBLIC, Event
from shared.contracts.inventory import HookPlace
from tests.support.inventories import (
    SPACE,
    ModelIndex,
    a_reading,
    at,
    chain_event,
    key_of,
    random_events,
    snapshot_event,
    time_us,
)
from tests.support.log_stores import LogPlace, append, where
from tests.support.records import an_event, message_of
from tests.support.whole_logs import KEY

SEEN = (frozenset({PUBLIC, SPACE}), frozenset({PUBLIC}), frozenset({SPACE}), frozenset({"p_other"}))
ALWAYS = Range(0, OPEN_US - 1)
Place = tuple[str, str, str, str]


async def kept(store: LogStore, events: list[Event], *, size: int = 7) -> None:
    """The events are in the log, in batches."""
    messages = [message_of(event, number) for number, event in enumerate(events, start=1)]
    for start in range(0, len(messages), size):
        await append(store, messages[start : start + size])


async def ran(
    store: LogStore, audiences: frozenset[str], asked: Range = ALWAYS, *, node: str = ""
) -> RanSpans:
    """What ran, of one node or of all."""
    return await store.spans(
        asked, audiences=audiences, wanted=lambda name: not node or name == node
    )


def told(found: RanSpans) -> set[tuple[Place, int, int, str, int]]:
    """Place, begin, end, chain and record of each span."""
    chains = {number: chain.running for number, chain in found.chains.items()}
    return {
        (key_of(found.places[point]), begin, end, repr(chains[chain]), record)
        for point, begin, end, chain, record in found.spans
    }


def at_moment(found: RanSpans, moment_us: int) -> dict[Place, object]:
    """What ran at a moment, by place."""
    return {
        key_of(found.places[point]): found.chains[chain]
        for point, begin, end, chain, _ in found.spans
        if begin <= moment_us < end
    }


@pytest.mark.parametrize("seed", range(3))
async def test_at_each_moment_it_is_what_as_of_answers(place: LogPlace, seed: int) -> None:
    """For events in any order and clocks that were wrong for a while, whoever asks.

    A part of the time is the same spans, cut off at its ends; one node's are those of all.
    """
    events = random_events(150, seed=seed)
    moments = sorted({time_us(event) for event in events})
    middle = Range(moments[40], moments[90])

    async with place.open() as store:
        await kept(store, events)
        for audiences in SEEN:
            model = ModelIndex(events, audiences)
            found = await ran(store, audiences)
            for moment in [moments[0] - 1, *moments[::5], moments[-1] + 10**9]:
                assert at_moment(found, moment) == {
                    key_of(run.place): read_chain(chain_text(run.reading))
                    for run in model.inventory(moment)
                }
            part = await ran(store, audiences, middle)
            assert {one for one in told(found) if one[1] < middle[1] and one[2] > middle[0]} >= {
                one for one in told(part) if one[1] > middle[0] and one[2] < middle[1]
            }
            for moment in (middle.since_us, moments[60], middle.until_us - 1):
                assert at_moment(part, moment) == at_moment(found, moment)
            only = await ran(store, audiences, node="n2")
            assert told(only) == {one for one in told(found) if one[0][0] == "n2"}
    assert (await asyncio.to_thread(verify_store, where(place), keys=[KEY])).problems == []


async def test_spans_are_made_again_from_the_records(place: LogPlace) -> None:
    """Whatever is left of the index, if it covers nothing: they come out the same."""
    events = random_events(120, seed=9)
    async with place.open() as store:
        await kept(store, events)
        before = told(await ran(store, SEEN[0]))
    await place.execute("UPDATE inventory SET size = 0")
    await place.execute("UPDATE chain_spans SET until_us = until_us + 1")

    async with place.open() as store:
        assert told(await ran(store, SEEN[0])) == before
    assert (await asyncio.to_thread(verify_store, where(place), keys=[KEY])).problems == []


@pytest.mark.parametrize("size", [1, 3, 50])
async def test_it_does_not_matter_in_which_batches_records_come(place: LogPlace, size: int) -> None:
    """One by one, or many at once: the spans are those of the whole."""
    events = random_events(50, seed=11)
    async with place.open() as store:
        await kept(store, events, size=size)
        found = told(await ran(store, SEEN[1]))

    assert (await asyncio.to_thread(verify_store, where(place), keys=[KEY])).problems == []
    assert len({one[:2] for one in found}) == len(found)


async def test_a_late_event_changes_the_past(place: LogPlace) -> None:
    """It ran from when its node says, though others said later things first; the rest stays."""
    events = [
        chain_event("chain.attach", a_reading("a"), node="n1", sequence=1, seconds=10),
        chain_event("chain.detach", a_reading(), node="n1", sequence=3, seconds=30),
        chain_event("chain.attach", a_reading("b"), node="n1", sequence=2, seconds=20),
    ]
    moments = [time_us(event) for event in events]
    async with place.open() as store:
        await kept(store, events[:2], size=1)
        assert spans_of(await ran(store, SEEN[1])) == [("a", moments[0], moments[1], 0)]
        await append(store, [message_of(events[2], 3)])
        found = spans_of(await ran(store, SEEN[1]))

    assert found == [("a", moments[0], moments[2], 0), ("b", moments[2], moments[1], 2)]


async def test_what_is_confirmed_is_one_span_and_a_lost_memory_ends_it(place: LogPlace) -> None:
    """Snapshots that agree begin nothing anew; after a rebuild it runs again when it is found."""
    rebuilt = an_event(
        3, emitter="node/n1", action="state.rebuild", outcome="observed", time=at(30)
    )
    events = [
        chain_event("chain.attach", a_reading("a"), node="n1", sequence=1, seconds=10),
        snapshot_event(a_reading("a"), node="n1", sequence=2, seconds=20),
        rebuilt,
        snapshot_event(a_reading("a"), node="n1", sequence=4, seconds=40),
    ]
    moments = [time_us(event) for event in events]
    async with place.open() as store:
        await kept(store, events)
        found = spans_of(await ran(store, SEEN[1]))

    assert found == [("a", moments[0], moments[2], 0), ("a", moments[3], OPEN_US, 3)]


async def test_who_is_no_member_learns_nothing_of_a_space(place: LogPlace) -> None:
    """Neither of its hook points nor of what was put there after what everybody was told of."""
    events = [
        chain_event("chain.attach", a_reading("a"), node="n1", sequence=1, seconds=10),
        chain_event(
            "chain.attach", a_reading("b"), node="n1", sequence=1, seconds=20, audience=SPACE
        ),
    ]
    begin, then = map(time_us, events)
    async with place.open() as store:
        await kept(store, events)
        every = spans_of(await ran(store, SEEN[0]))
        public = await ran(store, SEEN[1])
        strange = await ran(store, SEEN[3])

    assert every == [("a", begin, then, 0), ("b", then, ALWAYS.until_us, 1)]
    assert spans_of(public) == [("a", begin, OPEN_US, 0)]
    assert len(public.chains) == 1
    assert (dict(strange.places), list(strange.spans), strange.chains) == ({}, [], {})


def spans_of(found: RanSpans) -> list[tuple[str, int, int, int]]:
    """Of one hook point: the first package, begin, end, record."""
    assert set(found.places.values()) <= {HookPlace(node="n1", interface="eth0", hook="xdp")}
    return sorted(
        ((found.chains[chain].running or ())[0].package, begin, end, record)
        for _, begin, end, chain, record in found.spans
    )
