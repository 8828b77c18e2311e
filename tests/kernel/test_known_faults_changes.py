# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Known faults of changes to one chain: each row is shown by frames, counters and the kernel."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

import pytest

from services.node_executor.adapters import pins
from services.node_executor.adapters.bpf_syscall import LINK_DETACH, bpf
from services.node_executor.generations import MapKey, Point
from services.node_executor.pin_paths import link_path
from shared.contracts.desired import DesiredProgram
from shared.errors import RefusedError
from tests.support.counters import total_in
from tests.support.executors import (
    Executor,
    Wire,
    a_chain,
    pins_below,
    real_kernel,
    send_frames,
)
from tests.support.frame_sender import FrameReceiver, FrameSender
from tests.support.generation_programs import DROPS, REFUSED, StampedPrograms
from tests.support.interfaces import DEADLINE_SECONDS
from tests.support.known_faults import Fault, table, xdp_program

FRAMES = 20
UPDATES = 11
PROGRAMS = StampedPrograms()
a_part = PROGRAMS.program


class Bench:
    """An executor, one hook point, and frames that are counted on both sides."""

    def __init__(self, folder: Path, base: PurePosixPath, wire: Wire) -> None:
        self.base, self.wire = base, wire
        self.point = Point(wire.name, "xdp")
        self.state = folder / "state.sqlite"
        self.sender = FrameSender(wire.peer)
        self.receiver = FrameReceiver(wire.name)
        self.executor = self._started()
        self._generation = 0

    def close(self) -> None:
        """Only what is pinned goes on."""
        self.sender.stop()
        self.receiver.close()
        self.executor.stop()

    def run(self, *programs: DesiredProgram) -> None:
        """The chain is desired and settled."""
        self._generation += 1
        chain = a_chain(self.wire.name, *programs, command=f"c{self._generation}")
        self.executor.settle(chain, self.point, self._generation)

    def restart(self) -> None:
        """Killed and started."""
        self.executor.stop()
        self.executor = self._started()

    def program_id(self) -> int:
        """What the kernel has on the hook."""
        return self.executor.kernel.observe(self.point).link_program_id

    def order(self) -> list[str]:
        """What is said to run, read back."""
        seen = self.executor.points.describe(self.point, None, desired_generation=0)
        return [one.deployment for one in seen.programs]

    def count(self, deployment: str) -> int:
        """What a program counted so far."""
        counter = self.executor.kernel.observe(self.point).map_pins[
            MapKey(deployment, PROGRAMS.packets)
        ]
        return total_in(self.executor.kernel, counter)

    def link_id(self) -> int:
        """What holds it there."""
        return self.executor.kernel.observe(self.point).link_id

    def check(self, passing: int, **gains: int) -> None:
        """Of FRAMES so many pass, each program counts so much more, and `ip` sees that program."""
        assert xdp_program(self.wire.name) == self.program_id()
        before = {deployment: self.count(deployment) for deployment in gains}
        self.receiver.drain()
        send_frames(self.wire.peer, FRAMES)
        passed = 0

        def agrees() -> bool:
            nonlocal passed
            passed += self.receiver.drain()
            found = {name: self.count(name) - before[name] for name in gains}
            return found == gains and passed == passing

        deadline = time.monotonic() + DEADLINE_SECONDS
        while not agrees():
            found = {name: self.count(name) - before[name] for name in gains}
            assert time.monotonic() < deadline, f"{found}, {passed} passed"
            time.sleep(0.002)

    def passing_while(self, change: Callable[[], object]) -> int:
        """How many frames pass while the change is made and others go on arriving."""
        self.receiver.drain()
        self.sender.go_on()
        change()
        self.sender.pause()
        return self.receiver.drain()

    def _started(self) -> Executor:
        executor = Executor(real_kernel(self.base), self.state)
        executor.opened = PROGRAMS.opened
        executor.start()
        return executor


@pytest.fixture
def bench(tmp_path: Path, base: PurePosixPath, wire: Wire) -> Iterator[Bench]:
    """Nothing runs; frames pass."""
    made = Bench(tmp_path, base, wire)
    yield made
    made.close()


def _upgrade_in_a_chain(bench: Bench) -> None:
    bench.run(a_part("one", order=1), a_part("two", order=2), a_part("three", DROPS, order=3))
    bench.check(0, one=FRAMES, two=FRAMES, three=FRAMES)
    before, was, link_id = bench.count("two"), bench.program_id(), bench.link_id()
    upgraded = a_part("one", "2.0.0", order=1), a_part("two", order=2)

    assert bench.passing_while(lambda: bench.run(*upgraded, a_part("three", DROPS, order=3))) == 0

    assert bench.program_id() != was
    assert bench.link_id() == link_id, "exchanged under its link"
    assert bench.order() == ["one", "two", "three"]
    assert bench.count("two") > before, "its state went on, and frames did arrive"
    bench.check(0, one=2 * FRAMES, two=FRAMES, three=FRAMES)


