# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""The bus is cut off for long while somebody else works on the node: it filters, repairs, notes.

A run prints its seed; `L3AF_SEED` repeats it, `L3AF_SOAK_SECONDS` is how long the bus is away.
"""

from __future__ import annotations

import os
import random
import secrets
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from time import monotonic
from typing import Final, NamedTuple

import pytest

from services.node_executor.generations import MapKey
from tests.support.drifting import (
    Node,
    counters_replaced,
    detached,
    exchanged,
    head_unpinned,
    record_unpinned,
    shell,
    unlinked,
)
from tests.support.executors import (
    Executor,
    Wire,
    a_chain,
    a_program,
    a_wire,
    pins_below,
    real_kernel,
)
from tests.support.frame_sender import FrameReceiver, FrameSender
from tests.support.node_fleets import NODE, Fleet, a_fleet
from tests.support.offline_nodes import a_store, again, has_stored, running, said_in_order

IS_SOAK: Final = "L3AF_SOAK_SECONDS" in os.environ
AWAY_SECONDS: Final = float(os.environ.get("L3AF_SOAK_SECONDS", "4"))
LIMITS: Final = MapKey("count", "limits")
PORT, LIMIT = b"\x50\x00", b"\x07\x00\x00\x00"


@dataclass(frozen=True, slots=True)
class Upset:
    """What somebody does, and how the node will call it."""

    does: Callable[[Node], None]
    kind: str
    opens: bool = False
    """Whether frames pass until it is repaired."""


def _entry_changed(node: Node) -> None:
    words = ("key", "hex", "50", "00", "value", "hex", "01", "00", "00", "00")
    shell("bpftool", "map", "update", "id", node.map_id(LIMITS), *words)


UPSETS: Final = (
    Upset(detached, "link-detached", opens=True),
    Upset(unlinked, "link-gone", opens=True),
    Upset(exchanged, "program-replaced", opens=True),
    Upset(head_unpinned, "pin-gone"),
    Upset(record_unpinned, "pin-gone"),
    Upset(counters_replaced, "pin-replaced"),
    Upset(_entry_changed, "map-changed"),
)


class Whole(NamedTuple):
    """A node as the kernel has it; putting back what was there is another link and record."""

    program_id: int
    attachment: str
    pinned: list[tuple[dict[int, int], dict[MapKey, int]]]
    names: list[str]
    limits: dict[bytes, bytes]


class Cut(Fleet):
    """A node on a wire, with frames on it, whose bus is cut off."""

    node: Node
    sender: FrameSender
    receiver: FrameReceiver

    def whole(self) -> Whole:
        """As it is now, read from the kernel."""
        kernel = self.node.executor.kernel
        hook = kernel.observe(self.node.point)
        limits = hook.map_pins.get(LIMITS)
        generations = hook.generations.values()
        return Whole(
            hook.link_program_id,
            hook.attachment,
            [(dict(one.programs), dict(one.maps)) for one in generations],
            pins_below(self.base),
            dict(kernel.read_entries(limits)) if limits else {},
        )

    def cut(self, *, is_silent: bool) -> None:
        """Nothing comes from the server any more, or it is not there at all."""
        if is_silent:
            assert self.server.process is not None
            self.server.process.send_signal(signal.SIGSTOP)
        else:
            self.server.stop()

    def mend(self) -> None:
        """The server is there."""
        if self.server.process is None:
            self.server.start()
        else:
            self.server.process.send_signal(signal.SIGCONT)

    async def upset(self, upset: Upset, *, is_told: bool) -> None:
        """Somebody does it; it is repaired, at once if the kernel says that something changed."""
        before = self.whole()
        assert self.receiver.drain() == 0
        with self.frozen():
            upset.does(self.node)
            assert self.whole() != before
        if is_told:
            self.tell()

        async def is_whole() -> bool:
            return self.whole() == before

        try:
            await self.until(is_whole)
        except TimeoutError:
            told = f"{upset.kind}: {self.whole()} is not {before}"
            raise AssertionError(f"{told}\n{self.log()}") from None
        assert upset.opens or self.receiver.drain() == 0
        await self.rests()
        self.receiver.drain()

    def tell(self) -> None:
        """The kernel says that something changed."""
        shell("ip", "link", "set", self.node.wire.name, "mtu", "1499")
        shell("ip", "link", "set", self.node.wire.name, "mtu", "1500")

    async def until(self, read: Callable[[], Awaitable[object]]) -> object:
        """As always, and once more: what nobody tells is found within a period."""
        try:
            return await super().until(read)
        except TimeoutError:
            return await super().until(read)

    async def rests(self) -> None:
        """The round that repaired it is over: what is done before is part of the same change."""
        rounds = self.log().count('"settled"')
        self.tell()

        async def has_settled() -> bool:
            return self.log().count('"settled"') > rounds

        await self.until(has_settled)

    async def dies(self) -> None:
        """Kill -9 and a start, without a bus."""
        before, started = self.whole(), self.log().count('"adopted"')
        self.stop(signal.SIGKILL)
        self.start()

        async def has_adopted() -> bool:
            return self.log().count('"adopted"') > started

        await self.until(has_adopted)
        await self.rests()
        assert self.whole() == before
        assert self.receiver.drain() == 0


@pytest.fixture
def wire() -> Iterator[Wire]:
    """A silent pair of interfaces."""
    with a_wire() as made:
        yield made


@pytest.fixture
async def node(tmp_path: Path, wire: Wire) -> AsyncIterator[Cut]:
    """A chain that lets nothing pass runs, and all of it was said."""
    async with a_fleet(tmp_path, Cut) as made:
        base = PurePosixPath(made.base / NODE)
        made.node = Node(Executor(real_kernel(base), tmp_path / "unused"), wire, base)
        made.settings["NODE_EXECUTOR_LOG_LEVEL"] = "debug"
        if not IS_SOAK:
            made.settings["NODE_EXECUTOR_PERIOD_SECONDS"] = "1"
        made.sender, made.receiver = FrameSender(wire.peer), FrameReceiver(wire.name)
        try:
            yield made
        finally:
            made.sender.stop()
            made.receiver.close()
            made.mend()


@pytest.mark.soak
async def test_a_long_partition_costs_no_packet_and_no_event(
    node: Cut, capsys: pytest.CaptureFixture[str]
) -> None:
    """Everything is repaired meanwhile, and said afterwards: each once, in order, no gap."""
    seed = int(os.environ.get("L3AF_SEED") or secrets.randbits(32))
    with capsys.disabled():
        sys.stderr.write(f"\nL3AF_SEED={seed} L3AF_SOAK_SECONDS={AWAY_SECONDS:g}\n")
    chance = random.Random(seed)
    name = node.node.wire.name
    count = a_program("count", config={"limits": {"80": 7}})
    await running(node, a_chain(name, count, a_program("drop", "4.0.0", order=20)))
    assert node.whole().limits == {PORT: LIMIT}
    node.receiver.drain()
    node.sender.go_on()
    node.cut(is_silent=chance.random() < 0.5)
    kinds, starts = await _work(node, chance, until=monotonic() + AWAY_SECONDS)
    node.stop(signal.SIGKILL)
    store = a_store(node)
    journaled = [one.id for one in store.unpublished()]
    store.close()
    node.start()

    node.mend()

    await node.until(lambda: has_stored(node, journaled))
    events = await said_in_order(node, "chain.adopt", starts + 1)
    drifts = [one.data.details["kind"] for one in events if one.data.action == "chain.drift"]
    assert drifts == kinds
    order = [one.id for one in events if one.id in set(journaled)]
    assert order == journaled
    wanted = a_chain(name, a_program("drop", "4.0.0", order=20), command="command-2")
    observed = await node.observed(await again(lambda: node.desire(wanted), node))
    assert [one.deployment for one in observed.chains[0].programs] == ["drop"]
    assert node.receiver.drain() == 0


async def _work(node: Cut, chance: random.Random, *, until: float) -> tuple[list[str], int]:
    """Everything that can be done once, then by chance; the kinds, and how often it was killed."""
    kinds: list[str] = []
    starts = 0
    due = [*UPSETS]
    chance.shuffle(due)
    while due or monotonic() < until:
        upset = due.pop() if due else chance.choice(UPSETS)
        await node.upset(upset, is_told=chance.random() < 0.5)
        kinds.append(upset.kind)
        if chance.random() < 0.2:
            await node.dies()
            starts += 1
    return kinds, starts
