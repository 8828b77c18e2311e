# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Pruned logs: what is gone is gone, what is left is proved as before, and nothing else is gone."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from services.auditor.inventory import hook_runs
from services.auditor.merkle import check_inclusion, leaf_hash
from services.auditor.query import parse_query
from services.auditor.records import StreamMessage
from services.auditor.retention.holds import placed_event
from services.auditor.retention.remains import PRUNED, is_remains
from services.auditor.store import LogStore, PrunedPastError
from services.auditor.told_places import Range
from services.auditor.verification.adapters.verifying import VerifiedLog, verify_store
from shared.contracts.audit import ListRecords
from shared.contracts.events import PUBLIC, EventBody
from shared.contracts.holds import HoldSelection
from shared.contracts.retention import RetentionRule, RetentionRules
from tests.support.inventories import SPACE, key_of, random_events, time_us
from tests.support.log_stores import NOW, LogPlace, append, leaves_in, where
from tests.support.pruning import DAYS_30, LATER, Recorder, every_record, prune_all, pruner
from tests.support.records import altered, an_event, message_of, messages
from tests.support.whole_logs import ACTOR, KEY, fill, sign

SEEN = frozenset({PUBLIC})


def yanked(count: int, *, first: int = 1) -> list[StreamMessage]:
    """Events of the catalog that nothing is made of."""
    return messages(count, first=first, action="package.yank")


async def verified(place: LogPlace) -> VerifiedLog:
    """The whole store, looked through."""
    return await asyncio.to_thread(verify_store, where(place), keys=[KEY], workers=1)


async def test_a_pruned_log_verifies_and_proves_what_it_proved(place: LogPlace) -> None:
    """Of a log with everything in it: every leaf keeps its proof, and nothing is amiss."""
    async with place.open() as store:
        await fill(store)
        hashes = [leaf_hash(one.leaf) for one in await every_record(store)]
        before, size = await store.root(len(hashes)), store.size
        (done,) = await prune_all(store)
        await sign(store)
        assert sum(done.counts.values()) > 400
        root = await store.root(store.size)
        for index, hashed in enumerate(hashes):
            path = await store.inclusion(index, store.size)
            check_inclusion(path, leaf=hashed, index=index, size=store.size, root=root)
        assert await store.root(size) == before
        kept = await every_record(store)
        gone = {one.index for one in kept if is_remains(one.leaf)}
        assert all(one.leaf_hash == hashes[one.index] for one in kept if one.index in gone)
        await store.check_every_leaf()
    async with place.open() as store:
        assert store.size > size
    found = await verified(place)
    assert found.problems == []
    assert found.pruned == len(gone) == sum(done.counts.values())
    columns = "emitter, event_id, leaf"
    texts = await place.execute(f"SELECT idx, body, actor, action, {columns} FROM records")
    assert all(row[1:4] == (None, "", "") for row in map(tuple, texts) if row[0] in gone)


async def test_pruned_records_are_numbers_and_hashes(place: LogPlace) -> None:
    """A page of everything lists them with who said that they were pruned; no filter finds them."""
    async with place.open() as store:
        await append(store, yanked(5))
        await append(store, yanked(2, first=6), now=LATER)
        hashes = [leaf_hash(one.leaf) for one in await every_record(store)]
        await prune_all(store)
        page, _, _ = await store.page(parse_query(ListRecords(), audiences=SEEN))
        told = {one.index: (one.leaf_hash, one.pruned_by) for one in page if one.leaf_hash}
        assert told == {index: (hashes[index], 7) for index in range(5)}
        assert all(not one.leaf and one.body is None for one in page if one.leaf_hash)
        for asked in (
            ListRecords(action="package.*"),
            ListRecords(since="2000-01-01T00:00:00Z"),
            ListRecords(space=PUBLIC),
        ):
            found, _, _ = await store.page(parse_query(asked, audiences=SEEN))
            assert not {one.index for one in found} & set(range(5))
        stranger, _, _ = await store.page(parse_query(ListRecords(), audiences=frozenset()))
        assert {one.pruned_by for one in stranger} == {None}
        assert {one.index: one.leaf_hash for one in stranger}[0] == hashes[0]


async def test_what_is_held_is_not_pruned(place: LogPlace) -> None:
    """By nobody, neither if the hold came after it was said what is pruned; later it is."""
    hold = HoldSelection(event_id="catalog.3")
    late = HoldSelection(actor=ACTOR.key)
    async with place.open() as store:
        of_actor = an_event(4, action="package.yank", actor=ACTOR)
        await append(store, [*yanked(3), message_of(of_actor, 4), *yanked(2, first=5)])
        recorder = Recorder(store)

        async def place_hold(name: str, selection: HoldSelection) -> None:
            body = placed_event(name, selection, actor=ACTOR, reason="", command_id=name)
            recorder.then = None
            await recorder.emit(body, event_id=name)

        async def hold_late(body: EventBody) -> None:
            if body.action == PRUNED:
                await place_hold("late", late)

        await place_hold("early", hold)
        recorder.then = hold_late
        done = await pruner(store, recorder).prune(DAYS_30, now=LATER)
        assert sum(done.counts.values()) == 4
        assert dict(done.held) == {PUBLIC: 1}
        kept = [one.index for one in await every_record(store) if not is_remains(one.leaf)]
        assert kept[:2] == [2, 3]
        for name in ("early", "late"):
            release = EventBody(action="hold.release", outcome="accepted", details={"hold": name})
            await recorder.emit(release, event_id=f"release-{name}")
        (after,) = await prune_all(store)
        assert sum(after.counts.values()) == 2
        await sign(store)
    assert (await verified(place)).problems == []


