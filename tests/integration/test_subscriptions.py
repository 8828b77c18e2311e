# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Durable subscriptions over a real bus: nothing is missed, whoever was away or died."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from services.auditor.subscriptions import consumer_name
from shared.adapters.bus import Bus
from shared.canonical import canonical_bytes
from shared.contracts.audit import (
    CREATE_SUBSCRIPTION,
    DELETE_SUBSCRIPTION,
    FETCH_EVENTS,
    LIST_RECORDS,
    CreateSubscription,
    DeleteSubscription,
    FetchEvents,
    ListRecords,
    PositionedEvent,
    SubscriptionCreated,
)
from shared.errors import FaultError, RefusedError
from tests.integration.conftest import Buses
from tests.support.auditing import EmittingBus, eventually, running_auditor

CATALOG = ("l3af.v1.evt.public.catalog.>",)


class Restartable:
    """An auditor that can be stopped and started again on the same log."""

    def __init__(self, buses: Buses, state_dir: Path) -> None:
        self._buses = buses
        self._state_dir = state_dir
        self._running = AsyncExitStack()
        self.bus: Bus | None = None

    async def start(self) -> None:
        """Answering."""
        running = running_auditor(self._buses.server, self._state_dir)
        self.bus = await self._running.enter_async_context(running)

    async def stop(self) -> None:
        """Gone."""
        await self._running.aclose()

    async def restart(self) -> None:
        """Another process, as far as anybody can tell."""
        await self.stop()
        await self.start()


@pytest.fixture
async def auditor(buses: Buses, tmp_path: Path) -> AsyncIterator[Restartable]:
    """Running."""
    restartable = Restartable(buses, tmp_path / "auditor")
    await restartable.start()
    yield restartable
    await restartable.stop()


@pytest.fixture
async def viewer(buses: Buses) -> Bus:
    """Somebody who may only look."""
    return await buses.open("viewer", "vic")


@pytest.fixture
async def catalog(buses: Buses) -> EmittingBus:
    """The catalog's voice."""
    return EmittingBus(await buses.open("service-catalog"), "catalog")


async def subscribe(bus: Bus, name: str = "billing", **fields: object) -> SubscriptionCreated:
    """A subscription to the catalog's events."""
    request = CreateSubscription(name=name, **{"subjects": CATALOG, **fields})  # type: ignore[arg-type]
    return await bus.request(CREATE_SUBSCRIPTION, request)


async def fetch(
    bus: Bus, name: str = "billing", *, acknowledge: int = 0, limit: int = 100, wait: float = 0.3
) -> tuple[PositionedEvent, ...]:
    """What comes next."""
    request = FetchEvents(name=name, acknowledge=acknowledge, limit=limit, wait_seconds=wait)
    return (await bus.request(FETCH_EVENTS, request, timeout_seconds=wait + 5)).events


def sequences(events: tuple[PositionedEvent, ...]) -> list[int]:
    """By the emitter's numbers."""
    return [one.event.sequence for one in events]


@pytest.mark.usefixtures("auditor")
async def test_what_came_while_nobody_fetched_is_there(viewer: Bus, catalog: EmittingBus) -> None:
    """Events after the creation come in order; those before do not."""
    await catalog.emit()
    await subscribe(viewer)
    await catalog.emit_many(4)

    events = await fetch(viewer)

    assert sequences(events) == [2, 3, 4, 5]
    assert await fetch(viewer, acknowledge=events[-1].position) == ()


@pytest.mark.usefixtures("auditor")
async def test_events_come_again_until_they_are_acknowledged(
    viewer: Bus, catalog: EmittingBus
) -> None:
    """A subscriber that crashed with events in hand gets them again at once."""
    await subscribe(viewer)
    await catalog.emit_many(6)

    first = await fetch(viewer, limit=4)
    again = await fetch(viewer, limit=4)
    rest = await fetch(viewer, acknowledge=again[1].position)

    assert sequences(first) == sequences(again) == [1, 2, 3, 4]
    assert sequences(rest) == [3, 4, 5, 6]


@pytest.mark.usefixtures("auditor")
async def test_everything_before_the_subscription_can_be_asked_for(
    viewer: Bus, catalog: EmittingBus
) -> None:
    """From the beginning means all that the stream still holds."""
    await catalog.emit_many(3)

    await subscribe(viewer, start="beginning")

    assert sequences(await fetch(viewer)) == [1, 2, 3]


