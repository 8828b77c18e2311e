# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Killed at every step of every kind of change: what runs is whole, the next start finishes it.

Each run is a process of its own that gets SIGKILL before one step, or after the last: what a step
leaves is what the next one finds, so after each step is before the next.  Steps are all calls
that change the kernel, as the plan orders them, and all transactions of the journal.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import msgspec
import pytest

from services.node_executor.generations import MapKey, Point
from shared.contracts.desired import DesiredChain
from shared.contracts.link_options import LinkOptions
from tests.support.counters import total_in
from tests.support.executors import (
    Executor,
    Wire,
    a_chain,
    a_wire,
    pin_directory,
    pins_below,
    real_kernel,
    send_frames,
)
from tests.support.generation_programs import StampedPrograms
from tests.support.mortal_kernel import JOURNAL_STEPS, KERNEL_STEPS, Fate, Mortal

FILE_CALLS = frozenset(("os.rename", "os.symlink", "os.mkdir", "os.rmdir", "os.remove"))
"""Audit events (PEP 578) that are raised before the call is made."""
FRAMES = 3
LATER_SECONDS = 4000
DEADLINE_SECONDS = 30.0

Chains = Callable[[str], DesiredChain]
PROGRAMS = StampedPrograms()
a_part = PROGRAMS.program


def nothing(interface: str) -> DesiredChain:
    """An empty chain."""
    return a_chain(interface)


def first(interface: str) -> DesiredChain:
    """Two programs, one of them configured."""
    return a_chain(
        interface, a_part("one"), a_part("two", "5.0.0", order=20, limit=1), command="command-1"
    )


def upgraded(interface: str) -> DesiredChain:
    """The first program counts double, the other is gone, a third is new."""
    return a_chain(
        interface, a_part("one", "2.0.0"), a_part("three", order=30), command="command-2"
    )


def configured(interface: str) -> DesiredChain:
    """Only an entry differs from `first`."""
    return a_chain(
        interface, a_part("one"), a_part("two", "5.0.0", order=20, limit=9), command="command-2"
    )


def segments(interface: str) -> DesiredChain:
    """Two kernel programs, because of their licences."""
    return a_chain(interface, a_part("one", "4.0.0"), a_part("two", "3.0.0", order=20))


def more_segments(interface: str) -> DesiredChain:
    """Three of them."""
    return a_chain(
        interface,
        a_part("one", "4.0.0"),
        a_part("two", "3.0.0", order=20),
        a_part("three", "4.0.0", order=30),
        command="command-2",
    )


def forgets(interface: str) -> DesiredChain:
    """The second program left, and nothing is kept of it: its slot is free, and not zero."""
    return _keeping(a_chain(interface, a_part("one"), command="command-1"), 0)


def reuses(interface: str) -> DesiredChain:
    """A new program gets the slot, so counters are made anew and the counts copied."""
    chain = a_chain(interface, a_part("one"), a_part("new", order=30), command="command-2")
    return _keeping(chain, 0)


def _keeping(chain: DesiredChain, seconds: int) -> DesiredChain:
    return msgspec.structs.replace(chain, link=LinkOptions(keep_seconds=seconds))


@dataclass(frozen=True, slots=True)
class Case:
    """Chains that ran before, the change, and what it says in the log."""

    before: tuple[Chains, ...]
    after: Chains
    says: tuple[str, ...]
    steps: int
    """At least so many."""
    gains: tuple[int, int]
    """What the first program's count goes up by with a frame: old and new chain; 0: none runs."""
    seconds: float = 0
    """That pass before the change."""
    is_new_interface: bool = False
    """Whether the interface went away and came back before the change."""


