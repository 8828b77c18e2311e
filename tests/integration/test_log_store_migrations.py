# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A log that an earlier release wrote is brought on at the first start."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from services.auditor.adapters.postgres_schema import SCHEMA
from services.auditor.query import RecordQuery
from services.auditor.verification.adapters.verifying import verify_store
from shared.contracts.events import PUBLIC, Event
from tests.support.inventories import (
    a_reading,
    chain_event,
    digest_of,
    snapshot_event,
    time_us,
)
from tests.support.log_stores import (
    LogPlace,
    PostgresPlace,
    SqlitePlace,
    append,
    leaves_in,
    root_in,
    where,
)
from tests.support.old_logs import copy_as_released, released_schema
from tests.support.postgres import PostgresServer
from tests.support.records import an_event, message_of, messages
from tests.support.whole_logs import KEY

SPACE = "r_0123456789abcdef"
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


async def test_a_log_of_the_first_release_goes_on(postgres: PostgresServer) -> None:
    """Every record, the tree and its answers are as in a log that this release began."""
    fresh = PostgresPlace(await postgres.new_database())
    released = PostgresPlace(await postgres.new_database())
    batch = [
        message_of(an_event(number, details={"licence": licence}), number)
        for number, licence in enumerate(("MIT", "GPL-2.0-only", "", 7, "a\0b", "MIT"), start=1)
    ]
    async with fresh.open() as store:
        await append(store, [*batch, *messages(300, first=7)])
    await copy_as_released(fresh, released, version=1)

    async with fresh.open() as one, released.open() as other:
        await other.check_every_leaf()
        assert await other.page(ALL) == await one.page(ALL)
        for store in (one, other):
            await append(store, messages(3, first=307))
    assert await leaves_in(released) == await leaves_in(fresh)
    assert await root_in(released) == await root_in(fresh)
    await check_whole(released)


async def test_what_was_told_to_spaces_before_is_known_afterwards(
    place: LogPlace, tmp_path: Path, postgres: PostgresServer
) -> None:
    """A release that kept what ran by place alone left out what was told to other audiences.

    Its index is made again from the records; nothing that it held is left.
    """
    released: LogPlace = SqlitePlace(tmp_path / "released")
    if isinstance(place, PostgresPlace):
        released = PostgresPlace(await postgres.new_database())
    events = hook_point_events()
    async with place.open() as store:
        await append(store, [message_of(one, at) for at, one in enumerate(events, start=1)])
    await copy_as_released(place, released, version=3)
    await released.execute(f"UPDATE inventory SET size = {len(events)}")
    await released.execute(
        "INSERT INTO hook_points (node, netns, interface, hook) VALUES ('n9', '', 'eth9', 'xdp')"
    )

    for audiences in (frozenset({PUBLIC}), frozenset({PUBLIC, SPACE})):
        async with place.open() as one, released.open() as other:
            await other.check_every_leaf()
            for store in (one, other):
                found, _, _ = await store.sightings(
                    time_us(events[-1]), audiences=audiences, node="", after=None
                )
                assert len(found) == 2 * len(audiences)
            for name in "ab":
                asked: dict[str, Any] = {"audiences": audiences, "after": None}
                digest = digest_of(f"archive {name}")
                assert await one.runs(digest, **asked) == await other.runs(digest, **asked)
    assert await released.execute("SELECT count(*) FROM hook_points WHERE node = 'n9'") == [(0,)]
    await check_whole(released)


async def check_whole(place: LogPlace) -> None:
    """Everything that an earlier release did not keep was made as if it had been kept."""
    found = await asyncio.to_thread(verify_store, where(place), keys=[KEY])
    assert found.problems == []


def hook_point_events() -> list[Event]:
    """What a node tells everybody of one hook point and a space of another."""
    return [
        event
        for number, (audience, name, interface) in enumerate(
            ((PUBLIC, "a", "eth0"), (SPACE, "b", "eth1")), start=1
        )
        for reading in (a_reading(name, place=(interface, "xdp")),)
        for event in (
            chain_event(
                "chain.attach",
                reading,
                node="n1",
                sequence=1,
                seconds=number,
                audience=audience,
            ),
            snapshot_event(reading, node="n1", sequence=2, seconds=number + 10, audience=audience),
        )
    ]


def test_the_released_schema_is_what_new_logs_begin_with() -> None:
    """Format 1 is never changed: a later one is a step from it."""
    lines = released_schema("postgres", 1).splitlines()
    assert [line for line in lines if not line.startswith("--")] == SCHEMA.strip().splitlines()
