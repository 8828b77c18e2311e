# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Killed at any step of a change: the old or the new chain runs, and each step is said once."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from services.node_executor.generations import MapKey, Point
from shared.contracts.node import DesiredChain
from tests.support.executors import (
    Executor,
    Wire,
    a_chain,
    a_program,
    pin_directory,
    pins_below,
    real_kernel,
    send_frames,
)

KERNEL_STEPS = frozenset(
    (
        *("pin_program", "unpin_program", "pin_map", "unpin_map"),
        *("attach", "detach", "replace", "drop_dead_link", "write_entries"),
    )
)
JOURNAL_STEPS = frozenset({"journal"})
Chains = Callable[[str], DesiredChain]


class Killed(BaseException):
    """The process is gone: nothing of it runs any more, no undoing either."""


class Fate:
    """Counts steps; the process dies before or after the k-th."""

    def __init__(self) -> None:
        self.steps = 0
        self.dies_at: int | None = None
        self.dies_before = True
        self.is_dead = False

    def sentence(self, step: int, *, before: bool) -> None:
        """Die at that step, counted from now."""
        self.steps, self.dies_at, self.dies_before = 0, step, before

    def mortal(self, target: Any, counted: frozenset[str]) -> Any:
        """`target`, whose calls are steps if `counted` names them."""
        return _Mortal(target, self, counted)


class _Mortal:
    def __init__(self, target: Any, fate: Fate, counted: frozenset[str]) -> None:
        self._target, self._fate, self._counted = target, fate, counted

    def __getattr__(self, name: str) -> Any:
        method, fate = getattr(self._target, name), self._fate
        is_step = name in self._counted

        def call(*arguments: Any, **options: Any) -> Any:
            is_last = is_step and fate.steps == fate.dies_at
            if fate.is_dead or (is_last and fate.dies_before):
                fate.is_dead = True
                raise Killed
            result = method(*arguments, **options)
            fate.steps += is_step
            if is_last:
                fate.is_dead = True
                raise Killed
            return result

        return call


def nothing(interface: str) -> DesiredChain:
    """An empty chain."""
    return a_chain(interface)


def first(interface: str) -> DesiredChain:
    """Two programs, one of them configured."""
    config = {"limits": {"80": 1, "443": 2}}
    return a_chain(
        interface, a_program("one", config=config), a_program("two", order=20), command="command-1"
    )


def upgraded(interface: str) -> DesiredChain:
    """One program is newer and configured otherwise, the other is gone, a third is new."""
    config = {"limits": {"80": 9}}
    return a_chain(
        interface,
        a_program("one", "2.0.0", revision=2, config=config),
        a_program("three", order=30),
        command="command-2",
    )


def configured(interface: str) -> DesiredChain:
    """Only entries differ from `first`."""
    config = {"limits": {"80": 9}, "settings": {"0": 1}}
    return a_chain(
        interface,
        a_program("one", revision=2, config=config),
        a_program("two", order=20),
        command="command-2",
    )


@dataclass(frozen=True, slots=True)
class Case:
    """A change, and the event that confirms it."""

    before: Chains
    after: Chains
    confirmation: str


CASES = [
    pytest.param(Case(nothing, first, "chain.attach"), id="attach"),
    pytest.param(Case(first, upgraded, "chain.attach"), id="replace"),
    pytest.param(Case(first, configured, "chain.configure"), id="configure"),
    pytest.param(Case(first, nothing, "chain.detach"), id="detach"),
]


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("case", CASES)
def test_killed_at_any_step_a_change_is_finished_by_the_next_start(
    wire: Wire, tmp_path: Path, case: Case, *, before: bool
) -> None:
    """For every step: what runs is whole, the next start completes it, every step is said once."""
    steps = 0
    with pin_directory() as base:
        while _is_killed_and_finished(wire, tmp_path / str(steps), base, case, (steps, before)):
            steps += 1

    assert steps >= 3


def _is_killed_and_finished(
    wire: Wire, folder: Path, base: PurePosixPath, case: Case, kill: tuple[int, bool]
) -> bool:
    """One change, killed at one step; returns whether that step was reached."""
    point = Point(wire.name, "xdp")
    fate = Fate()
    executor = Executor(
        fate.mortal(real_kernel(base), KERNEL_STEPS),
        folder / "state.sqlite",
        wrap_store=lambda store: fate.mortal(store, JOURNAL_STEPS),
    )
    executor.start()
    executor.settle(case.before(wire.name), point, 1)
    old_program = executor.kernel.observe(point).link_program_id
    said = len(executor.events())
    fate.sentence(kill[0], before=kill[1])

    with suppress(Killed):
        executor.settle(case.after(wire.name), point, 2)
    executor.stop()

    survivor = Executor(real_kernel(base), folder / "state.sqlite")
    left = survivor.kernel.observe(point)
    survivor.start()
    assert survivor.kernel.observe(point) == left, "adopting moved something"
    assert left.link_program_id or not old_program or case.confirmation == "chain.detach"
    survivor.settle(case.after(wire.name), point, 2)
    _check_end(survivor, point, case, said)
    survivor.settle(None, point, 3)
    survivor.stop()
    assert pins_below(base) == []
    return fate.is_dead


def _check_end(executor: Executor, point: Point, case: Case, said: int) -> None:
    chain = case.after(point.interface)
    seen = executor.points.describe(point, chain, desired_generation=2)
    events = executor.events()
    actions = [one.data.action for one in events[said:] if one.data.action != "chain.adopt"]
    assert actions == ["chain.request", case.confirmation]
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert [one.deployment for one in seen.programs] == [one.deployment for one in chain.programs]
    assert seen.state == ("attached" if chain.programs else "absent")
    if chain.programs:
        pins = executor.kernel.observe(point).map_pins
        limits = executor.kernel.read_entries(pins[MapKey("one", "limits")])
        wanted = {int(key): value for key, value in chain.programs[0].config["limits"].items()}
        found = {_number(key): _number(value) for key, value in limits.items()}
        assert found == wanted


def _number(data: bytes) -> int:
    return int.from_bytes(data, "little")


def test_counts_survive_a_kill_in_the_middle_of_an_upgrade(wire: Wire, tmp_path: Path) -> None:
    """Packets are counted before, between and after: not one count is lost."""
    point = Point(wire.name, "xdp")
    with pin_directory() as base:
        fate = Fate()
        kernel = fate.mortal(real_kernel(base), KERNEL_STEPS)
        executor = Executor(kernel, tmp_path / "state.sqlite")
        executor.start()
        executor.settle(first(wire.name), point, 1)
        send_frames(wire.peer, 10)
        fate.sentence(2, before=True)
        with pytest.raises(Killed):
            executor.settle(upgraded(wire.name), point, 2)
        executor.stop()

        send_frames(wire.peer, 10)
        survivor = Executor(real_kernel(base), tmp_path / "state.sqlite")
        survivor.start()
        survivor.settle(upgraded(wire.name), point, 2)
        send_frames(wire.peer, 10)

        assert survivor.scalar(point, "one") == 10 + 10 + 2 * 10
        survivor.stop()
