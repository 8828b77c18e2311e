# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Whatever is drained, lost, found and uncordoned when: how many nodes a drain takes away."""

from __future__ import annotations

from typing import Final

from hypothesis import given, settings
from hypothesis import strategies as st

from services.scheduler.cordoning import CordonError, cordon_node, drain_node, uncordon_node
from services.scheduler.rollout.waves import share_of
from shared.contracts.rollouts import RolloutSpec
from tests.fleets import a_spec
from tests.support.draining import DrainingFleet

NODES: Final = [f"n{number}" for number in range(1, 6)]
SHARES: Final[dict[str, int | str]] = {"edge": 1, "other": "40%", "any": "100%"}
DEEDS: Final = st.lists(
    st.one_of(
        st.tuples(
            st.sampled_from(["drain", "cordon", "uncordon", "lose", "find"]), st.sampled_from(NODES)
        ),
        st.just(("act", "")),
        st.just(("step", "")),
    ),
    max_size=30,
)
COMMANDS: Final = {"drain": drain_node, "cordon": cordon_node, "uncordon": uncordon_node}


def _fleet() -> DrainingFleet:
    specs = [
        a_spec(name, order=order, rollout=RolloutSpec(max_unavailable=share))
        for order, (name, share) in enumerate(SHARES.items(), 10)
    ]
    return DrainingFleet(*specs, nodes=len(NODES))


def _away(world: DrainingFleet, key: str) -> set[str]:
    """Where the deployment does not run, by what the nodes have and not by what is planned."""
    running = {
        name
        for name, node in world.observed.items()
        for chain in node.chains
        if any(one.deployment == key for one in chain.programs)
    }
    told = {
        name
        for name, node in world.fleet.desired.items()
        for chain in node.chains
        if any(one.deployment == key for one in chain.programs)
    }
    return {name for name in NODES if name not in running & told or name in world.silent}


def _do(world: DrainingFleet, deed: str, node: str) -> None:
    match deed:
        case "act":
            world.act()
        case "step":
            world.step()
        case "lose":
            world.silent.add(node)
        case "find":
            world.silent.discard(node)
        case _:
            try:
                world.given(COMMANDS[deed], node)
            except CordonError:
                return


@settings(max_examples=60)
@given(DEEDS)
def test_a_drain_takes_no_more_nodes_than_may_be_away(deeds: list[tuple[str, str]]) -> None:
    """What goes by itself is not its doing; what it adds stays within every deployment's limit."""
    world = _fleet()
    for deed, node in deeds:
        before = {key: _away(world, key) for key in SHARES}
        _do(world, deed, node)
        if deed != "step":
            continue
        for key, share in SHARES.items():
            after = _away(world, key)
            if after - before[key]:
                assert len(after) <= share_of(share, len(NODES))


@settings(max_examples=60)
@given(DEEDS)
def test_when_nodes_answer_every_drain_ends_or_waits_for_a_drained_node(
    deeds: list[tuple[str, str]],
) -> None:
    """No drain is stuck for a reason that nobody could name."""
    world = _fleet()
    for deed, node in deeds:
        _do(world, deed, node)
    world.silent.clear()
    for _ in range(len(NODES) + 1):
        world.act()
        world.step()
    world.act()

    for node in NODES:
        cordon = world.labels[node].cordon
        for key, why in (world.waits(node) if cordon and cordon.drains else {}).items():
            assert key, why
            held = {one for one in NODES if key in world.fleet.nodes[one].left}
            assert len(held) >= share_of(SHARES[key], len(NODES))


@settings(max_examples=40)
@given(DEEDS)
def test_without_cordons_everything_is_as_if_there_had_been_none(
    deeds: list[tuple[str, str]],
) -> None:
    """What left comes back, in the same chains."""
    world = _fleet()
    before = {
        name: [chain.programs for chain in node.chains]
        for name, node in world.fleet.desired.items()
    }
    for deed, node in deeds:
        _do(world, deed, node)
    for node in NODES:
        _do(world, "uncordon", node)

    assert before == {
        name: [chain.programs for chain in node.chains]
        for name, node in world.fleet.desired.items()
    }