async def test_what_answers_are_made_of_is_never_pruned(place: LogPlace) -> None:
    """Whatever rules say: what findings are made of, and what the auditor says of the log."""
    kept = [
        an_event(1, action="package.publish"),
        an_event(2, action="waiver.grant"),
        an_event(1, emitter="scheduler", action="licence.violate", outcome="observed"),
        an_event(1, emitter="auditor", action="retention.set", outcome="accepted"),
        an_event(2, emitter="auditor", action="log.gap", outcome="observed"),
    ]
    gone = [
        an_event(3, emitter="auditor", action="log.read", outcome="accepted"),
        an_event(1, emitter="node/n1", action="package.publish"),
    ]
    async with place.open() as store:
        await append(store, [message_of(one, at) for at, one in enumerate([*kept, *gone], 1)])
        await prune_all(store)
        found = [is_remains(one.leaf) for one in await every_record(store)]
    assert found[: len(kept) + len(gone)] == [False] * len(kept) + [True] * len(gone)


async def test_rules_decide_in_order_and_by_age_of_receipt(place: LogPlace) -> None:
    """The first that fits: what it keeps for ever, no later rule lets go of."""
    rules = RetentionRules(
        rules=(
            RetentionRule(name="cases", where='deployment == "web"'),
            RetentionRule(name="short", actions=("chain.*",), keep_days=10),
            RetentionRule(name="long", keep_days=90),
        )
    )
    old = [
        an_event(1, action="chain.attach", deployment="web"),
        an_event(2, action="chain.attach"),
        an_event(3, action="package.yank"),
        an_event(4, action="chain.attach", time="2020-01-01T00:00:00Z"),
    ]
    async with place.open() as store:
        await append(store, [message_of(one, number) for number, one in enumerate(old[:3], 1)])
        await append(store, [message_of(old[3], 4)], now=NOW + timedelta(days=15))
        (done,) = await prune_all(store, rules, now=NOW + timedelta(days=20))
        assert done.counts == {("short", PUBLIC): 1}
        (done,) = await prune_all(store, rules, now=NOW + timedelta(days=91))
        assert done.counts == {("short", PUBLIC): 1, ("long", PUBLIC): 1}


async def test_a_dry_run_says_the_same_and_does_nothing(place: LogPlace) -> None:
    """Nothing is said in the log and nothing is gone; then the same is pruned."""
    async with place.open() as store:
        await fill(store, records=200)
        size, leaves = store.size, await leaves_in(place)
        would = await pruner(store).prune(DAYS_30, now=LATER, dry_run=True)
        assert store.size == size
        assert await leaves_in(place) == leaves
        (done,) = await prune_all(store)
    assert would.counts == done.counts


async def test_what_was_said_and_not_done_is_done_by_whoever_comes_next(place: LogPlace) -> None:
    """As after a kill between the record and the removal; doing it again changes nothing."""

    class KilledError(Exception):
        pass

    async def dies(_: EventBody) -> None:
        raise KilledError

    async with place.open() as store:
        await append(store, yanked(20))
        recorder = Recorder(store)
        recorder.then = dies
        with pytest.raises(KilledError):
            await pruner(store, recorder).prune(DAYS_30, now=LATER)
        assert not any(is_remains(one.leaf) for one in await every_record(store))
    async with place.open() as store:
        assert await pruner(store).finish() == 20
        assert await pruner(store).finish() == 0
        leaves = await leaves_in(place)
        assert await store.prune(20) == 0
        await sign(store)
    assert await leaves_in(place) == leaves
    assert (await verified(place)).problems == []


async def test_an_event_that_comes_again_after_it_was_pruned_is_known(place: LogPlace) -> None:
    """The same bytes are no second record; others under its id are a problem, as ever."""
    async with place.open() as store:
        await append(store, yanked(3))
        await prune_all(store)
        size = store.size
        again = [one._replace(sequence=10 + one.sequence) for one in yanked(3)]
        await append(store, again, now=LATER)
        assert store.size == size
        other = altered(yanked(1, first=2)[0], time="2026-01-02T03:04:06Z")
        await append(store, [other._replace(sequence=20)], now=LATER)
        found = await store.record(size)
        assert found is not None
        assert found.problem == "its id was used before for another event"
        await sign(store)
    assert (await verified(place)).problems == []


