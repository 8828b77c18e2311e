# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a node says when the scheduler asks by which numbers a rollout is to be judged."""

from __future__ import annotations

from services.scheduler.rollout.health_numbers import Period, grown_events, place_numbers
from shared.contracts.node_health import READ_HEALTH, NodeHealth, ReadHealth
from tests.support.executors import COUNTED, PACKETS, Wire, a_chain, a_program, send_frames
from tests.support.node_fleets import DEADLINE_SECONDS, NODE, Fleet


async def read(fleet: Fleet, deployment: str = "one") -> NodeHealth:
    """A reading of one deployment."""
    request = ReadHealth(deployment=deployment, metrics=(PACKETS,))
    return await fleet.scheduler.request(
        READ_HEALTH.at(node=NODE), request, timeout_seconds=DEADLINE_SECONDS
    )


async def test_two_readings_tell_what_happened_between_them(fleet: Fleet, wire: Wire) -> None:
    """Packets, drops, a metric, processors and events of the deployment asked for alone."""
    one = a_program("one", "4.0.0", metrics=COUNTED)
    two = a_program("two", order=5)
    await fleet.observed(await fleet.desire(a_chain(wire.name, two, one)))
    earlier = await read(fleet)
    send_frames(wire.peer, 25)
    later = await read(fleet)

    (numbers,) = place_numbers(Period(earlier, later))
    (place,) = later.places
    assert (numbers.place, numbers.packets, numbers.dropped) == (wire.name, 25, 25)
    assert (place.revision, place.problem) == (1, "")
    assert [(each.metric, each.value) for each in place.metrics] == [(PACKETS, 25)]
    assert 0 < later.cpu_busy_seconds < later.cpu_seconds
    assert ("chain.attach", True) in {(each.action, each.concerns) for each in later.events}
    assert list(grown_events(Period(earlier, later))) == []

    elsewhere = await read(fleet, "another")
    assert (elsewhere.node, elsewhere.places, elsewhere.start) == (NODE, (), later.start)
