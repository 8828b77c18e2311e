# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The supervisor is told what shall run, and the node says what does; each thing once."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from services.node_executor.adapters.companion_files import CompanionFiles
from services.node_executor.adapters.companion_keeper import CompanionKeeper
from services.node_executor.companion_set import TOO_MANY, CompanionNode
from shared.contracts.companions import MAX_COMPANIONS, CompanionExit
from tests.support.companion_node import DIGEST, ID, World, until
from tests.support.companions import (
    BOOT,
    EXECUTABLE,
    HERE,
    a_companion_memory,
    a_companion_program,
)
from tests.unit.test_archives import at_once


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A node whose chain has a companion."""
    return World(tmp_path)


async def test_a_confirmed_chain_gets_its_companion_with_its_executable(world: World) -> None:
    """The executable lies where the spec says, and nothing else does."""
    (world.folder / "companions").mkdir()
    (world.folder / "companions" / ("0" * 64)).write_bytes(b"of a version before")
    await world.settled()

    assert await world.keeper.apply()

    assert world.supervisor.applied == [(ID,)]
    spec = world.supervisor.specs[ID]
    assert Path(spec.start.path).read_bytes() == EXECUTABLE
    assert [one.name for one in (world.folder / "companions").iterdir()] == [DIGEST]
    assert [one.state for one in world.observed()] == ["starting"]


async def test_before_chains_are_known_nothing_is_told(world: World) -> None:
    """Or every start of an executor would stop what runs; that there is somebody is known."""
    assert await world.keeper.apply()

    assert world.supervisor.applied == []
    assert world.keeper.features() == ({"companions": True}, {})


async def test_the_same_set_is_told_once(world: World) -> None:
    """Rounds without a change ask and tell nothing."""
    for _ in range(3):
        await world.settled()
        await world.keeper.apply()

    assert world.supervisor.applied == [(ID,)]
    assert world.archives.taken == 1


async def test_a_chain_that_goes_takes_its_companions_along(world: World) -> None:
    """The set without it is told, and its executable is not kept."""
    await world.settled()
    await world.keeper.apply()

    world.points.those = []
    await world.settled()
    await world.keeper.apply()

    assert world.supervisor.applied == [(ID,), ()]
    assert list((world.folder / "companions").iterdir()) == []


async def test_a_supervisor_that_was_away_is_told_again(world: World) -> None:
    """It may be another one; the node does not report the feature meanwhile."""
    await world.settled()
    await world.keeper.apply()
    world.supervisor.is_away = True
    await world.keeper.try_refresh()
    features, notes = world.keeper.features()

    world.supervisor.is_away = False
    await world.keeper.apply()

    assert features == {"companions": False}
    assert notes == {"companions": "the companion supervisor does not answer"}
    assert world.keeper.features() == ({"companions": True}, {})
    assert world.supervisor.applied == [(ID,), (ID,)]
    assert world.registered == 3  # there, away, there


async def test_what_runs_while_the_supervisor_is_away_is_not_known(world: World) -> None:
    """The last word of somebody who is gone is not the present."""
    await world.settled()
    await world.keeper.apply()
    world.supervisor.is_away = True

    await world.keeper.try_refresh()

    (seen,) = world.observed()
    assert (seen.state, seen.reason) == ("unknown", "the companion supervisor does not answer")


async def test_an_executable_that_cannot_be_had_keeps_no_other_waiting(world: World) -> None:
    """What runs already goes on; what does not is left out until its archive is there."""
    await world.settled()
    await world.keeper.apply()
    other = a_companion_program("other", order=20)
    world.points.those.append(a_companion_memory(other, interface="eth1"))
    (world.folder / "companions" / DIGEST).unlink()
    world.archives.is_lost = True
    await world.settled()

    assert not await world.keeper.apply()
    told_meanwhile = list(world.supervisor.applied)

    world.archives.is_lost = False
    assert await world.keeper.apply()
    assert [told_meanwhile[-1], world.supervisor.applied[-1]] == [
        (ID,),
        (ID, "eth1/xdp/other/exporter"),
    ]


async def test_more_than_the_supervisor_takes_keep_no_other_waiting(world: World) -> None:
    """What runs goes on, also with the next executor; what is too much is told why it does not."""
    world.points.those = [
        a_companion_memory(a_companion_program(), interface=f"lan{number}")
        for number in range(MAX_COMPANIONS)
    ]
    await world.settled()
    await world.keeper.apply()
    (running,) = world.supervisor.applied
    world.points.those.append(
        a_companion_memory(a_companion_program("other", order=20), interface="a0")
    )

    for _ in range(2):
        await world.settled()
        await world.keeper.apply()
        assert world.supervisor.applied[-1] == running
        assert world.keeper.features() == ({"companions": True}, {})
        assert world.keeper.remarks == {"a0/xdp/other/exporter": TOO_MANY}
        world.restart()


async def test_what_is_not_told_says_why(world: World) -> None:
    """It is on its way, and the reason is that of its archive."""
    world.archives.is_lost = True
    await world.settled()

    assert not await world.keeper.apply()

    (seen,) = world.observed()
    assert (seen.state, seen.reason) == ("starting", world.keeper.remarks[ID])
    assert seen.reason


async def test_what_happens_is_journaled_once_and_then_acknowledged(world: World) -> None:
    """Start and ready, with the report that follows from them."""
    async with world.running():
        await world.settled()
        await until(lambda: "companion.start" in world.actions())
        world.supervisor.happens(ID, "ready", "ready")
        await until(lambda: world.observed()[0].state == "ready" and not world.supervisor.kept)

    assert world.actions() == ["companion.start", "companion.ready"]


async def test_a_journal_that_takes_nothing_acknowledges_nothing(world: World) -> None:
    """The supervisor keeps what could not be said."""
    world.journal.is_full = True
    async with world.running():
        await world.settled()
        await until(lambda: world.supervisor.asked_for_events > 1)
        kept = len(world.supervisor.kept)
        world.journal.is_full = False
        await until(lambda: "companion.start" in world.actions() and not world.supervisor.kept)

    assert kept == 1
    assert world.actions() == ["companion.start"]


async def test_an_executor_that_died_before_it_acknowledged_says_nothing_twice(
    world: World,
) -> None:
    """The next one fetches the same and finds it in the journal."""
    async with world.running():
        await world.settled()
        await until(lambda: "companion.start" in world.actions() and not world.supervisor.kept)
    world.supervisor.happens(
        ID, "exit", "backing-off", ended=CompanionExit(reason="signal", signal="SIGKILL")
    )
    kept = list(world.supervisor.kept)
    async with world.running():
        await until(lambda: "companion.exit" in world.actions())
    world.supervisor.kept = kept  # the acknowledgement was not sent

    world.restart()
    async with world.running():
        await world.settled()
        await until(lambda: not world.supervisor.kept)

    assert world.actions() == ["companion.start", "companion.exit"]


async def test_another_executor_leaves_what_runs(world: World) -> None:
    """It wants the same, so the supervisor does nothing."""
    await world.settled()
    await world.keeper.apply()
    pid = world.supervisor.states[ID].pid

    world.restart()
    await world.settled()
    await world.keeper.apply()

    assert world.supervisor.states[ID].pid == pid
    assert world.supervisor.states[ID].starts == 1


async def test_a_supervisor_that_comes_later_is_found(world: World) -> None:
    """Without anybody asking."""
    world.supervisor.is_away = True
    async with world.running():
        await world.settled()
        await until(lambda: world.keeper.problem != "the companion supervisor was not asked")
        world.supervisor.is_away = False
        await until(lambda: world.supervisor.applied == [(ID,)])


async def test_a_node_without_a_socket_runs_none_and_says_why(tmp_path: Path) -> None:
    """By the name of the setting."""
    world = World(tmp_path)
    keeper = CompanionKeeper(
        node=CompanionNode("n1", HERE, tmp_path),
        boot_id=BOOT,
        supervisor=None,
        listener=None,
        archives=world.archives,
        files=CompanionFiles(tmp_path),
        points=world.points,
        journal=world.journal,
        thread=at_once,
        disk=at_once,
    )

    assert await keeper.apply()
    assert keeper.features() == (
        {"companions": False},
        {"companions": "NODE_EXECUTOR_COMPANIONS_SOCKET is not set"},
    )


async def test_who_registers_first_knows_whether_companions_can_run(world: World) -> None:
    """So an executor's start is one registration and not two."""
    async with world.running():
        async with asyncio.timeout(30):
            await world.keeper.asked()

        assert world.keeper.features() == ({"companions": True}, {})