@pytest.mark.usefixtures("auditor")
async def test_a_waiting_subscriber_gets_an_event_when_it_comes(
    viewer: Bus, catalog: EmittingBus
) -> None:
    """Fetching waits for a first event, and no longer."""
    await subscribe(viewer)
    waiting = asyncio.ensure_future(fetch(viewer, wait=10))
    await asyncio.sleep(0)

    await catalog.emit()

    async with asyncio.timeout(60):
        assert sequences(await waiting) == [1]


@pytest.mark.usefixtures("auditor")
async def test_a_new_fetch_ends_one_that_still_waits(viewer: Bus, catalog: EmittingBus) -> None:
    """A subscriber that lost its connection while waiting is not robbed by its own ghost."""
    await subscribe(viewer)
    ghosts = [asyncio.ensure_future(fetch(viewer, wait=20)) for _ in range(3)]
    await asyncio.sleep(0.2)

    alive = asyncio.ensure_future(fetch(viewer, wait=20))
    await eventually(lambda: all(ghost.done() for ghost in ghosts))
    await catalog.emit()

    assert [ghost.result() for ghost in ghosts] == [(), (), ()]
    assert sequences(await alive) == [1]


async def test_a_subscription_survives_every_restart(
    viewer: Bus, catalog: EmittingBus, auditor: Restartable, buses: Buses
) -> None:
    """Auditor and server die in turn, with events in hand; none is missed and order holds."""
    await subscribe(viewer)
    seen: list[int] = []
    position = 0
    for _ in range(3):
        await catalog.emit_many(5)
        await fetch(viewer, acknowledge=position, limit=2)
        await auditor.restart()
        await fetch(viewer, acknowledge=position, limit=3)
        await asyncio.to_thread(buses.server.restart)
        for bus in (viewer, catalog.bus, auditor.bus):
            assert bus is not None
            await connected(bus)
        events = await patient_fetch(viewer, position)
        seen += sequences(events)
        position = events[-1].position

    assert seen == list(range(1, 16))


async def connected(bus: Bus) -> None:
    """Returns once the bus is."""
    await eventually(lambda: bus.connection.is_connected)


async def patient_fetch(bus: Bus, position: int) -> tuple[PositionedEvent, ...]:
    """What comes next, however often a neighbour is away before."""

    async def some() -> tuple[PositionedEvent, ...]:
        try:
            return await fetch(bus, acknowledge=position)
        except FaultError:
            return ()

    events: tuple[PositionedEvent, ...] = await eventually(some)
    return events


async def test_a_lost_consumer_is_made_again_from_the_log(
    viewer: Bus, catalog: EmittingBus, auditor: Restartable
) -> None:
    """The log says that the subscription exists, so after a start it does."""
    await subscribe(viewer)
    await catalog.emit_many(2)
    assert auditor.bus is not None
    consumer = consumer_name(viewer.key, "billing")
    await auditor.bus.connection.ask(
        f"$JS.API.CONSUMER.DELETE.EVT.{consumer}", b"", timeout_seconds=5
    )

    await auditor.restart()

    assert sequences(await fetch(viewer)) == [1, 2]


@pytest.mark.usefixtures("auditor")
async def test_a_filter_beyond_what_may_be_seen_is_refused(viewer: Bus) -> None:
    """Every bad filter is named, and nothing is made."""
    subjects = (
        "l3af.v1.evt.>",
        "l3af.v1.evt.*.catalog.>",
        "l3af.v1.evt.r_embargo.catalog.>",
        "$JS.API.>",
        "l3af.v1.evt.public.a b",
        "l3af.v1.evt.public.>.x",
        "l3af.v1.evt.public.catalog.>",
    )

    with pytest.raises(RefusedError) as refused:
        await subscribe(viewer, subjects=subjects)

    paths = [reason.path for reason in refused.value.reasons]
    assert paths == [f"subjects[{position}]" for position in range(6)]
    with pytest.raises(RefusedError) as unknown:
        await fetch(viewer)
    assert unknown.value.refusal_code == "not_found"


@pytest.mark.usefixtures("auditor")
async def test_a_subscription_belongs_to_the_key_that_made_it(
    viewer: Bus, buses: Buses, catalog: EmittingBus
) -> None:
    """Another principal with the same name has another place, or none."""
    other = await buses.open("viewer", "eve")
    await subscribe(viewer)
    await catalog.emit()

    with pytest.raises(RefusedError) as refused:
        await fetch(other)

    assert refused.value.refusal_code == "not_found"
    assert sequences(await fetch(viewer)) == [1]


