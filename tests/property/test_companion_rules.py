# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Whatever dies or is away: what is wanted runs in the end, and each thing is said once."""

from __future__ import annotations

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, Literal, get_args

from hypothesis import given, settings
from hypothesis import strategies as st

from shared.contracts.companions import CompanionExit
from tests.support.companion_node import World
from tests.support.companions import a_companion_memory, a_companion_program

Doing = Literal[
    "deploy",
    "remove",
    "look",
    "supervisor goes",
    "supervisor comes",
    "journal full",
    "journal empty",
    "companion fails",
    "executor dies",
    "acknowledgement lost",
]
DOINGS: Final[tuple[Doing, ...]] = get_args(Doing)
ROUNDS: Final = 200


class Life:
    """One node, and everything that can happen to it."""

    def __init__(self, folder: Path) -> None:
        self.world = World(folder)
        self.world.points.those = []
        self.arguments = 9000

    async def do(self, doing: Doing) -> None:
        """It happens."""
        world = self.world
        supervisor = world.supervisor
        match doing:
            case "deploy":
                self.arguments += 1
                program = a_companion_program(arguments={"port": self.arguments})
                world.points.those = [a_companion_memory(program)]
            case "remove":
                world.points.those = []
            case "look":
                await world.settled()
            case "companion fails":
                for companion in list(supervisor.states):
                    ended = CompanionExit(reason="status", status=1)
                    supervisor.happens(companion, "exit", "backing-off", ended=ended)
            case _:
                self._breaks(doing)

    def _breaks(self, doing: Doing) -> None:
        world = self.world
        match doing:
            case "supervisor goes":
                world.supervisor.goes_away()
            case "supervisor comes":
                world.supervisor.is_away = False
            case "journal full":
                world.journal.is_full = True
            case "journal empty":
                world.journal.is_full = False
            case "executor dies":
                world.restart()
            case "acknowledgement lost":
                world.supervisor.kept = list(world.supervisor.ever)

    async def ends_well(self) -> None:
        """Nothing is away any more, and the loops come to rest."""
        self.world.supervisor.is_away = False
        self.world.journal.is_full = False
        await self.world.settled()
        async with self.world.running():
            for _ in range(ROUNDS):
                await asyncio.sleep(0)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(DOINGS), st.integers(0, 12)), max_size=20))
def test_what_is_wanted_runs_and_each_thing_is_said_once(doings: list[tuple[Doing, int]]) -> None:
    """In any order, with the loops running for a while between one and the next."""

    async def lived() -> Life:
        with TemporaryDirectory() as folder:
            life = Life(Path(folder))
            for doing, turns in doings:
                await life.do(doing)
                async with life.world.running():
                    for _ in range(turns):
                        await asyncio.sleep(0)
            await life.ends_well()
            return life

    life = asyncio.run(lived())
    world, supervisor = life.world, life.world.supervisor

    assert supervisor.specs == {one: known.spec for one, known in world.keeper.wanted.items()}
    said = [body.action for body in world.journal.said.values()]
    happened = [event.kind for event in supervisor.ever]
    kinds = {"companion.start": "start", "companion.exit": "exit", "companion.stop": "stopped"}
    assert {action: said.count(action) for action in kinds} == {
        action: [str(one) for one in happened].count(kind) for action, kind in kinds.items()
    }
    assert supervisor.kept == []
