# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Several executors over one hook point: of those that start from the same place one changes it.

The kernel compares the program that is expected only, so it would let a stale writer win after a
change and a change back; here the number of the generation decides.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path, PurePosixPath

import pytest

from services.node_executor.generations import Point
from services.node_executor.preparation import GenerationConflictError
from shared.identifiers import Hook
from tests.support.executors import Executor, Wire, a_chain, a_program, real_kernel
from tests.support.interfaces import DEADLINE_SECONDS

IS_SOAK = "L3AF_SOAK_SECONDS" in os.environ
WRITERS = 3
ROUNDS = 60 if IS_SOAK else 6


@pytest.mark.parametrize("hook", ["xdp", "tc-ingress"])
def test_a_stale_writer_loses_after_a_change_and_a_change_back(
    base: PurePosixPath, tmp_path: Path, wire: Wire, hook: Hook
) -> None:
    """The program on the hook is the one that it expects, and yet it gets the conflict."""
    point = Point(wire.name, hook)
    stale, other = (Executor(real_kernel(base), tmp_path / name / "state") for name in "ab")
    stale.start()
    first = a_chain(wire.name, a_program(hook=hook), hook=hook)
    stale.settle(first, point, 1)
    other.start()
    expected = stale.kernel.observe(point).link_program_id
    wanted = a_chain(wire.name, a_program(version="2.0.0", hook=hook), hook=hook)
    needs = stale.points.needs(point, wanted)
    assert needs is not None
    prepared = stale.prepare(wanted, point, needs)
    assert prepared.linked is not None

    other.settle(a_chain(wire.name, a_program(version="1.1.0", hook=hook), hook=hook), point, 2)
    assert other.kernel.observe(point).link_program_id != expected
    other.settle(first, point, 3)
    assert other.kernel.observe(point).link_program_id == expected
    with pytest.raises(GenerationConflictError) as refused:
        stale.points.settle(
            point, wanted, desired_generation=4, prepared=prepared, decided_on=needs.standing
        )

    assert refused.value.refusal_code == "conflict"
    assert other.kernel.observe(point).link_program_id == expected
    prepared.linked.close()
    stale.stop()
    other.stop()


@pytest.mark.soak
@pytest.mark.parametrize("hook", ["xdp", "tc-ingress"])
def test_of_executors_that_prepared_for_the_same_generation_exactly_one_changes_it(
    base: PurePosixPath, tmp_path: Path, wire: Wire, hook: Hook
) -> None:
    """Round after round; the losers are told, and what runs is the winner's program."""
    point = Point(wire.name, hook)
    race = Race(WRITERS)
    writers = [
        Writer(number, base, tmp_path / f"w{number}" / "state", point, race)
        for number in range(WRITERS)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()

    assert race.failures == []
    assert [len(won) for won in race.won] == [1] * ROUNDS
    assert race.lost == ["conflict"] * (ROUNDS * (WRITERS - 1))


class Race:
    """What the writers share."""

    def __init__(self, writers: int) -> None:
        self.line = threading.Barrier(writers)
        self.won: list[list[int]] = [[] for _ in range(ROUNDS)]
        self.lost: list[str] = []
        self.failures: list[BaseException] = []


class Writer(threading.Thread):
    """An executor of its own, with a state directory of its own."""

    def __init__(
        self, number: int, base: PurePosixPath, state: Path, point: Point, race: Race
    ) -> None:
        super().__init__()
        self._number = number
        self._base = base
        self._state = state
        self._point = point
        self._race = race

    def run(self) -> None:
        """All rounds; a failure ends them for everybody."""
        executor = Executor(real_kernel(self._base), self._state)
        executor.start()
        try:
            for number in range(ROUNDS):
                self._round(executor, number)
        except (AssertionError, threading.BrokenBarrierError, OSError) as error:
            self._race.failures.append(error)
            self._race.line.abort()
        finally:
            executor.stop()

    def _round(self, executor: Executor, number: int) -> None:
        point, race = self._point, self._race
        program = a_program(f"w{self._number}-{number}", hook=point.hook)
        wanted = a_chain(point.interface, program, hook=point.hook)
        race.line.wait(DEADLINE_SECONDS)
        needs = executor.points.needs(point, wanted)
        assert needs is not None
        prepared = executor.prepare(wanted, point, needs)
        assert prepared.linked is not None
        race.line.wait(DEADLINE_SECONDS)
        try:
            executor.points.settle(
                point,
                wanted,
                desired_generation=number + 1,
                prepared=prepared,
                decided_on=needs.standing,
            )
            race.won[number].append(prepared.linked.program_id)
        except GenerationConflictError as error:
            race.lost.append(error.refusal_code)
        race.line.wait(DEADLINE_SECONDS)
        assert executor.kernel.observe(point).link_program_id in race.won[number]
        prepared.linked.close()
