# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The state file: sound or set aside, counted on without a gap, and full without a loss."""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from services.node_executor.adapters.kernel_thread import KernelThread
from services.node_executor.adapters.state_file import (
    JournalUnwritableError,
    StateInUseError,
    StateStoreError,
    open_in_memory,
)
from services.node_executor.adapters.state_store import StateStore
from services.node_executor.adapters.state_waiting import open_when_free
from services.node_executor.event_audiences import Said
from services.node_executor.generations import ChainMemory, Point
from shared.adapters.lifecycle import StoppedError
from shared.contracts.events import PUBLIC, Event, EventBody

POINT = Point("data0", "xdp")
ACME = "p_acme"
MEMORY = ChainMemory(interface="data0", hook="xdp", last_number=7)


class World:
    """One state directory, opened as often as a test likes."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "state" / "state.sqlite"
        self._ticks = itertools.count(1)
        self.told: list[Event] = []

    def open(self, *, max_bytes: int = 1 << 24) -> StateStore:
        """As a start does."""
        return StateStore.open(
            self.path,
            emitter="node/n1",
            now=lambda: f"2026-01-01T00:00:00.{next(self._ticks):06}Z",
            new_salt=lambda: next(self._ticks).to_bytes(16, "big"),
            on_event=self.told.append,
            max_bytes=max_bytes,
        )

    def over(self, connection: sqlite3.Connection) -> StateStore:
        """As a start of a simulated node does."""
        return StateStore.in_memory(
            connection,
            emitter="node/n1",
            now=lambda: f"2026-01-01T00:00:00.{next(self._ticks):06}Z",
            new_salt=lambda: next(self._ticks).to_bytes(16, "big"),
            on_event=self.told.append,
        )

    def filled(self) -> None:
        """Two events were published, a third was not; one hook point is remembered."""
        store = self.open()
        assert store.number(PUBLIC, 0) == []
        store.journal([("a", a_body("chain.request")), ("b", a_body("chain.attach"))], MEMORY)
        store.mark_published(["a", "b"])
        store.journal([("c", a_body("chain.drift"))])
        store.close()

    def set_aside(self) -> list[str]:
        """Names of files that were kept for the operator."""
        names = [path.name for path in self.path.parent.iterdir() if ".damaged-" in path.name]
        return sorted(name for name in names if not name.endswith("-wal"))


def a_body(action: str = "chain.adopt", text: str = "") -> EventBody:
    """Something to say."""
    return EventBody(action=action, outcome="observed", details={"text": text})


def said(events: list[Event]) -> list[tuple[int, str]]:
    """Sequence and action of each."""
    return [(event.sequence, event.data.action) for event in events]


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Nothing is there yet."""
    return World(tmp_path)


def test_what_was_written_is_there_again(world: World) -> None:
    """Memory, unpublished events, the next sequence; nothing is said about a sound file."""
    world.filled()

    store = world.open()
    store.journal([("d", a_body("chain.detach"))])

    assert store.remembered() == {POINT: MEMORY}
    assert said(store.unpublished()) == [(3, "chain.drift"), (4, "chain.detach")]
    assert not store.unnumbered()
    assert (store.has_published("a"), store.has_published("c")) == (True, False)
    assert world.set_aside() == []


def test_a_state_in_memory_outlives_its_store(world: World) -> None:
    """The next one over the same connection remembers, and counts on."""
    connection = open_in_memory()
    first = world.over(connection)
    assert first.number(PUBLIC, 0) == []
    first.journal([("a", a_body("chain.attach"))], MEMORY)

    second = world.over(connection)
    second.journal([("b", a_body("chain.detach"))])

    assert second.remembered() == {POINT: MEMORY}
    assert said(second.unpublished()) == [(1, "chain.attach"), (2, "chain.detach")]
    connection.close()


