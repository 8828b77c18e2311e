# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""All nodes, asked for page by page: a message has room for some hundreds of them."""

from __future__ import annotations

from shared.adapters.bus import Bus
from shared.contracts.scheduler import LIST_NODES, ListNodes, NodeList, NodeStatus


async def all_nodes(bus: Bus, *, forgotten: bool = False) -> NodeList:
    """Every node that registered, by name.

    Args:
        bus: The connection to speak through.
        forgotten: Also those that were forgotten.

    Raises:
        RefusedError: Whoever asks may not.
        FaultError: Nobody answers.
    """
    found: list[NodeStatus] = []
    while True:
        after = found[-1].node if found else ""
        page = await bus.request(LIST_NODES, ListNodes(forgotten=forgotten, after=after))
        found += page.nodes
        if not page.has_more:
            return NodeList(nodes=tuple(found))
