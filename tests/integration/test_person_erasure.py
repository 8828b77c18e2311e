# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Names, keys and words of persons in a log: read as they were, and gone once they are erased."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from services.auditor.adapters.sqlite_backup import back_up
from services.auditor.matching import has_text, record_document
from services.auditor.persons.erasing import Asked, Sought, refuse_held
from services.auditor.proofs import render_bundle, verify_bundle
from services.auditor.query import RecordQuery, StoredRecord, render_record
from services.auditor.records import StreamMessage
from services.auditor.retention.execution import read_holds
from services.auditor.retention.holds import Hold, placed_event
from services.auditor.store import LogStore
from services.auditor.verification.adapters.verifying import VerifiedLog, verify_store
from shared.contracts.events import PUBLIC, Actor, Event, EventBody
from shared.contracts.holds import HoldSelection
from shared.errors import RefusedError
from tests.support.log_stores import LogPlace, PostgresPlace, SqlitePlace, append, where
from tests.support.old_logs import copy_as_released
from tests.support.postgres import PostgresServer
from tests.support.records import altered, an_event, message_of
from tests.support.whole_logs import KEY, sign

NAME = "wilhelmina"
PERSON = Actor(key=f"U{'W' * 55}", role="operator", attested=True, address="ab" * 16)
OTHER = Actor(key=f"U{'B' * 55}", role="operator", attested=True)
ADMINISTRATOR = Actor(key=f"U{'C' * 55}", role="administrator", attested=True)
SOUGHT = Sought(frozenset({NAME}), frozenset({PERSON.key}))
NEEDLES = (NAME.encode(), PERSON.key.encode(), b"because the link flaps", b"long words of hers")
ALL = RecordQuery(
    audiences=None,
    since_us=None,
    until_us=None,
    equal=(),
    action="",
    above=-1,
    below=None,
    limit=1000,
    is_ascending=True,
)


def history() -> list[StreamMessage]:
    """What she did, what others wrote of her, what claims to be hers, and what is not about her."""
    hers: dict[str, Any] = {"actor": PERSON, "reason": "because the link flaps"}
    long = "long words of hers " * 1000
    events = [
        an_event(1, action="deployment.apply", details={"licence": "MIT"}, **hers),
        an_event(2, action="deployment.apply", actor=OTHER, reason=f"as {NAME} said"),
        an_event(3, action="owners.set", actor=OTHER, details={"owners": [NAME, "bert"]}),
        an_event(4, action="log.read", actor=OTHER, details={"filters": {"actor": PERSON.key}}),
        an_event(5, action="deployment.apply", actor=PERSON, reason=long),
        an_event(6, action="rating.set", actor=PERSON, details={"author": NAME, "stars": 5}),
        an_event(7, action="deployment.apply", actor=OTHER, reason="nothing of the kind"),
        an_event(8, action="note.keep", details={"text": f"Ask {NAME.title()}!", NAME: [1]}),
        an_event(9, action="note.keep", details={"key": f"{PERSON.key}.", "nodes": ["n1"]}),
        an_event(10, action="deployment.apply", node=NAME, actor=OTHER),
    ]
    messages = [message_of(event, place) for place, event in enumerate(events, start=1)]
    messages.append(altered(message_of(an_event(11, **hers), 11), emitter="scheduler"))
    messages.append(StreamMessage(12, events[0].subject, "", f"\xff {NAME}".encode("latin-1")))
    return messages


async def test_records_are_read_and_found_as_they_came(place: LogPlace) -> None:
    """Every message comes back to the last byte, is found by actor, and none lies in the rows."""
    batch = history()
    async with place.open() as store:
        await append(store, batch)
        page, _, _ = await store.page(ALL)
        assert [one.body for one in page] == [message.data for message in batch]
        assert not any(one.is_erased for one in page)
        found, _, _ = await store.page(replace(ALL, equal=(("actor", PERSON.key),)))
        assert [one.index for one in found] == [0, 4, 5, 10]
        none, _, _ = await store.page(replace(ALL, equal=(("actor", f"U{'X' * 55}"),)))
        assert none == []
        one = await store.record(4)
        assert one is not None
        assert one.body == batch[4].data
    async with place.open() as store:
        again, _, _ = await store.page(ALL)
        assert again == page
    rows = await place.execute("SELECT body, actor FROM records WHERE idx IN (0, 3, 4, 5, 10, 11)")
    for body, actor in rows:
        assert not any(needle in bytes(body) + actor.encode() for needle in NEEDLES)
    assert (await verified(place)).problems == []