def _rewrite(statement: str) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        connection = sqlite3.connect(path)
        connection.execute(statement)
        connection.commit()
        connection.close()

    return damage


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _scribble(path: Path) -> None:
    data = bytearray(path.read_bytes())
    for offset in range(4096, len(data), 512):
        data[offset : offset + 64] = b"\xff" * 64
    path.write_bytes(data)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "no database": lambda path: path.write_bytes(b"nothing that anybody knows" * 400),
    "empty": lambda path: path.write_bytes(b""),
    "half": _truncate,
    "overwritten": _scribble,
    "a changed memory": _rewrite("UPDATE chain SET memory = x'7b7d'"),
    "a changed event": _rewrite("UPDATE event SET published = 1"),
    "a changed head": _rewrite("UPDATE head SET sequence = 1"),
    "gone": Path.unlink,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_file_is_set_aside_and_said(
    world: World, damage: Callable[[Path], object]
) -> None:
    """The start goes on with a new file; the old one is kept, and an event names it."""
    world.filled()
    damage(world.path)

    store = world.open()
    events = store.unpublished()
    store.close()

    assert events[-1].data.action == "state.rebuild"
    assert events[-1].data.details["problem"]
    kept = [events[-1].data.details["set_aside"]] if damage is not Path.unlink else [""]
    assert world.set_aside() == [name for name in kept if name]
    again = world.open()
    assert said(again.unpublished()) == said(events)


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_sequences_go_on_behind_what_the_bus_has(
    world: World, damage: Callable[[Path], object]
) -> None:
    """No gap and no repetition, whatever was lost: the bus says where this node stopped."""
    world.filled()
    damage(world.path)

    store = world.open()
    assert store.unnumbered() == {PUBLIC}
    store.journal([("e", a_body("chain.adopt"))])
    numbered = store.number(PUBLIC, 2)
    store.journal([("f", a_body("chain.request"))])

    assert [event.sequence for event in numbered] == list(range(3, 3 + len(numbered)))
    assert [event.data.action for event in numbered][-2:] == ["state.rebuild", "chain.adopt"]
    assert [event.sequence for event in store.unpublished()] == list(range(3, 4 + len(numbered)))
    assert not store.unnumbered()


def test_whole_rows_of_a_damaged_file_go_on(world: World) -> None:
    """A memory is lost, the other is not; an event that was not published still is, as it was."""
    world.filled()
    store = world.open()
    other = ChainMemory(interface="data1", hook="xdp", last_number=9)
    store.journal([], other)
    before = store.unpublished()
    store.close()
    _rewrite("UPDATE chain SET memory = x'7b7d' WHERE hook_point = 'data0/xdp'")(world.path)

    store = world.open()
    events = store.unpublished()

    assert store.remembered() == {Point("data1", "xdp"): other}
    assert events[0] == before[0]
    assert said(events) == [(3, "chain.drift"), (4, "state.rebuild")]
    assert events[1].data.details["salvaged_hook_points"] == 1
    assert said(store.number(PUBLIC, 2)) == said(events)


def test_a_salvaged_event_that_the_bus_has_is_not_said_again(world: World) -> None:
    """It was published and the mark of it was lost; its id stays known."""
    world.filled()
    _rewrite("UPDATE head SET sequence = 1")(world.path)

    store = world.open()
    numbered = store.number(PUBLIC, 3)
    store.journal([("c", a_body("chain.drift"))])

    assert said(numbered) == [(4, "state.rebuild")]
    assert said(store.unpublished()) == [(4, "state.rebuild")]


def test_a_first_start_says_nothing_and_counts_from_one(world: World) -> None:
    """And one after a lost disk counts from where the bus says."""
    store = world.open()
    store.journal([("a", a_body())])

    assert said(store.number(PUBLIC, 0)) == [(1, "chain.adopt")]
    store.journal([("b", a_body())])
    assert said(store.unpublished()) == [(1, "chain.adopt"), (2, "chain.adopt")]


def test_a_file_of_the_first_release_is_taken_over(world: World) -> None:
    """Its rows get checksums; nothing is renumbered."""
    world.filled()
    connection = sqlite3.connect(world.path)
    for table in ("event", "head", "chain"):
        connection.execute(f"ALTER TABLE {table} DROP COLUMN checksum")
    connection.execute("DROP TABLE setting")
    connection.execute("PRAGMA user_version = 0")
    connection.commit()
    connection.close()

    store = world.open()

    assert store.remembered() == {POINT: MEMORY}
    assert said(store.unpublished()) == [(3, "chain.drift")]
    assert not store.unnumbered()
    store.close()
    assert said(world.open().unpublished()) == [(3, "chain.drift")]


def test_a_file_of_a_newer_release_is_not_touched(world: World) -> None:
    """It is not damaged; somebody installed an older release."""
    world.filled()
    _rewrite("PRAGMA user_version = 99")(world.path)

    with pytest.raises(StateStoreError, match="newer release"):
        world.open()

    assert world.set_aside() == []


