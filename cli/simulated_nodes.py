# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A whole system with simulated nodes, for the length of a block; and what its processes use."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from installation.adapters.child_process import Child, log_tail, start_child
from installation.adapters.server_binary import find_server_binary
from installation.create import create_installation
from installation.layout import Layout
from installation.system import System, running_system
from shared.contracts.base import Message
from shared.errors import FaultError

MODULE: Final = "services.node_executor.simulation"
STOP_SECONDS: Final = 15.0
POLL_SECONDS: Final = 0.1
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_MIB: Final = 1 << 20


class FleetWish(Message, frozen=True, kw_only=True):
    """What is simulated."""

    nodes: int
    seed: int = 0
    failure_rate: float = 0.0
    latency_ms: float = 0.0
    vanish_rate: float = 0.0
    away_seconds: float = 0.0
    processes: int = 1


class Absences(Message, frozen=True, kw_only=True):
    """Nodes that went away."""

    away: int = 0
    """How many went."""
    restarted: int = 0
    """How many of these had their executor started anew meanwhile."""
    returned: int = 0
    """How many of these are connected again."""


class ProcessUse(Message, frozen=True, kw_only=True):
    """What one process has used so far."""

    cpu_seconds: float
    resident_mib: float


@dataclass(frozen=True, slots=True)
class SimulatedSystem:
    """Services, bus and nodes that run."""

    system: System
    children: Sequence[Child]
    """Processes of simulated nodes."""
    told: Callable[[str, int], None]

    @property
    def fleets(self) -> Mapping[str, int]:
        """Processes of simulated nodes: name to id."""
        return {_name(part): child.pid for part, child in enumerate(self.children)}

    @property
    def absences(self) -> Absences:
        """As they are now."""
        found = [_progress(self.system.layout, part) for part in range(len(self.children))]
        return Absences(
            away=sum(one.get("away", 0) for one in found),
            restarted=sum(one.get("restarted", 0) for one in found),
            returned=sum(one.get("returned", 0) for one in found),
        )

    async def send_away(self, stop: asyncio.Event) -> None:
        """The nodes that go away are away.

        Raises:
            FaultError: A process ended, or it was stopped.
        """
        for child in self.children:
            with suppress(ProcessLookupError):  # it ended, which is said below
                os.kill(child.pid, signal.SIGUSR1)
        await self._reached("away", "sending nodes away", stop)

    async def wait_for_return(self, stop: asyncio.Event) -> None:
        """The nodes that went away are connected again.

        Raises:
            FaultError: A process ended, or it was stopped.
        """
        await self._reached("returned", "waiting for nodes that are away", stop)

    async def _reached(self, what: str, doing: str, stop: asyncio.Event) -> None:
        self.told(doing, 0)
        await _reached(
            self.system.layout,
            self.children,
            stop,
            lambda count: self.told(doing, count),
            what=what,
            of="vanishing",
        )

    @property
    def credentials(self) -> Path:
        """Of the first administrator."""
        return self.system.layout.credentials("principal", "admin")

    def used(self) -> dict[str, ProcessUse]:
        """By process; one that is being started again is left out."""
        running = {one.name: one.pid for one in self.system.supervisor.statuses if one.pid}
        found = {name: _used(pid) for name, pid in {**running, **self.fleets}.items()}
        return {name: use for name, use in found.items() if use is not None}


