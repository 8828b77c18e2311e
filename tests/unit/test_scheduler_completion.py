# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""When a command is over, and what is said of it then."""

from __future__ import annotations

from dataclasses import replace

from services.scheduler.completion import endings, pending_node, settle
from services.scheduler.desired_state import Fleet
from shared.canonical import canonical_bytes
from shared.contracts.events import MAX_EVENT_BYTES
from shared.contracts.node import ObservedNode
from shared.errors import Reason, Refusal
from tests.fleets import (
    a_fleet,
    a_node,
    a_spec,
    all_observing,
    applied,
    observing,
    removed,
)

REFUSAL = Refusal(code="link_refused", message="no", reasons=(Reason(path="x", rule="y"),))


def _endings(fleet: Fleet, observed: dict[str, ObservedNode]) -> list[tuple[str, str]]:
    return [
        (one.event_id, one.body.outcome)
        for one in endings(fleet.deployments["edge"], fleet, observed)
    ]


def test_an_apply_succeeded_when_every_place_runs() -> None:
    """The event carries what each kernel was read back to hold."""
    fleet = applied(a_fleet(a_node("n1"), a_node("n2")), a_spec())

    (ending,) = endings(fleet.deployments["edge"], fleet, all_observing(fleet))

    assert (ending.event_id, ending.body.outcome) == ("command-0001.complete", "succeeded")
    assert ending.body.correlation == "command-0001"
    assert ending.body.details["place_count"] == 2
    assert ending.body.details["places"][0] == {
        "node": "n1",
        "interface": "eth0",
        "state": "running",
        "desired_generation": 1,
        "generation": 1,
        "program_id": 7,
        "program_tag": "0123456789abcdef",
    }


def test_nothing_is_over_while_a_place_is_pending() -> None:
    """One node that has not acted keeps the command open, even when another failed."""
    fleet = applied(a_fleet(a_node("n1"), a_node("n2")), a_spec())

    assert _endings(fleet, {"n1": observing(fleet.desired["n1"], refusal=REFUSAL)}) == []


def test_who_is_waited_for_is_looked_for_from_where_it_was_last() -> None:
    """The search goes round by name, and finds nobody exactly when the command is over."""
    fleet = applied(a_fleet(a_node("n1"), a_node("n2"), a_node("n3")), a_spec())
    record, done = fleet.deployments["edge"], all_observing(fleet)
    later = replace(fleet, nodes={**fleet.nodes, "n4": a_node("n4")})

    def waited_for(fleet: Fleet, *over: str, since: str = "") -> str:
        observed = {name: done[name] for name in over}
        return pending_node(record, fleet, observed, since=since)

    assert waited_for(fleet) == "n1"
    assert waited_for(fleet, since="n2") == "n2"
    assert waited_for(fleet, "n2", since="n2") == "n3"
    assert waited_for(fleet, "n2", "n3", since="n3") == "n1"
    assert waited_for(fleet, "n1", "n2", "n3", since="n3") == ""
    assert waited_for(later, "n1", "n2", "n3", since="n4") == ""  # it came afterwards


def test_an_apply_failed_when_a_node_refuses_and_none_is_pending() -> None:
    """The reasons say on which node."""
    fleet = applied(a_fleet(a_node("n1"), a_node("n2")), a_spec())
    observed = {
        **all_observing(fleet),
        "n1": observing(fleet.desired["n1"], refusal=REFUSAL),
    }

    (ending,) = endings(fleet.deployments["edge"], fleet, observed)

    assert ending.body.outcome == "failed"
    assert [reason.path for reason in ending.body.reasons] == ["nodes.n1.eth0", "nodes.n1.eth0.x"]


def test_a_reason_that_names_its_place_does_not_name_it_twice() -> None:
    """A node says the hook point itself where the whole of it is meant."""
    fleet = applied(a_fleet(), a_spec())
    place = "eth0/xdp"
    refusal = Refusal(
        code="conflict",
        message="busy",
        reasons=(Reason(path=place, rule=f"{place}: it is busy"), Reason(path="eth0", rule="no")),
    )

    observed = {"n1": observing(fleet.desired["n1"], refusal=refusal)}
    (ending,) = endings(fleet.deployments["edge"], fleet, observed)

    said = [(one.path, one.rule) for one in ending.body.reasons]
    assert ("nodes.n1.eth0/xdp", "it is busy") in said
    assert ("nodes.n1.eth0", "no") in said


def test_a_place_that_came_later_does_not_hold_the_command_open() -> None:
    """A command ends with the places it was accepted for."""
    fleet = applied(a_fleet(), a_spec())
    observed = all_observing(fleet)

    fleet = replace(fleet, nodes={**fleet.nodes, "n2": a_node("n2")})

    assert _endings(fleet, observed) == [("command-0001.complete", "succeeded")]


def test_a_removal_succeeded_when_no_node_holds_any_part() -> None:
    """And not before the nodes were told, nor before they acted."""
    before = applied(a_fleet(), a_spec(), at=1)
    settled = settle(before.deployments["edge"], ["command-0001"])
    fleet = removed(before.with_deployment(settled), "edge", at=2)
    untold = replace(fleet, desired=before.desired)
    was_there = all_observing(before)
    assert pending_node(fleet.deployments["edge"], fleet, was_there) == "n1"
    assert pending_node(fleet.deployments["edge"], fleet, all_observing(fleet)) == ""

    assert _endings(untold, {}) == []
    assert _endings(fleet, all_observing(before)) == []
    assert _endings(fleet, all_observing(fleet)) == [("command-0002.complete", "succeeded")]


def test_an_overtaken_command_failed_and_names_the_later_one() -> None:
    """Every accepted command has an ending."""
    fleet = applied(applied(a_fleet(), a_spec(), at=1), a_spec(), version="2.0.0", at=2)

    (ending,) = endings(fleet.deployments["edge"], fleet, {})

    assert (ending.event_id, ending.body.outcome) == ("command-0001.complete", "failed")
    assert ending.body.version == "1.0.0"
    assert ending.body.reasons[0].got == "command-0002"


def test_a_settled_command_is_not_ended_again() -> None:
    """The record remembers, so a restart does too."""
    fleet = applied(a_fleet(), a_spec())
    record = settle(fleet.deployments["edge"], ["command-0001"])

    assert record.unfinished == ()
    assert endings(record, fleet, all_observing(fleet)) == []


def test_an_ending_of_many_places_and_large_reasons_fits_the_audit_log() -> None:
    """Failed places come first, everything is counted, and there is room to spare."""
    names = [f"{number:03d}-{'n' * 59}" for number in range(300)]
    fleet = applied(a_fleet(*(a_node(name, "i" * 15) for name in names)), a_spec(interfaces=["i*"]))
    large = Reason(path="p" * 300, rule="r" * 3000, got="g" * 3000)
    refusal = Refusal(code="verifier_rejected", message="m" * 3000, reasons=(large,) * 3)
    observed = {
        name: observing(desired, refusal=refusal if name >= "030" else None)
        for name, desired in fleet.desired.items()
    }

    (ending,) = endings(fleet.deployments["edge"], fleet, observed)

    details = ending.body.details
    assert len(canonical_bytes(ending.body)) < MAX_EVENT_BYTES * 3 / 4
    assert (details["place_count"], details["reason_count"]) == (300, 270 * 4)
    assert {place["state"] for place in details["places"]} == {"failed"}
