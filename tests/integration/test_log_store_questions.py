# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What is asked of the stores: the same answers from each, and from a log of the release before."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path

import msgspec

from services.auditor.query import EQUAL_FILTERS, RecordQuery
from services.auditor.records import StreamMessage, parse_time_us
from services.auditor.store import LogStore
from shared.contracts.events import Actor, Event
from tests.support.log_stores import PostgresPlace, SqlitePlace, append
from tests.support.old_logs import copy_as_released
from tests.support.postgres import PostgresServer
from tests.support.records import an_event, message_of

FEBRUARY = datetime(2026, 2, 3, tzinfo=UTC)


def random_query(rng: random.Random) -> RecordQuery:
    """Any question, often one that matches something."""
    times = sorted(rng.choices(range(1_767_323_000_000_000, 1_767_323_100_000_000), k=2))
    equal = {
        "actor": rng.choice(["U1", "U2"]),
        "package": rng.choice(["p0", "p1", "p2", "none"]),
        "node": rng.choice(["n0", "n1"]),
        "deployment": "d0",
        "outcome": rng.choice(["accepted", "refused", "failed"]),
        "correlation": "c1",
        "event_id": an_event(rng.randrange(1, 500)).id,
    }
    chosen = rng.sample(EQUAL_FILTERS, rng.choice([0, 0, 1, 1, 2]))
    globs = ("", "chain.attach", "chain.*", "*", "*.?[ar]*", "chain.[^a]*", "chain.[", "[a-c]*",
             "no*", "chain.[]a]*", "c?ain.attach")  # fmt: skip
    return RecordQuery(
        audiences=None,
        since_us=times[0] if rng.random() < 0.3 else None,
        until_us=times[1] if rng.random() < 0.3 else None,
        equal=tuple((name, equal[name]) for name in chosen),
        action=rng.choice(globs),
        above=rng.choice([-1, -1, 100]),
        below=rng.choice([None, None, 250]),
        limit=rng.choice([1, 7, 1000]),
        licence=rng.choice(["", "", "", "MIT", "*GPL*", "GPL-2.0-only OR *", "[!M]*"]),
        is_ascending=rng.random() < 0.3,
    )


def various(count: int) -> Sequence[StreamMessage]:
    """Events that differ in everything that is filtered by."""
    rng = random.Random(6)
    actions = ("chain.attach", "chain.change", "chain.request", "package.publish", "node.label")
    return [
        message_of(
            an_event(
                number,
                time=f"2026-01-02T03:{rng.randrange(60):02d}:{rng.randrange(60):02d}Z",
                action=rng.choice(actions),
                outcome=rng.choice(["accepted", "refused", "failed", "succeeded"]),
                actor=Actor(key=rng.choice(["U1", "U2"]), role="operator", attested=True),
                package=rng.choice(["", "p0", "p1", "p2"]),
                node=rng.choice(["", "n0", "n1"]),
                deployment=rng.choice(["", "d0"]),
                correlation=rng.choice(["", "c1"]),
                details={
                    "licence": rng.choice(["", "MIT", "GPL-2.0-only OR MIT", "LGPL-2.1-only", 3])
                },
            ),
            number,
        )
        for number in range(1, count + 1)
    ]


async def test_stores_answer_alike(tmp_path: Path, postgres: PostgresServer) -> None:
    """Three hundred questions have the same answers in each, those that a plain reading finds."""
    rng = random.Random(2026)
    answers: list[list[object]] = []
    queries = [random_query(rng) for _ in range(300)]
    stores = (SqlitePlace(tmp_path / "log"), PostgresPlace(await postgres.new_database()))
    for place in stores:
        async with place.open() as store:
            await fill(store)
            answers.append([await store.page(query) for query in queries])

    for query, *both in zip(queries, *answers, strict=True):
        assert both[0] == both[1], query
        if "[" not in query.action + query.licence:
            found, size, more = both[0]
            wanted = plainly_matching(query)
            assert ([record.index for record in found], size) == (wanted[: query.limit], 400), query
            assert more == (len(wanted) > query.limit)
    assert sum(bool(page[0]) for page in answers[0]) > 100  # type: ignore[index]


def plainly_matching(query: RecordQuery) -> list[int]:
    """The indexes of the records that a question is about, in its order."""
    found = []
    for index, message in enumerate(various(400)):
        event = msgspec.json.decode(message.data, type=Event)
        body, time_us = event.data, parse_time_us(event.time)
        of_body = (name for name in EQUAL_FILTERS if name not in {"actor", "event_id"})
        texts = {name: getattr(body, name) for name in of_body}
        texts |= {"actor": body.actor.key if body.actor else "", "event_id": event.id}
        licence = body.details["licence"]
        if (
            query.above < index < (400 if query.below is None else query.below)
            and (query.since_us is None or time_us >= query.since_us)
            and (query.until_us is None or time_us < query.until_us)
            and all(texts[name] == value for name, value in query.equal)
            and (not query.action or fnmatchcase(body.action, query.action))
            and (
                not query.licence
                or fnmatchcase(str(licence) if licence != 3 else "", query.licence)
            )
            and (not query.licence or licence not in {"", 3})
        ):
            found.append(index)
    return found if query.is_ascending else found[::-1]


async def test_a_log_of_the_release_before_is_brought_on(tmp_path: Path) -> None:
    """Its records are found by what this release looks for, and nothing of it is lost."""
    old, new = SqlitePlace(tmp_path / "old"), SqlitePlace(tmp_path / "new")
    async with new.open() as store:
        await fill(store)
    await copy_as_released(new, old, version=1)

    async with old.open() as brought_on, new.open() as fresh:
        rng = random.Random(11)
        await brought_on.check_every_leaf()
        for query in [random_query(rng) for _ in range(60)]:
            assert await brought_on.page(query) == await fresh.page(query), query
    tables = "SELECT name, sql FROM sqlite_master ORDER BY name"
    assert await old.execute(tables) == await new.execute(tables)


async def fill(store: LogStore) -> None:
    """Four hundred various records of two months."""
    batch = various(400)
    await append(store, batch[:150])
    await append(store, batch[150:], now=FEBRUARY)