@asynccontextmanager
async def simulated_system(
    folder: Path, wish: FleetWish, *, stop: asyncio.Event, told: Callable[[str, int], None]
) -> AsyncIterator[SimulatedSystem]:
    """A new installation in `folder` with its services, and nodes that are registered.

    Args:
        folder: Empty, or not there.
        wish: Which nodes.
        stop: Ends the waiting early.
        told: Hears what is waited for, and how many nodes have it.

    Raises:
        RefusedError: The folder is occupied.
        FaultError: Something did not start.
    """
    root = folder / "installation"
    names = [f"sim-{number:05d}" for number in range(1, wish.nodes + 1)]
    told("making keys", 0)
    await asyncio.to_thread(
        create_installation, root, listen="127.0.0.1:0", nodes=names, now=datetime.now(UTC)
    )
    async with AsyncExitStack() as stack:
        told("starting services", 0)
        binary = find_server_binary(None).path
        system = await stack.enter_async_context(
            running_system(root, nats_server=binary, environ=os.environ)
        )
        layout = system.layout
        if not await system.wait_until_ready(stop):
            raise FaultError("stopped before it was ready")
        told("registering nodes", 0)
        children = [await _start(layout, wish, part, stack) for part in range(wish.processes)]
        await _reached(
            layout,
            children,
            stop,
            lambda count: told("registering nodes", count),
            what="registered",
            of="nodes",
        )
        yield SimulatedSystem(system, children, told)


async def _start(layout: Layout, wish: FleetWish, part: int, stack: AsyncExitStack) -> Child:
    environment = {
        "SIMULATION_CREDENTIALS_DIR": str(layout.credentials("node", "sim-00001").parent),
        "SIMULATION_PROGRESS_FILE": str(_progress_file(layout, part)),
        "SIMULATION_PART": str(part),
        "SIMULATION_PARTS": str(wish.processes),
        "SIMULATION_SEED": str(wish.seed),
        "SIMULATION_FAILURE_RATE": str(wish.failure_rate),
        "SIMULATION_LATENCY_MS": str(wish.latency_ms),
        "SIMULATION_VANISH_RATE": str(wish.vanish_rate),
        "SIMULATION_AWAY_SECONDS": str(wish.away_seconds),
    }
    log = layout.logs / f"{_name(part)}.log"
    child = await start_child((sys.executable, "-m", MODULE), environment=environment, log=log)
    if child is None:
        raise FaultError(f"{_name(part)} could not be started: {log_tail(log)}")
    stack.push_async_callback(child.stop, seconds=STOP_SECONDS)
    return child


async def _reached(
    layout: Layout,
    children: Sequence[Child],
    stop: asyncio.Event,
    told: Callable[[int], None],
    *,
    what: str,
    of: str,
) -> None:
    """In every process, as many nodes are `what` as are `of`; both are counts of its progress.

    Raises:
        FaultError: A process ended, or it was stopped.
    """
    ends = [asyncio.create_task(child.ended()) for child in children]
    try:
        while not stop.is_set():
            found = [_progress(layout, part) for part in range(len(children))]
            told(sum(one.get(what, 0) for one in found))
            if all(one and one.get(what, 0) == one.get(of, 0) for one in found):
                return
            await asyncio.wait(ends, timeout=POLL_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            for part, end in enumerate(ends):
                if end.done():
                    log = log_tail(layout.logs / f"{_name(part)}.log")
                    raise FaultError(f"{_name(part)} ended with status {end.result()}: {log}")
    finally:
        for end in ends:
            end.cancel()
    raise FaultError(f"stopped before every node was {what}")


def _name(part: int) -> str:
    return f"nodes-{part + 1}"


def _progress_file(layout: Layout, part: int) -> Path:
    return layout.run / f"{_name(part)}.json"


def _progress(layout: Layout, part: int) -> dict[str, int]:
    """How far a process is; empty: it has not said anything yet."""
    path = _progress_file(layout, part)
    if not path.exists():
        return {}
    return msgspec.json.decode(path.read_bytes(), type=dict[str, int])


def _used(pid: int) -> ProcessUse | None:
    """As proc(5) has it; None: there is no such process."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    ticks = int(fields[11]) + int(fields[12])
    return ProcessUse(
        cpu_seconds=round(ticks / _TICKS, 2),
        resident_mib=round(int(fields[21]) * _PAGE_BYTES / _MIB, 1),
    )
