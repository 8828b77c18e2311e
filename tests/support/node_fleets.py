# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""One node's executor as a process, with catalog, scheduler and auditor played by the test."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import msgspec

from shared.adapters.bus import Bus, connect
from shared.adapters.callers import Caller
from shared.adapters.provisioning import provision
from shared.contracts.catalog import CHUNK_BYTES, READ_ARTIFACT, ArtifactChunk, ReadArtifact
from shared.contracts.desired import DESIRED, DesiredChain, DesiredNode
from shared.contracts.events import Event
from shared.contracts.node import HEARTBEAT, NODES, OBSERVED, Heartbeat, ObservedNode
from shared.errors import FaultError
from shared.installation_facts import FACTS_FILE, render_facts
from tests.package_builders import TRUST_ROOT
from tests.support.executors import pin_directory, published
from tests.support.operator_mode import OperatorModeServer

DEADLINE_SECONDS = 60.0
NODE = "n1"


class Fleet:
    """One node's executor and everything around it, played by the test."""

    def __init__(self, server: OperatorModeServer, folder: Path, base: PurePosixPath) -> None:
        self.server = server
        self.base = base
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._generation = 0
        self.archives = {
            one.signed.archive_sha256: one.archive
            for one in (published(version) for version in ("1.0.0", "2.0.0", "3.0.0", "4.0.0"))
        }
        self.reads: list[str] = []
        self.unavailable = False
        self.settings: dict[str, str] = {}
        """Further environment of the executor, from the next start on."""
        self.events: list[Event] = []
        self.heartbeats: list[Heartbeat] = []

    async def open(self, stack: AsyncExitStack) -> None:
        """The bus is provisioned; catalog, scheduler and auditor are played."""
        self._stack = stack
        async with connect(self.server.credentials("provisioner")) as bus:
            await provision(bus.connection)
        self.catalog = await self._connect(stack, "service-catalog")
        self.scheduler = await self._connect(stack, "service-scheduler")
        self.viewer = await self._connect(stack, "viewer", "vera")
        await stack.enter_async_context(
            self.catalog.serve("catalog", {READ_ARTIFACT: self._read_artifact}, version="1.0.0")
        )
        await self.viewer.subscribe(f"l3af.v1.evt.public.node.{NODE}.>", self._on_event)
        await self.scheduler.subscribe(HEARTBEAT.at(node=NODE).subject, self._on_heartbeat)

    async def as_operator(self) -> Bus:
        """A connection of an operator, for as long as the fleet is there."""
        return await self._connect(self._stack, "operator", "olga")

    async def as_auditor(self) -> Bus:
        """A connection of the auditor, for as long as the fleet is there."""
        return await self._connect(self._stack, "service-auditor")

    async def _connect(self, stack: AsyncExitStack, role: Any, name: str | None = None) -> Bus:
        return await stack.enter_async_context(connect(self.server.credentials(role, name)))

    async def _read_artifact(self, request: ReadArtifact, _caller: Caller) -> ArtifactChunk:
        self.reads.append(request.sha256)
        if self.unavailable:
            raise FaultError("the catalog's store is down")
        data = self.archives[request.sha256]
        chunk = data[request.offset_bytes : request.offset_bytes + CHUNK_BYTES]
        return ArtifactChunk(data=chunk, size_bytes=len(data))

    async def _on_event(self, _subject: str, data: bytes) -> None:
        self.events.append(msgspec.json.decode(data, type=Event))

    async def _on_heartbeat(self, _subject: str, data: bytes) -> None:
        self.heartbeats.append(msgspec.json.decode(data, type=Heartbeat))

    def start(self) -> None:
        """The executor is starting."""
        credentials = self.server.credentials("node", NODE)
        facts = msgspec.structs.replace(self.server.facts, trust_root=TRUST_ROOT.hex())
        (credentials / FACTS_FILE).write_bytes(render_facts(facts))
        environment = {
            "PATH": os.environ["PATH"],
            "NODE_EXECUTOR_CREDENTIALS_DIR": str(credentials),
            "NODE_EXECUTOR_STATE_DIR": str(self._folder / "state"),
            "NODE_EXECUTOR_BPFFS_DIR": str(self.base),
            "NODE_EXECUTOR_LABELS": "role=edge",
            "NODE_EXECUTOR_UNMANAGED": "ignore",  # other tests load programs meanwhile
            "NODE_EXECUTOR_NAMED_NAMESPACES": "false",  # others may use this machine
            **self.settings,
        }
        with (self._folder / "executor.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "services.node_executor"],
                env=environment,
                stderr=log,
                cwd=Path(__file__).resolve().parents[2],
            )

    async def start_and_register(self) -> None:
        """The executor runs, and the bus knows the node."""
        self.start()
        await self.until(lambda: self.scheduler.bucket(NODES).get(NODE))

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """The executor is gone; its exit status."""
        process, self._process = self._process, None
        if process is None:
            return 0
        process.send_signal(number)
        return process.wait(timeout=DEADLINE_SECONDS)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """The executor sees and hears nothing within the block, and everything after it."""
        os.kill(self.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)

    @property
    def pid(self) -> int:
        """Of the executor."""
        assert self._process is not None
        return self._process.pid

    @property
    def state(self) -> Path:
        """The executor's state directory."""
        return self._folder / "state"

    def log(self) -> str:
        """What the executor said."""
        return (self._folder / "executor.log").read_text()

    async def desire(self, *chains: DesiredChain) -> int:
        """The desired record says this now; its generation."""
        self._generation += 1
        record = DesiredNode(node=NODE, generation=self._generation, chains=chains)
        await self.scheduler.bucket(DESIRED).put(NODE, record)
        return self._generation

    async def observed(self, generation: int) -> ObservedNode:
        """What the node says once it has acted upon that generation."""

        async def read() -> ObservedNode | None:
            entry = await self.scheduler.bucket(OBSERVED).get(NODE)
            return entry.value if entry and entry.value.desired_generation >= generation else None

        found = await self.until(read)
        assert isinstance(found, ObservedNode)
        return found

    async def said(self, count: int) -> list[str]:
        """The actions of events about chains, once there are `count`, in order of sequence.

        What an executor could not note as published before it was killed is published again under
        its id: the stream keeps it once, and a subscriber hears it twice.
        """

        async def read() -> list[str] | None:
            once = {one.id: one for one in self.events if one.data.action.startswith("chain.")}
            ordered = sorted(once.values(), key=lambda one: one.sequence)
            return [one.data.action for one in ordered] if len(ordered) >= count else None

        found = await self.until(read)
        assert isinstance(found, list)
        return found

    async def until(self, read: Callable[[], Awaitable[object]]) -> object:
        """What `read` gives as soon as that is something."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not (found := await read()):
                assert self._process is None or self._process.poll() is None, self.log()
                await asyncio.sleep(0.01)
        return found


FleetT = TypeVar("FleetT", bound=Fleet)


@asynccontextmanager
async def a_fleet(folder: Path, kind: type[FleetT]) -> AsyncIterator[FleetT]:
    """A bus with everything around one node; its executor is not started."""
    server = OperatorModeServer(folder / "nats")
    server.start()
    with pin_directory() as base:
        async with AsyncExitStack() as stack:
            stack.callback(server.stop)
            made = kind(server, folder, base)
            await made.open(stack)
            stack.callback(made.stop, signal.SIGKILL)
            yield made