async def test_who_is_erased_is_in_no_byte_of_the_store_and_every_proof_holds(
    place: LogPlace, tmp_path: Path, postgres: PostgresServer
) -> None:
    """Records, sealed words, keys, free pages, dead rows, write-ahead log, a copy made later."""
    async with place.open() as store:
        await append(store, history()[:9])
        await sign(store)
        erased = await store.erase(asked())
        assert erased.records == 8
        assert len(erased.changed) == 3
        ((number, body),) = await store.unsaid_erasures()
        await append(store, [say(body, 1, place=10)])
        await store.mark_erasure_said(number)
        await sign(store)
        page, _, _ = await store.page(ALL)
        assert [one.is_erased for one in page] == [*[True] * 6, False, True, True, False]
        assert not any(speaks_of_her(one) for one in page)
        assert [event_of(one).data.action for one in page[:3]] == [
            "deployment.apply",
            "deployment.apply",
            "owners.set",
        ]
        assert event_of(page[0]).data.details == {"licence": "MIT"}
        assert event_of(page[2]).data.details["owners"][1] == "bert"
        await check_proofs(store)
        if isinstance(place, SqlitePlace):
            back_up(place.directory, tmp_path / "copy.db", progress=lambda _, __: None)
    found = await verified(place)
    assert (found.problems, found.erased) == ([], 8)
    if isinstance(place, SqlitePlace):
        files = [one for one in (*place.directory.iterdir(), *tmp_path.iterdir()) if one.is_file()]
        assert {"log.db", "persons.db", "copy.db", "copy.db.persons"} <= {f.name for f in files}
        copied = await asyncio.to_thread(verify_store, str(tmp_path / "copy.db"), keys=[KEY])
        assert (copied.problems, copied.erased) == ([], 8)
    else:
        await place.execute("CHECKPOINT")
        ((oid,),) = await place.execute(
            "SELECT oid FROM pg_database WHERE datname = current_database()"
        )
        files = list((postgres.directory / "data" / "base" / str(oid)).iterdir())
    for file in files:
        data = file.read_bytes()
        assert not any(needle in data.lower() for needle in map(bytes.lower, NEEDLES)), file


async def test_an_erasure_that_was_interrupted_is_finished_at_the_next_start(
    place: LogPlace,
) -> None:
    """What died behind the records, and before the keys: they are gone, and it is still said."""
    async with place.open() as store:
        await append(store, history()[:9])
        keys, persons = b"", []
        if isinstance(place, SqlitePlace):
            keys = (place.directory / "persons.db").read_bytes()
        else:
            persons = await place.execute("SELECT * FROM l3af_persons.persons")
        await store.erase(asked())
    if isinstance(place, SqlitePlace):
        (place.directory / "persons.db").write_bytes(keys)
    else:
        for subject, tag, both in persons:
            values = f"'{subject}', {blob(place, tag)}, {blob(place, both)}"
            await place.execute(
                f"INSERT INTO l3af_persons.persons VALUES ({values}) ON CONFLICT DO NOTHING"
            )
    done = "0" if isinstance(place, SqlitePlace) else "false"
    await place.execute(f"UPDATE erasures SET is_done = {done}")

    async with place.open() as store:
        ((number, body),) = await store.unsaid_erasures()
        await append(store, [say(body, 1, place=10)])
        await store.mark_erasure_said(number)
        assert not any(speaks_of_her(one) for one in (await store.page(ALL))[0])
    assert (await verified(place)).problems == []


async def test_another_erasure_may_take_more_from_what_is_left(place: LogPlace) -> None:
    """A record that lost one's words loses another's, and both are accounted for."""
    both = an_event(1, actor=PERSON, reason="hers", details={"owners": ["bert"], "text": "bertha"})
    about = an_event(2, actor=PERSON, reason="hers", details={"text": "see bert"})
    async with place.open() as store:
        await append(store, [message_of(both, 1), message_of(about, 2)])
        await store.erase(asked())
        await store.erase(asked(Sought(frozenset({"bert"}), frozenset())))
        bodies = [body for _, body in await store.unsaid_erasures()]
        await append(store, [say(body, at, place=2 + at) for at, body in enumerate(bodies, 1)])
        for number, _ in await store.unsaid_erasures():
            await store.mark_erasure_said(number)
        page, _, _ = await store.page(ALL)
        assert event_of(page[0]).data.details["text"] == "bertha"
        assert "bert" not in event_of(page[1]).data.details["text"].split()
    assert (await verified(place)).problems == []


