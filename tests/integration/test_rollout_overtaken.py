# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Other commands in the middle of a rollout, over a real bus."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from shared.contracts.chain_reasons import WHY_CHAINS, WhyChains
from shared.contracts.desired import DESIRED, DesiredNode
from shared.contracts.rollouts import RolloutSpec
from shared.contracts.scheduler import (
    GET_DEPLOYMENT,
    REMOVE_DEPLOYMENT,
    ROLL_BACK_DEPLOYMENT,
    DeploymentStatus,
    GetDeployment,
    RemoveDeployment,
    RollBackDeployment,
)
from tests.fleets import a_spec
from tests.support.event_stream import stored_events
from tests.support.scheduler_neighbours import WAIT_SECONDS, until_running
from tests.support.scheduler_system import System, system

__all__ = ["system"]

GATED = RolloutSpec(strategy="canary", gate="manual")
NODES = ("n1", "n2", "n3")


async def _canary(system: System) -> dict[str, DesiredNode]:
    """1.0.0 is on n2 and n3, 1.1.0 on n1, and an operator is waited for; what was told before."""
    await system.catalog()
    for name in NODES:
        await system.node(name)
    await system.apply(a_spec(version="1.0.0"))
    await until_running(system.operator, "edge")
    before = {name: await _told(system, name) for name in NODES}
    await system.apply(a_spec(version="1.1.0", rollout=GATED), "command-canary")
    await _until(system, _waits)
    return before


async def _told(system: System, node: str) -> DesiredNode:
    entry = await system.scheduler.bucket(DESIRED).get(node)
    assert entry is not None
    return entry.value


async def _until(system: System, is_so: Callable[[DeploymentStatus], bool]) -> DeploymentStatus:
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            status = await system.operator.request(GET_DEPLOYMENT, GetDeployment(name="edge"))
            if is_so(status):
                return status
            await asyncio.sleep(0.01)


def _waits(status: DeploymentStatus) -> bool:
    state = status.rollout
    return state is not None and (state.phase, state.wave) == ("waiting", 1)


def _runs(*versions: str) -> Callable[[DeploymentStatus], bool]:
    def is_so(status: DeploymentStatus) -> bool:
        found = [(one.state, one.observed_version) for one in status.places]
        return found == [("running", version) for version in versions]

    return is_so


async def _endings(system: System, *command_ids: str) -> list[str]:
    """How the commands ended, once they did; an event is read once."""
    found: dict[str, str] = {}
    async with asyncio.timeout(WAIT_SECONDS):
        while not found.keys() >= set(command_ids):
            for event in await stored_events(system.auditor):
                if event.data.action == "deployment.complete":
                    found[event.data.correlation] = event.data.outcome
    return [found[one] for one in command_ids]


async def test_a_rollback_brings_what_was_everywhere_back_at_once(system: System) -> None:
    """Nodes that never had more are told nothing; the canary's programs are those of before."""
    before = await _canary(system)

    accepted = await system.operator.request(
        ROLL_BACK_DEPLOYMENT, RollBackDeployment(name="edge", reason="it drops")
    )
    status = await _until(system, _runs("1.0.0", "1.0.0", "1.0.0"))

    assert [one.node for one in accepted.plan.chains] == ["n1"]
    assert (status.revision, status.version) == (3, "1.0.0")
    assert status.rollout is not None
    assert (status.rollout.phase, status.rollout.why) == (
        "rolled-back",
        "an operator rolled it back: it drops",
    )
    for name in ("n2", "n3"):
        assert await _told(system, name) == before[name]
    again = await _told(system, "n1")
    assert [one.programs for one in again.chains] == [one.programs for one in before["n1"].chains]
    ended = await _endings(system, "command-canary", accepted.command_id)
    assert ended == ["failed", "succeeded"]


async def test_a_further_revision_sets_out_from_what_every_node_has(system: System) -> None:
    """And why says of each node what it has and what comes."""
    await _canary(system)

    accepted = await system.apply(a_spec(version="1.1.0", order=7, rollout=GATED), "command-next")
    status = await _until(
        system,
        lambda one: _runs("1.1.0", "1.0.0", "1.0.0")(one) and one.places[0].revision == 3,
    )

    (planned,) = accepted.plan.rollouts
    assert planned.base_revision == 1
    assert [one.revision for one in status.places] == [3, 1, 1]
    why = await system.operator.request(WHY_CHAINS, WhyChains(node="n2", interface="eth0"))
    ((program,),) = [one.programs for one in why.hooks]
    assert program.revision == 1
    assert program.rollout.startswith("revision 3 comes with wave 2 of 2; ")
    assert await _endings(system, "command-canary") == ["failed"]


async def test_a_removal_takes_off_what_each_node_has(system: System) -> None:
    """And there is no rollout any more."""
    await _canary(system)

    accepted = await system.operator.request(REMOVE_DEPLOYMENT, RemoveDeployment(name="edge"))
    status = await _until(system, lambda one: not one.places)

    assert {place.version for one in accepted.plan.chains for place in one.programs} == {
        "1.0.0",
        "1.1.0",
    }
    assert (status.removed, status.rollout) == (True, None)
    assert await _endings(system, accepted.command_id) == ["succeeded"]
