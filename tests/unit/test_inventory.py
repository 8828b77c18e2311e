# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What ran where at a moment, as the log's records say it."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import count
from typing import Any

import msgspec

from services.auditor.inventory import differing, merged_runs
from shared.contracts.events import Actor, Event
from shared.contracts.inventory import HookReading, HookRun
from tests.support.inventories import (
    EPOCH,
    ModelIndex,
    a_reading,
    at,
    chain_event,
    deployed,
    digest_of,
    snapshot_event,
    time_us,
)
from tests.support.records import an_event


def asked(events: list[Event], seconds: float) -> list[HookRun]:
    """What ran so many seconds after the history began."""
    moment = EPOCH + timedelta(seconds=seconds)
    return ModelIndex(events).inventory(
        (moment - datetime(1970, 1, 1, tzinfo=moment.tzinfo)) // timedelta(microseconds=1)
    )


def history(*steps: tuple[str, float, HookReading]) -> list[Event]:
    """Events of node n1: action, seconds and what was read back."""
    numbers = count(1)
    return [
        chain_event(action, reading, node="n1", sequence=next(numbers), seconds=seconds)
        for action, seconds, reading in steps
    ]


def test_what_was_attached_runs_until_it_is_replaced_or_taken_off() -> None:
    """The answer is that of the newest change up to the moment, in its order."""
    events = history(
        ("chain.attach", 10, a_reading("a", "b")),
        ("chain.attach", 20, a_reading("b", "c@2.0.0")),
        ("chain.detach", 30, a_reading()),
    )

    assert deployed(asked(events, 9)) == {}
    assert deployed(asked(events, 10)) == {("n1", "eth0"): ("a@1.0.0", "b@1.0.0")}
    assert deployed(asked(events, 29.9)) == {("n1", "eth0"): ("b@1.0.0", "c@2.0.0")}
    assert deployed(asked(events, 30)) == {}


def test_an_answer_says_since_when_by_whom_and_under_which_licence() -> None:
    """All of it comes from the record of the change, which it names."""
    (event,) = history(("chain.attach", 10, a_reading("a")))

    (run,) = asked([event], 11)

    assert (run.since, run.record, run.actor_key, run.source) == (at(10), 0, "UALICE", "change")
    assert run.reading.running is not None
    licence = run.reading.running[0].licence
    assert licence is not None
    assert (licence.declared, licence.elf, licence.gpl_compatible) == ("GPL-2.0-only", "GPL", True)


def test_events_that_come_late_and_in_any_order_give_the_same_answer() -> None:
    """A node that was offline replays its journal; its own order counts."""
    events = history(
        ("chain.attach", 10, a_reading("a")),
        ("chain.attach", 20, a_reading("b")),
        ("chain.attach", 30, a_reading("c")),
    )

    for seconds in (5, 15, 25, 35):
        assert deployed(asked(events[::-1], seconds)) == deployed(asked(events, seconds))


def test_a_clock_that_was_set_back_does_not_bring_back_what_was_replaced() -> None:
    """What came before an earlier time came before that time, whatever the clock said then."""
    events = history(("chain.attach", 3600, a_reading("a")), ("chain.attach", 20, a_reading("b")))

    assert deployed(asked(events, 4000)) == {("n1", "eth0"): ("b@1.0.0",)}


def test_a_snapshot_confirms_what_a_command_led_to() -> None:
    """Since when and by whom stay those of the change."""
    events = history(("chain.attach", 10, a_reading("a")))
    events.append(snapshot_event(a_reading("a"), node="n1", sequence=2, seconds=99))

    (run,) = asked(events, 100)

    assert (run.since, run.confirmed_at, run.confirmed_record) == (at(10), at(99), 1)
    assert (run.actor_key, run.difference) == ("UALICE", "")


def test_a_snapshot_that_says_otherwise_is_believed_and_the_difference_is_said() -> None:
    """What the kernel was read back to have is what ran."""
    events = history(("chain.attach", 10, a_reading("a")), ("chain.detach", 20, a_reading()))
    events.append(snapshot_event(a_reading("b"), node="n1", sequence=3, seconds=30))

    (run,) = asked(events, 31)

    assert deployed([run]) == {("n1", "eth0"): ("b@1.0.0",)}
    assert (run.source, run.since) == ("observation", at(30))
    assert run.difference == "the last change took everything off"


def test_drift_that_took_the_program_off_ends_it() -> None:
    """A link that is gone runs nothing, until the repair is read back."""
    events = history(
        ("chain.attach", 10, a_reading("a")),
        ("chain.drift", 20, a_reading()),
        ("chain.attach", 21, a_reading("a")),
    )

    assert deployed(asked(events, 20.5)) == {}
    assert deployed(asked(events, 22)) == {("n1", "eth0"): ("a@1.0.0",)}


def test_a_program_that_the_node_does_not_know_is_shown_as_it_is() -> None:
    """Nothing is claimed of what it was made of."""
    unknown = msgspec.structs.replace(a_reading("a", tag="0123456789abcdef"), running=())
    events = history(("chain.attach", 10, a_reading("a")), ("chain.drift", 20, unknown))

    (run,) = asked(events, 21)

    assert (run.reading.running or (), run.reading.program_tag) == ((), "0123456789abcdef")
    assert run.difference == "a program runs that the node has no memory of"


