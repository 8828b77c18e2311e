# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A hook point that rests is one where settling would do nothing, whatever happened before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shared.contracts.desired import DesiredChain
from shared.contracts.link_options import LinkOptions
from shared.contracts.node import ObservedChain
from shared.errors import FaultError, RefusedError
from tests.unit.test_executor_hook_points import POINT, World
from tests.unit.test_reconciliation import a_chain, a_program

FIRST = a_chain(a_program(config={"limits": {"80": 5}}))
SECOND = a_chain(a_program(version="2.0.0"))
CHAINS: Mapping[str, DesiredChain | None] = {
    "first": FIRST,
    "configured": a_chain(a_program(config={"limits": {"80": 6}})),
    "second": SECOND,
    "alarm": msgspec.structs.replace(FIRST, link=LinkOptions(drift="alarm")),
    "taking": msgspec.structs.replace(FIRST, link=LinkOptions(take_over=True)),
    "short": msgspec.structs.replace(SECOND, link=LinkOptions(keep_seconds=0)),
    "none": None,
}


def _unlinked(world: World) -> None:
    world.kernel._links.pop(POINT, None)


def _exchanged(world: World) -> None:
    if POINT in world.kernel._links:
        world.kernel._links[POINT].program_id = world.kernel.add_program()


def _unpinned(world: World) -> None:
    world.kernel._map_pins.get(POINT, {}).clear()
    programs = world.kernel._program_pins.get(POINT)
    if programs:
        del programs[min(programs)]


def _unrecorded(world: World) -> None:
    world.kernel._records.get(POINT, {}).clear()


def _interface_exchanged(world: World) -> None:
    world.kernel.interfaces.pop("data0", None)
    world.kernel.add_interface("data0")


def _interface_gone(world: World) -> None:
    world.kernel.interfaces.pop("data0", None)


def _taken(world: World) -> None:
    _unlinked(world)
    world.kernel.foreign[POINT] = world.kernel.add_program()


def _freed(world: World) -> None:
    world.kernel.foreign.pop(POINT, None)


def _renamed(world: World) -> None:
    world.kernel._named[POINT] = 77


def _later(world: World) -> None:
    world.now += 2000


def _restarted(world: World) -> None:
    world.start("boot-1")


HAPPENINGS: Mapping[str, Callable[[World], None]] = {
    "unlinked": _unlinked,
    "exchanged": _exchanged,
    "unpinned": _unpinned,
    "unrecorded": _unrecorded,
    "interface exchanged": _interface_exchanged,
    "interface gone": _interface_gone,
    "taken": _taken,
    "freed": _freed,
    "renamed": _renamed,
    "later": _later,
    "restarted": _restarted,
    "nothing": lambda _world: None,
}
STEPS = st.lists(
    st.tuples(st.sampled_from(sorted(CHAINS)), st.sampled_from(sorted(HAPPENINGS))),
    min_size=1,
    max_size=8,
)


def settle(world: World, chain: DesiredChain | None) -> None:
    """As the service does, which goes on whatever comes of it."""
    with suppress(RefusedError, FaultError):
        world.settle(chain)


def look(world: World, chain: DesiredChain | None) -> ObservedChain | None:
    """The point as it was read, if it rests."""
    return world.resting.look({POINT: chain}, desired_generation=1).get(POINT)


@settings(max_examples=150)
@given(STEPS)
@example([("first", "nothing"), ("first", "exchanged")])
@example([("first", "nothing"), ("short", "later")])
def test_where_a_point_rests_settling_does_nothing(steps: list[tuple[str, str]]) -> None:
    """No step, no event, no other memory; and it is reported as it is."""
    world = World()
    for name, happening in steps:
        chain = CHAINS[name]
        settle(world, chain)
        look(world, chain)
        HAPPENINGS[happening](world)

        seen = look(world, chain)

        if seen is not None:
            before = world.kernel.calls, world.points.memory(POINT), world.store.actions()
            assert seen == world.points.describe(POINT, chain, desired_generation=1)
            world.settle(chain)
            after = world.kernel.calls, world.points.memory(POINT), world.store.actions()
            assert after == before


@settings(max_examples=60)
@given(STEPS)
def test_a_chain_that_nobody_disturbs_comes_to_rest(steps: list[tuple[str, str]]) -> None:
    """Whatever happened before: after two rounds nothing is left to do."""
    world = World()
    for name, happening in steps:
        settle(world, CHAINS[name])
        HAPPENINGS[happening](world)
    _interface_exchanged(world)
    _freed(world)
    for _ in range(2):
        settle(world, SECOND)

    seen = look(world, SECOND)

    assert seen is not None
    assert seen.state == "attached"
    assert look(world, SECOND) is seen, "the same look is not judged anew"
