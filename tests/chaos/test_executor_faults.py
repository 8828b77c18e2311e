# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""What surrounds an executor fails: frames stay filtered, the log says it, and nobody is needed.

Disk, bpffs, memory, clock, bus and cache fail while frames arrive and a chain drops them all.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path, PurePosixPath
from typing import Final

import pytest

from shared.contracts.desired import DesiredChain
from shared.contracts.node import GET_CHAINS, NODES, ChainShown, GetChains
from shared.errors import FaultError
from tests.support.executors import Wire, a_chain, a_program, a_wire
from tests.support.frame_sender import FrameReceiver, FrameSender
from tests.support.node_fleets import NODE, Fleet
from tests.support.operator_mode import OperatorModeServer

DROPS: Final = "4.0.0"
STATE_BYTES: Final = 64 * 1024 * 1024
MNT_DETACH: Final = 2
MANY: Final = 8
"""Programs that take some memory to link and some room to journal."""

DAY_SECONDS: Final = 24 * 60 * 60
MOVABLE_CLOCK: Final = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *now)
{
	static int (*real)(clockid_t, struct timespec *);
	char text[32] = "";

	if (!real)
		real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
	int status = real(clock, now);
	int file = clock == CLOCK_REALTIME ? open(getenv("AWAY"), O_RDONLY) : -1;
	if (file >= 0) {
		if (read(file, text, sizeof(text) - 1) > 0)
			now->tv_sec += atol(text);
		close(file);
	}
	return status;
}
"""


class Bench(Fleet):
    """One node on a wire, its state on a small disk, its pins in a bpffs of their own."""

    wire: Wire
    sender: FrameSender
    receiver: FrameReceiver

    def chain(self, command: str, *versions: str) -> DesiredChain:
        """A chain that lets nothing pass behind programs of these versions."""
        programs = [a_program(f"p{n}", version, order=n) for n, version in enumerate(versions)]
        last = a_program("drop", DROPS, order=99)
        return a_chain(self.wire.name, *programs, last, command=command)

    async def until(self, read: Callable[[], Awaitable[object]]) -> object:
        """As always; and what the executor said if it takes too long."""
        try:
            return await super().until(read)
        except TimeoutError:
            raise AssertionError(self.log()) from None

    async def runs(self, *versions: str) -> ChainShown:
        """The kernel runs the chain with these versions; whoever ends is started again."""

        async def ask() -> object:
            self.supervise()
            try:
                shown = await self.viewer.request(GET_CHAINS.at(node=NODE), GetChains())
            except FaultError:
                return None
            for one in shown.chains:
                if [program.version for program in one.chain.programs] == [*versions, DROPS]:
                    return one
            return None

        found = await self.until(ask)
        assert isinstance(found, ChainShown)
        return found

    def supervise(self) -> None:
        """An executor that ended is started again, as systemd does it."""
        if self._process is not None and self._process.poll() is not None:
            self._process = None
            self.start()

    def passed(self) -> int:
        """How many frames got through since the last call."""
        return self.receiver.drain()

    async def has_said(self, action: str) -> None:
        """The log has an event with that action."""

        async def read() -> bool:
            return any(one.data.action == action for one in self.events)

        await self.until(read)


@pytest.fixture(scope="module")
def movable_clock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library under which a process sees the time of day that a file says it is away from."""
    folder = tmp_path_factory.mktemp("clock")
    (folder / "clock.c").write_text(MOVABLE_CLOCK)
    words = ["clang", "-shared", "-fPIC", "-O1", "-o", "clock.so", "clock.c", "-ldl"]
    subprocess.run(words, cwd=folder, check=True)
    return folder / "clock.so"


@pytest.fixture
async def bench(tmp_path: Path, wire: Wire, movable_clock: Path) -> AsyncIterator[Bench]:
    """A chain that drops everything runs, and frames arrive all the time."""
    server = OperatorModeServer(tmp_path / "nats")
    server.start()
    state, pins = tmp_path / "state", tmp_path / "bpffs"
    state.mkdir()
    async with AsyncExitStack() as stack:
        stack.callback(server.stop)
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={STATE_BYTES}", "tmpfs", state], check=True
        )
        stack.callback(_unmount_lazily, state)
        stack.callback(_unmount_lazily, pins / NODE)
        sender, receiver = FrameSender(wire.peer), FrameReceiver(wire.name)
        stack.callback(receiver.close)
        stack.callback(sender.stop)
        made = Bench(server, tmp_path, PurePosixPath(pins))
        made.wire, made.sender, made.receiver = wire, sender, receiver
        made.settings |= {"LD_PRELOAD": str(movable_clock), "AWAY": str(state / "away")}
        await made.open(stack)
        made.start()
        stack.callback(made.stop, signal.SIGKILL)
        await made.until(lambda: made.scheduler.bucket(NODES).get(NODE))
        await made.desire(made.chain("command-1", "1.0.0"))
        await made.runs("1.0.0")
        sender.go_on()
        receiver.drain()
        yield made


@pytest.fixture
def wire() -> Iterator[Wire]:
    """A silent pair of interfaces."""
    with a_wire() as made:
        yield made


def _unmount_lazily(path: PurePosixPath | Path) -> None:
    """What is on it lives on for those that hold it."""
    libc = ctypes.CDLL(None, use_errno=True)
    while Path(path).is_mount():
        assert libc.umount2(os.fsencode(path), MNT_DETACH) == 0


