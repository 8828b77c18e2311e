# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Watch rules in a running auditor: alerts in the stream, once each, whoever ends in between."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from services.auditor.watching.execution import WatchedLog, alerting
from services.auditor.watching.rules import DEFAULT_RULES
from services.auditor.watching.service import WatchDesk
from shared.adapters.bus import Bus
from shared.adapters.callers import Caller
from shared.adapters.outbox import Outbox
from shared.contracts.audit import LIST_RECORDS, ListRecords
from shared.contracts.events import PUBLIC, Actor, Audience, Event, EventBody
from shared.contracts.watching import (
    ALERT,
    GET_WATCH_RULES,
    RULES_KEY,
    SET_WATCH_RULES,
    STATE_KEY,
    WATCH_RULES,
    WATCH_STATE,
    GetWatchRules,
    SetWatchRules,
    WatchRule,
    WatchRules,
    WatchState,
)
from shared.errors import RefusedError
from tests.integration.conftest import Buses
from tests.support.auditing import EmittingBus, EverybodySees, eventually, running_auditor
from tests.support.command_line import run_l3af
from tests.support.log_stores import LogPlace, append
from tests.support.records import an_event, message_of

EVE = Actor(key="U" + "E" * 55, role="operator", attested=True)
ADAM = Caller(EVE.key, "administrator", "adam", attested=True, address="")
EVERY_PUBLICATION = WatchRules(rules=(WatchRule(name="published", actions=("package.publish",)),))


async def alerts(bus: Bus) -> list[Event]:
    """All that the log holds, oldest first."""
    found = await bus.request(LIST_RECORDS, ListRecords(action=ALERT, limit=1000))
    events = [one.event for one in found.records if one.event is not None]
    return events[::-1]


async def told(bus: Bus, count: int) -> list[dict[str, Any]]:
    """The details of so many alerts, once there are as many."""

    async def enough() -> list[Event]:
        found = await alerts(bus)
        return found if len(found) >= count else []

    return [one.data.details for one in await eventually(enough)]


async def looked_at(bus: Bus, publications: int) -> None:
    """So many publications are recorded, and everything that is was looked at."""

    async def done() -> bool:
        query = ListRecords(action="package.publish", limit=1000)
        found = await bus.request(LIST_RECORDS, query)
        shown = await bus.request(GET_WATCH_RULES, GetWatchRules())
        return len(found.records) >= publications and shown.behind == 0

    await eventually(done)


async def test_rules_of_the_release_find_what_goes_wrong(buses: Buses, tmp_path: Path) -> None:
    """A drift at once, ten refusals of one key as one alert, and nothing for what is well."""
    async with running_auditor(buses.server, tmp_path / "auditor"):
        reader = await buses.open("auditor", "ann")
        shown = await reader.request(GET_WATCH_RULES, GetWatchRules())
        assert (shown.watch, shown.generation) == (DEFAULT_RULES, 0)
        catalog = EmittingBus(await buses.open("service-catalog"), "catalog")
        await catalog.emit_many(30, package="rate-limit")
        await catalog.emit("chain.drift", outcome="observed", node="n1", interface="eth0")
        await catalog.emit_many(25, outcome="refused", actor=EVE)

        found = await told(reader, 2)
        await looked_at(reader, 55)

    assert [(one["rule"], one["severity"]) for one in found] == [
        ("drift", "high"),
        ("refused-repeatedly", "medium"),
    ]
    assert (found[1]["value"], found[1]["count"]) == (EVE.key, 10)
    assert found[1]["record"] - found[0]["record"] == 10


async def test_what_somebody_else_noted_is_read_and_gone_on_from(
    buses: Buses, tmp_path: Path
) -> None:
    """As after a write that was given up and came late: nothing is missed, or said twice."""
    administrator = await buses.open("administrator")
    catalog = EmittingBus(await buses.open("service-catalog"), "catalog")
    async with running_auditor(buses.server, tmp_path / "auditor") as own:
        await administrator.request(SET_WATCH_RULES, SetWatchRules(watch=EVERY_PUBLICATION))
        await catalog.emit_many(5)
        await told(administrator, 5)
        state = await own.bucket(WATCH_STATE).get("state")
        assert state is not None
        await own.bucket(WATCH_STATE).put("state", state.value)
        await catalog.emit_many(5)
        await told(administrator, 10)
        await catalog.emit_many(5)
        found = await told(administrator, 15)
        await looked_at(administrator, 15)
        assert len(await alerts(administrator)) == 15

    assert len({one["record"] for one in found}) == 15


async def test_every_alert_is_said_once_whoever_looks_again(buses: Buses, tmp_path: Path) -> None:
    """An auditor that starts anew, and one that does not know what was looked at since."""
    administrator = await buses.open("administrator")
    catalog = EmittingBus(await buses.open("service-catalog"), "catalog")
    async with running_auditor(buses.server, tmp_path / "auditor") as own:
        await administrator.request(SET_WATCH_RULES, SetWatchRules(watch=EVERY_PUBLICATION))
        await catalog.emit_many(5)
        await told(administrator, 5)
        state = await own.bucket(WATCH_STATE).get("state")
        assert state is not None
    async with running_auditor(buses.server, tmp_path / "auditor"):
        await catalog.emit_many(5)
        await told(administrator, 10)
        await looked_at(administrator, 10)
    auditor = await buses.open("service-auditor")
    await auditor.bucket(WATCH_STATE).put("state", state.value)
    async with running_auditor(buses.server, tmp_path / "auditor"):
        await catalog.emit_many(5)
        found = await told(administrator, 15)
        await looked_at(administrator, 15)
        assert len(await alerts(administrator)) == 15

    assert len({one["record"] for one in found}) == 15