ATTACH = ("chain.request", "chain.attach")
CASES = {
    "attach": Case((), first, ATTACH, 11, (0, 1)),
    "replace": Case((first,), upgraded, ATTACH, 10, (1, 2)),
    "configure": Case((first,), configured, ("chain.request", "chain.configure"), 4, (1, 1)),
    "rollback": Case((first, upgraded), first, ATTACH, 5, (2, 1)),
    "segments": Case((segments,), more_segments, ATTACH, 13, (1, 1)),
    "reused-slot": Case((first, forgets), reuses, ATTACH, 10, (1, 1)),
    "detach": Case((segments,), nothing, ("chain.request", "chain.detach"), 10, (1, 0)),
    "retire": Case((first, upgraded), upgraded, (), 8, (2, 2), LATER_SECONDS),
    "interface": Case((first,), first, ATTACH, 5, (0, 1), 0, True),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_killed_at_any_step_a_change_is_finished_by_the_next_start(
    tmp_path: Path, case: Case
) -> None:
    """Old or new chain runs, the next start completes it, each step is said once, nothing leaks."""
    steps = 0
    with pin_directory() as base:
        while _is_killed_and_finished(tmp_path / str(steps), base, case, steps):
            steps += 1

    assert steps >= case.steps


def test_killed_within_a_step_it_leaves_no_more_than_killed_between_two(tmp_path: Path) -> None:
    """Pins are made under another name and renamed: each such call is a step here."""
    steps = 0
    with pin_directory() as base:
        while _is_killed_and_finished(
            tmp_path / str(steps), base, CASES["rollback"], steps, has_calls=True
        ):
            steps += 1

    assert steps > CASES["rollback"].steps + 5


def _is_killed_and_finished(
    folder: Path, base: PurePosixPath, case: Case, kills_at: int, *, has_calls: bool = False
) -> bool:
    """One change, killed before one step; returns whether it got that far."""
    with _prepared(folder, base, case) as (wire, said):
        point = Point(wire.name, "xdp")
        is_killed = _change(folder, base, point, case, kills_at, has_calls=has_calls)

        survivor = _executor(folder, base, case)
        left = survivor.kernel.observe(point)
        old, new = case.gains
        assert _gain(survivor, wire, point) in {old, new}
        survivor.start()
        assert survivor.kernel.observe(point) == left, "adopting moved something"
        survivor.settle(case.after(wire.name), point, 9)

        _check_end(survivor, point, case, said)
        assert _gain(survivor, wire, point) == new
        assert survivor.points.describe(point, None, desired_generation=9).warnings == ()
        survivor.settle(None, point, 10)
        survivor.stop()
        _check_nothing_is_left(base, wire)
    return is_killed


@contextmanager
def _prepared(folder: Path, base: PurePosixPath, case: Case) -> Iterator[tuple[Wire, int]]:
    """The chains before, and how much of the log is about them."""
    with ExitStack() as wires:
        wire = wires.enter_context(a_wire())
        executor = _executor(folder, base, None)
        executor.start()
        for generation, chain in enumerate(case.before):
            executor.settle(chain(wire.name), Point(wire.name, "xdp"), generation + 1)
            send_frames(wire.peer, FRAMES)
        said = len(executor.events())
        executor.stop()
        if case.is_new_interface:
            wires.pop_all().close()
            wire = wires.enter_context(a_wire(wire.name[:-1]))
        yield wire, said


def _executor(folder: Path, base: PurePosixPath, case: Case | None) -> Executor:
    made = Executor(real_kernel(base), folder / "state.sqlite")
    made.opened = PROGRAMS.opened
    made.now += case.seconds if case else 0
    return made


def _change(
    folder: Path,
    base: PurePosixPath,
    point: Point,
    case: Case,
    kills_at: int,
    *,
    has_calls: bool = False,
) -> bool:
    """The change is made by a process that is killed; False: it was done before."""
    child = os.fork()
    if child == 0:
        fate = Fate(kills_at)
        if has_calls:
            sys.addaudithook(lambda event, _: fate.reach() if event in FILE_CALLS else None)
        executor = Executor(
            Mortal(real_kernel(base), fate, KERNEL_STEPS),
            folder / "state.sqlite",
            wrap_store=lambda store: Mortal(store, fate, JOURNAL_STEPS),
        )
        executor.opened = PROGRAMS.opened
        executor.now += case.seconds
        executor.start()
        fate.begin()
        executor.settle(case.after(point.interface), point, 9)
        fate.end()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    outcome = os.waitstatus_to_exitcode(status)
    assert outcome in {0, -signal.SIGKILL}
    return outcome != 0


def _gain(executor: Executor, wire: Wire, point: Point) -> int:
    """By how much the first program's count goes up with a frame; 0: no chain runs."""
    hook = executor.kernel.observe(point)
    counter = hook.map_pins.get(MapKey("one", PROGRAMS.packets))
    if counter is None:
        return 0
    before = total_in(executor.kernel, counter)
    send_frames(wire.peer, FRAMES)
    gained, odd = divmod(total_in(executor.kernel, counter) - before, FRAMES)
    assert not odd, "a frame was missed or counted twice"
    return gained


def _check_end(executor: Executor, point: Point, case: Case, said: int) -> None:
    chain = case.after(point.interface)
    seen = executor.points.describe(point, chain, desired_generation=9)
    events = executor.events()
    aside = ("chain.adopt", "chain.drift") if case.is_new_interface else ("chain.adopt",)
    actions = [one.data.action for one in events[said:] if one.data.action not in aside]
    assert tuple(actions) == case.says
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert [one.deployment for one in seen.programs] == [one.deployment for one in chain.programs]
    assert seen.state == ("attached" if chain.programs else "absent")
    pinned = executor.kernel.observe(point).map_pins
    for program in chain.programs:
        for name, entries in program.config.items():
            written = executor.kernel.read_entries(pinned[MapKey(program.deployment, name)])
            wanted = {int(key): value for key, value in entries.items()}
            found = {_number(key): _number(value) for key, value in written.items()}
            assert found == wanted


def _number(data: bytes) -> int:
    return int.from_bytes(data, "little")


def _check_nothing_is_left(base: PurePosixPath, wire: Wire) -> None:
    """No pin, and of our programs, maps and links nothing in the whole kernel."""
    assert pins_below(base) == []
    assert list(Path(base).iterdir()) == []
    deadline = time.monotonic() + DEADLINE_SECONDS
    while left := PROGRAMS.in_kernel(wire.name):
        assert time.monotonic() < deadline, f"still there: {left}"
        time.sleep(0.005)  # the kernel frees them a moment after the last hold


@pytest.mark.parametrize("kills_at", range(4))
def test_killed_while_it_starts_it_starts_again(tmp_path: Path, kills_at: int) -> None:
    """Adopting is told by the journal alone, and what it says is said in the end."""
    case = CASES["replace"]
    with pin_directory() as base, _prepared(tmp_path, base, case) as (wire, said):
        point = Point(wire.name, "xdp")
        assert _change(tmp_path, base, point, case, 7), "done in the kernel, and not journaled"
        child = os.fork()
        if child == 0:
            fate = Fate(kills_at)
            fate.begin()
            executor = Executor(
                real_kernel(base),
                tmp_path / "state.sqlite",
                wrap_store=lambda store: Mortal(store, fate, JOURNAL_STEPS),
            )
            executor.start()
            os._exit(0)
        os.waitpid(child, 0)

        survivor = _executor(tmp_path, base, case)
        survivor.start()
        survivor.settle(upgraded(wire.name), point, 9)
        _check_end(survivor, point, case, said)
        assert _gain(survivor, wire, point) == 2
        survivor.settle(None, point, 10)
        survivor.stop()
        _check_nothing_is_left(base, wire)
