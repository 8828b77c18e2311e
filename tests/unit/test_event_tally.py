# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""How often a node said what, for whoever judges a rollout by it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from services.node_executor.adapters.processor_time import ProcessorTime, read_processor_time
from services.node_executor.event_tally import EventTally
from services.node_executor.generations import Point
from shared.contracts.events import Event
from shared.errors import FaultError
from tests.support.records import an_event

HERE = Point("eth0", "xdp")


def a_drift(number: int = 1, **fields: Any) -> Event:
    """A `chain.drift`, by default at eth0/xdp."""
    said = {"interface": "eth0", "hook": "xdp", **fields}
    return an_event(number, action="chain.drift", outcome="observed", **said)


def counted(tally: EventTally, deployment: str = "edge") -> list[tuple[bool, int, str]]:
    """Whether it concerns the deployment, how many, and the last id."""
    return [(one.concerns, one.count, one.newest) for one in tally.counts(deployment, [HERE])]


def test_events_of_a_hook_point_concern_the_deployments_that_are_on_it() -> None:
    """So do events that name the deployment; those of another place or deployment do not."""
    tally = EventTally()
    events = [
        a_drift(1),
        a_drift(2, interface="eth1"),
        a_drift(3, deployment="edge", interface=""),
        a_drift(4, deployment="other"),
    ]
    for event in events:
        tally.note(event)

    assert counted(tally) == [(False, 2, events[3].id), (True, 2, events[2].id)]


def test_events_of_another_space_are_not_counted() -> None:
    """Whoever sees the deployment may not see them."""
    tally = EventTally()
    tally.note(a_drift(1, audience="p_secret"))
    tally.note(a_drift(2, deployment="p_secret.edge", audience="p_secret"))

    assert counted(tally) == []
    assert [one[:2] for one in counted(tally, "p_secret.edge")] == [(True, 2)]


def test_however_many_places_come_and_go_the_node_counts_all() -> None:
    """What was not said for long loses its place, and stays counted."""
    tally = EventTally(max_kinds=10)
    for number in range(100):
        tally.note(a_drift(number + 1, interface=f"veth{number}"))
    tally.note(a_drift(101))

    assert [one[:2] for one in counted(tally)] == [(False, 100), (True, 1)]


def test_events_that_name_nothing_are_counted_however_many_kinds_there_are() -> None:
    """There is nothing that they could lose, and they are as few as what a node can say."""
    tally = EventTally(max_kinds=1)
    for number, action in enumerate(("node.register", "node.mode", "node.register"), start=1):
        tally.note(an_event(number, action=action, outcome="observed"))

    assert [one[:2] for one in counted(tally)] == [(False, 1), (False, 2)]


def test_the_kernels_count_of_processor_time_is_read(tmp_path: Path) -> None:
    """All but idle and waiting is work; time of guests is not counted twice."""
    stat = tmp_path / "stat"
    stat.write_text("cpu  100 20 30 400 50 6 7 8 90 9\ncpu0 1 1 1 1 1 1 1 1 0 0\n")

    assert read_processor_time(stat) == ProcessorTime(6.21, 1.71)
    assert 0 < read_processor_time().busy_seconds < read_processor_time().seconds


@pytest.mark.parametrize("text", ["", "cpu 1 2", "cpu0 1 2 3 4 5 6 7 8", "cpu a b c d e"])
def test_a_strange_file_is_a_fault(tmp_path: Path, text: str) -> None:
    """Nothing is guessed."""
    stat = tmp_path / "stat"
    stat.write_text(text)

    with pytest.raises(FaultError, match="stat"):
        read_processor_time(stat)
