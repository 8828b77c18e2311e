# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A repository of l3afd is imported, and its programs filter packets in this kernel."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from services.scheduler.__main__ import scheduling
from shared.contracts.deployments import DeploymentSpec
from shared.contracts.metrics import MetricSource
from shared.contracts.node import GET_CHAINS, GetChains
from shared.contracts.scheduler import (
    APPLY_DEPLOYMENT,
    GET_NODE,
    LIST_NODES,
    ApplyDeployment,
    GetNode,
    ListNodes,
)
from tests.support.executors import Wire
from tests.support.l3afd_repositories import BLOCKED_PORT, XDP_OBJECT, write_repository
from tests.support.node_fleets import DEADLINE_SECONDS, NODE, a_fleet
from tests.support.packets import ipv4, tcp
from tests.support.scheduler_neighbours import until_running
from tests.support.softirqs import wait_until_received
from tests.support.verifying_fleets import VerifyingFleet

pytestmark = pytest.mark.kernel


class ImportingFleet(VerifyingFleet):
    """Catalog and scheduler are the real ones, and no kernel is asked before a release."""

    kernels = 0

    async def open(self, stack: AsyncExitStack) -> None:
        """Everything but the executor answers."""
        await super().open(stack)
        await stack.enter_async_context(scheduling(self.scheduler))
        self.operator = await self.as_operator()

    async def is_known(self, interface: str) -> bool:
        """Whether the scheduler has heard of the interface."""
        nodes = (await self.operator.request(LIST_NODES, ListNodes())).nodes
        status = [await self.operator.request(GET_NODE, GetNode(node=one.node)) for one in nodes]
        return interface in [one.place for node in status for one in node.record.interfaces]

    async def deploy(self, name: str, interface: str, port: int, *, order: int) -> None:
        """The imported program drops connections to the port, on this interface."""
        spec = DeploymentSpec(
            name=name,
            package="port-block",
            program="xdp-port-block",
            version="^1.2",
            hook="xdp",
            interfaces=(interface,),
            order=order,
            config={
                "pb_ports_map": {str(port): 1},
                "pb_recv_count_map": {"0": 0},
                "pb_drop_count_map": {"0": 0},
            },
            metrics={
                "received": MetricSource(map="pb_recv_count_map", key="0"),
                "dropped": MetricSource(map="pb_drop_count_map", key="0"),
            },
        )
        await self.operator.request(
            APPLY_DEPLOYMENT, ApplyDeployment(spec=spec), timeout_seconds=DEADLINE_SECONDS
        )
        await until_running(self.operator, name)


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[ImportingFleet]:
    """The node and the catalog answer."""
    async with a_fleet(tmp_path, ImportingFleet) as made:
        await made.start_and_register()
        yield made


def connect_to(interface: str, port: int, count: int) -> None:
    """So many connections begin."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
        sender.bind((interface, 0))
        for _ in range(count):
            sender.send(ipv4(tcp(port)))
    wait_until_received()


async def test_a_package_of_l3afd_filters_packets(
    fleet: ImportingFleet, wire: Wire, tmp_path: Path
) -> None:
    """Signed by the importer, configured by its maps; what it lets pass the next one gets."""
    repository = write_repository(tmp_path / "repository")

    imported = await fleet.l3af("package", "import", str(repository), "--json")

    version, latest = imported.document["packages"]
    assert (version["name"], version["version"]) == ("port-block", "1.2.0")
    assert [one["path"] for one in version["remarks"]] == [
        "port_block/1.2/Windows/l3af_port_block.zip",
        f"{XDP_OBJECT}: watch_state",
        "licence",
        "port_block",
    ]
    assert (latest["outcome"], imported.status) == ("refused", 2)
    assert "none by SemVer" in latest["refusal"]["message"]
    await fleet.until(lambda: fleet.is_known(wire.name))
    await fleet.deploy("first", wire.name, BLOCKED_PORT, order=5)
    await fleet.deploy("second", wire.name, BLOCKED_PORT + 1, order=10)
    for port, count in ((BLOCKED_PORT, 5), (BLOCKED_PORT + 1, 3), (BLOCKED_PORT + 2, 1)):
        connect_to(wire.peer, port, count)
    shown = await fleet.operator.request(GET_CHAINS.at(node=NODE), GetChains())

    assert {(one.deployment, one.metric): one.value for one in shown.chains[0].metrics} == {
        ("first", "received"): 9,
        ("first", "dropped"): 5,
        ("second", "received"): 4,
        ("second", "dropped"): 3,
    }