class WaitingEmitter:
    """Says alerts once it may."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self.was_asked, self.may_say = asyncio.Event(), asyncio.Event()

    async def emit(self, body: EventBody, *, event_id: str, audience: Audience = PUBLIC) -> None:
        """Waits first."""
        self.was_asked.set()
        await self.may_say.wait()
        await self._outbox.emit(body, event_id=event_id, audience=audience)


async def test_rules_can_be_set_while_an_alert_is_being_said(buses: Buses, place: LogPlace) -> None:
    """Neither waits for what the other holds."""
    bus = await buses.open("service-auditor")
    state, rules = bus.bucket(WATCH_STATE), bus.bucket(WATCH_RULES)
    await state.put(STATE_KEY, WatchState(position=0))
    outbox = Outbox(bus, "auditor")
    emitter = WaitingEmitter(outbox)
    async with place.open() as log:
        await append(log, [message_of(an_event(1, action="chain.drift", outcome="observed"), 1)])
        watched = WatchedLog(
            log=log, rules=rules, state=state, emitter=emitter, spaces=EverybodySees()
        )
        desk = WatchDesk(watched, outbox)
        await outbox.open()
        async with alerting(watched):
            await emitter.was_asked.wait()
            command = SetWatchRules(watch=EVERY_PUBLICATION)
            setting = asyncio.create_task(desk.set_rules(command, ADAM))
            await eventually(lambda: rules.get(RULES_KEY))
            emitter.may_say.set()
            reply = await setting

    assert reply.generation == 1
    assert watched.record is not None


async def test_what_was_recorded_before_a_rule_is_not_looked_at(
    buses: Buses, tmp_path: Path
) -> None:
    """A rule is for what comes; who may set it is said in the log, who may not is refused."""
    catalog = EmittingBus(await buses.open("service-catalog"), "catalog")
    administrator = await buses.open("administrator")
    async with running_auditor(buses.server, tmp_path / "auditor"):
        reader = await buses.open("auditor", "ann")
        await catalog.emit_many(5)
        await looked_at(reader, 5)
        command = SetWatchRules(watch=EVERY_PUBLICATION, command_id="command-1", reason="try")
        with pytest.raises(RefusedError):
            await reader.request(SET_WATCH_RULES, command)
        for _ in range(2):
            done = await administrator.request(SET_WATCH_RULES, command)
            assert done.generation == 1
        await catalog.emit()
        found = await told(reader, 1)

        setting = await reader.request(LIST_RECORDS, ListRecords(action="watch.set"))
        (event,) = (one.event for one in setting.records)
    assert len(found) == 1
    assert event is not None
    assert (event.data.outcome, event.data.reason) == ("accepted", "try")
    assert event.data.details["added"] == ["published"]


async def test_an_alert_is_told_to_those_who_see_the_record(buses: Buses, tmp_path: Path) -> None:
    """What was told to a space leads to an alert in that space, which a stranger does not see."""
    catalog = EmittingBus(await buses.open("service-catalog"), "catalog")
    administrator = await buses.open("administrator")
    async with running_auditor(buses.server, tmp_path / "auditor"):
        await administrator.request(SET_WATCH_RULES, SetWatchRules(watch=EVERY_PUBLICATION))
        await catalog.emit(audience="p_acme", package="secret")
        await catalog.emit(package="open")
        found = await told(administrator, 1)
        await looked_at(administrator, 1)
        everything = await administrator.request(LIST_RECORDS, ListRecords(limit=1000))

    assert [one["rule"] for one in found] == ["published"]
    restricted = [one for one in everything.records if one.leaf_hash]
    assert len(restricted) == 2  # the event, and its alert


async def test_rules_are_tried_on_what_was_recorded(buses: Buses, tmp_path: Path) -> None:
    """`watch test` says what a file, or the rules in force, would have found; `set` takes it."""
    catalog = EmittingBus(await buses.open("service-catalog"), "catalog")
    rules = tmp_path / "rules.toml"
    rules.write_text(
        'apiVersion = "l3af/v1"\n[[rules]]\nname = "limits"\nwhere = \'package == "rate-limit"\'\n'
        "[rules.threshold]\ncount = 3\nwithin_seconds = 3600\n"
    )
    credentials = buses.server.credentials("administrator", "adam")

    async def l3af(*words: str) -> Any:
        said = await run_l3af(
            "audit", "watch", *words, "--json", credentials=credentials, folder=tmp_path
        )
        assert said.status == 0, said.message
        return said.document

    async with running_auditor(buses.server, tmp_path / "auditor"):
        await catalog.emit_many(4, package="rate-limit")
        await catalog.emit_many(4, package="firewall")
        await looked_at(await buses.open("auditor", "ann"), 8)

        tried = await l3af("test", str(rules), "--since", "2020-01-01")
        assert [(one["rule"], one["count"]) for one in tried["alerts"]] == [("limits", 3)]
        assert tried["by_rule"] == {"limits": 1}
        in_force = await l3af("test", "--since", "2020-01-01")
        assert set(in_force["by_rule"]) == {one.name for one in DEFAULT_RULES.rules}
        assert (await l3af("set", str(rules)))["generation"] == 1
        assert (await l3af("show"))["watch"]["rules"][0]["name"] == "limits"
        rules.write_text('[[rules]]\nname = "x"\nwhere = "("\ncolour = "red"\n')
        refused = await run_l3af(
            "audit", "watch", "set", str(rules), credentials=credentials, folder=tmp_path
        )
    assert refused.status == 2
    assert "colour" in refused.message
