# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Auditor and bus are killed while events come: the log holds what the stream holds, once."""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from services.auditor.adapters.event_stream import EventStream
from services.auditor.adapters.sqlite_store import SqliteStore
from services.auditor.checkpoint import open_checkpoint, verifier_key
from services.auditor.merkle import check_inclusion, leaf_hash
from services.auditor.verification.adapters.verifying import verify_store
from services.auditor.verification.heads import KeptHead
from shared.adapters.bus import connect
from shared.adapters.lifecycle import EXIT_FAULT
from shared.errors import FaultError
from tests.integration.conftest import Buses, buses, nats_server, provisioned
from tests.support.auditing import SEED, EmittingBus, eventually, start_auditor

__all__ = ["buses", "nats_server", "provisioned"]

IS_SOAK: Final = "L3AF_SOAK_SECONDS" in os.environ
KILLS: Final = int(os.environ.get("L3AF_KILLS", "200" if IS_SOAK else "8"))
EVENTS_PER_SECOND: Final = 2_000
BATCH_EVENTS: Final = 400
LONGEST_LIFE_SECONDS: Final = 3.0
"""A start of the auditor takes a second, so kills meet the start, too."""
KNOWN_ENDS: Final = (type(None), FaultError, asyncio.CancelledError)
LOST_AT_START: Final = (f'"status": {EXIT_FAULT}', "__aenter__")
"""How an auditor ends that loses the bus while it starts: its supervisor starts it again."""
VICTIMS: Final = (("auditor",), ("bus",), ("auditor", "bus"))
CATCH_UP_SECONDS: Final = 600.0
END_SECONDS: Final = 30.0


class Publisher:
    """One emitter that gives up no event before the stream has acknowledged it.

    What could not be sent while the bus was dead is sent as fast as can be when it is back, so that
    the rate holds over all the time.
    """

    def __init__(self, emitting: EmittingBus, per_second: float) -> None:
        self._emitting: Final = emitting
        self._per_second: Final = per_second
        self._under_way: list[asyncio.Task[None]] = []
        self.acknowledged: list[str] = []
        emitting.bus.on_reconnect(self._send_again)

    async def publish(self, stop: asyncio.Event) -> None:
        """Until `stop` is set, and then what is under way."""
        loop = asyncio.get_running_loop()
        due_at = loop.time()
        while not stop.is_set():
            events = [self._emitting.draft() for _ in range(BATCH_EVENTS)]
            while events:
                publish = self._emitting.bus.publish_event
                self._under_way = [asyncio.create_task(publish(event)) for event in events]
                ended = await asyncio.gather(*self._under_way, return_exceptions=True)
                assert all(isinstance(one, KNOWN_ENDS) for one in ended), ended
                pairs = list(zip(events, ended, strict=True))
                self.acknowledged += [event.id for event, fault in pairs if fault is None]
                events = [event for event, fault in pairs if fault is not None]
            due_at += BATCH_EVENTS / self._per_second
            await asyncio.sleep(max(0.0, due_at - loop.time()))

    async def _send_again(self) -> None:
        """Nobody will acknowledge what went to the bus that died; its ids make it one event."""
        for one in self._under_way:
            one.cancel()


class Killing:
    """Kills, and starts again what was killed, as a supervisor does."""

    def __init__(self, started: Buses, state_dir: Path, choice: random.Random) -> None:
        self._server: Final = started.server
        self._state_dir: Final = state_dir
        self._choice: Final = choice
        self._log: Final = state_dir.parent / "auditor.log"
        self._auditor: subprocess.Popen[bytes] | None = None
        self.notes: Final[set[str]] = set()

    async def kill(self, times: int) -> None:
        """So many times, at random moments."""
        for _ in range(times):
            await self.run_auditor()
            await asyncio.sleep(self._choice.uniform(0, LONGEST_LIFE_SECONDS))
            victims = self._choice.choice(VICTIMS)
            if "auditor" in victims and self._auditor is not None:
                self._auditor.send_signal(signal.SIGKILL)
                await asyncio.to_thread(self._auditor.wait)
            if "bus" in victims:
                await asyncio.to_thread(self._server.restart)
            self._note_head()

    async def run_auditor(self) -> None:
        """It is there, or was just started."""
        if self._auditor is None or self._auditor.poll() is not None:
            self._auditor = await asyncio.to_thread(
                start_auditor, self._server, self._state_dir, self._log
            )

    async def finish(self, sequence: int) -> None:
        """The auditor has recorded everything up to there, and ends in good order."""
        await eventually(lambda: self._recorded() >= sequence, seconds=CATCH_UP_SECONDS)
        assert self._auditor is not None
        self._auditor.terminate()
        status = await asyncio.to_thread(self._auditor.wait, END_SECONDS)
        assert status == 0, self._log.read_text()[-2000:]
        self._note_head()
        bugs = [
            line
            for line in self._log.read_text().splitlines()
            if "Traceback" in line and not all(part in line for part in LOST_AT_START)
        ]
        assert bugs == []

    def end(self) -> None:
        """Nothing of it runs any more."""
        if self._auditor is not None and self._auditor.poll() is None:
            self._auditor.kill()
            self._auditor.wait()

    def _note_head(self) -> None:
        """The newest signed head, kept where the auditor cannot reach it."""
        path = self._state_dir / "checkpoint"
        if path.exists():
            self.notes.add(path.read_text())

    def _recorded(self) -> int:
        with closing(sqlite3.connect(self._state_dir / "log.db")) as database:
            ((sequence,),) = database.execute("SELECT stream_sequence FROM log")
        return int(sequence)


