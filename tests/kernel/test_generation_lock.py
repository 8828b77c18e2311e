# SPDX-FileCopyrightText: 2026 The L3AF Bus authors
# SPDX-License-Identifier: Apache-2.0
"""Of several writers of one hook point exactly one wins, whatever happened between look and act."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path, PurePosixPath

import pytest

from services.node_executor.adapters.hook_lock import LockHeldError, exclusively
from services.node_executor.adapters.hook_pins import HookPins
from services.node_executor.generations import Point
from services.node_executor.preparation import GenerationConflictError, Prepared
from shared.contracts.desired import DesiredChain
from tests.support.executors import Executor, Wire, a_chain, a_program, real_kernel, send_frames

ROUNDS = 8


def another(base: PurePosixPath, folder: Path) -> Executor:
    """An executor on the same pins with a state of its own."""
    made = Executor(real_kernel(base), folder / "state.sqlite")
    made.start()
    return made


def test_a_rollback_in_between_is_noticed(
    executor: Executor, wire: Wire, base: PurePosixPath, tmp_path: Path
) -> None:
    """The program on the hook is the one that was seen, and yet the decision is of the past."""
    point = Point(wire.name, "xdp")
    first, second = a_chain(wire.name, a_program("one")), a_chain(wire.name, a_program("two"))
    third = a_chain(wire.name, a_program("three"))
    executor.settle(first, point, 1)
    late = another(base, tmp_path / "late")
    needs = late.points.needs(point, third)
    prepared = late.prepare(third, point, needs)
    before = executor.kernel.observe(point)
    executor.settle(second, point, 2)
    executor.settle(first, point, 3)
    back = executor.kernel.observe(point)

    assert needs is not None
    assert prepared.linked is not None
    with pytest.raises(GenerationConflictError) as caught:
        late.points.settle(
            point, third, desired_generation=4, prepared=prepared, decided_on=needs.standing
        )
    prepared.linked.close()

    after = executor.kernel.observe(point)
    late.stop()
    assert back.link_program_id == before.link_program_id
    assert (after.link_program_id, after.generations) == (back.link_program_id, back.generations)
    assert caught.value.refusal_code == "conflict"
    assert "is at generation 3" in caught.value.message
    assert "not at generation 1" in caught.value.message


def test_a_chain_that_was_taken_off_and_put_on_again_is_noticed(
    executor: Executor, wire: Wire, base: PurePosixPath, tmp_path: Path
) -> None:
    """Numbers may begin anew where all memory is lost, but a link is never the same again."""
    point = Point(wire.name, "xdp")
    chain, other = a_chain(wire.name, a_program("one")), a_chain(wire.name, a_program("two"))
    executor.settle(chain, point, 1)
    late = another(base, tmp_path / "late")
    needs = late.points.needs(point, other)
    assert needs is not None
    executor.settle(None, point, 2)
    forgetful = another(base, tmp_path / "forgetful")
    forgetful.settle(chain, point, 3)
    number = forgetful.kernel.observe(point).standing.number

    with pytest.raises(GenerationConflictError):
        late.points.settle(
            point, other, desired_generation=4, prepared=Prepared(), decided_on=needs.standing
        )

    forgetful.stop()
    late.stop()
    assert needs.standing is not None
    assert number == needs.standing.number


def test_of_two_processes_exactly_one_wins_each_time(
    executor: Executor, wire: Wire, base: PurePosixPath, tmp_path: Path
) -> None:
    """Both decide, both are ready, both act at once; the other one is told, and packets pass."""
    point = Point(wire.name, "xdp")
    executor.settle(a_chain(wire.name, a_program("zero")), point, 1)
    writers = [_writer(base, tmp_path / name, wire, name) for name in ("a", "b")]
    outcomes, numbers = [], []

    with _running(writers) as ends:
        for number in range(ROUNDS):
            for end in ends:
                end.send(number)
            assert [end.recv() for end in ends] == ["ready", "ready"]
            for end in ends:
                end.send("go")
            outcomes.append(sorted(end.recv() for end in ends))
            numbers.append(executor.kernel.observe(point).standing.number)

    assert outcomes == ROUNDS * [["conflict", "won"]]
    assert numbers == list(range(2, ROUNDS + 2))
    send_frames(wire.peer, 3)
    hook = executor.kernel.observe(point)
    (running,) = {key.deployment for key in hook.map_pins if key.deployment}
    assert executor.scalar(point, running) == 3


def _writer(
    base: PurePosixPath, folder: Path, wire: Wire, name: str
) -> Callable[[Connection], None]:
    """Each round: decide, prepare, wait for the word, act."""

    def run(end: Connection) -> None:
        point = Point(wire.name, "xdp")
        executor = another(base, folder)
        while (number := end.recv()) is not None:
            chain = a_chain(wire.name, a_program(f"{name}{number}"))
            needs = executor.points.needs(point, chain)
            prepared = executor.prepare(chain, point, needs)
            end.send("ready")
            end.recv()
            end.send(_outcome(executor, point, chain, number, prepared))
            if prepared.linked is not None:
                prepared.linked.close()
        executor.stop()

    return run


def _outcome(
    executor: Executor, point: Point, chain: DesiredChain, number: int, prepared: Prepared
) -> str:
    decided_on = executor.decided_on
    try:
        executor.points.settle(
            point,
            chain,
            desired_generation=number + 2,
            prepared=prepared,
            decided_on=decided_on,
        )
    except GenerationConflictError:
        return "conflict"
    return "won"


@contextmanager
def _running(writers: list[Callable[[Connection], None]]) -> Iterator[list[Connection]]:
    """Each writer is a process of its own."""
    context = get_context("fork")
    ends, processes = [], []
    for writer in writers:
        ours, theirs = context.Pipe()
        process = context.Process(target=writer, args=(theirs,))
        process.start()
        theirs.close()
        ends.append(ours)
        processes.append(process)
    try:
        yield ends
    finally:
        for end, process in zip(ends, processes, strict=True):
            end.send(None)
            process.join(10)
            process.kill()
            end.close()


def test_a_killed_holder_frees_the_lock(base: PurePosixPath, executor: Executor) -> None:
    """Nobody waits for a process that is gone; one that is alive is waited for, and then not."""
    point = Point("wire0", "xdp")
    folder = HookPins(base).folder(point)
    reader, writer = os.pipe()
    holder = os.fork()
    if holder == 0:
        with exclusively(folder, base=base):
            os.write(writer, b"x")
            time.sleep(60)
        os._exit(1)
    os.read(reader, 1)

    with pytest.raises(LockHeldError), exclusively(folder, base=base, patience_seconds=0.02):
        raise AssertionError("the lock was free")
    os.kill(holder, signal.SIGKILL)
    os.waitpid(holder, 0)
    with executor.kernel.exclusively(point):
        assert Path(folder).is_dir()

    os.close(reader)
    os.close(writer)
    assert not Path(folder).exists()


def test_a_lock_on_a_directory_that_was_made_again_is_no_lock(base: PurePosixPath) -> None:
    """The last one out removes the directory; who waited for it locks the one that is there."""
    folder = base / "wire0" / "xdp"
    held = exclusively(folder, base=base)
    held.__enter__()
    waiting = os.fork()
    if waiting == 0:
        with exclusively(folder, base=base):
            os._exit(0 if Path(folder).is_dir() else 1)

    time.sleep(0.05)
    held.__exit__(None, None, None)
    _, status = os.waitpid(waiting, 0)

    assert os.waitstatus_to_exitcode(status) == 0
    with exclusively(folder, base=base, patience_seconds=0):
        assert Path(folder).is_dir()
