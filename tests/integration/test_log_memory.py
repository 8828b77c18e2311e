# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Nodes remember the newest head of the log that they were given, and hold the log to it."""

from __future__ import annotations

import asyncio
import secrets
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest

from services.auditor.adapters.published_head import PublishedHead
from services.node_executor.adapters.log_memory import LogMemory
from services.node_executor.adapters.node_bus import NodeBus
from services.node_executor.adapters.state_store import StateStore
from shared.adapters.bus import Bus, connect
from shared.adapters.provisioning import provision
from shared.contracts.audit import GET_CHECKPOINT, GetCheckpoint
from shared.contracts.log_heads import (
    COMPARE_HEAD,
    GET_KNOWN_HEAD,
    CompareHead,
    GetKnownHead,
)
from shared.errors import FaultError, RefusedError
from shared.installation_facts import FACTS_FILE, render_facts
from tests.integration.conftest import Buses
from tests.support.auditing import (
    EmittingBus,
    eventually,
    running_auditor,
    start_auditor,
    vkey,
)
from tests.support.command_line import run_l3af
from tests.support.operator_mode import OperatorModeServer

ResultT = TypeVar("ResultT")
NODE = "n1"
NOW = "2026-01-02T03:04:05.000006Z"


async def here(call: Callable[..., ResultT], *arguments: Any, **options: Any) -> ResultT:
    """The state is used in the thread that opened it."""
    return call(*arguments, **options)


@asynccontextmanager
async def a_node(server: OperatorModeServer, folder: Path) -> AsyncIterator[LogMemory]:
    """A node that is asked what it knows, and is told when to compare."""
    bus = NodeBus(server.credentials("node", NODE))
    opened = StateStore.open(
        folder / "state.sqlite",
        emitter=f"node/{NODE}",
        now=lambda: NOW,
        new_salt=lambda: secrets.token_bytes(16),
        on_event=lambda _: None,
    )
    with closing(opened) as store:
        memory = LogMemory(bus=bus, thread=here, store=store, now=lambda: NOW)

        async def joined(joined_bus: Bus) -> None:
            endpoints: dict[Any, Callable[..., Awaitable[Any]]] = {GET_KNOWN_HEAD: memory.show}
            async with joined_bus.serve("node", endpoints, version="1.0.0", tokens={"node": NODE}):
                await asyncio.Event().wait()

        joining = asyncio.create_task(bus.joining(joined))
        try:
            await bus.arrival()
            yield memory
        finally:
            joining.cancel()
            await asyncio.gather(joining, return_exceptions=True)


async def compared(memory: LogMemory) -> bool:
    """The auditor answered."""
    try:
        await memory.compare()
    except FaultError:
        return False
    return True


async def served(reader: Bus, least: int) -> str:
    """The served head, once it is so large."""

    async def found() -> str:
        try:
            head = await reader.request(GET_CHECKPOINT, GetCheckpoint())
        except FaultError:
            return ""
        return head.checkpoint if head.tree_size >= least else ""

    return str(await eventually(found))


async def known(reader: Bus) -> tuple[int, str]:
    """The size that the node says, and what the auditor said against it."""
    shown = await reader.request(GET_KNOWN_HEAD.at(node=NODE), GetKnownHead())
    return shown.tree_size, shown.problem


async def test_a_node_finds_a_log_whose_last_records_are_gone(
    provisioned: OperatorModeServer, tmp_path: Path
) -> None:
    """Store, signed head and the bus with its stream are all put back: the node knows more.

    The auditor says so and ends; so does the next one; what the node kept shows it offline.
    """
    server, state_dir = provisioned, tmp_path / "auditor"
    viewer = server.credentials("viewer", "vic")
    facts = msgspec.structs.replace(server.facts, log_verifier_key=vkey(server))
    (viewer / FACTS_FILE).write_bytes(render_facts(facts))
    async with a_node(server, tmp_path / "node") as memory:
        async with running_auditor(server, state_dir), connect(viewer) as reader:
            catalog = await stocked(server, 20)
            older = await served(reader, 20)
            await compared(memory)
            assert (await known(reader))[0] >= 20
        shutil.copytree(state_dir, tmp_path / "backup")
        async with running_auditor(server, state_dir), connect(viewer) as reader:
            await stocked(server, 20, catalog)
            await served(reader, 40)
            assert await compared(memory)
            size, problem = await known(reader)
            assert (size >= 40, problem) == (True, "")
            assert await compared(memory)  # the log still holds what it gave
            answer = await run_l3af("audit", "heads", NODE, "--json", credentials=viewer)
            assert (answer.status, answer.document[0]["standing"]) == (0, "held"), answer

        await put_everything_back(server, older)
        with (tmp_path / "log").open("wb"):
            process = start_auditor(server, tmp_path / "backup", tmp_path / "log")
        await eventually(lambda: compared(memory))
        assert await asyncio.to_thread(process.wait, 30) == 2
        assert f"node {NODE} has seen {size} records" in (tmp_path / "log").read_text()

        out = tmp_path / "heads"
        words = ["audit", "heads", NODE, "--out", str(out), "--json"]
        answer = await run_l3af(*words, credentials=viewer)
        assert answer.document[0]["standing"] == "unknown", answer
        words = ["audit", "verify", "--store", str(tmp_path / "backup"), "--json"]
        answer = await run_l3af(*words, "--key", vkey(server), "--checkpoint", str(out))
        assert answer.status == 2
        assert any("are gone" in one["why"] for one in answer.document["problems"]), answer


async def stocked(
    server: OperatorModeServer, count: int, emitter: EmittingBus | None = None
) -> EmittingBus:
    """So many events more in the stream."""
    async with connect(server.credentials("service-catalog")) as bus:
        emitter = emitter or EmittingBus(bus, "catalog")
        emitter.bus = bus
        await emitter.emit_many(count)
    return emitter


async def put_everything_back(server: OperatorModeServer, note: str) -> None:
    """The server has lost its streams, and remembers an older head."""
    server.stop()
    shutil.rmtree(server.directory / "jetstream")
    server.start()
    async with connect(server.credentials("provisioner")) as bus:
        await provision(bus.connection)
    async with connect(server.credentials("service-auditor")) as bus:
        remembered = PublishedHead(bus)
        assert await remembered.read() is None
        await remembered.replace(note, size=20)


async def test_a_node_cannot_end_the_auditor_with_a_lie(buses: Buses, tmp_path: Path) -> None:
    """What the log never signed is refused, and nothing else happens; nor for another node."""
    reader = await buses.open("viewer", "vic")
    node = await buses.open("node", NODE)
    async with running_auditor(buses.server, tmp_path / "auditor"):
        note = await served(reader, 0)
        forged = note.replace("\n0\n", "\n9000\n", 1).replace("\n1\n", "\n9000\n", 1)
        for lie in ("nonsense", forged, note.replace("l3af", "mine")):
            with pytest.raises(RefusedError, match="no head of this log"):
                await node.request(COMPARE_HEAD.at(node=NODE), CompareHead(checkpoint=lie))
        with pytest.raises((RefusedError, FaultError)):
            await node.request(COMPARE_HEAD.at(node="n2"), CompareHead(), timeout_seconds=1.0)
        reply = await node.request(COMPARE_HEAD.at(node=NODE), CompareHead(checkpoint=note))
        assert reply.tree_size >= 0
