# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Spaces on a real bus: who makes, changes and lifts them, and what everybody is told, once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from services.catalog.adapters.spaces import Spaces
from shared.adapters.bus import Bus
from shared.adapters.outbox import Outbox
from shared.adapters.spaces import KnownSpaces
from shared.contracts.base import Endpoint, Request
from shared.contracts.events import PUBLIC, Audience, Event
from shared.contracts.spaces import (
    CREATE_SPACE,
    GET_SPACE,
    LIFT_SPACE,
    LIST_SPACES,
    SPACES,
    UPDATE_SPACE,
    CreateSpace,
    GetSpace,
    LiftSpace,
    ListSpaces,
    PackageInSpace,
    UpdateSpace,
)
from shared.errors import RefusedError
from shared.moments import render_time
from tests.integration.conftest import Buses
from tests.support.event_stream import stored_events

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
MISSING = f"r_{'0' * 16}"


class Shelves:
    """What is in spaces, as the test says."""

    def __init__(self) -> None:
        self.versions: dict[Audience, tuple[PackageInSpace, ...]] = {}

    def versions_in(self, audience: Audience) -> tuple[PackageInSpace, ...]:
        """Of one space."""
        return self.versions.get(audience, ())

    def twice(self, audience: Audience) -> tuple[str, ...]:
        """Of one space and of `public`."""
        public = {(one.name, one.version) for one in self.versions_in(PUBLIC)}
        mine = self.versions_in(audience)
        return tuple(
            f"{one.name} {one.version}" for one in mine if (one.name, one.version) in public
        )


class Desk:
    """A catalog's spaces at a time of the test's choosing, a member and somebody else."""

    def __init__(self, catalog: Bus, ada: Bus, eve: Bus, auditor: Bus) -> None:
        self.now = START
        self.catalog, self.ada, self.eve = catalog, ada, eve
        self.shelves = Shelves()
        self._auditor = auditor
        self.known = KnownSpaces(catalog, now=lambda: self.now)
        self.spaces = self.restarted()

    def restarted(self) -> Spaces:
        """What a new process of the catalog has."""
        self.outbox = Outbox(self.catalog, "catalog", now=lambda: self.now)
        return Spaces(
            self.catalog,
            self.outbox,
            known=self.known,
            contents=self.shelves,
            now=lambda: self.now,
        )

    async def embargo(self, **fields: Any) -> Audience:
        """Ada makes one; its name."""
        return (await self.ada.request(CREATE_SPACE, CreateSpace(kind="embargo", **fields))).space

    async def look(self, *, after: timedelta = timedelta()) -> list[tuple[Audience, str]]:
        """What is said when it is looked twice, by two processes, so long after the start."""
        self.now = START + after
        await self.spaces.lift_due()
        again = self.restarted()
        await self.outbox.open()
        await again.lift_due()
        return [(event.audience, event.data.action) for event in await self.events()]

    async def events(self) -> list[Event]:
        """Those that were not read before."""
        return await stored_events(self._auditor)

    async def seen_by(self, bus: Bus, *, lifted: bool = True) -> list[Audience]:
        """The spaces that somebody is shown."""
        found = await bus.request(LIST_SPACES, ListSpaces(lifted=lifted))
        return [one.space.audience for one in found.spaces]


@pytest.fixture
async def desk(buses: Buses) -> AsyncIterator[Desk]:
    """Served, with no space."""
    async with AsyncExitStack() as stack:
        desk = Desk(
            await buses.open("service-catalog"),
            await buses.open("approver", "ada"),
            await buses.open("administrator", "eve"),
            await buses.open("service-auditor"),
        )
        await desk.known.open()
        await desk.outbox.open()
        endpoints = desk.spaces.endpoints()
        await stack.enter_async_context(desk.catalog.serve("catalog", endpoints, version="1.0.0"))
        yield desk


async def test_a_space_is_made_and_changed_by_its_members(desk: Desk, buses: Buses) -> None:
    """A member sees it and is told; an administrator who is none hears of nothing."""
    space = await desk.embargo(title="cve")
    bob = await buses.open("viewer", "bob")
    before = await desk.seen_by(bob)

    updated = await desk.ada.request(UPDATE_SPACE, UpdateSpace(space=space, add=("bob",)))
    shown = await bob.request(GET_SPACE, GetSpace(space=space))
    namespace = await desk.ada.request(CREATE_SPACE, CreateSpace(kind="private", namespace="acme"))

    assert (before, await desk.seen_by(bob)) == ([], [space])
    assert updated.members == ("ada", "bob")
    assert (shown.view.is_open, shown.view.space.title) == (False, "cve")
    assert await desk.seen_by(desk.ada) == ["p_acme", space]
    assert await desk.seen_by(desk.eve) == []
    assert namespace.space == "p_acme"
    assert [(one.audience, one.data.action, one.data.outcome) for one in await desk.events()] == [
        (space, "space.create", "accepted"),
        (space, "space.update", "accepted"),
        ("p_acme", "space.create", "accepted"),
    ]


