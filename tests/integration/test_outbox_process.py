# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""A real process with an outbox, killed and stopped for real."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from shared.adapters.bus import Bus
from shared.adapters.lifecycle import EXIT_CLEAN, EXIT_FAULT, EXIT_REFUSED
from shared.contracts.scheduler import LABEL_NODE, NODE_LABELS, LabelNode, NodeLabelled
from shared.contracts.storage import outbox_bucket
from shared.errors import FaultError
from tests.integration.conftest import Buses
from tests.support.event_stream import stored_events

ROOT = Path(__file__).parents[2]
KILLS = 5


async def start(credentials_dir: Path) -> asyncio.subprocess.Process:
    """The process, serving."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.support.labelling_process",
        str(credentials_dir),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout is not None
    async with asyncio.timeout(20):
        assert await process.stdout.readline() == b"ready\n"
    return process


@asynccontextmanager
async def running(credentials_dir: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """The process, gone after the block."""
    process = await start(credentials_dir)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


async def label_until_answered(bus: Bus, number: int) -> NodeLabelled:
    """The same command again and again, as a caller does that cannot know."""
    request = LabelNode(node="n1", set={f"k{number}": "v"}, command_id=f"command-{number}")
    async with asyncio.timeout(30):
        while True:
            try:
                return await bus.request(LABEL_NODE, request, timeout_seconds=0.5)
            except FaultError:
                await asyncio.sleep(0.02)


async def test_killed_process_neither_loses_nor_repeats_a_command(buses: Buses) -> None:
    """SIGKILL at moments nobody chose, while commands arrive without a pause."""
    olga = await buses.open("operator", "olga")
    credentials_dir = buses.server.credentials("service-scheduler")
    answered: list[NodeLabelled] = []
    done = asyncio.Event()

    async def command() -> None:
        while not done.is_set():
            answered.append(await label_until_answered(olga, len(answered)))

    async with asyncio.TaskGroup() as tasks:
        commanding = tasks.create_task(command())
        for kill in range(KILLS):
            async with running(credentials_dir) as process:
                wanted = len(answered) + 5
                async with asyncio.timeout(20):
                    while len(answered) < wanted:
                        await asyncio.sleep(0.0005 * kill)
                process.send_signal(signal.SIGKILL)
        async with running(credentials_dir):
            done.set()
            await commanding

    scheduler = await buses.open("service-scheduler")
    labels = await scheduler.bucket(NODE_LABELS).get("n1")
    events = await stored_events(await buses.open("service-auditor"))
    assert labels is not None
    assert set(labels.value.labels) == {f"k{number}" for number in range(len(answered))}
    assert [event.data.correlation for event in events] == [
        f"command-{number}" for number in range(len(answered))
    ]
    assert [event.sequence for event in events] == list(range(1, len(answered) + 1))
    assert await scheduler.bucket(outbox_bucket("scheduler")).entries("pending.") == []


async def test_stopped_process_ends_cleanly(buses: Buses) -> None:
    """SIGTERM means finish what there is, and status 0."""
    async with running(buses.server.credentials("service-scheduler")) as process:
        process.terminate()
        async with asyncio.timeout(60):
            assert await process.wait() == EXIT_CLEAN


async def test_process_says_by_its_status_what_was_wrong(buses: Buses, tmp_path: Path) -> None:
    """No server is a fault, worth another start; bad credentials are a refusal."""
    directory = buses.server.credentials("service-scheduler")
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / "installation.json").write_text("{}")
    statuses = []
    for credentials_dir in (bad, directory):
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.support.labelling_process",
            str(credentials_dir),
            cwd=ROOT,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        if credentials_dir == directory:
            buses.server.stop()
        statuses.append(await asyncio.wait_for(process.wait(), 20))

    assert statuses == [EXIT_REFUSED, EXIT_FAULT]
