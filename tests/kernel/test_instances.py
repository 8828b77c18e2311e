# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Whose maps and counters a program has that was removed and comes again."""

from __future__ import annotations

import msgspec
import pytest

from services.node_executor.adapters import kernel_info, slot_counters
from services.node_executor.generations import COUNTERS, Point
from tests.support.executors import Executor, Wire, a_chain, send_frames
from tests.support.generation_programs import StampedPrograms

PROGRAMS = StampedPrograms()
a_part = PROGRAMS.program


@pytest.fixture
def stamped(executor: Executor) -> Executor:
    """An executor whose packages have few maps."""
    executor.opened = PROGRAMS.opened
    return executor


def counted(executor: Executor, point: Point, deployment: str) -> int:
    """Packets that the running generation's program counted."""
    return executor.scalar(point, deployment, PROGRAMS.packets)


def test_an_instance_that_comes_again_begins_at_zero(stamped: Executor, wire: Wire) -> None:
    """While the generation with the former one is kept, which a rollback still finds as it was."""
    point = Point(wire.name, "xdp")
    one, two = a_part("one"), a_part("two", order=20)
    both, alone = a_chain(wire.name, one, two), a_chain(wire.name, one)
    again = a_chain(wire.name, one, msgspec.structs.replace(two, instance=3))
    stamped.settle(both, point, 1)
    send_frames(wire.peer, 10)

    found = []
    for generation, chain in enumerate((alone, again, alone, both, again), start=2):
        stamped.settle(chain, point, generation)
        send_frames(wire.peer, 1)
        has_two = len(chain.programs) > 1
        found.append([counted(stamped, point, name) for name in ("one", "two")[: 1 + has_two]])
        if has_two:
            shown = stamped.points.describe(point, chain, desired_generation=1).programs[-1]
            with kernel_info.map_by_id(stamped.kernel.observe(point).map_pins[COUNTERS]) as held:
                table = slot_counters.read(held, "xdp", (shown.slot,))
            found[-1].append(table.slots[shown.slot].packets)

    assert found == [[11], [12, 1, 1], [13], [14, 1, 1], [15, 1, 1]]


def test_a_rollback_finds_the_former_instance(stamped: Executor, wire: Wire) -> None:
    """Its maps and counts go on where they stood when its generation was left."""
    point = Point(wire.name, "xdp")
    former = a_part("one")
    chains = [
        a_chain(wire.name, msgspec.structs.replace(former, instance=instance))
        for instance in (0, 2, 0)
    ]
    found = []
    for generation, chain in enumerate(chains, start=1):
        stamped.settle(chain, point, generation)
        send_frames(wire.peer, 5)
        found.append(counted(stamped, point, "one"))

    assert found == [5, 5, 10]


def test_a_chain_that_was_emptied_begins_at_zero(stamped: Executor, wire: Wire) -> None:
    """Nothing is kept of a chain without programs."""
    point, part = Point(wire.name, "xdp"), a_part("one")
    found = []
    for generation, chain in enumerate(
        (
            a_chain(wire.name, part),
            a_chain(wire.name),
            a_chain(wire.name, msgspec.structs.replace(part, instance=2)),
        ),
        start=1,
    ):
        stamped.settle(chain, point, generation)
        send_frames(wire.peer, 4)
        if chain.programs:
            found.append(counted(stamped, point, "one"))

    assert found == [4, 4]