def test_what_was_said_before_the_node_lost_its_memory_holds_only_if_it_is_found_again() -> None:
    """After `state.rebuild` only what is found or made anew counts."""
    found = a_reading("b", place=("eth1", "xdp"))
    events = [
        *history(("chain.attach", 10, a_reading("a")), ("chain.attach", 11, found)),
        an_event(3, emitter="node/n1", action="state.rebuild", outcome="observed", time=at(20)),
        chain_event("chain.adopt", found, node="n1", sequence=4, seconds=21, actor=None),
    ]

    assert deployed(asked(events, 19)) == {
        ("n1", "eth0"): ("a@1.0.0",),
        ("n1", "eth1"): ("b@1.0.0",),
    }
    assert deployed(asked(events, 22)) == {("n1", "eth1"): ("b@1.0.0",)}


def test_events_of_the_releases_before_are_read_as_well() -> None:
    """They said the plan's programs, and whether one of ours was on the hook."""
    details = {
        "program_id": 5,
        "program_tag": "00112233445566aa",
        "programs": [{"deployment": "a", "package": "a", "version": "1.0.0", "revision": 1}],
    }
    event = an_event(
        1,
        emitter="node/n1",
        action="chain.attach",
        time=at(10),
        interface="eth0",
        hook="xdp",
        details=details,
    )

    assert deployed(asked([event], 11)) == {("n1", "eth0"): ("a@1.0.0",)}


def test_what_nodes_say_in_another_form_is_passed_over() -> None:
    """Details that cannot be read are no word on any hook point, and stop nothing."""
    hostile: list[tuple[str, str, dict[str, Any]]] = [
        ("chain.adopt", "eth0", {"program_id": "seven"}),
        ("chain.adopt", "eth0", {"running": [{"deployment": 3}]}),
        ("chain.adopt", "eth0", {"running": {"a": 1}}),
        ("chain.adopt", "eth0" * 20, {"program_id": 7}),
        ("chain.adopt", "", {"program_id": 7}),
        ("chain.adopt", "e\0th0", {"program_id": 7}),
        ("chain.adopt", "\u202e0hte", {"program_id": 7}),
        ("node.snapshot", "", {"hook_points": "many"}),
        ("node.snapshot", "", {"hook_points": [{"program_id": 7}]}),
    ]
    events = [
        an_event(
            number,
            emitter="node/n1",
            action=action,
            outcome="observed",
            interface=interface,
            hook="xdp",
            details=details,
        )
        for number, (action, interface, details) in enumerate(hostile, start=1)
    ]

    assert ModelIndex(events).sightings == []


def test_only_nodes_say_what_runs_on_them() -> None:
    """A service that claims to have attached something is recorded, and no word on a node."""
    event = an_event(
        1, emitter="scheduler", action="chain.attach", node="n1", interface="eth0", hook="xdp"
    )

    assert ModelIndex([event]).sightings == []


def test_runs_of_a_digest_begin_and_end_where_it_came_and_went() -> None:
    """Changes that keep it do not interrupt; coming back begins another run."""
    events = history(
        ("chain.attach", 10, a_reading("a")),
        ("chain.attach", 20, a_reading("a", "b")),
        ("chain.attach", 30, a_reading("b")),
        ("chain.attach", 40, a_reading("a")),
    )

    runs = merged_runs(ModelIndex(events).runs(digest_of("archive a")))

    assert [(run.since, run.until) for run in runs] == [(at(10), at(30)), (at(40), "")]
    assert [(run.record, run.until_record) for run in runs] == [(0, 2), (3, None)]


def test_a_difference_names_places_where_something_else_ran() -> None:
    """What came, went and changed; what stayed, whoever asked for it again, is not named."""
    kept, gone, come = (("eth1", "xdp"), ("eth2", "xdp"), ("eth3", "xdp"))
    before = asked(
        history(
            ("chain.attach", 1, a_reading("a")),
            ("chain.attach", 2, a_reading("a", place=kept)),
            ("chain.attach", 3, a_reading("a", place=gone)),
        ),
        9,
    )
    after = asked(
        history(
            ("chain.attach", 1, a_reading("a@2.0.0")),
            ("chain.configure", 5, a_reading("a", place=kept)),
            ("chain.attach", 6, a_reading("a", place=come)),
        ),
        9,
    )

    named = [
        ((old or new).place.interface, old is None, new is None)  # type: ignore[union-attr]
        for old, new in differing(before, after)
    ]

    assert named == [("eth0", False, False), ("eth2", False, True), ("eth3", True, False)]


def test_an_event_without_a_principal_names_none() -> None:
    """Who asked is left empty where nobody did."""
    events = [
        chain_event("chain.attach", a_reading("a"), node="n1", sequence=1, seconds=1, actor=None),
        chain_event(
            "chain.attach",
            a_reading("b", place=("eth1", "xdp")),
            node="n1",
            sequence=2,
            seconds=2,
            actor=Actor(key="UBOB", role="operator", attested=True, through="node/n1"),
        ),
    ]

    assert [run.actor_key for run in asked(events, 3)] == ["", "UBOB"]
    assert time_us(events[0]) < time_us(events[1])