async def test_what_was_altered_is_not_taken_for_erased(place: LogPlace) -> None:
    """Neither what is left of an erased record can be changed, nor a key taken from one."""
    async with place.open() as store:
        await append(store, history()[:9])
        await store.erase(asked())
        ((number, body),) = await store.unsaid_erasures()
        await append(store, [say(body, 1, place=10)])
        await store.mark_erasure_said(number)
        ((kept,),) = await place.execute("SELECT body FROM records WHERE idx = 0")
        changed = bytes(kept).replace(b'"MIT"', b'"BSD"')
    await place.execute(f"UPDATE records SET body = {blob(place, changed)} WHERE idx = 0")
    found = await verified(place)
    assert {(one.part, one.field) for one in found.problems} == {
        ("record", "licence"),
        ("person", ""),
    }
    await place.execute(f"UPDATE records SET body = {blob(place, bytes(kept))} WHERE idx = 0")
    assert (await verified(place)).problems == []
    await place.execute("DELETE FROM sealed WHERE token IN (SELECT min(token) FROM sealed)")
    assert "words are gone" in (await verified(place)).problems[0].why


async def test_keys_that_are_gone_without_a_word_are_missed(place: LogPlace) -> None:
    """Nobody erases by deleting keys: the log does not say that it was done."""
    async with place.open() as store:
        await append(store, history()[:1])
    if isinstance(place, SqlitePlace):
        (place.directory / "persons.db").unlink()
        with pytest.raises(RefusedError, match=r"persons.db is missing"):
            async with place.open():
                pass
    else:
        await place.execute("DELETE FROM l3af_persons.persons")
    problems = (await verified(place)).problems
    found = {(one.part, "nothing says" in one.why) for one in problems}
    assert found == {("person", True), ("record", True), ("words", False)}


async def test_what_is_held_is_not_erased(place: LogPlace) -> None:
    """By the word of the log itself, when it is done; nothing is changed, by a dry run neither."""

    def refuse(hold: Hold | None) -> None:
        if hold is not None:
            raise RefusedError(f"hold {hold.id}")

    async with place.open() as store:
        await append(store, [*history(), hold_placed("h", HoldSelection(actor=PERSON.key), 13)])
        before = await place.execute("SELECT body, actor FROM records ORDER BY idx")
        with pytest.raises(RefusedError, match="hold h"):
            await store.erase(replace(asked(), check=refuse))
        tried = await store.erase(replace(asked(), is_dry_run=True))
        assert tried.shown == (11, 4, 1)
        assert await place.execute("SELECT body, actor FROM records ORDER BY idx") == before
        assert await store.unsaid_erasures() == []
        assert (await store.page(ALL))[0][0].body == history()[0].data


async def test_who_placed_a_hold_is_not_erased_while_it_holds(place: LogPlace) -> None:
    """Else nobody knew who must not release it, nor whose records it holds."""
    hers, nobodys = HoldSelection(actor=PERSON.key, node="n9"), HoldSelection(node="n9")
    holds = [(hers, OTHER), (nobodys, PERSON)]
    async with place.open() as store:
        for number, (selection, by) in enumerate(holds, start=1):
            await append(store, [hold_placed(f"h{number}", selection, number, by=by)])
            record = await store.record(number - 1)
            assert record is not None
            covering = (await read_holds(store)).covering(record)
            assert covering is not None
            assert covering.record == record.index
        with pytest.raises(RefusedError, match="a legal hold covers"):
            await store.erase(replace(asked(), check=lambda hold: refuse_held(hold, frozenset())))


async def test_what_an_erased_record_said_is_taken_to_match(place: LogPlace) -> None:
    """A hold on the person or on their words covers what is left, and nothing that cannot match."""
    selections = [
        HoldSelection(actor=PERSON.key),
        HoldSelection(text="flaps"),
        HoldSelection(where='reason contains "flaps"'),
        HoldSelection(actor=PERSON.key, node="elsewhere"),
    ]
    async with place.open() as store:
        await append(store, history()[:1])
        await store.erase(asked())
        placed = [hold_placed(f"h{at}", one, at + 1) for at, one in enumerate(selections, start=1)]
        await append(store, placed)
        record = await store.record(0)
        assert record is not None
        holds = (await read_holds(store)).holds
        assert [one.covers(record) for one in holds] == [True, True, True, False]