def test_a_full_journal_refuses_and_says_so_once_it_is_not(world: World) -> None:
    """Nothing is lost, nothing is half written; published events make room."""
    store = world.open(max_bytes=160 * 1024)
    store.number(PUBLIC, 0)
    numbers = itertools.count(1)
    written = []

    def write_one() -> None:
        name = str(next(numbers))
        store.journal([(name, a_body(text="x" * 2000))], MEMORY)
        written.append(name)

    def write_until_full() -> None:
        while True:
            write_one()

    with pytest.raises(JournalUnwritableError):
        write_until_full()
    with pytest.raises(JournalUnwritableError):
        store.journal([("late", a_body(text="x" * 2000))])

    assert [event.id for event in store.unpublished()] == written
    world.told.clear()
    store.mark_published(written)
    store.journal([("late", a_body("chain.request"))])

    sequence = len(written)
    assert said(world.told) == [(sequence + 1, "journal.resume"), (sequence + 2, "chain.request")]
    assert "full" in world.told[0].data.details["problem"]


def test_what_is_journaled_together_is_told_once_it_is_on_the_disk(world: World) -> None:
    """One transaction for all of it; if it fails nothing of it was said."""
    store = world.open()
    store.number(PUBLIC, 0)

    with store.together():
        store.journal([("a", a_body())], MEMORY)
        store.journal([("b", a_body())])
        before = list(world.told)
    with suppress(KeyError), store.together():
        store.journal([("c", a_body())])
        raise KeyError

    assert before == []
    assert [event.id for event in world.told] == ["a", "b"]
    store.journal([("d", a_body())])
    assert said(store.unpublished()) == [(1, "chain.adopt"), (2, "chain.adopt"), (3, "chain.adopt")]


async def test_a_start_waits_until_nobody_else_has_the_state(world: World) -> None:
    """However often it is tried meanwhile; what the holder wrote last is there."""
    thread, attempts = KernelThread(), 0

    async def open_state() -> StateStore:
        nonlocal attempts
        attempts += 1
        if attempts == 2:
            holder.journal([("d", a_body("chain.attach"))])
            holder.close()
        return await thread(world.open)

    world.filled()
    holder = world.open()

    store = await open_when_free(open_state, asyncio.Event())

    assert attempts == 2
    assert said(store.unpublished()) == [(3, "chain.drift"), (4, "chain.attach")]
    store.close()
    thread.close()


async def test_a_start_that_is_to_stop_waits_no_longer() -> None:
    """It ends as if nothing had been asked of it."""
    stop = asyncio.Event()

    async def open_state() -> StateStore:
        stop.set()
        raise StateInUseError("another has it")

    with pytest.raises(StoppedError):
        await open_when_free(open_state, stop)


def test_each_audience_is_numbered_by_itself(world: World) -> None:
    """Of one that the journal had no event for, it is not known which number comes next."""
    world.filled()

    store = world.open()
    store.journal([Said("s1", a_body(), ACME), ("d", a_body("chain.detach"))])
    store.journal([Said("s2", a_body("chain.attach"), ACME)])

    assert store.unnumbered() == {ACME}
    numbered = store.number(ACME, 5)
    assert [(one.audience, one.sequence, one.id) for one in numbered] == [
        (PUBLIC, 3, "c"),
        (ACME, 6, "s1"),
        (PUBLIC, 4, "d"),
        (ACME, 7, "s2"),
    ]
    assert not store.unnumbered()
    store.journal([Said("s3", a_body(), ACME)])
    assert [one.sequence for one in store.unpublished()][-1] == 8


def test_what_was_salvaged_is_numbered_for_each_audience(world: World) -> None:
    """A new file asks the bus for each, and goes on behind what it has for certain."""
    world.filled()
    store = world.open()
    store.journal([Said("s1", a_body(), ACME), Said("s2", a_body(), ACME)])
    store.number(ACME, 0)
    store.mark_published(["s1"])
    store.close()
    _rewrite("UPDATE event SET checksum = x'00' WHERE id = 'a'")(world.path)

    store = world.open()

    assert store.unnumbered() == {PUBLIC, ACME}
    store.number(ACME, 2)
    numbered = store.number(PUBLIC, 2)
    assert [(one.audience, one.sequence) for one in numbered] == [(PUBLIC, 3), (PUBLIC, 4)]
    store.journal([Said("s3", a_body(), ACME)])
    assert [one.sequence for one in store.unpublished() if one.audience == ACME] == [3]