@pytest.mark.usefixtures("auditor")
async def test_the_same_name_again_changes_nothing(viewer: Bus, catalog: EmittingBus) -> None:
    """Equal filters find the place as it is; other filters are a conflict."""
    first = await subscribe(viewer)
    await catalog.emit()

    again = await subscribe(viewer)
    with pytest.raises(RefusedError) as refused:
        await subscribe(viewer, subjects=("l3af.v1.evt.public.scheduler.>",))

    assert again.position == first.position
    assert refused.value.refusal_code == "conflict"
    assert sequences(await fetch(viewer)) == [1]


@pytest.mark.usefixtures("auditor")
async def test_a_repeated_creation_does_not_undo_a_deletion(viewer: Bus) -> None:
    """The same command id gives the same answer and has no second effect."""
    await subscribe(viewer, command_id="create-billing")
    await viewer.request(DELETE_SUBSCRIPTION, DeleteSubscription(name="billing"))

    again = await subscribe(viewer, command_id="create-billing")

    assert again.name == "billing"
    with pytest.raises(RefusedError):
        await fetch(viewer)


@pytest.mark.usefixtures("auditor")
async def test_making_and_giving_up_is_recorded(viewer: Bus, buses: Buses) -> None:
    """Creation, refusal and deletion are in the log, with the key that asked."""
    reader = await buses.open("auditor", "ann")
    await subscribe(viewer)
    with pytest.raises(RefusedError):
        await subscribe(viewer, "other", subjects=("l3af.v1.evt.>",))
    await viewer.request(DELETE_SUBSCRIPTION, DeleteSubscription(name="billing"))

    async def recorded() -> list[tuple[str, str]]:
        page = await reader.request(LIST_RECORDS, ListRecords(actor=viewer.key))
        return [
            (record.event.data.action, record.event.data.outcome)
            for record in reversed(page.records)
            if record.event is not None
        ]

    async def enough() -> bool:
        return len(await recorded()) >= 3

    await eventually(enough)
    assert await recorded() == [
        ("subscription.create", "accepted"),
        ("subscription.create", "refused"),
        ("subscription.delete", "accepted"),
    ]


@pytest.mark.usefixtures("auditor")
async def test_what_cannot_be_believed_is_not_shown(
    viewer: Bus, buses: Buses, catalog: EmittingBus
) -> None:
    """Forged and unreadable messages are passed over, however many fill a whole answer."""
    node = await buses.open("node", "n1")
    await subscribe(viewer, subjects=("l3af.v1.evt.public.>",))
    subject = "l3af.v1.evt.public.node.n1.chain.attach"
    for number in range(5):
        forged = canonical_bytes(EmittingBus(node, "catalog").draft())
        data = forged if number % 2 else b"{"
        await node.connection.publish(subject, data, headers={"Nats-Msg-Id": f"x{number}"})
    await node.connection.flush()
    await catalog.emit(package="real")

    events = await fetch(viewer, limit=1, wait=3)

    packages = [one.event.data.package for one in events if one.event.emitter == "catalog"]
    following = await fetch(viewer, acknowledge=events[-1].position, limit=50)
    packages += [one.event.data.package for one in following if one.event.emitter == "catalog"]
    assert packages == ["real"]


@pytest.mark.usefixtures("auditor")
async def test_a_position_that_does_not_exist_is_refused(viewer: Bus, catalog: EmittingBus) -> None:
    """Nobody can skip events that did not happen yet."""
    await subscribe(viewer)
    await catalog.emit()

    with pytest.raises(RefusedError):
        await fetch(viewer, acknowledge=1_000_000)

    assert sequences(await fetch(viewer)) == [1]


@pytest.mark.usefixtures("auditor")
async def test_large_events_come_in_answers_that_fit(viewer: Bus, catalog: EmittingBus) -> None:
    """What does not fit into one message comes with the next, and nothing is lost."""
    await subscribe(viewer)
    await catalog.emit_many(40, reason='"' * 30_000)

    seen: list[int] = []
    position = 0
    while events := await fetch(viewer, acknowledge=position, limit=500):
        seen += sequences(events)
        position = events[-1].position

    assert seen == list(range(1, 41))
