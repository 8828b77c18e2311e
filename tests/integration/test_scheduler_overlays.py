# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Other values on some nodes, over a real bus: what nodes are told, and follow."""

from __future__ import annotations

import asyncio

from shared.contracts.chain_reasons import WHY_CHAINS, WhyChains
from shared.contracts.node_overlays import NodeOverlay
from shared.contracts.scheduler import LABEL_NODE, LabelNode
from shared.contracts.selectors import NodeSelector
from tests.fleets import a_spec
from tests.support.scheduler_neighbours import WAIT_SECONDS, TestNode, until_running
from tests.support.scheduler_system import System, system

__all__ = ["system"]

SPEC = a_spec(
    config={"limits": {"80": 100}},
    overlays=(
        NodeOverlay(
            name="edges",
            nodes=NodeSelector(labels={"role": "edge"}),
            config={"limits": {"80": 50}},
        ),
    ),
)


def _limits(node: TestNode) -> list[dict[str, int]]:
    """Everything that it was told, one after the other."""
    return [told.chains[0].programs[0].config["limits"] for told in node.told]


async def test_nodes_are_told_what_overlays_make_of_a_deployment(system: System) -> None:
    """And are told anew when their labels change; others are not."""
    await system.catalog()
    plain, edge = await system.node("n1"), await system.node("n2", role="edge")

    accepted = await system.apply(SPEC)
    await until_running(system.operator, "edge")

    assert (_limits(plain), _limits(edge)) == ([{"80": 100}], [{"80": 50}])
    assert [one.nodes for one in accepted.plan.overlaid] == [("n2",)]
    assert [one.chains[0].programs[0].config for one in (*plain.staged, *edge.staged)] == [
        {"limits": {"80": 100}},
        {"limits": {"80": 50}},
    ]

    await system.operator.request(LABEL_NODE, LabelNode(node="n1", set={"role": "edge"}))
    async with asyncio.timeout(WAIT_SECONDS):
        while len(plain.told) == 1:
            await asyncio.sleep(0.005)
    why = await system.operator.request(WHY_CHAINS, WhyChains(node="n1", interface="eth0"))

    assert (_limits(plain), _limits(edge)) == ([{"80": 100}, {"80": 50}], [{"80": 50}])
    (setting,) = why.hooks[0].programs[0].settings
    assert (setting.path, setting.by, setting.value) == ("config.limits.80", "edges", 50)
