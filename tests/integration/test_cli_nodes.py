# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The commands about nodes as processes, over a real bus with a scheduler and small nodes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from shared.contracts.scheduler import GET_NODE, GetNode
from tests.fleets import a_spec
from tests.integration.conftest import Buses
from tests.support.command_line import Answer, run_l3af
from tests.support.scheduler_neighbours import WAIT_SECONDS, until_running
from tests.support.scheduler_system import System, system

__all__ = ["system"]


class Shell:
    """Runs commands as an operator."""

    def __init__(self, credentials: Path, folder: Path) -> None:
        self._credentials, self._folder = credentials, folder

    async def l3af(self, *words: str) -> Answer:
        """The command has ended."""
        return await run_l3af(*words, credentials=self._credentials, folder=self._folder)


@pytest.fixture
def shell(buses: Buses, tmp_path: Path) -> Shell:
    """Commands of an operator."""
    return Shell(buses.server.credentials("operator", "somebody"), tmp_path)


async def test_nodes_are_cordoned_and_drained_from_the_shell(system: System, shell: Shell) -> None:
    """A drain says what left and what it waits for; one that is not over in time fails so."""
    await system.catalog()
    await system.node("n1")
    slow = await system.node("n2")
    await system.apply(a_spec())
    await until_running(system.operator, "edge")
    slow.acts.clear()
    why = "it has not acted upon it yet"

    cordoned = await shell.l3af("cordon", "n1", "--reason", "new disks")
    drained = await shell.l3af("drain", "n1", "--json")
    held = await shell.l3af("drain", "n2", "--timeout", "2")
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            cordon = (await system.operator.request(GET_NODE, GetNode(node="n2"))).cordon
            if cordon is not None and [one.why for one in cordon.waits] == [why]:
                break
            await asyncio.sleep(0.005)
    ignored = await shell.l3af("drain", "n2", "--no-wait")
    listed = await shell.l3af("node", "list")
    shown = await shell.l3af("node", "show", "n2")
    explained = await shell.l3af("explain", "n1")
    opened = await shell.l3af("uncordon", "n1")
    again = await shell.l3af("uncordon", "n1")

    assert (cordoned.status, cordoned.output.strip()) == (0, "n1 is cordoned")
    assert drained.status == 0, drained
    assert drained.document["cordon"]["left"] == ["edge"]
    assert held.status == 3, held
    assert "n2 is not empty yet; the drain goes on" in held.message
    assert (ignored.status, "n2 is being drained already" in ignored.message) == (2, True)
    assert ("(drained)" in listed.output, "(drains)" in listed.output) == (True, True)
    assert why in shown.output
    assert explained.status == 0, explained
    assert "not here: edge (rate-limit): was drained" in explained.output
    assert (opened.status, again.status) == (0, 2)
