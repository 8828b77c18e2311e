# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Answers what deployments and nodes are like, as far as the caller sees them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

import msgspec

from services.scheduler.adapters.fleet_records import FleetRecords
from services.scheduler.adapters.seeing import Seeing
from services.scheduler.audiences import Sight
from services.scheduler.chain_reasons import chain_reasons
from services.scheduler.deployment import known_record
from services.scheduler.desired_state import Fleet
from services.scheduler.execution import Execution
from services.scheduler.labelling import known_node
from services.scheduler.node_explanation import explain_node
from services.scheduler.reply_room import (
    deployment_with_room,
    list_with_room,
    nodes_with_room,
)
from services.scheduler.status import (
    deployment_status,
    in_a_list,
    node_status,
)
from services.scheduler.unfit import unfit_deployments
from shared.adapters.callers import Caller
from shared.contracts.chain_reasons import ChainReasons, WhyChains
from shared.contracts.cordons import DrainWait
from shared.contracts.node_reasons import ExplainNode, NodeExplained
from shared.contracts.scheduler import (
    DeploymentList,
    DeploymentStatus,
    GetDeployment,
    GetNode,
    ListDeployments,
    ListNodes,
    NodeList,
    NodeStatus,
)
from shared.deployment_keys import deployment_key
from shared.identifiers import render_place


class Questions:
    """What is asked and changes nothing."""

    def __init__(self, *, records: FleetRecords, execution: Execution, seeing: Seeing) -> None:
        """Nothing is asked yet."""
        self._records: Final = records
        self._execution: Final = execution
        self._seeing: Final = seeing

    async def list_deployments(self, request: ListDeployments, caller: Caller) -> DeploymentList:
        """By key, those that the caller sees."""
        fleet, silences = self._records.fleet, self._records.silences()
        sight = self._seeing.sight(caller)
        found: list[DeploymentStatus] = []
        for _, record in sorted(fleet.deployments.items()):
            is_meant = request.space in (None, record.space)
            if not sight.sees(record.space) or not is_meant:
                continue
            if record.removed and not request.removed:
                continue
            found.append(
                deployment_status(
                    record,
                    fleet,
                    self._records.observed,
                    silences=silences,
                    sight=sight,
                    conflicts=self._execution.conflicts,
                    with_history=False,
                )
            )
            await asyncio.sleep(0)  # each looks at every node, and others wait for their turn
        return list_with_room(found, limit_bytes=self._records.max_reply_bytes)

    async def get_deployment(self, request: GetDeployment, caller: Caller) -> DeploymentStatus:
        """With its history, and places as far as there is room."""
        fleet = await self._seeing.fleet(caller, request.space)
        record = fleet.deployments.get(deployment_key(request.space, request.name))
        status = deployment_status(
            known_record(record, name=request.name),
            fleet,
            self._records.observed,
            silences=self._records.silences(),
            sight=self._seeing.sight(caller),
            conflicts=self._execution.conflicts,
        )
        if request.node:
            places = tuple(place for place in status.places if place.node == request.node)
            status = msgspec.structs.replace(status, places=places)
        return deployment_with_room(status, limit_bytes=self._records.max_reply_bytes)

    async def list_nodes(self, request: ListNodes, caller: Caller) -> NodeList:
        """By name, a page of them."""
        fleet = self._records.fleet
        sight = self._seeing.sight(caller)
        names = sorted(name for name in self._records.nodes if name > request.after)
        nodes = (in_a_list(self._node_status(name, fleet, sight)) for name in names)
        return nodes_with_room(
            (node for node in nodes if request.forgotten or not node.forgotten),
            limit_bytes=self._records.max_reply_bytes,
        )

    async def get_node(self, request: GetNode, caller: Caller) -> NodeStatus:
        """Inventory, liveness, chains."""
        node, fleet = known_node(self._records.nodes, request.node).node, self._records.fleet
        sight = self._seeing.sight(caller)
        status = self._node_status(node, fleet, sight, self._records.drain_waits.get(node, ()))
        unfit_for = unfit_deployments(fleet.nodes[node], fleet, sight)
        return msgspec.structs.replace(status, unfit_for=unfit_for)

    async def explain_node(self, request: ExplainNode, caller: Caller) -> NodeExplained:
        """Why the node runs what it runs, and why it does not run the rest."""
        node = known_node(self._records.nodes, request.node).node
        seen = self._execution.observation()
        labels = self._records.labels_of(node)
        return explain_node(
            seen.fleet.nodes[node],
            seen,
            self._seeing.sight(caller),
            cordon=labels.cordon if labels is not None else None,
            waits=self._records.drain_waits.get(node, ()),
        )

    async def why_chains(self, request: WhyChains, caller: Caller) -> ChainReasons:
        """Which deployments and rules made the chains of an interface what they are."""
        node, fleet = known_node(self._records.nodes, request.node).node, self._records.fleet
        place = render_place(request.interface, request.netns)
        sight = self._seeing.sight(caller)
        return chain_reasons(fleet, fleet.nodes[node], place, hook=request.hook, sight=sight)

    def _node_status(
        self, node: str, fleet: Fleet, sight: Sight, waits: Iterable[DrainWait] = ()
    ) -> NodeStatus:
        labels = self._records.labels_of(node)
        return node_status(
            self._records.nodes[node],
            fleet,
            self._records.observed.get(node),
            self._records.silence(node),
            sight,
            cordon=labels.cordon if labels is not None else None,
            waits=waits,
        )