async def test_a_full_disk_of_the_state_directory_delays_and_is_told(bench: Bench) -> None:
    """Nothing is changed that cannot be journaled; once there is room it is, and said."""
    filler = bench.state / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            pass
    await bench.desire(bench.chain("command-2", *["1.0.0"] * MANY))
    await _some_looks(bench)
    assert bench.passed() == 0
    assert len((await bench.runs("1.0.0")).chain.programs) == 2, "nothing was changed"

    filler.unlink()

    await bench.runs(*["1.0.0"] * MANY)
    await bench.has_said("journal.resume")
    assert bench.passed() == 0


async def _some_looks(bench: Bench) -> None:
    before = len(bench.log())

    async def has_logged() -> bool:
        bench.supervise()
        return len(bench.log()) > before

    await bench.until(has_logged)


async def test_an_unmounted_bpffs_is_mounted_again_with_all_pins(bench: Bench) -> None:
    """A plain unmount is refused by the kernel, after a lazy one every pin is back."""
    base = bench.base / NODE
    before = await bench.runs("1.0.0")
    assert subprocess.run(["umount", base], check=False, capture_output=True).returncode != 0

    _unmount_lazily(base)
    assert not Path(base).is_mount()
    await bench.desire(bench.chain("command-2", "2.0.0"))

    after = await bench.runs("2.0.0")
    assert after.chain.link_id == before.chain.link_id, "it never left the hook"
    assert Path(base).is_mount()
    await bench.has_said("pins.restore")
    bench.stop(signal.SIGKILL)
    bench.start()
    again = await bench.runs("2.0.0")
    assert again.chain.program_id == after.chain.program_id
    assert bench.passed() == 0


async def test_an_executor_without_memory_leaves_the_chain_and_recovers(bench: Bench) -> None:
    """It says that it has none, or ends and is started again; then the change is made."""
    limited = bench.pid
    limit = resource.getpagesize()  # nothing more is given
    resource.prlimit(limited, resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
    await bench.desire(bench.chain("command-2", *["2.0.0"] * MANY, "3.0.0"))

    async def feels_it() -> bool:
        bench.supervise()
        return bench.pid != limited or "memory" in bench.log().lower()

    await bench.until(feels_it)
    assert bench.passed() == 0
    if bench.pid == limited:
        unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        resource.prlimit(limited, resource.RLIMIT_AS, unlimited)

    await bench.runs(*["2.0.0"] * MANY, "3.0.0")
    assert bench.passed() == 0


async def test_a_silent_bus_stops_nothing_and_what_was_desired_meanwhile_follows(
    bench: Bench,
) -> None:
    """The server is frozen, as in a partition; the node restarts and goes on without it."""
    assert bench.server.process is not None
    server = bench.server.process.pid
    os.kill(server, signal.SIGSTOP)
    try:
        bench.stop(signal.SIGKILL)
        bench.start()
        await _some_looks(bench)
        assert bench.passed() == 0
    finally:
        os.kill(server, signal.SIGCONT)

    await bench.until(lambda: _desired_again(bench, bench.chain("command-2", "2.0.0")))
    await bench.runs("2.0.0")
    assert bench.passed() == 0
    sequences = sorted({one.sequence for one in bench.events})
    assert sequences == list(range(1, len(sequences) + 1))


async def _desired_again(bench: Bench, chain: DesiredChain) -> bool:
    try:
        await bench.desire(chain)
    except FaultError:
        return False
    return True


async def test_a_clock_that_jumps_a_day_moves_nothing(bench: Bench) -> None:
    """Forwards and back: no chain, no kept generation and no timer goes by the time of day."""
    await bench.desire(bench.chain("command-2", "2.0.0"))
    before = await bench.runs("2.0.0")

    for number, away_seconds in enumerate((DAY_SECONDS, -DAY_SECONDS)):
        (bench.state / "away").write_text(str(away_seconds))
        looked = await bench.runs("2.0.0")
        assert looked.chain.program_id == before.chain.program_id
        assert looked.previous_generation == before.previous_generation, "it is kept"
        await bench.desire(bench.chain(f"command-{number + 3}", "1.0.0"))
        await bench.runs("1.0.0")
        await bench.desire(bench.chain(f"command-{number + 5}", "2.0.0"))
        before = await bench.runs("2.0.0")

    days = {one.time[:10] for one in bench.events}
    assert len(days) == 3, "the executor did see another day"
    sequences = sorted({one.sequence for one in bench.events})
    assert sequences == list(range(1, len(sequences) + 1))
    assert bench.passed() == 0


async def test_a_damaged_archive_is_fetched_again_and_told(bench: Bench) -> None:
    """Digests are compared before every load, so damage costs a download."""
    await bench.desire(bench.chain("command-2", "2.0.0"))
    await bench.runs("2.0.0")
    archives = [path for path in (bench.state / "artifacts").rglob("*") if path.is_file()]
    assert archives
    for path in archives:
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    bench.stop(signal.SIGKILL)
    bench.start()

    await bench.desire(bench.chain("command-3", "2.0.0", "1.0.0"))

    await bench.runs("2.0.0", "1.0.0")
    await bench.has_said("artifact.damage")
    assert bench.passed() == 0
