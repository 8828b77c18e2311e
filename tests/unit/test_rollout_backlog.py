# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What was queued while nobody listened leads to what it would have led to, heard at once."""

from __future__ import annotations

import pytest

from services.scheduler.rollout.core import (
    DeploymentStored,
    Event,
    Instruction,
    NodeHeard,
    NodeObserved,
    NodeSeen,
    NodeSilent,
    NodeTold,
    RolloutCore,
    Ticked,
)
from shared.contracts.rollouts import RolloutSpec
from tests.fleets import a_node, a_spec, observing
from tests.support.rollout_world import REFUSED, SCHEDULER, RolloutWorld, a_world

NODES = tuple(f"n{number:02d}" for number in range(50))
TIMES = 50
"""That each node said four things."""
CANARIES = 10


def _world() -> RolloutWorld:
    """Nodes that run 1.0.0; ten were told 1.1.0, and nobody heard of them since."""
    world = a_world(map(a_node, NODES))
    world.apply(a_spec())
    world.until_quiet()
    rollout = RolloutSpec(strategy="canary", canary=CANARIES, max_unavailable=CANARIES)
    world.apply(a_spec(rollout=rollout), version="1.1.0")
    return world


def _known(world: RolloutWorld) -> list[Event]:
    """What a scheduler reads when it begins."""
    return [
        *map(NodeSeen, world.fleet.nodes.values()),
        *map(NodeTold, world.fleet.desired.values()),
        *map(DeploymentStored, world.fleet.deployments.values()),
    ]


def _queued(world: RolloutWorld, refuses: str) -> list[Event]:
    """Each node says again and again what it ran, comes and goes; last of all what it was told."""
    said: list[Event] = []
    for name in NODES * TIMES:
        said += [NodeSilent(name), NodeHeard(name), NodeObserved(world.observed[name]), Ticked()]
    for name, desired in world.fleet.desired.items():
        said.append(NodeObserved(observing(desired, refusal=REFUSED if name == refuses else None)))
    return said


@pytest.mark.parametrize(
    ("refuses", "actions", "why"),
    [("", ["confirm", "release"], ""), ("n07", ["rollback"], "refused on n07")],
)
def test_ten_thousand_queued_events_lead_to_one_step(
    refuses: str, actions: list[str], why: str
) -> None:
    """The same one, whether they are heard at once or one after another."""
    world = _world()
    queued = _queued(world, refuses)
    at_once, in_turn = RolloutCore(actor=SCHEDULER), RolloutCore(actor=SCHEDULER)

    (found,) = at_once.handle([*_known(world), *queued], world.now)
    last: tuple[Instruction, ...] = in_turn.handle(_known(world), world.now)
    for event in queued:
        last = in_turn.handle([event], world.now)

    assert len(queued) >= 10_000
    assert last == (found,)
    assert [one.action.removeprefix("rollout.") for one in found.events] == actions
    assert found.after.rollout is not None
    assert found.after.rollout.why == why
