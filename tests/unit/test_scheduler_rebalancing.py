# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Nodes of a deployment for so many that are gone: who takes their place, how many at a time."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from services.scheduler.choosing import why_not_chosen
from services.scheduler.cordoning import drain_node, uncordon_node
from services.scheduler.rebalancing import MOST_REFUSING
from services.scheduler.status import deployment_status
from shared.contracts.node_choice import NodeChoice
from shared.contracts.rollouts import RolloutSpec, RolloutState, RolloutWave
from shared.errors import Refusal
from tests.fleets import a_spec, applied, observing
from tests.support.draining import DrainingFleet


def _choice(world: DrainingFleet) -> NodeChoice:
    choice = world.fleet.deployments["edge"].revisions[-1].choice
    assert choice is not None
    return choice


def _world(count: int = 3, share: int | str = "100%", *, zones: int = 1) -> DrainingFleet:
    """A deployment on `count` of six nodes, running there."""
    spec = a_spec(
        count=count,
        spread="zone" if zones > 1 else None,
        rollout=RolloutSpec(max_unavailable=share),
    )
    world = DrainingFleet(spec, nodes=6, zones=zones)
    world.act()
    return world


def test_a_lost_node_is_replaced_and_said_so() -> None:
    """The others stay; the event has who, by whom, and why."""
    world = _world()
    gone, *stay = sorted(world.chosen())
    world.lose(gone)

    (step,) = world.rebalance()

    (added,) = step.added
    assert world.chosen() == {*stay, added}
    assert step.event.action == "deployment.rebalance"
    assert step.event.details == {
        "revision": 1,
        "added_count": 1,
        "added": [added],
        "removed_count": 1,
        "removed": {gone: "has missed three heartbeats"},
    }
    assert step.step_id == "edge.choice.1.1"
    assert world.fleet.desired[gone].chains[0].programs == ()
    assert world.fleet.desired[added].chains[0].programs
    assert world.rebalance() == []


def test_what_is_gone_for_a_moment_is_waited_for() -> None:
    """Silent is not lost."""
    world = _world()
    world.silent.add(min(world.chosen()))

    assert world.rebalance() == []


def _refusing(world: DrainingFleet, *nodes: str) -> None:
    for node in nodes:
        refusal = Refusal(code="verifier_rejected", message="invalid access")
        world.observed[node] = observing(world.fleet.desired[node], refusal=refusal)


def test_a_node_that_refuses_is_replaced_and_left_alone_for_longer_each_time() -> None:
    """Ten minutes, then twenty; it says so, and why."""
    world = _world(5)
    (other,) = set(world.fleet.nodes) - world.chosen()
    first = min(world.chosen())
    _refusing(world, first)

    (step,) = world.rebalance()
    assert step.removed == {first: "refuses it: invalid access"}
    revision = step.after.revisions[-1]
    why = "it refused it once and is not chosen before 2026-01-01T00:10:00.000000Z: invalid access"
    assert why_not_chosen(revision, first) == why

    world.act()
    world.lose(other)
    assert world.rebalance() == [], "nobody else is left"
    world.now += timedelta(minutes=10)
    (back,) = world.rebalance()
    assert back.added == (first,)
    world.find(other)
    _refusing(world, first)
    world.rebalance()
    (refusal,) = _choice(world).refusals
    assert (refusal.times, refusal.until) == (2, "2026-01-01T00:30:00.000000Z")


def test_what_every_node_refuses_is_not_tried_on_all_of_them() -> None:
    """After a few it is not the nodes' fault, and stays where it is."""
    world = _world(1)
    for _ in range(MOST_REFUSING):
        _refusing(world, *world.chosen())
        assert len(world.rebalance()) == 1

    _refusing(world, *world.chosen())
    assert world.rebalance() == []