async def test_what_a_stranger_asks_is_answered_and_told_as_of_a_missing_space(
    desk: Desk,
) -> None:
    """Reply and public event are the same to the word; a member's refusal stays in the space."""
    space = await desk.embargo()
    await desk.events()

    async def refused(bus: Bus, name: str) -> list[str]:
        asked: list[tuple[Endpoint[Any, Any], Request]] = [
            (GET_SPACE, GetSpace(space=name)),
            (UPDATE_SPACE, UpdateSpace(space=name, add=("eve",))),
            (LIFT_SPACE, LiftSpace(space=name)),
        ]
        found = []
        for endpoint, request in asked:
            with pytest.raises(RefusedError) as caught:
                await bus.request(endpoint, request)
            found.append(msgspec.json.encode(caught.value.refusal()).decode())
        return found

    there, missing = await refused(desk.eve, space), await refused(desk.eve, MISSING)
    strange = await desk.events()
    with pytest.raises(RefusedError):
        await desk.ada.request(UPDATE_SPACE, UpdateSpace(space=space, remove=("ada",)))
    (own,) = await desk.events()

    assert [one.replace(space, MISSING) for one in there] == missing
    assert [one.audience for one in strange] == [PUBLIC] * 4
    told = [msgspec.json.encode(one.data.details).decode() for one in strange]
    assert [one.replace(space, MISSING) for one in told[:2]] == told[2:]
    assert (own.audience, own.data.outcome) == (space, "refused")


async def test_an_embargo_ends_at_its_moment_and_that_is_said_once(desk: Desk) -> None:
    """It is seen from that microsecond on, whether it was said or not."""
    space = await desk.embargo(lifts_at=render_time(START + HOUR))
    versions = tuple(PackageInSpace(name="one", version=one) for one in ("1.4.3", "1.4.2"))
    desk.shelves.versions = {space: versions, PUBLIC: versions[1:]}
    await desk.events()

    desk.now = START + HOUR - timedelta(microseconds=1)
    early = await desk.seen_by(desk.eve)
    desk.now = START + HOUR
    at_once = await desk.seen_by(desk.eve)
    said = await desk.look(after=HOUR)

    assert (early, at_once) == ([], [space])
    assert said == [(PUBLIC, "space.lift")]
    assert await desk.look(after=2 * HOUR) == []
    entry = await desk.catalog.bucket(SPACES).get(space)
    assert entry is not None
    assert (entry.value.lifted_at, entry.value.told) == (render_time(START + HOUR), True)
    shown = await desk.eve.request(GET_SPACE, GetSpace(space=space))
    assert (shown.view.is_open, shown.packages) == (True, versions)
    assert await desk.seen_by(desk.eve, lifted=False) == []


async def test_a_release_lifts_an_embargo(desk: Desk) -> None:
    """The first version of it that is in the channel, and no other one."""
    space = await desk.embargo(lifts_on_release="stable")
    one = PackageInSpace(name="one", version="1.4.3", channels=("candidate",))
    await desk.events()

    desk.shelves.versions = {
        PUBLIC: (msgspec.structs.replace(one, channels=("stable",)),),
        space: (one,),
    }
    not_yet = await desk.look(after=HOUR)
    desk.shelves.versions[space] = (msgspec.structs.replace(one, channels=("stable",)),)
    desk.now = START + 2 * HOUR
    await desk.spaces.lift_due()
    (event,) = await desk.events()

    assert not_yet == []
    assert (event.audience, event.data.action) == (PUBLIC, "space.lift")
    assert event.data.details["twice"] == ["one 1.4.3"]
    assert event.data.details["lifted_at"] == render_time(START + 2 * HOUR)
    assert await desk.seen_by(desk.eve) == [space]
    assert await desk.look(after=3 * HOUR) == []


async def test_a_member_lifts_an_embargo(desk: Desk) -> None:
    """Everybody is told by the command itself, and nobody again."""
    space = await desk.embargo()
    await desk.events()

    lifted = await desk.ada.request(LIFT_SPACE, LiftSpace(space=space, reason="it is fixed"))
    (event,) = await desk.events()

    assert lifted.lifted_at == render_time(START)
    assert (event.audience, event.data.reason) == (PUBLIC, "it is fixed")
    assert await desk.seen_by(desk.eve) == [space]
    assert await desk.look(after=HOUR) == []
    with pytest.raises(RefusedError) as again:
        await desk.ada.request(LIFT_SPACE, LiftSpace(space=space))
    assert again.value.refusal_code == "conflict"
