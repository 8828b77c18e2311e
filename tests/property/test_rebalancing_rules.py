# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Whichever nodes are lost, found and drained when: how many a deployment is on, and moves."""

from __future__ import annotations

from collections import Counter
from typing import Final

from hypothesis import given, settings
from hypothesis import strategies as st

from services.scheduler.choosing import Wish, choose
from services.scheduler.cordoning import CordonError, drain_node, uncordon_node
from services.scheduler.status import view_places
from shared.contracts.rollouts import RolloutSpec
from tests.fleets import a_spec
from tests.support.draining import DrainingFleet

NODES: Final = [f"n{number}" for number in range(1, 8)]
DEEDS: Final = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["lose", "find", "drain", "uncordon"]), st.sampled_from(NODES)),
        st.sampled_from([("act", ""), ("move", ""), ("leave", "")]),
    ),
    max_size=30,
)


def _do(world: DrainingFleet, deed: str, node: str) -> None:
    match deed:
        case "lose":
            world.lose(node)
        case "find":
            world.find(node)
        case "act":
            world.act()
        case "leave":
            world.step()
        case "move":
            world.rebalance()
        case _:
            try:
                world.given(drain_node if deed == "drain" else uncordon_node, node)
            except CordonError:
                return


def _world(count: int, limit: int) -> DrainingFleet:
    rollout = RolloutSpec(max_unavailable=limit)
    world = DrainingFleet(
        a_spec(count=count, spread="zone", rollout=rollout), nodes=len(NODES), zones=3
    )
    world.act()
    return world


def _not_running(world: DrainingFleet) -> set[str]:
    views = view_places(world.fleet.deployments["edge"], world.fleet, world.observed)
    return {one.node for one in views if one.state != "running"}


@settings(max_examples=60)
@given(st.integers(1, 6), st.integers(1, 3), st.sets(st.sampled_from(NODES), max_size=4), DEEDS)
def test_moves_put_no_more_nodes_on_their_way_than_may_be(
    count: int, limit: int, lost: set[str], deeds: list[tuple[str, str]]
) -> None:
    """And never is a deployment for more nodes than it says."""
    world = _world(count, limit)
    for deed, node in [*(("lose", node) for node in sorted(lost)), ("move", ""), *deeds]:
        before = _not_running(world)
        _do(world, deed, node)
        after = _not_running(world)
        assert len(world.chosen()) == count
        if deed == "move" and after - before:
            assert len(after - world.silent) <= limit


@settings(max_examples=60)
@given(st.integers(1, 6), st.integers(1, 3), DEEDS)
def test_when_nodes_are_there_a_deployment_is_on_as_many_as_it_says(
    count: int, limit: int, deeds: list[tuple[str, str]]
) -> None:
    """Whatever happened before, and then nothing moves any more."""
    world = _world(count, limit)
    for deed, node in deeds:
        _do(world, deed, node)
    world.find(*NODES)
    for node in NODES:
        _do(world, "uncordon", node)
    for _ in NODES:
        world.act()
        world.rebalance()
    world.act()

    assert _not_running(world) == set()
    assert len(world.chosen()) == count
    assert world.rebalance() == []


@given(
    st.dictionaries(
        st.sampled_from([f"n{number}" for number in range(25)]),
        st.sampled_from("abcd"),
        max_size=20,
    ),
    st.integers(1, 20),
    st.data(),
)
def test_a_choice_is_spread_and_depends_on_no_order(
    domains: dict[str, str], count: int, data: st.DataObject
) -> None:
    """No domain has two more than another that has nodes left."""
    kept = data.draw(st.sets(st.sampled_from(sorted(domains)))) if domains else set()
    shuffled = data.draw(st.permutations(list(domains.items())))
    wish = Wish("edge", count, "zone")

    chosen = choose(wish, domains, kept=kept)

    assert sorted(chosen) == sorted(choose(wish, dict(shuffled), kept=sorted(kept)))
    assert len(chosen) == min(count, len(domains))
    sizes, whole = Counter(domains[name] for name in chosen), Counter(domains.values())
    for one in whole:
        if sizes[one] < whole[one]:
            assert max(sizes.values()) <= sizes[one] + 1
    for one in kept - set(chosen):
        same = [name for name in chosen if domains[name] == domains[one]]
        assert all(name in kept for name in same)
