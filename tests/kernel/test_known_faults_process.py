# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Known faults of the daemon itself: each row is shown on an executor's process, by its frames."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from shared.adapters.callers import Caller
from shared.contracts.catalog import ArtifactChunk, ReadArtifact
from shared.contracts.desired import DESIRED, DesiredChain
from shared.contracts.metrics import MetricSource
from shared.contracts.node import GET_CHAINS, NODES, ChainShown, GetChains
from shared.errors import FaultError
from shared.identifiers import Hook
from tests.support.executors import Wire, a_chain, a_program, pin_directory, published
from tests.support.frame_sender import FrameReceiver, FrameSender
from tests.support.known_faults import Fault, table, xdp_program
from tests.support.node_fleets import NODE, Fleet
from tests.support.operator_mode import OperatorModeServer

DROPS = "4.0.0"
TRUNCATED_BYTES = 1000
TC: Hook = "tc-ingress"
METRICS = {"packets": MetricSource(map="packets", key="0")}


class Bench(Fleet):
    """One node on a wire with frames on it; its catalog can fall silent about an archive."""

    wire: Wire
    sender: FrameSender
    receiver: FrameReceiver
    silent = ""
    asked: set[str]
    answers: asyncio.Event

    async def _read_artifact(self, request: ReadArtifact, caller: Caller) -> ArtifactChunk:
        self.asked.add(request.sha256)
        if request.sha256 == self.silent:
            await self.answers.wait()
        return await super()._read_artifact(request, caller)

    def dropping(self, command: str = "command-1") -> DesiredChain:
        """A chain that counts and lets nothing pass."""
        programs = a_program("count", metrics=METRICS), a_program("drop", DROPS, order=20)
        return a_chain(self.wire.name, *programs, command=command)

    async def shown(self) -> ChainShown:
        """The chain on the wire, read from the kernel now, by a process that answers."""

        async def ask() -> object:
            try:
                shown = await self.viewer.request(GET_CHAINS.at(node=NODE), GetChains())
            except FaultError:
                return None
            return next((one for one in shown.chains if one.chain.program_id), None)

        found = await self.until(ask)
        assert isinstance(found, ChainShown)
        assert found.chain.hook != "xdp" or (
            found.chain.program_id == xdp_program(self.wire.name)
        ), "`ip` sees another program"
        return found

    async def passing_while(self, change: Callable[[], Awaitable[object]]) -> int:
        """How many frames pass while the change is made and others go on arriving."""
        self.receiver.drain()
        self.sender.go_on()
        await change()
        self.sender.pause()
        return self.receiver.drain()


@pytest.fixture
async def bench(tmp_path: Path, wire: Wire) -> AsyncIterator[Bench]:
    """Everything runs and the executor answers."""
    server = OperatorModeServer(tmp_path / "nats")
    server.start()
    sender, receiver = FrameSender(wire.peer), FrameReceiver(wire.name)
    with pin_directory() as base:
        async with AsyncExitStack() as stack:
            stack.callback(server.stop)
            stack.callback(sender.stop)
            stack.callback(receiver.close)
            made = Bench(server, tmp_path, base)
            made.wire, made.sender, made.receiver = wire, sender, receiver
            made.asked = set()
            made.answers = asyncio.Event()
            await made.open(stack)
            made.start()
            stack.callback(made.stop, signal.SIGKILL)
            await made.until(lambda: made.scheduler.bucket(NODES).get(NODE))
            yield made


def _value(shown: ChainShown) -> float:
    return shown.metrics[0].value or 0


async def _stopped_and_started(bench: Bench) -> None:
    await bench.observed(await bench.desire(bench.dropping()))
    before = await bench.shown()

    async def change() -> None:
        assert bench.stop(signal.SIGTERM) == 0
        await asyncio.sleep(0.05)
        bench.start()
        await bench.shown()

    assert await bench.passing_while(change) == 0
    after = await bench.shown()
    assert after.chain.program_id == before.chain.program_id
    assert after.chain.link_id == before.chain.link_id
    assert _value(after) > _value(before), "frames did arrive, and counters went on"


async def _catalog_is_silent(bench: Bench) -> None:
    package = published("2.0.0", TC)
    bench.silent = package.signed.archive_sha256
    bench.archives[bench.silent] = package.archive
    waiting = a_chain(bench.wire.name, a_program("late", "2.0.0", TC), hook=TC)

    generation = await bench.desire(waiting, bench.dropping())

    before = await bench.shown()
    assert before.chain.hook == "xdp"
    assert await bench.passing_while(lambda: asyncio.sleep(0.05)) == 0
    after = await bench.shown()
    assert _value(after) > _value(before), "frames did arrive"
    assert bench.silent in bench.asked
    assert xdp_program(bench.wire.name)
    bench.answers.set()
    observed = await bench.observed(generation)
    assert [one.state for one in observed.chains] == ["attached", "attached"]


async def _desired_record_is_gone(bench: Bench) -> None:
    await bench.observed(await bench.desire(bench.dropping()))
    before = await bench.shown()

    async def change() -> None:
        await bench.scheduler.bucket(DESIRED).delete(NODE)
        bench.stop(signal.SIGKILL)
        bench.start()
        await bench.shown()

    assert await bench.passing_while(change) == 0
    after = await bench.shown()
    assert after.chain.program_id == before.chain.program_id
    assert _value(after) > _value(before)


async def _state_is_truncated(bench: Bench) -> None:
    await bench.observed(await bench.desire(bench.dropping()))
    before = await bench.shown()

    async def change() -> None:
        bench.stop(signal.SIGKILL)
        for path in bench.state.glob("state.sqlite-*"):
            path.unlink()
        with (bench.state / "state.sqlite").open("r+b") as file:
            file.truncate(TRUNCATED_BYTES)
        bench.start()
        await bench.shown()

    assert await bench.passing_while(change) == 0
    after = await bench.shown()
    assert after.chain.program_id == before.chain.program_id
    assert [one.deployment for one in after.chain.programs] == ["count", "drop"]
    assert _value(after) > _value(before), "frames did arrive, and counters went on"
    await bench.until(lambda: _is_said(bench, "state.rebuild"))
    observed = await bench.observed(await bench.desire())
    assert not any(one.program_id for one in observed.chains)
    assert xdp_program(bench.wire.name) == 0


async def _is_said(bench: Bench, action: str) -> bool:
    return any(one.data.action == action for one in bench.events)


FAULTS: dict[str, Fault[Callable[[Bench], Awaitable[None]]]] = {
    "stopped-and-started": Fault(
        "SIGTERM, and a start",
        "detaches every program; counters begin at zero again",
        "packets are filtered throughout, program, link and counters go on",
        _stopped_and_started,
    ),
    "silent-repository": Fault(
        "a repository that takes the request and never answers",
        "holds its one lock during the download: no change is ever possible again",
        "one hook point waits for its archive, the others change",
        _catalog_is_silent,
    ),
    "nothing-desired": Fault(
        "the list of what is desired is gone",
        "takes an empty list for the wish that nothing runs, and wipes the node",
        "no record is no wish: what runs goes on, also over a restart",
        _desired_record_is_gone,
    ),
    "truncated-state": Fault(
        "a store cut off in the middle, after kill -9",
        "starts with nothing; the programs stay attached and nobody manages them",
        "rebuilt from the kernel and the bus: the same program, managed, removable",
        _state_is_truncated,
    ),
}


@table(FAULTS)
async def test_the_executor_does_what_it_should(
    bench: Bench, fault: Fault[Callable[[Bench], Any]]
) -> None:
    """See the table."""
    await fault.shows(bench)
