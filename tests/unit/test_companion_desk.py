# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What a node answers about its companions, and to whom."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from shared.adapters.callers import Caller
from shared.contracts.desired import DesiredNode
from shared.contracts.node_companions import (
    ListCompanions,
    ReadCompanionLog,
    RestartCompanion,
)
from shared.errors import RefusedError
from tests.support.companion_node import ID, World
from tests.support.companions import (
    a_companion_memory,
    a_companion_program,
)


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A node whose chain has a companion."""
    return World(tmp_path)


def caller(name: str = "ann") -> Caller:
    """An operator."""
    return Caller(key="UANN", role="operator", name=name, attested=True, address="0" * 32)


async def test_a_node_lists_companions_with_what_they_use(world: World) -> None:
    """By place; those of one deployment, if that is asked."""
    await world.settled()
    await world.keeper.apply()

    all_of_them = await world.desk.list(ListCompanions(), caller())
    none = await world.desk.list(ListCompanions(deployment="other"), caller())

    (one,) = all_of_them.companions
    assert (one.place, one.companion.companion, one.package) == ("eth0", "exporter", "one")
    assert one.usage is not None
    assert (one.usage.memory_bytes, one.usage.processes) == (1 << 20, 1)
    assert none.companions == ()


async def test_what_a_companion_wrote_is_read(world: World) -> None:
    """The newest lines."""
    await world.settled()
    await world.keeper.apply()
    world.supervisor.lines[ID] = ["one", "two", "three"]

    request = ReadCompanionLog(deployment="edge", companion="exporter", lines=2)
    found = await world.desk.read_log(request, caller())

    assert [line.text for line in found.lines] == ["two", "three"]
    assert (found.interface, found.hook, found.companion) == ("eth0", "xdp", "exporter")


async def test_who_had_a_companion_restarted_is_in_the_journal(world: World) -> None:
    """With the reason; and it is done."""
    await world.settled()
    await world.keeper.apply()

    request = RestartCompanion(deployment="edge", companion="exporter", reason="stuck")
    await world.desk.restart(request, caller())

    (body,) = world.journal.said.values()
    assert (body.action, body.outcome, body.reason) == ("companion.restart", "accepted", "stuck")
    assert body.actor is not None
    assert (body.actor.key, body.actor.role, body.actor.through) == ("UANN", "operator", "node/n1")
    assert world.supervisor.states[ID].starts == 2


async def test_a_companion_on_several_hook_points_must_be_named_with_one(world: World) -> None:
    """Those that there are, are said."""
    world.points.those.append(a_companion_memory(a_companion_program(), interface="eth1"))
    await world.settled()
    await world.keeper.apply()

    with pytest.raises(RefusedError) as caught:
        await world.desk.restart(
            RestartCompanion(deployment="edge", companion="exporter"), caller()
        )
    named = RestartCompanion(deployment="edge", companion="exporter", interface="eth1")
    await world.desk.restart(named, caller())

    assert caught.value.reasons[0].allowed == [ID, "eth1/xdp/edge/exporter"]
    assert world.supervisor.states["eth1/xdp/edge/exporter"].starts == 2


async def test_a_companion_of_a_space_is_shown_and_touched_by_its_members_alone(
    world: World,
) -> None:
    """For others it takes the same way to the same answer as one that is not there."""
    program = a_companion_program("p_acme.fix", order=5)
    world.points.those = [a_companion_memory(program, audience="p_acme")]
    chain = world.points.those[0].current
    assert chain is not None
    world.readers.learn(
        DesiredNode(node="n1", generation=1, chains=(chain.chain,), members={"p_acme": ("bob",)})
    )
    await world.settled()
    await world.keeper.apply()

    mine = await world.desk.list(ListCompanions(), caller("bob"))
    others = await world.desk.list(ListCompanions(), caller("ann"))
    refusals = []
    for deployment in ("p_acme.fix", "p_acme.nothing"):
        restart = RestartCompanion(deployment=deployment, companion="exporter")
        read = ReadCompanionLog(deployment=deployment, companion="exporter")
        for asked in (
            world.desk.restart(restart, caller("ann")),
            world.desk.read_log(read, caller("ann")),
        ):
            with pytest.raises(RefusedError) as caught:
                await asked
            said = msgspec.json.encode(caught.value.refusal()).decode()
            refusals.append(said.replace(deployment, ""))

    assert len(mine.companions) == 1
    assert others.companions == ()
    assert len(set(refusals)) == 1
    assert world.desk.usage() == ()