def _reorder(bench: Bench) -> None:
    bench.run(a_part("one", order=1), a_part("two", order=2), a_part("three", order=3))
    bench.check(FRAMES, one=FRAMES, two=FRAMES, three=FRAMES)
    was, link_id = bench.program_id(), bench.link_id()

    bench.run(a_part("three", order=1), a_part("two", DROPS, order=2), a_part("one", order=3))

    assert bench.program_id() != was
    assert bench.link_id() == link_id
    assert bench.order() == ["three", "two", "one"]
    bench.check(0, three=FRAMES, two=FRAMES, one=0)


def _version_that_cannot_run(bench: Bench) -> None:
    bench.run(a_part("one", DROPS))
    before, counted = bench.program_id(), bench.count("one")

    def change() -> None:
        with pytest.raises(RefusedError) as caught:
            bench.run(a_part("one", REFUSED))
        assert caught.value.refusal_code == "verifier_rejected"

    assert bench.passing_while(change) == 0
    assert bench.program_id() == before
    assert bench.count("one") > counted, "frames did arrive"
    bench.check(0, one=FRAMES)


def _detached_by_another(bench: Bench) -> None:
    bench.run(a_part("one", DROPS))
    link = pins.open_pinned(link_path(bench.base, *bench.point))
    assert link is not None
    with link:
        bpf(LINK_DETACH, struct.pack("<I", link.fd), action="as another process does it")
    before = bench.count("one")
    bench.receiver.drain()
    send_frames(bench.wire.peer, FRAMES)
    assert (bench.count("one"), xdp_program(bench.wire.name)) == (before, 0), "nothing filters"

    bench.run(a_part("one", DROPS))

    bench.check(0, one=FRAMES)
    assert bench.executor.actions()[-3:] == ["chain.drift", "chain.request", "chain.attach"]


def _restarted(bench: Bench) -> None:
    bench.run(a_part("one"), a_part("two", DROPS, order=20))
    bench.check(0, one=FRAMES, two=FRAMES)
    counted, program_id = bench.count("two"), bench.program_id()

    assert bench.passing_while(bench.restart) == 0

    bench.run(a_part("one"), a_part("two", DROPS, order=20))
    assert bench.program_id() == program_id
    assert bench.count("two") > counted
    bench.check(0, one=FRAMES, two=FRAMES)


def _state_is_lost(bench: Bench) -> None:
    bench.run(a_part("one", DROPS))
    program_id, counted = bench.program_id(), bench.count("one")

    def change() -> None:
        bench.executor.stop()
        bench.state.unlink()
        bench.restart()

    assert bench.passing_while(change) == 0
    assert bench.order() == ["one"]
    assert bench.program_id() == program_id
    assert bench.count("one") > counted, "frames did arrive, and its state went on"
    bench.run()
    assert bench.program_id() == 0
    assert pins_below(bench.base) == []
    bench.check(FRAMES)


def _updates_under_traffic(bench: Bench) -> None:
    bench.run(a_part("one"), a_part("two", DROPS, order=20))

    def change() -> None:
        for number in range(UPDATES):
            bench.run(a_part("one", ("2.0.0", "1.0.0")[number % 2]), a_part("two", DROPS, order=20))

    counted, was, link_id = bench.count("two"), bench.program_id(), bench.link_id()
    assert bench.passing_while(change) == 0
    assert bench.count("two") > counted, "frames did arrive"
    assert bench.program_id() != was
    assert bench.link_id() == link_id
    bench.check(0, one=2 * FRAMES, two=FRAMES)


FAULTS = {
    "upgrade-in-a-chain": Fault(
        "another version of the first of three chained programs",
        "cuts the chain for ever, answers 500 after 10 s and says that all is well",
        "one swap; all three run, the others' counters go on",
        _upgrade_in_a_chain,
    ),
    "reorder": Fault(
        "the three programs of a chain in the opposite order",
        "makes a loop (11 to 17 runs a packet), or changes nothing and shows the new order",
        "the whole chain is swapped; each program runs once a packet, in the order that is shown",
        _reorder,
    ),
    "version-that-cannot-run": Fault(
        "a version that does not load",
        "stops the old program first, and then has none",
        "refused before the hook is touched; what ran goes on",
        _version_that_cannot_run,
    ),
    "detached-by-another": Fault(
        "somebody else detaches the link of a running program",
        "looks at program ids only, so it notices nothing and shows the program as running",
        "seen at the next look and put back",
        _detached_by_another,
    ),
    "restart": Fault(
        "the daemon is stopped and started",
        "detaches everything; its next start sets monitored counters to zero",
        "the data path goes on, the next start adopts it, counters go on",
        _restarted,
    ),
    "lost-state": Fault(
        "the daemon's store is gone or truncated",
        "starts with nothing, and the programs stay attached with nobody to manage them",
        "what is pinned says what it is; it is managed, and can be removed without a trace",
        _state_is_lost,
    ),
    "update-under-traffic": Fault(
        "updates, one after the other, while packets arrive",
        "stops, downloads and starts, and packets pass unfiltered meanwhile",
        "each packet is filtered by the old or by the new chain",
        _updates_under_traffic,
    ),
}


@table(FAULTS)
def test_a_change_does_what_it_should(bench: Bench, fault: Fault[Callable[[Bench], None]]) -> None:
    """See the table."""
    fault.shows(bench)
