# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Reports are made once each, whoever makes them dies, and none holds up another."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from services.auditor.reporting.execution import ReportBuckets, ReportMaker
from services.auditor.store import LogStore
from shared.adapters.outbox import Outbox
from shared.adapters.outbox_bus import OutboxBus
from shared.contracts.distribution import DISTRIBUTE
from shared.contracts.log_health import LogHealth
from shared.contracts.reports import (
    MAKE,
    REPORT_PARTS,
    REPORTS,
    BillOptions,
    DistributionOptions,
    KeptReport,
)
from shared.errors import FaultError
from shared.moments import render_time
from tests.integration.conftest import Buses
from tests.support.auditing import EverybodySees
from tests.support.event_stream import stored_events
from tests.support.log_stores import LogPlace, append
from tests.support.mortal_bus import MortalBus, ProcessDiedError
from tests.support.records import an_event, message_of
from tests.support.report_plans import (
    DETAILS,
    LONG_AGO,
    MAY_2025,
    a_schedule,
    plan,
)


async def nobody_ill() -> LogHealth:
    """A log that needs nothing."""
    return LogHealth(at=LONG_AGO, tree_size=1, conditions=())


def a_maker(log: LogStore, bus: OutboxBus, outbox: Outbox, now: datetime) -> ReportMaker:
    """One that was just started, at a moment."""
    return ReportMaker(
        log=log,
        buckets=ReportBuckets.of(bus),
        outbox=outbox,
        spaces=EverybodySees(),
        health=nobody_ill,
        now=lambda: now,
    )


async def test_killed_at_any_write_each_report_is_made_once(buses: Buses, place: LogPlace) -> None:
    """Its record, its event and its content are there in the end, and of those missed the last."""
    bus = await buses.open("service-auditor")
    schedule = a_schedule("handed", DistributionOptions(), covers="month", cron="0 6 1 * *", keep=2)
    await plan(bus, schedule)
    handed = an_event(
        1,
        action=DISTRIBUTE,
        package="one",
        version="1.0.0",
        details=DETAILS,
        time=MAY_2025,
    )
    now, died = datetime(2025, 6, 1, 6, tzinfo=UTC), 0
    months, kept = list[str](), dict[str, KeptReport]()
    async with place.open() as log:
        await append(log, [message_of(handed, 1)])
        for lands in (False, True):
            for dies_at in range(2, 40):  # opening an outbox is a write of its own
                months.append(render_time(now))
                mortal = MortalBus(bus, dies_at=dies_at, lands=lands)
                outbox = Outbox(mortal, "auditor")
                await outbox.open()
                try:
                    await a_maker(log, mortal, outbox, now).make_due()
                    is_whole = True
                except ProcessDiedError:
                    is_whole = False
                    died += 1
                    restarted = Outbox(bus, "auditor")
                    await restarted.open()
                    place_in_stream = log.size + 1  # a report made now is another one
                    await append(log, [message_of(an_event(place_in_stream), place_in_stream)])
                    await a_maker(log, bus, restarted, now + timedelta(minutes=5)).make_due()
                kept = {one.value.due: one.value for one in await bus.bucket(REPORTS).entries()}
                assert sorted(kept) == months[-2:]
                parts = {one.key for one in await bus.bucket(REPORT_PARTS).entries()}
                assert parts == {f"{one.sha256}.0" for one in kept.values()}
                now = (now + timedelta(days=70)).replace(day=1)
                if is_whole:
                    break
        events = await stored_events(bus)

    assert died > 10
    said = [one.data.details["due"] for one in events if one.data.action == MAKE]
    assert said == months  # every other month: of two that were due, the last is made
    digests = {one.data.details["due"]: one.data.details["sha256"] for one in events}
    assert {due: one.sha256 for due, one in kept.items()} == {due: digests[due] for due in kept}
    first = next(one for one in events if one.data.action == MAKE)
    assert first.data.details["since"] == "2025-05-01T00:00:00.000000Z"
    assert first.data.details["tree_size"] == 2


async def test_one_that_cannot_be_kept_holds_up_no_other(buses: Buses, place: LogPlace) -> None:
    """The other is made all the same, and the first once it can be."""
    bus = await buses.open("service-auditor")
    await plan(bus, a_schedule("one", DistributionOptions()), a_schedule("two", BillOptions()))
    now = datetime(2026, 1, 2, tzinfo=UTC)
    async with place.open() as log:
        await append(log, [message_of(an_event(1), 1)])
        ill = MortalBus(bus, dies_at=2, error=FaultError)
        outbox = Outbox(bus, "auditor")
        await outbox.open()
        maker = a_maker(log, ill, outbox, now)
        ill.writes = 1
        with pytest.raises(FaultError):
            await maker.make_due()
        after_fault = [one.value.name for one in await bus.bucket(REPORTS).entries()]
        maker.reread()
        await maker.make_due()
        in_the_end = [one.value.name for one in await bus.bucket(REPORTS).entries()]

    assert (after_fault, in_the_end) == (["two"], ["one", "two"])