async def test_nothing_is_removed_but_by_a_believed_word_of_the_auditor(place: LogPlace) -> None:
    """A node's word, and one that cannot be read, prune nothing."""
    async with place.open() as store:
        await append(store, yanked(3))
        details = {"rule": "x", "ranges": "0-2", "remains": "", "through": "2026-01-01T00:00:00Z"}
        forged = an_event(1, emitter="node/n1", action=PRUNED, details=details)
        broken = an_event(1, emitter="auditor", action=PRUNED, details={**details, "ranges": "2-0"})
        await append(store, [message_of(forged, 4), message_of(broken, 5)])
        for record in (0, 3, 4, 5):
            with pytest.raises(LookupError):
                await store.prune(record)
        assert not any(is_remains(one.leaf) for one in await every_record(store))


async def test_verification_names_what_is_gone_and_not_said(place: LogPlace) -> None:
    """A row that somebody pruned by hand, a changed remainder, and a table that says otherwise."""
    async with place.open() as store:
        await append(store, yanked(10))
        await append(store, yanked(5, first=11), now=LATER)
        await prune_all(store)
        await sign(store)
        by = store.size - 1
    assert (await verified(place)).problems == []
    ((leaf,),) = await place.execute("SELECT leaf FROM records WHERE idx = 3")

    async def found_after(*statements: str) -> set[tuple[str, str]]:
        for statement in statements:
            await place.execute(statement)
        return {(one.part, one.at) for one in (await verified(place)).problems}

    hand = leaf.replace("catalog.4", "catalog.12").replace('"sequence":4', '"sequence":12')
    set_11 = (
        "UPDATE records SET audience = '', time_us = received_us, body = NULL, action = '', "
        f"outcome = '', package = '', leaf = '{hand}' WHERE idx = 11"
    )
    kept = await place.execute("SELECT body, leaf, time_us FROM records WHERE idx = 11")
    assert kept
    assert ("record", "11") in await found_after(set_11)
    other = leaf.replace("catalog.4", "catalog.99")
    await place.execute(f"UPDATE records SET leaf = '{other}' WHERE idx = 3")
    found = await found_after("UPDATE records SET event_id = 'catalog.99' WHERE idx = 3")
    assert ("pruning", str(by)) in found
    assert ("pruning", str(by)) in await found_after("UPDATE prunings SET through_us = 5")
    assert ("pruning", str(by)) in await found_after("DELETE FROM prunings")
    assert ("pruning", "2") in await found_after("INSERT INTO prunings VALUES (2, 'public', 1, 0)")
    assert ("record", "5") in await found_after("DELETE FROM records WHERE idx = 5")


@pytest.mark.parametrize("seed", range(2))
async def test_what_ran_since_is_known_as_before(place: LogPlace, seed: int) -> None:
    """At no moment since the rule's cut another answer, to whomever: as-of, spans, and verify.

    Of events in any order, clocks that were wrong, memories that were lost, and a space.
    """
    events = random_events(150, seed=seed)
    moments = sorted({time_us(event) for event in events})
    cut_us = moments[len(moments) // 2]
    rules = RetentionRules(rules=(RetentionRule(name="day", keep_days=1),))
    now = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=cut_us, days=1)
    asked = [moment for moment in moments if moment >= cut_us]
    async with place.open() as store:
        for number, event in enumerate(events, start=1):
            received = datetime.fromisoformat(event.time)
            await append(store, [message_of(event, number)], now=received)
        before = [await answers(store, moment) for moment in asked]
        (done,) = await prune_all(store, rules, now=now)
        assert sum(done.counts.values()) > 20
        assert [await answers(store, moment) for moment in asked] == before
        for audiences in (frozenset({PUBLIC}), frozenset({PUBLIC, SPACE})):
            with pytest.raises(PrunedPastError):
                await store.sightings(cut_us - 1, audiences=audiences, node="", after=None)
            past = Range(cut_us - 1, cut_us)
            with pytest.raises(PrunedPastError):
                await store.spans(past, audiences=audiences, wanted=lambda _: True)
        until = await store.pruned_until(frozenset({PUBLIC, SPACE}))
        assert until.ran_before_us == cut_us
        again = await prune_all(store, rules, now=now)
        assert not any(one.counts for one in again)
        await sign(store)
    assert (await verified(place)).problems == []


async def answers(store: LogStore, at_us: int) -> list[object]:
    """What ran at a moment, to each that may ask: by as-of and by spans."""
    found: list[object] = []
    for audiences in (frozenset({PUBLIC}), frozenset({SPACE}), frozenset({PUBLIC, SPACE})):
        told, _, _ = await store.sightings(at_us, audiences=audiences, node="", after=None)
        runs = hook_runs(told)
        spans = await store.spans(
            Range(at_us, at_us + 1), audiences=audiences, wanted=lambda _: True
        )
        ran = {key_of(spans.places[one[0]]): spans.chains[one[3]] for one in spans.spans}
        found += [runs, ran]
    return found