async def test_an_erasure_that_was_not_finished_is_when_it_is_asked_for_again(
    place: LogPlace,
) -> None:
    """As when somebody read the file all the time: nobody is told that there is nothing to do."""
    async with place.open() as store:
        await append(store, history())
        await store.erase(asked())
        await place.execute("UPDATE erasures SET is_done = (1 = 0)")
        assert await store.unsaid_erasures() == []
        await store.erase(replace(asked(), is_dry_run=True))
        assert await store.unsaid_erasures() == []
        assert (await store.erase(asked())).records == 0
        assert len(await store.unsaid_erasures()) == 1


async def test_who_comes_back_is_somebody_new(place: LogPlace) -> None:
    """After an erasure the same key has another token, and its new records are found and read."""
    async with place.open() as store:
        await append(store, history()[:1])
        await store.erase(asked())
        event = an_event(2, actor=PERSON, reason="because the link flaps")
        await append(store, [message_of(event, 2)])
        found, _, _ = await store.page(replace(ALL, equal=(("actor", PERSON.key),)))
        assert [one.index for one in found] == [1]
        assert event_of(found[0]) == event
        rows = await place.execute("SELECT actor FROM records ORDER BY idx")
        assert rows[0] != rows[1]


async def test_a_log_of_an_earlier_release_loses_its_clear_words_at_the_first_start(
    place: LogPlace, tmp_path: Path, postgres: PostgresServer
) -> None:
    """Its answers stay, and no byte of its files has a person's words afterwards."""
    released: LogPlace = SqlitePlace(tmp_path / "released")
    if isinstance(place, PostgresPlace):
        released = PostgresPlace(await postgres.new_database())
    async with place.open() as store:
        await append(store, history()[:9])
        before, _, _ = await store.page(ALL)
    await copy_as_released(place, released, version=3)
    async with released.open() as store:
        after, _, _ = await store.page(ALL)
        assert after == before
        await store.erase(asked())
    unsaid, *others = (await verified(released)).problems
    assert (unsaid.part, unsaid.at) == ("person", "erasure 1")
    assert all("nothing says" in one.why for one in others)
    if isinstance(released, SqlitePlace):
        for file in released.directory.iterdir():
            assert not any(needle in file.read_bytes() for needle in NEEDLES), file


def asked(sought: Sought = SOUGHT) -> Asked:
    """By an administrator, of what nobody holds."""
    return Asked(
        sought,
        ADMINISTRATOR,
        "as they asked",
        is_dry_run=False,
        seen=frozenset({PUBLIC}),
        check=lambda _: None,
    )


def say(body: EventBody, sequence: int, *, place: int) -> StreamMessage:
    """The auditor's word."""
    fields = {
        name: getattr(body, name) for name in ("action", "outcome", "actor", "reason", "details")
    }
    return message_of(an_event(sequence, emitter="auditor", **fields), place)


def hold_placed(
    name: str, selection: HoldSelection, sequence: int, *, by: Actor = OTHER
) -> StreamMessage:
    """The auditor's word that something is held."""
    body = placed_event(name, selection, actor=by, reason="case 7", command_id=name)
    return say(body, sequence, place=sequence)


def event_of(stored: StoredRecord) -> Event:
    """What a record says."""
    event = render_record(stored).event
    assert event is not None
    return event


def speaks_of_her(stored: StoredRecord) -> bool:
    """Whether a search would find her."""
    document = record_document(
        index=0, body=stored.body, received_at="", stream_sequence=0, problem=""
    )
    return any(has_text(document, needle.decode()) for needle in NEEDLES)


async def check_proofs(store: LogStore) -> None:
    """Each record is proved to be in the log, erased or not."""
    size, note = await store.newest_checkpoint() or (0, "")
    for index in range(size):
        stored = await store.record(index)
        assert stored is not None
        bundle = render_bundle(
            stored, inclusion=await store.inclusion(index, size), checkpoint=note, key=KEY
        )
        assert (verify_bundle(bundle, key=KEY).event is None) == stored.is_erased


async def verified(place: LogPlace) -> VerifiedLog:
    """As `l3af audit verify --store` does it."""
    return await asyncio.to_thread(verify_store, where(place), keys=[KEY])


def blob(place: LogPlace, data: bytes) -> str:
    """As a statement has it."""
    return f"x'{data.hex()}'" if isinstance(place, SqlitePlace) else f"'\\x{data.hex()}'::bytea"
