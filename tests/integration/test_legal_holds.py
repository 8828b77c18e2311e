# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Legal holds: what they cover, who places and releases them, and who learns of them."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from services.auditor.query import StoredRecord, parse_query
from services.auditor.retention.holds import HOLD_ACTIONS, check_release, holds_of, placed_event
from services.auditor.searching import parse_search
from shared.contracts.audit import LIST_RECORDS, ListRecords, StreamRecords
from shared.contracts.events import PUBLIC, Actor
from shared.contracts.holds import (
    LIST_HOLDS,
    PLACE_HOLD,
    RELEASE_HOLD,
    HoldSelection,
    ListHolds,
    PlaceHold,
    ReleaseHold,
)
from shared.errors import RefusedError
from tests.integration.conftest import Buses
from tests.support.auditing import running_auditor
from tests.support.command_line import run_l3af
from tests.support.log_stores import LogPlace, append
from tests.support.records import an_event, message_of

ANN, BOB = (Actor(key="U" + letter * 55, role="auditor", attested=True) for letter in "AB")
SEEN = frozenset({PUBLIC, "p_acme"})
CHOICES: dict[str, tuple[str, ...]] = {
    "since": ("", "", "2026-01-02T00:00:03Z", "2026-01-02T00:00:07+01:00"),
    "until": ("", "", "2026-01-02T00:00:09Z"),
    "actor": ("", "", ANN.key),
    "action": ("", "chain.*", "chain.attach", "[!p]*.*"),
    "package": ("", "", "edge"),
    "node": ("", "", "h1"),
    "deployment": ("", "", "web"),
    "outcome": ("", "", "failed"),
    "correlation": ("", "", "c1"),
    "licence": ("", "", "*GPL*", "MIT"),
    "space": ("", "", "p_acme"),
    "where": ("", "", 'details.phase == "x"', "index < 20"),
    "text": ("", "", "EDGE"),
}


def some_events(rng: random.Random, count: int) -> list[Any]:
    """Messages of different emitters, audiences and contents."""
    sequences: dict[tuple[str, str], int] = {}
    found = []
    for place in range(1, count + 1):
        emitter = rng.choice(["catalog", "node/h1", "node/h2"])
        audience = rng.choice([PUBLIC, PUBLIC, "p_acme"])
        number = sequences[emitter, audience] = sequences.get((emitter, audience), 0) + 1
        licence = rng.choice(["", "MIT", "GPL-2.0-only"])
        event = an_event(
            number,
            emitter=emitter,
            audience=audience,
            event_id=f"e{place}",
            time=f"2026-01-02T00:00:{place % 12:02}Z",
            action=rng.choice(["chain.attach", "chain.detach", "package.publish"]),
            outcome=rng.choice(["succeeded", "failed"]),
            actor=rng.choice([None, ANN, BOB]),
            package=rng.choice(["", "edge"]),
            node=rng.choice(["", "h1"]),
            deployment=rng.choice(["", "web"]),
            correlation=rng.choice(["", "c1"]),
            details={"licence": licence, "phase": rng.choice(["x", "y"])},
        )
        message = message_of(event, place)
        if rng.random() < 0.1:
            message = message._replace(message_id="another")  # recorded as a problem
        found.append(message)
    return found


def a_hold(selection: HoldSelection) -> Any:
    """The hold as the log has it."""
    body = placed_event("h", selection, actor=ANN, reason="case 7", command_id="h")
    message = message_of(an_event(1, emitter="auditor", **fields_of(body)), 1)
    return holds_of([StoredRecord(0, b"", message.data, 0, 1, "")]).holds[0]


def fields_of(body: Any) -> dict[str, Any]:
    """Fields of a body, to make an event of it."""
    return {name: getattr(body, name) for name in body.__struct_fields__}


async def test_a_hold_covers_what_the_same_question_finds(place: LogPlace) -> None:
    """Of 40 selections over mixed records, whatever the store: no record more, and none less."""
    rng = random.Random(7)
    async with place.open() as store:
        await append(store, some_events(rng, 60))
        everything = [one for index in range(60) if (one := await store.record(index))]
        for _ in range(40):
            given = {name: rng.choice(options) for name, options in CHOICES.items()}
            some: dict[str, Any] = dict(rng.sample(sorted(given.items()), 3))
            search = parse_search(StreamRecords(**some, limit=1000), audiences=SEEN)
            query = replace(search.query, lists_restricted=False)
            page, _, _ = await store.page(query)
            found = {one.index for one in page if search.keeps(one)}
            hold = a_hold(HoldSelection(**some))
            assert {one.index for one in everything if hold.covers(one)} == found, some


async def test_a_record_without_its_body_is_held_in_doubt(place: LogPlace) -> None:
    """What only the body said is taken to match; what the leaf says still counts."""
    async with place.open() as store:
        await append(store, some_events(random.Random(3), 20))
        page, _, _ = await store.page(parse_query(ListRecords(action="chain.*"), audiences=SEEN))
        assert any(not record.problem for record in page)
        for record in page:
            bare = structs.replace(record, body=None)
            assert a_hold(HoldSelection(package="other", text="nothing")).covers(bare)
            is_unknown = bool(record.problem)
            assert a_hold(HoldSelection(action="log.*")).covers(bare) is is_unknown
            assert a_hold(HoldSelection(event_id="other")).covers(bare) is is_unknown


