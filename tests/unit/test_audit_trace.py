# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The way of a command as its records tell it, and times as people write them in their zone."""

from __future__ import annotations

from datetime import UTC, datetime
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from cli.audit_trace import trace_command
from cli.audit_trace_view import render_trace
from cli.moments import parse_moment, parse_zone
from services.auditor.query import StoredRecord, render_record
from services.auditor.records import read_message
from shared.contracts.audit import AuditRecord
from shared.contracts.events import Actor
from shared.errors import RefusedError
from tests.support.records import altered, an_event, message_of

ANN = Actor(key="U" + "A" * 55, role="operator", attested=True)
NOW = datetime(2026, 1, 2, 12, tzinfo=UTC)


def said(
    index: int, second: float, *, emitter: str, is_believed: bool = True, **fields: Any
) -> AuditRecord:
    """A record of what an emitter said so many seconds after the start."""
    event = an_event(
        index + 1,
        emitter=emitter,
        time=f"2026-01-02T03:04:{second:09.6f}Z",
        correlation="command-1",
        **fields,
    )
    message = message_of(event, index + 1)
    if not is_believed:
        message = altered(message, source="/l3af/other")
    draft = read_message(message)
    return render_record(StoredRecord(index, draft.leaf, message.data, 0, index + 1, draft.problem))


def on_node(index: int, second: float, node: str, action: str, **fields: Any) -> AuditRecord:
    """A record of what a node said of its hook point."""
    return said(
        index, second, emitter=f"node/{node}", node=node, interface="eth0", hook="xdp",
        action=action, **fields,
    )  # fmt: skip


WAY = [
    said(3, 1.0, emitter="scheduler", action="deployment.apply", outcome="accepted", actor=ANN,
         deployment="edge", reason="because"),
    on_node(4, 1.25, "n1", "chain.request", outcome="accepted"),
    on_node(5, 1.5, "n2", "chain.request", outcome="accepted"),
    on_node(6, 2.0, "n1", "chain.attach", details={"program_id": 77, "link_id": 5}),
    on_node(7, 2.25, "n2", "chain.attach"),
    said(8, 3.5, emitter="scheduler", action="deployment.complete"),
]  # fmt: skip


def test_a_command_is_followed_from_request_to_kernel() -> None:
    """Every step with the time since the start, and since the step that it follows from."""
    trace = trace_command("command-1", WAY[::-1])

    assert [(step.record, step.stage, step.since_start_seconds) for step in trace.steps] == [
        (3, "decided", 0.0),
        (4, "begun", 0.25),
        (5, "begun", 0.5),
        (6, "in kernel", 1.0),
        (7, "in kernel", 1.25),
        (8, "ended", 2.5),
    ]
    assert [step.since_before_seconds for step in trace.steps if step.stage == "in kernel"] == [
        0.75,
        0.75,
    ]
    assert (trace.action, trace.outcome, trace.actor) == ("deployment.apply", "accepted", ANN)
    assert (trace.places_begun, trace.places_settled, trace.took_seconds) == (2, 2, 2.5)
    assert trace.ended_at.endswith("03.500000Z")


def test_the_way_is_shown_with_its_end() -> None:
    """Who asked and why, each place, what the kernel holds, how long it took."""
    console = Console(width=200, record=True, file=StringIO())

    console.print(render_trace(trace_command("command-1", WAY), {ANN.key: "ann"}))

    shown = console.export_text()
    assert "ann (operator) asked for deployment.apply (because)" in shown
    assert "n1/eth0/xdp" in shown
    assert "program 77, link 5; 0.750 s" in shown
    assert "ended after 2.500 s; 2 of 2 hook points settled" in shown


def test_a_command_of_several_deployments_ends_with_the_last_of_them() -> None:
    """Each is decided and ends; until all have ended, the command has not."""
    other = [
        said(9, 1.0, emitter="scheduler", action="deployment.apply", outcome="accepted", actor=ANN,
             deployment="guard"),
        said(10, 4.0, emitter="scheduler", action="deployment.complete", deployment="guard"),
    ]  # fmt: skip

    half = trace_command("command-1", [*WAY, other[0]])
    whole = trace_command("command-1", [*WAY, *other])

    assert [step.stage for step in whole.steps].count("decided") == 2
    assert (half.ended_at, whole.took_seconds) == ("", 3.0)


def test_a_command_that_has_not_ended_and_one_that_claims_are_told_apart() -> None:
    """What was not believed is named and is no step."""
    forged = said(9, 4.0, emitter="scheduler", action="deployment.complete", is_believed=False)
    trace = trace_command("command-1", [*WAY[:4], forged])

    assert (trace.ended_at, trace.problems, trace.places_settled) == ("", (9,), 1)
    assert len(trace.steps) == 4
    with pytest.raises(RefusedError, match="no such command"):
        trace_command("command-1", [forged])


@pytest.mark.parametrize(
    ("text", "zone", "moment"),
    [
        ("2026-03-01 09:00", "Europe/Berlin", "2026-03-01T08:00:00.000000Z"),
        ("2026-07-01", "America/New_York", "2026-07-01T04:00:00.000000Z"),
        ("2026-07-01T00:00:00+05:30", "America/New_York", "2026-06-30T18:30:00.000000Z"),
        ("1h", "Asia/Tokyo", "2026-01-02T11:00:00.000000Z"),
        ("2026-10-25 01:59", "Europe/Berlin", "2026-10-24T23:59:00.000000Z"),
        ("2026-10-25T02:30:00+01:00", "Europe/Berlin", "2026-10-25T01:30:00.000000Z"),
    ],
)
def test_times_are_those_of_the_zone(text: str, zone: str, moment: str) -> None:
    """Unless they say themselves which they are."""
    assert parse_moment(text, now=NOW, path="--since", zone=parse_zone(zone)) == moment


@pytest.mark.parametrize(
    ("text", "rule", "allowed"),
    [
        (
            "2026-10-25 02:30",
            "showed this twice",
            ["2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00"],
        ),
        (
            "2026-03-29 02:30",
            "never showed this",
            ["2026-03-29T01:30:00+01:00", "2026-03-29T03:30:00+02:00"],
        ),
    ],
)
def test_times_that_clocks_showed_twice_or_never_are_refused(
    text: str, rule: str, allowed: list[str]
) -> None:
    """With the moments that may have been meant, and each of those is read."""
    with pytest.raises(RefusedError) as refused:
        parse_moment(text, now=NOW, path="--until", zone=parse_zone("Europe/Berlin"))

    (reason,) = refused.value.reasons
    assert (reason.path, reason.allowed) == ("--until", allowed)
    assert rule in reason.rule
    for meant in allowed:
        assert parse_moment(meant, now=NOW, path="--until")


@pytest.mark.parametrize("zone", ["Europe/Berln", "../etc/passwd", "\0", "CEST2"])
def test_unknown_zones_are_refused(zone: str) -> None:
    """By name; a similar one is proposed."""
    with pytest.raises(RefusedError) as refused:
        parse_zone(zone)

    (reason,) = refused.value.reasons
    assert reason.got == zone
    if zone == "Europe/Berln":
        assert reason.allowed == ["Europe/Berlin", "Europe/Belfast", "Europe/Helsinki"]
