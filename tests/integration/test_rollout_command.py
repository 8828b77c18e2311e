# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""`l3af rollout`, and its commands at the top, as a person runs them."""

from __future__ import annotations

from shared.contracts.rollouts import RolloutSpec
from tests.fleets import a_spec
from tests.integration.conftest import Buses
from tests.support.command_line import run_l3af
from tests.support.scheduler_neighbours import until_running
from tests.support.scheduler_system import System, system

__all__ = ["system"]


async def test_a_rollout_from_the_shell(system: System, buses: Buses) -> None:
    """Looked at, paused, resumed, approved and aborted; a refusal says what is so."""
    await system.catalog()
    for name in ("n1", "n2"):
        await system.node(name)
    await system.apply(a_spec(version="1.0.0"))
    await until_running(system.operator, "edge")
    rollout = RolloutSpec(strategy="canary", gate="manual", approvals=1)
    await system.apply(a_spec(version="1.1.0", rollout=rollout))
    credentials = buses.server.credentials("operator", "somebody")

    shown = await run_l3af("rollout", "show", "edge", credentials=credentials)
    assert (shown.status, "another than who asked must approve" in shown.output) == (0, True)
    paused = await run_l3af("pause", "edge", "--reason", "lunch", credentials=credentials)
    assert paused.output.startswith("edge revision 2 is paused, wave 1 of 2: operator paused it")
    resumed = await run_l3af("rollout", "resume", "edge", "--json", credentials=credentials)
    assert (resumed.document["phase"], resumed.document["waves"]) == ("waiting", 2)
    approved = await run_l3af("approve", "edge", "--wave", "1", credentials=credentials)
    assert approved.status == 0, approved
    again = await run_l3af("rollout", "approve", "edge", "--wave", "0", credentials=credentials)
    assert (again.status, "wave" in again.message) == (2, True)
    aborted = await run_l3af(
        "abort", "edge", "--if-generation", "9", "--json", credentials=credentials
    )
    assert (aborted.status, "generation" in aborted.message) == (2, True)
    aborted = await run_l3af("abort", "edge", "--reason", "no", credentials=credentials)
    assert aborted.output.startswith("edge revision 2 is aborted")
    status = await until_running(system.operator, "edge")
    assert (status.revision, status.version) == (3, "1.0.0")
    over = await run_l3af("resume", "edge", credentials=credentials)
    assert (over.status, "revision 2 is aborted" in over.message) == (2, True)