def test_while_a_rollout_goes_on_it_decides_what_a_refusal_leads_to() -> None:
    """A canary is not taken from its node because it is bad."""
    world = _world(2)
    record = world.fleet.deployments["edge"]
    state = RolloutState(revision=1, phase="rolling-out", waves=(RolloutWave(nodes=("n1",)),))
    rolling = msgspec.structs.replace(record, rollout=state)
    _refusing(world, *world.chosen())
    world.fleet = replace(world.fleet, deployments={"edge": rolling})

    assert world.rebalance() == []


def test_a_new_revision_is_tried_where_the_one_before_was_refused() -> None:
    """It may be what mends it."""
    world = _world(5)
    _refusing(world, min(world.chosen()))
    world.rebalance()

    world.fleet = applied(world.fleet, a_spec(count=6), version="1.1.0", at=50)

    assert (len(world.chosen()), _choice(world).refusals) == (6, ())


def test_no_more_nodes_are_on_their_way_than_may_be() -> None:
    """The next is moved once the one before is confirmed."""
    world = _world(4, 1)
    lost = sorted(world.chosen())[:2]
    world.lose(*lost)

    first = world.rebalance()
    again = world.rebalance()
    world.act()
    second = world.rebalance()

    assert [len(one.added) for one in (*first, *second)] == [1, 1]
    assert again == []
    assert not world.chosen() & set(lost)


def test_without_another_node_who_returns_goes_on() -> None:
    """Nothing is taken off for nothing."""
    world = _world(6)
    world.lose("n1", "n2")

    assert world.rebalance() == []
    assert world.chosen() == {"n1", "n2", "n3", "n4", "n5", "n6"}


def test_a_replacement_keeps_the_spread() -> None:
    """It is of the domain that has the fewest now."""
    world = _world(3, zones=3)
    gone = min(world.chosen())
    world.lose(gone)

    (step,) = world.rebalance()

    zones = world.fleet.nodes[gone].labels["zone"], world.fleet.nodes[step.added[0]].labels["zone"]
    assert zones[0] == zones[1]


def test_a_drained_node_is_replaced_for_good() -> None:
    """Once it may leave; uncordoned, it is one of the others."""
    world = _world(3, 1)
    gone = min(world.chosen())
    world.given(drain_node, gone)
    world.step()
    (step,) = world.rebalance()
    world.act()

    assert step.removed == {gone: "was drained"}
    assert gone not in world.chosen()
    world.given(uncordon_node, gone)
    assert world.rebalance() == []
    assert len(world.chosen()) == 3


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"is_forgotten": True}, "was forgotten"),
        ({"interfaces": ("eth7",)}, ""),
        ({"labels": {"zone": "z9"}}, ""),
    ],
)
def test_who_is_not_meant_any_more_is_replaced(change: dict[str, Any], why: str) -> None:
    """An interface that is away keeps its place, and so does a node with other labels."""
    world = _world()
    gone = min(world.chosen())
    changed = replace(world.fleet.nodes[gone], **change)
    world.fleet = replace(world.fleet, nodes={**world.fleet.nodes, gone: changed})

    steps = world.rebalance()

    assert [one.removed for one in steps] == ([{gone: why}] if why else [])


def test_vacant_places_are_filled_when_nodes_come() -> None:
    """A deployment that found too few grows."""
    world = DrainingFleet(a_spec(count=5), nodes=3)
    grown = DrainingFleet(nodes=6).fleet.nodes
    world.fleet = replace(world.fleet, nodes={**grown, **world.fleet.nodes})

    (step,) = world.rebalance()

    assert (len(step.added), step.removed, len(world.chosen())) == (2, {}, 5)
    assert step.event.reason == "there was room for more nodes"


def test_status_has_the_places_of_the_nodes_that_are_chosen_now() -> None:
    """Whoever was replaced has none."""
    world = _world()
    gone = min(world.chosen())
    world.lose(gone)
    world.rebalance()
    world.act()

    record = world.fleet.deployments["edge"]
    status = deployment_status(record, world.fleet, world.observed, silences={})

    assert {place.node: place.state for place in status.places} == dict.fromkeys(
        world.chosen(), "running"
    )
