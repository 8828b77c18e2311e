# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af node show` and `l3af node ebpf` as processes, over a real bus."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest

from shared.adapters.callers import Caller
from shared.contracts.capabilities import Capabilities, ProgramTypeSupport
from shared.contracts.ebpf import LIST_EBPF, EbpfListed, EbpfProgram, ListEbpf
from shared.contracts.permissions import ALLOWED_ENDPOINTS
from shared.contracts.scheduler import GET_NODE, GetNode
from tests.integration.conftest import Buses
from tests.support.command_line import run_l3af
from tests.support.scheduler_system import System, system

__all__ = ["system"]

PROGRAMS = tuple(
    EbpfProgram(id=number, type="xdp", name=f"program{number}", managed=number % 2 == 0, role="r")
    for number in range(1, 6)
)


async def l3af(credentials: Path, *words: str) -> tuple[int, str]:
    """Status and output of a command."""
    answer = await run_l3af(*words, credentials=credentials)
    return answer.status, answer.output or answer.message


async def _list(request: ListEbpf, caller: Caller) -> EbpfListed:
    """Two programs a page."""
    assert caller.role == "viewer"
    wanted = [
        one
        for one in PROGRAMS
        if one.id > request.after_id and not (request.only_unmanaged and one.managed)
    ]
    return EbpfListed(
        node="n2",
        programs=tuple(wanted[:2]),
        has_more=len(wanted) > 2,
        total=len(PROGRAMS),
        managed_total=2,
    )


@pytest.fixture
async def viewer(buses: Buses) -> Path:
    """Credentials of somebody who may look."""
    return buses.server.credentials("viewer", "vera")


async def test_programs_of_a_node_from_the_shell(buses: Buses, viewer: Path) -> None:
    """Every page of them, for a viewer; with `--unmanaged` those of others alone."""
    node = await buses.open("node", "n2")
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(
            node.serve("node", {LIST_EBPF: _list}, version="0.1.0", tokens={"node": "n2"})
        )
        status, everything = await l3af(viewer, "node", "ebpf", "n2", "--json")
        _, others = await l3af(viewer, "node", "ebpf", "n2", "--unmanaged", "--json")
        _, shown = await l3af(viewer, "node", "ebpf", "n2")
        wrong, _ = await l3af(viewer, "node", "ebpf", "N 2")

    listed: Any = json.loads(everything)
    assert status == 0
    assert [one["id"] for one in listed["programs"]] == [1, 2, 3, 4, 5]
    assert [one["id"] for one in json.loads(others)["programs"]] == [1, 3, 5]
    assert "5 programs, 3 not managed" in shown
    assert wrong == 2
    assert all(LIST_EBPF in allowed for allowed in ALLOWED_ENDPOINTS.values())


async def test_capabilities_of_a_node_from_the_shell(system: System, viewer: Path) -> None:
    """A summary for people, everything as JSON, and nothing of it in the list of nodes."""
    capabilities = Capabilities(
        kernel_build="6.12.0 #1 SMP",
        program_types=(ProgramTypeSupport(name="xdp", helpers="1-3,25"),),
        missing_map_types=("arena",),
        cgroup="2",
    )
    node = await system.node("n1")
    node.record = msgspec.structs.replace(node.record, capabilities=capabilities)
    await node.register()
    async with asyncio.timeout(60):
        while True:
            known = await system.operator.request(GET_NODE, GetNode(node="n1"))
            if known.record.capabilities is not None:
                break
            await asyncio.sleep(0.005)

    _, shown = await l3af(viewer, "node", "show", "n1")
    _, everything = await l3af(viewer, "node", "show", "n1", "--json")
    _, listed = await l3af(viewer, "node", "list", "--json")

    assert "6.12.0 #1 SMP" in shown
    assert "all but arena" in shown
    assert "hook points" in shown
    assert json.loads(everything)["record"]["capabilities"]["program_types"] == [
        {"name": "xdp", "helpers": "1-3,25"}
    ]
    assert "capabilities" not in json.loads(listed)["nodes"][0]["record"]