async def test_holds_are_what_the_log_says(place: LogPlace) -> None:
    """Placed and released by records, believed ones of the auditor alone."""
    bodies = [
        placed_event("one", HoldSelection(), actor=ANN, reason="", command_id="one"),
        placed_event("two", HoldSelection(node="h1"), actor=BOB, reason="", command_id="two"),
    ]
    events = [
        message_of(an_event(number, emitter="auditor", **fields_of(body)), number)
        for number, body in enumerate(bodies, start=1)
    ]
    release = {"action": "hold.release", "outcome": "accepted", "details": {"hold": "one"}}
    forged = an_event(1, emitter="node/h1", **release)
    async with place.open() as store:
        await append(store, [*events, message_of(forged, 3)])
        kept = holds_of(await store.of_actions(HOLD_ACTIONS, emitter="auditor"))
        assert [one.id for one in kept.holds] == ["one", "two"]
        true = an_event(3, emitter="auditor", actor=BOB, **release)
        await append(store, [message_of(true, 4)])
        kept = holds_of(await store.of_actions(HOLD_ACTIONS, emitter="auditor"))
    assert [one.id for one in kept.holds] == ["two"]
    assert [(one.hold, one.released_record) for one in kept.shown] == [("one", 3), ("two", None)]


async def test_a_hold_is_recorded_and_released_by_somebody_else(
    buses: Buses, tmp_path: Path
) -> None:
    """In the log when the answer comes; its own placer is refused, whoever else reads releases."""
    async with running_auditor(buses.server, tmp_path / "auditor"):
        ann = await buses.open("auditor", "ann")
        bob = await buses.open("administrator", "bob")
        selection = HoldSelection(node="h1", until="2026-06-01T00:00:00Z")
        placed = await ann.request(PLACE_HOLD, PlaceHold(selection=selection, reason="case 7"))
        found = await bob.request(LIST_RECORDS, ListRecords(action="hold.*"))
        assert [one.event.data.reason for one in found.records if one.event] == ["case 7"]
        (shown,) = (await bob.request(LIST_HOLDS, ListHolds())).holds
        assert (shown.hold, shown.selection) == (placed.hold, selection)
        with pytest.raises(RefusedError, match="somebody else releases it"):
            await ann.request(RELEASE_HOLD, ReleaseHold(hold=placed.hold))
        await bob.request(RELEASE_HOLD, ReleaseHold(hold=placed.hold, reason="over"))
        assert (await bob.request(LIST_HOLDS, ListHolds())).holds == ()
        (shown,) = (await bob.request(LIST_HOLDS, ListHolds(released=True))).holds
        assert shown.released_record is not None


async def test_every_problem_of_a_hold_is_said_at_once(buses: Buses, tmp_path: Path) -> None:
    """No reason, times that are none, and an expression that cannot be read."""
    async with running_auditor(buses.server, tmp_path / "auditor"):
        ann = await buses.open("auditor", "ann")
        selection = HoldSelection(since="soon", until="2026-01-01", where="node ==")
        with pytest.raises(RefusedError) as refused:
            await ann.request(PLACE_HOLD, PlaceHold(selection=selection))
    paths = {reason.path for reason in refused.value.reasons}
    assert {"reason", "selection.since", "selection.until", "selection.where"} <= paths


async def test_the_command_places_shows_and_releases(buses: Buses, tmp_path: Path) -> None:
    """Filters as `l3af audit log` has them; `--json` gives what the contract says."""
    async with running_auditor(buses.server, tmp_path / "auditor"):
        ann, bob = (buses.server.credentials("administrator", name) for name in ("ann", "bob"))
        given = ("audit", "hold", "place", "--action", "chain.*", "--reason", "case 7", "--json")
        done = await run_l3af(*given, credentials=ann)
        hold = done.document["hold"]
        shown = await run_l3af("audit", "hold", "list", credentials=bob)
        assert hold in shown.output
        assert "action chain.*" in shown.output
        own = await run_l3af("audit", "hold", "release", hold, credentials=ann)
        assert own.status == 2
        other = await run_l3af("audit", "hold", "release", hold, credentials=bob)
        assert other.status == 0


def test_a_new_key_makes_nobody_another_principal() -> None:
    """Who placed a hold cannot release it by a key that they got later."""
    body = placed_event("h", HoldSelection(), actor=ANN, reason="", command_id="h", principal="ann")
    message = message_of(an_event(1, emitter="auditor", **fields_of(body)), 1)
    kept = holds_of([StoredRecord(0, b"", message.data, 0, 1, "")])
    for key, name in ((ANN.key, "bob"), ("U" * 56, "ann")):
        with pytest.raises(RefusedError, match="somebody else releases it"):
            check_release(kept, "h", by=key, principal=name, seen=frozenset({PUBLIC}))
    assert check_release(kept, "h", by=BOB.key, principal="bob", seen=frozenset({PUBLIC})).id == "h"
