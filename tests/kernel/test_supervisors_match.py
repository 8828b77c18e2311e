# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What an executor relies on is so with the companion supervisor, and with the one for tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from services.node_executor.adapters.companion_line import (
    Supervisor,
    SupervisorAwayError,
    SupervisorLine,
)
from shared.companion_specs import spec_digest
from shared.contracts.companions import (
    Applied,
    ApplyCompanions,
    AskEvents,
    AskLines,
    AskStates,
    CompanionEvent,
    CompanionSpec,
    CompanionState,
    Events,
    Lines,
    RestartCompanion,
    Restarted,
    States,
)
from shared.errors import RefusedError
from tests.support.companion_supervisor import ID, a_spec, a_supervisor
from tests.support.companions import FakeSupervisor

pytestmark = pytest.mark.kernel
DEADLINE_SECONDS: Final = 30.0
FOREVER: Final = "exec sleep 1000"


@dataclass(frozen=True)
class Asked:
    """Either of the two."""

    line: Supervisor
    folder: Path

    def spec(self, *arguments: str, **fields: Any) -> CompanionSpec:
        """A companion that runs until it is stopped."""
        return a_spec(self.folder, FOREVER, *arguments, **fields)

    async def apply(self, *specs: CompanionSpec) -> None:
        """Exactly these run."""
        await self.line.ask(ApplyCompanions(instances=specs), Applied)

    async def states(self) -> dict[str, CompanionState]:
        """By id."""
        states = await self.line.ask(AskStates(), States)
        return {one.id: one for one in states.companions}

    async def events(self, since: int = 0) -> list[CompanionEvent]:
        """Those after that number."""
        return list((await self.line.ask(AskEvents(since=since), Events)).events)

    async def until(self, is_so: Callable[[], Awaitable[bool]]) -> None:
        """It is so, within a deadline."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not await is_so():
                await asyncio.sleep(0.01)

    async def until_ready(self, starts: int = 1) -> CompanionState:
        """The companion does its work, for the so many-th time."""

        async def is_ready() -> bool:
            state = (await self.states()).get(ID)
            return state is not None and (state.phase, state.starts) == ("ready", starts)

        await self.until(is_ready)
        return (await self.states())[ID]


@pytest.fixture(params=["for tests", "real"])
async def asked(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Asked]:
    """Nothing was applied yet."""
    if request.param == "for tests":
        yield Asked(FakeSupervisor(), tmp_path)
        return
    with ExitStack() as cleanup:
        process = cleanup.enter_context(a_supervisor())
        await asyncio.to_thread(process.start)
        line = SupervisorLine(process.folder / "socket")
        yield Asked(line, process.folder)
        await line.close()


async def test_what_is_applied_runs_and_the_same_again_changes_nothing(asked: Asked) -> None:
    """With the digest of what was wanted, and one start."""
    for _ in range(3):
        await asked.apply(asked.spec())

    state = await asked.until_ready()

    assert state.spec_sha256 == spec_digest(asked.spec())
    assert state.pid > 0
    assert [event.kind for event in await asked.events()] == ["start", "ready"]


async def test_other_arguments_are_another_run(asked: Asked) -> None:
    """Where there is no update command; the digest tells which of the two it is."""
    await asked.apply(asked.spec("--port=1"))
    before = await asked.until_ready()

    await asked.apply(asked.spec("--port=2"))
    after = await asked.until_ready(starts=2)

    assert before.pid != after.pid
    assert after.spec_sha256 == spec_digest(asked.spec("--port=2"))


async def test_what_is_not_listed_ends_and_is_forgotten(asked: Asked) -> None:
    """And says so in an event."""
    await asked.apply(asked.spec())
    await asked.until_ready()

    await asked.apply()

    async def is_gone() -> bool:
        return await asked.states() == {}

    await asked.until(is_gone)
    kinds = [event.kind for event in await asked.events()]
    assert kinds == ["start", "ready", "stopped"]


async def test_events_are_given_again_until_they_are_acknowledged(asked: Asked) -> None:
    """In one order, with growing numbers; a later number acknowledges."""
    await asked.apply(asked.spec())
    await asked.until_ready()

    first, again = await asked.events(), await asked.events()
    after = await asked.events(since=first[-1].number)
    gone = await asked.events()

    assert first == again
    assert [one.number for one in first] == sorted({one.number for one in first})
    assert {one.id for one in first} == {ID}
    assert (after, gone) == ([], [])


async def test_a_companion_is_started_anew_when_that_is_asked(asked: Asked) -> None:
    """One that is not known is refused by that."""
    await asked.apply(asked.spec())
    before = await asked.until_ready()

    await asked.line.ask(RestartCompanion(id=ID), Restarted)
    after = await asked.until_ready(starts=2)
    with pytest.raises(RefusedError) as caught:
        await asked.line.ask(RestartCompanion(id="nothing/at/all"), Restarted)

    assert before.pid != after.pid
    assert caught.value.refusal_code == "not_found"


async def test_lines_of_one_that_said_nothing_are_none(asked: Asked) -> None:
    """As many as were asked for at most."""
    await asked.apply(asked.spec())
    await asked.until_ready()

    assert (await asked.line.ask(AskLines(id=ID, lines=5), Lines)).lines == ()


async def test_a_supervisor_that_is_not_there_is_a_fault_and_found_when_it_comes() -> None:
    """The same line asks again without anybody's help."""
    with a_supervisor() as process:
        line = SupervisorLine(process.folder / "socket")
        with pytest.raises(SupervisorAwayError):
            await line.ask(AskStates(), States)
        await asyncio.to_thread(process.start)
        assert (await line.ask(AskStates(), States)).companions == ()
        await asyncio.to_thread(process.kill)
        with pytest.raises(SupervisorAwayError):
            await line.ask(AskStates(), States)
        await asyncio.to_thread(process.start)
        assert (await line.ask(AskStates(), States)).companions == ()
        await line.close()