@pytest.mark.soak
async def test_every_event_is_recorded_once_whoever_is_killed(
    buses: Buses, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Kill -9 of the auditor, the bus and both under load; eight times, or L3AF_KILLS in a soak."""
    await survive(buses, tmp_path, KILLS, capsys)


async def survive(
    started: Buses, folder: Path, kills: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Publish, kill, and hold the log against the stream."""
    seed = int(os.environ.get("L3AF_SEED") or secrets.randbelow(2**32))
    with capsys.disabled():
        sys.stderr.write(f"\nL3AF_SEED={seed}\n")
    emitters = [
        EmittingBus(await started.open("service-catalog"), "catalog"),
        EmittingBus(await started.open("service-scheduler"), "scheduler"),
        EmittingBus(await started.open("node", "host-1"), "node/host-1"),
        EmittingBus(await started.open("node", "host-2"), "node/host-2"),
    ]
    publishers = [Publisher(one, EVENTS_PER_SECOND / len(emitters)) for one in emitters]
    state_dir = folder / "auditor"
    killing = Killing(started, state_dir, random.Random(seed))
    stop = asyncio.Event()
    began_at = asyncio.get_running_loop().time()
    try:
        async with asyncio.TaskGroup() as tasks:
            for publisher in publishers:
                tasks.create_task(publisher.publish(stop))
            await killing.kill(kills)
            stop.set()
        seconds = asyncio.get_running_loop().time() - began_at
        published = [event_id for one in publishers for event_id in one.acknowledged]
        with capsys.disabled():
            rate = len(published) / seconds
            sys.stdout.write(f"{kills} kills, {len(published)} events, {rate:.0f} a second\n")
        async with connect(started.server.credentials("service-auditor")) as bus:
            stream = EventStream(bus.connection)
            await killing.run_auditor()
            await emitters[0].emit()  # whoever records this is there, and hears how it is ended
            end = await stream.end()
            await killing.finish(end.sequence)
            held = await stored_ids(stream, end.sequence)
    finally:
        killing.end()
    check_log(state_dir, held, published, killing.notes, seed)
    await check_proofs(state_dir, random.Random(seed))


async def stored_ids(stream: EventStream, last: int) -> list[str]:
    """The ids of the messages in the stream, in its order."""
    found: dict[int, str] = {}
    async with asyncio.timeout(CATCH_UP_SECONDS):
        await stream.seek(1)
        while last not in found:
            messages = await stream.fetch()
            assert messages is not None
            found |= {message.sequence: message.message_id for message in messages}
            if messages:
                await stream.acknowledge(messages[-1].sequence)
    await stream.close()
    assert sorted(found) == list(range(1, max(found) + 1)), "the stream lost messages"
    return [found[sequence] for sequence in sorted(found)]


def check_log(
    state_dir: Path, held: list[str], published: list[str], notes: set[str], seed: int
) -> None:
    """Everything once, in the stream's order, in a tree that follows every head ever signed."""
    rows = read(state_dir, "SELECT idx, leaf, problem FROM records ORDER BY idx")
    told = f"seed {seed}"
    assert [problem for _, _, problem in rows if problem] == [], told
    recorded = [msgspec.json.decode(leaf)["id"] for _, leaf, _ in rows]
    assert recorded[: len(held)] == list(dict.fromkeys(held)), told
    assert len(set(recorded)) == len(recorded), told
    assert set(published) <= set(recorded), told
    kinds = {msgspec.json.decode(gap)["kind"] for (gap,) in read(state_dir, "SELECT gap FROM gaps")}
    assert kinds <= {"missing"}, told  # what was sent again after a kill came late
    assert {missing for (missing,) in read(state_dir, "SELECT missing FROM channels")} == {"[]"}
    key = verifier_key("l3af.test/log", seed=SEED)
    heads = [KeptHead(note, "an earlier moment") for note in sorted(notes)]
    found = verify_store(str(state_dir), keys=[key], heads=heads)
    assert found.problems == [], told


async def check_proofs(state_dir: Path, choice: random.Random) -> None:
    """Records anywhere in the log are proved against the newest head."""
    key = verifier_key("l3af.test/log", seed=SEED)
    with closing(SqliteStore.open(state_dir, origin="l3af.test/log")) as store:
        newest = await store.newest_checkpoint()
        assert newest is not None
        head = open_checkpoint(newest[1], key=key)
        for index in choice.sample(range(head.size), 50):
            record = await store.record(index)
            assert record is not None
            check_inclusion(
                await store.inclusion(index, head.size),
                leaf=leaf_hash(record.leaf),
                index=index,
                size=head.size,
                root=head.root,
            )


def read(state_dir: Path, statement: str) -> list[tuple[Any, ...]]:
    """Rows of the log's tables."""
    with closing(sqlite3.connect(state_dir / "log.db")) as database:
        return database.execute(statement).fetchall()
