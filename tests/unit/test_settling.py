# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What runs on a hook point whose newest chain is refused, over a kernel in memory."""

from __future__ import annotations

from services.node_executor.adapters.settling import Settling
from shared.contracts.desired import DesiredChain, DesiredNode
from shared.errors import RefusedError
from tests.unit.test_executor_hook_points import POINT, World, at_once
from tests.unit.test_reconciliation import a_chain, a_program

FIRST = a_chain(a_program())
UNSIGNED = a_chain(a_program(version="9.0.0"))
"""Its signature does not match any more when it is linked again."""
REFUSED = a_chain(a_program(version="3.0.0"))


def a_refused_world(*confirmed: DesiredChain) -> World:
    """These chains ran one after another, and the newest one was refused."""
    world = World()
    for generation, chain in enumerate(confirmed, start=1):
        world.settle(chain, generation)
    error = RefusedError("the verifier says no", code="verifier_rejected")
    world.points.refuse(POINT, REFUSED, desired_generation=9, error=error)
    return world


def lose_what_runs(world: World) -> None:
    """Link, pins and program of the current generation are gone."""
    current = world.points.memory(POINT).current
    assert current is not None
    world.kernel._links.clear()
    pins = world.kernel._program_pins[POINT]
    for pin in [pin for pin, one in pins.items() if one == current.program_id]:
        del pins[pin]
    del world.kernel.programs[current.program_id]


async def settle_all(settling: Settling) -> bool:
    """One round."""
    wanted = DesiredNode(node="n1", generation=9, chains=(REFUSED,))
    return await settling.settle_all(wanted, takes_off=True, resting=(), is_newest=lambda: True)


def a_settling(world: World) -> Settling:
    """Of that node."""
    return Settling(
        thread=at_once,
        points=world.points,
        staging=world.staging,
        journal=world.points._journal,
    )


async def test_the_newest_confirmed_chain_that_can_run_comes_back() -> None:
    """The last one is not signed any more, so the one before it does; the refusal stays."""
    world = a_refused_world(FIRST, UNSIGNED)
    lose_what_runs(world)

    was_settled = await settle_all(a_settling(world))

    seen = world.points.describe(POINT, REFUSED, desired_generation=9)
    assert was_settled
    assert seen.state == "attached"
    assert [one.version for one in seen.programs] == ["1.0.0"]
    assert seen.refusal is not None
    assert (seen.refusal.code, seen.refusal.message) == (
        "verifier_rejected",
        "the verifier says no",
    )
    assert world.store.actions().count("chain.change") == 1
    assert world.points.is_refused(POINT, REFUSED)


async def test_a_chain_that_cannot_come_back_is_not_linked_again_and_again() -> None:
    """Until its interface is another one, or something runs there."""
    world = a_refused_world(UNSIGNED)
    lose_what_runs(world)
    settling = a_settling(world)

    for _ in range(3):
        await settle_all(settling)
    tried_here = len(world.preparer.checked)
    world.kernel.remove_interface("data0")
    world.kernel.add_interface("data0")
    await settle_all(settling)

    assert tried_here == 1
    assert len(world.preparer.checked) == 2
    assert world.points.describe(POINT, REFUSED, desired_generation=9).state == "failed"


async def test_what_runs_beside_a_refusal_is_left_alone() -> None:
    """Nothing is linked, and no step is taken."""
    world = a_refused_world(FIRST)
    steps = world.kernel.calls

    await settle_all(a_settling(world))

    assert world.kernel.calls == steps
    assert world.preparer.checked == []
