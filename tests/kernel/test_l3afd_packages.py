# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A repository of l3afd is imported, and its programs filter packets in this kernel."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shared.contracts.catalog import GET_PACKAGE, GetPackage, PackageVersion
from shared.contracts.desired import DesiredProgram
from shared.contracts.metrics import MetricSource
from shared.contracts.node import GET_CHAINS, GetChains
from tests.support.executors import Wire, a_chain
from tests.support.l3afd_repositories import BLOCKED_PORT, XDP_OBJECT, write_repository
from tests.support.node_fleets import NODE, a_fleet
from tests.support.packets import ipv4, tcp
from tests.support.verifying_fleets import VerifyingFleet

pytestmark = pytest.mark.kernel


class ImportingFleet(VerifyingFleet):
    """The real catalog, and no kernel is asked before a release."""

    kernels = 0


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
    found = (
        await fleet.publisher.request(GET_PACKAGE, GetPackage(name="port-block", version="1.2.0"))
    ).package
    first = blocking(found, "first", BLOCKED_PORT, order=5)
    second = blocking(found, "second", BLOCKED_PORT + 1, order=10)
    generation = await fleet.desire(a_chain(wire.name, first, second))
    observed = await fleet.observed(generation)
    for port, count in ((BLOCKED_PORT, 5), (BLOCKED_PORT + 1, 3), (BLOCKED_PORT + 2, 1)):
        connect_to(wire.peer, port, count)
    shown = await fleet.publisher.request(GET_CHAINS.at(node=NODE), GetChains())

    assert [one.state for one in observed.chains] == ["attached"], observed
    assert {(one.deployment, one.metric): one.value for one in shown.chains[0].metrics} == {
        ("first", "received"): 9,
        ("first", "dropped"): 5,
        ("second", "received"): 4,
        ("second", "dropped"): 3,
    }


def blocking(found: PackageVersion, deployment: str, port: int, *, order: int) -> DesiredProgram:
    """The package's program, which shall drop connections to one port."""
    program = next(one for one in found.manifest.programs if one.hooks == ("xdp",))
    return DesiredProgram(
        deployment=deployment,
        revision=1,
        package=found.manifest.name,
        version=found.version,
        program=program.name,
        function=program.function,
        object=program.object,
        order=order,
        proceed_on=("pass",),
        config={
            "pb_ports_map": {str(port): 1},
            "pb_recv_count_map": {"0": 0},
            "pb_drop_count_map": {"0": 0},
        },
        metrics={
            "received": MetricSource(map="pb_recv_count_map", key="0"),
            "dropped": MetricSource(map="pb_drop_count_map", key="0"),
        },
        signed=found.signed,
    )
